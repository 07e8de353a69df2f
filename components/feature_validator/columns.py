# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of tf.Examples as Arrow has them: hashes of rows, and texts of a few.

A value is known by a 64-bit hash, the same in every process. Two of a million values
share one with a probability of 3e-8.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MISSING = np.uint64(0)
"""Hash of a row without a value."""


def row_lengths(array: pa.LargeListArray) -> np.ndarray:
    """Returns how many values each row has, int64 [rows]."""
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    return lengths.to_numpy(zero_copy_only=False).astype(np.int64)


def hash_values(values: pa.Array) -> np.ndarray:
    """Returns the hash of each value, uint64 [values]."""
    return pd.util.hash_array(values.to_numpy(zero_copy_only=False))


def texts(array: pa.LargeListArray) -> pa.Array:
    """Returns the values of all rows as bytes, whole numbers as their digits."""
    values = array.flatten()
    if pa.types.is_large_binary(values.type):
        return values
    return values.cast(pa.large_string()).cast(pa.large_binary())


def hash_rows(array: pa.LargeListArray | None, rows: int) -> np.ndarray:
    """Returns the hash of each row's list of values, in their order.

    Args:
        array: A column; None for one that is nowhere.
        rows: Its length.

    Returns:
        uint64 [rows], `MISSING` where there is no value.
    """
    if array is None or array.null_count == rows:
        return np.full(rows, MISSING)
    lengths = row_lengths(array)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    hashes = hash_values(array.flatten())
    if (lengths > 1).any():
        # Odd factors by position, so that the order counts.
        position = np.arange(len(hashes)) - np.repeat(starts, lengths)
        hashes = hashes * (2 * position + 1).astype(np.uint64)
    sums = np.concatenate([[MISSING], np.cumsum(hashes, dtype=np.uint64)])
    return sums[ends] - sums[starts]


def numbers(array: pa.LargeListArray | None, rows: int) -> tuple[np.ndarray, ...]:
    """Returns each row's whole number, int64 [rows], and whether it has one, bool."""
    if array is None or not pa.types.is_integer(array.type.value_type):
        return np.zeros(rows, np.int64), np.zeros(rows, bool)
    lengths = row_lengths(array)
    present = lengths == 1
    result = np.zeros(rows, np.int64)
    starts = np.cumsum(lengths) - lengths
    result[present] = array.flatten().to_numpy(zero_copy_only=False)[starts[present]]
    return result, present


def to_text(value: object) -> str:
    """Returns a value, or a list of them, as one reads it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(to_text, value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    return f"{value:g}" if isinstance(value, float) else str(value)
