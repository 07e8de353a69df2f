# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Interactions as evaluation needs them: distinct queries, candidates by row."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from serving.errors import UserError
from serving.servable import parse_examples

_PARSE_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of interactions, each [interactions]."""

    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Returns the number of interactions."""
        return len(next(iter(self.columns.values())))


def read_table(patterns: list[str], specs: dict[str, tf.TensorSpec]) -> Table:
    """Reads features of raw interactions.

    Args:
      patterns: Glob patterns of gzipped TFRecord shards of tf.Examples.
      specs: Names and types of the features to read, one value an example.

    Returns:
      The columns, rows in the order of the sorted shard names.

    Raises:
      UserError: No shard matches or they hold no row.
    """
    files = sorted(name for one in patterns for name in tf.io.gfile.glob(one))
    rows = (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_PARSE_BATCH)
        .map(lambda serialized: parse_examples(serialized, specs))
    )
    batches = list(rows.as_numpy_iterator())
    if not batches:
        raise UserError(f"no interactions in {', '.join(patterns)}; the split is empty")
    return Table({name: _stack([batch[name] for batch in batches]) for name in specs})


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    """Joins batches, [rows] or [rows, any], the latter padded with b"" to one width."""
    if parts[0].ndim == 2:
        width = max(part.shape[1] for part in parts)
        parts = [_padded(part, width) for part in parts]
    return np.concatenate(parts)


def _padded(part: np.ndarray, width: int) -> np.ndarray:
    missing = width - part.shape[1]
    return (
        np.pad(part, [(0, 0), (0, missing)], constant_values=b"") if missing else part
    )


@dataclasses.dataclass(frozen=True)
class Queries:
    """The distinct queries of a table."""

    features: dict[str, np.ndarray]
    """Raw features, each [queries]."""
    of_row: np.ndarray
    """Which query each interaction is, [interactions]."""

    def __len__(self) -> int:
        """Returns the number of distinct queries."""
        return len(next(iter(self.features.values())))


def distinct_queries(table: Table, names: list[str]) -> Queries:
    """Finds the distinct combinations of query features.

    A top-k answer depends on the query alone, so each is asked once however many
    interactions it has.
    """
    codes = [_codes(table.columns[name]) for name in names]
    _, first, of_row = np.unique(
        np.stack(codes, axis=1), axis=0, return_index=True, return_inverse=True
    )
    features = {name: table.columns[name][first] for name in names}
    return Queries(features, of_row.reshape(-1))


def sample(queries: Queries, count: int, seed: int) -> tuple[Queries, np.ndarray]:
    """Draws queries at random, with all of their interactions.

    Args:
      queries: To draw from.
      count: Queries to draw, at most.
      seed: Of the draw.

    Returns:
      The queries that were drawn, in their order, and the rows of the table that are
      theirs, int64 [rows].
    """
    if len(queries) <= count:
        return queries, np.arange(len(queries.of_row))
    drawn = np.random.default_rng(seed).permutation(len(queries))[:count]
    drawn.sort()
    rows = np.flatnonzero(np.isin(queries.of_row, drawn))
    features = {name: values[drawn] for name, values in queries.features.items()}
    return Queries(features, np.searchsorted(drawn, queries.of_row[rows])), rows


def number(values: np.ndarray) -> tuple[np.ndarray, list]:
    """Numbers values in the order in which they first come, int64 [values].

    Unlike np.unique it sorts nothing: millions of ids take seconds.

    Returns:
      The number of each value, and the values by their number.
    """
    numbers: dict = {}
    of_value = np.fromiter(
        (numbers.setdefault(value, len(numbers)) for value in values.tolist()),
        np.int64,
        len(values),
    )
    return of_value, list(numbers)


def _codes(column: np.ndarray) -> np.ndarray:
    """Numbers the distinct values of a column, or its distinct rows: int [rows]."""
    if column.ndim == 2:
        rows = (b"".join(map(_delimited, row)) for row in column)
        column = np.fromiter(rows, object, len(column))
    return np.unique(column, return_inverse=True)[1]


def _delimited(value: object) -> bytes:
    """Returns a value as bytes that no other sequence of values starts with."""
    text = value if isinstance(value, bytes) else repr(value).encode()
    return b"%d:%b" % (len(text), text)


def positions(values: np.ndarray, vocabulary: Any) -> np.ndarray:
    """Returns where values stand in a vocabulary of unique values, -1 where unknown."""
    where = {value: index for index, value in enumerate(vocabulary)}
    return np.fromiter((where.get(v, -1) for v in values), np.int64, len(values))
