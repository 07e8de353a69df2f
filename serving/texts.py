# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of texts in memory-mapped Arrow files."""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

_PART = 1 << 15


class Texts:
    """A column of texts in a memory-mapped file, read without copying it."""

    def __init__(self, column: pa.Array):
        """Reads a column of large strings without nulls."""
        self._column = column
        _, offsets, data = column.buffers()
        self._offsets = np.frombuffer(offsets, np.int64)
        self._data = memoryview(data) if data else memoryview(b"")
        self._first, self._length = column.offset, len(column)

    def __len__(self) -> int:
        """Returns the number of texts."""
        return self._length

    def take(self, rows: Iterable[int]) -> list[str]:
        """Returns the texts of rows."""
        offsets, data, first = self._offsets, self._data, self._first
        return [
            str(data[offsets[first + row] : offsets[first + row + 1]], "utf-8")
            for row in rows
        ]

    @functools.cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each text, made when it is first asked for."""
        rows: dict[str, int] = {}
        # Part by part, as other threads wait while Arrow makes texts of one.
        for at in range(0, len(self), _PART):
            part = self._column.slice(at, _PART).to_numpy(zero_copy_only=False)
            rows.update(zip(part, range(at, at + len(part)), strict=True))
        return rows


def large_strings(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """Returns a column of texts in one piece, of any size."""
    return column.cast(pa.large_string()).combine_chunks()


def write_lines(path: str, texts: pa.LargeStringArray) -> None:
    """Writes texts without line breaks into a file, local or remote, one a line."""
    empty, line_break = (pa.scalar(one, pa.large_string()) for one in ("", "\n"))
    lines = pc.binary_join_element_wise(texts, empty, line_break)
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, np.int64)
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(memoryview(data)[ends[0] : ends[len(lines)]].tobytes())


def write_table(
    path: str, columns: Mapping[str, Sequence[str] | pa.Array | np.ndarray]
) -> None:
    """Writes columns of texts, or an array as it is, into a local Arrow file."""
    arrays = [
        values
        if isinstance(values, pa.Array)
        else pa.array(
            values, None if isinstance(values, np.ndarray) else pa.large_string()
        )
        for values in columns.values()
    ]
    # One batch, so that each column is one chunk.
    batch = pa.record_batch(arrays, list(columns))
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def read_table(path: str) -> pa.Table:
    """Maps a local Arrow file."""
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()
