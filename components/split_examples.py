# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Assigns the examples of any source to splits and writes them, shard by shard.

TFX's own `BaseExampleGenExecutor` shuffles the rows at random before it writes them.
This writes a file a shard and split and keeps the order, so that the same config gives
the same files to train on, and in less than half the time.
"""

import abc
import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
from tfx import types

from components import records, splits
from serving.errors import UserError

_LOGGER = logging.getLogger(__name__)
_NAMESPACE = "split_examples"
_ROWS = "rows:"
_LACKING = "lacking:"
_PARTS = 64
_ROWS_PER_PIECE = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard(abc.ABC):
    """A part of a source, such as a file, that one worker reads."""

    index: int
    """Its place among all shards, from 0."""
    shards: int
    """How many shards there are."""

    @abc.abstractmethod
    def read(self) -> Iterator[list[bytes]]:
        """Yields its rows in order as serialized tf.Examples, a batch at a time.

        Raises:
            UserError: It can't be read.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacedShard(Shard):
    """A shard that knows where its rows stand in the whole, as `shuffle` asks."""

    start: int
    """Rows before its first one."""
    rows_total: int
    """Rows of the whole source."""


def write_splits(
    pipeline: beam.Pipeline,
    shards: Sequence[Shard],
    split: splits.Split,
    artifact: types.Artifact,
    source: str,
) -> None:
    """Runs a Beam pipeline that writes each row to its split.

    Args:
        pipeline: An empty one; it is run here.
        shards: What to read.
        split: How to split; `ShuffleSplit` takes shards that know their place.
        artifact: The Examples artifact to fill.
        source: What errors call the source.

    Raises:
        UserError: If a shard can't be read, a row lacks a feature that the split
            goes by, or a split stays empty.
    """
    with pipeline:
        source_shards = pipeline | "Shards" >> beam.Create(shards) | beam.Reshuffle()
        if isinstance(split, splits.QuerySplit):
            assigned = _within_queries(source_shards, split)
        else:
            assigned = source_shards | "Unassigned" >> beam.Map(_unassigned)
        ends = (
            [beam.pvalue.AsSingleton(_time_ends(source_shards, split))]
            if isinstance(split, splits.TimeSplit)
            else []
        )
        _ = assigned | "Split" >> beam.ParDo(_SplitShard(split, artifact.uri), *ends)
    counted = records.counters(pipeline, _NAMESPACE)
    _check_features(counted, split, source)
    rows = {name: counted.get(_ROWS + name, 0) for name in split.names}
    _check_rows(rows, source)
    records.finish_examples(artifact, split.names)
    total = sum(rows.values())
    shares = ", ".join(f"{n} {c} ({c / total:.4f})" for n, c in rows.items())
    _LOGGER.info("%s: %d rows, split into %s", source, total, shares)


class _ShardReader(beam.DoFn):
    """Reads a shard with the features that a split looks at, counting what is amiss."""

    def __init__(self, split: splits.Split) -> None:
        self._split = split

    def batches(self, shard: Shard) -> Iterator[tuple[list[bytes], list[Any]]]:
        """Yields records and, for each column of the split, their values."""
        decoder = records.ColumnDecoder(self._split.columns)
        for batch in shard.read():
            decoded = decoder.decode(batch)
            yield batch, [decoded[name] for name in self._split.columns]

    def timestamps(self, column: records.Column) -> np.ndarray | None:
        """Returns an int64 array of shape `[rows]`; None if the column has gaps."""
        if all(len(values) == 1 and type(values[0]) is int for values in column):
            return np.fromiter((values[0] for values in column), np.int64, len(column))
        # It is the last of the columns, or the only one.
        _count(_LACKING + self._split.columns[-1])
        return None

    def count_gaps(self, columns: list[records.Column]) -> None:
        """Counts rows that lack a feature of the split, any kind of value will do."""
        for name, column in zip(self._split.columns, columns, strict=True):
            _count(_LACKING + name, sum(not values for values in column))


class _TimeRange(_ShardReader):
    """Yields the first and last timestamp of each shard."""

    def process(self, shard: Shard) -> Iterator[tuple[int, int]]:
        for _, (column,) in self.batches(shard):
            timestamps = self.timestamps(column)
            if timestamps is not None:
                yield int(timestamps.min()), int(timestamps.max())


class _TimeCounts(_ShardReader):
    """Yields the number of rows per time bucket of each shard."""

    def process(self, shard: Shard, limits: tuple[int, int]) -> Iterator[np.ndarray]:
        counts = np.zeros(splits.TIME_BUCKETS, np.int64)
        for _, (column,) in self.batches(shard):
            timestamps = self.timestamps(column)
            if timestamps is not None:
                counts += splits.count_buckets(timestamps, *limits)
        yield counts


_Keys: TypeAlias = tuple[int, np.ndarray, np.ndarray]
"""Index of a shard, places of some of its rows, int64 [rows], and their keys."""


class _RowKeys(_ShardReader):
    """Yields the keys of a shard's rows by the part that their query belongs to."""

    def __init__(self, split: splits.QuerySplit) -> None:
        super().__init__(split)
        self._rules = split

    def process(self, shard: Shard) -> Iterator[tuple[int, _Keys]]:
        begin, rows, waiting = 0, 0, []
        for batch, columns in self.batches(shard):
            waiting.append(self._keys(columns, len(batch)))
            rows += len(batch)
            if rows - begin >= _ROWS_PER_PIECE:
                yield from _part(shard.index, begin, np.concatenate(waiting))
                begin, waiting = rows, []
        if waiting:
            yield from _part(shard.index, begin, np.concatenate(waiting))

    def _keys(self, columns: list[records.Column], rows: int) -> np.ndarray:
        """Returns `splits.row_keys`; zeros where that can't be, which is counted."""
        self.count_gaps(columns)
        complete = all(all(column) for column in columns)
        if isinstance(self._rules, splits.LeaveLastOutSplit):
            complete = self.timestamps(columns[-1]) is not None and complete
        if not complete:
            return np.zeros(rows, splits.ROW_KEYS)
        return splits.row_keys(self._rules, columns)


def _part(shard: int, begin: int, keys: np.ndarray) -> Iterator[tuple[int, _Keys]]:
    """Yields consecutive rows of a shard by part, the whole of a query in one."""
    part = keys["query"] % _PARTS
    order = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part.astype(np.int64), minlength=_PARTS))[:-1]
    for number, rows in enumerate(np.split(order, ends)):
        if len(rows):
            yield number, (shard, begin + rows, keys[rows])


class _AssignPart(beam.DoFn):
    """Yields, by shard, the places of a part's rows and their splits."""

    def __init__(self, split: splits.QuerySplit) -> None:
        self._split = split

    def process(
        self, element: tuple[int, Iterable[_Keys]]
    ) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        pieces = list(element[1])
        indices = splits.assign_within_queries(
            self._split, np.concatenate([keys for _, _, keys in pieces])
        )
        ends = np.cumsum([len(rows) for _, rows, _ in pieces])[:-1]
        for (shard, rows, _), own in zip(pieces, np.split(indices, ends), strict=True):
            yield shard, (rows, own)


def _within_queries(
    shards: beam.PCollection, split: splits.QuerySplit
) -> beam.PCollection:
    """Each shard with the splits of its rows, int8 [rows].

    All rows of a query are looked at together, as hashes of 24 bytes a row.
    """
    assigned = (
        shards
        | "RowKeys" >> beam.ParDo(_RowKeys(split))
        | "ByPart" >> beam.GroupByKey()
        | "AssignPart" >> beam.ParDo(_AssignPart(split))
    )
    by_index = shards | "ByIndex" >> beam.Map(_by_index)
    return (
        {"shard": by_index, "assigned": assigned}
        | "ByShard" >> beam.CoGroupByKey()
        | "Assigned" >> beam.Map(_join)
    )


def _by_index(shard: Shard) -> tuple[int, Shard]:
    return shard.index, shard


def _join(element: tuple[int, dict[str, Any]]) -> tuple[Shard, np.ndarray]:
    """Puts the splits of a shard's rows in the order of the rows."""
    (shard,), pieces = element[1]["shard"], list(element[1]["assigned"])
    result = np.zeros(sum(len(rows) for rows, _ in pieces), np.int8)
    for rows, indices in pieces:
        result[rows] = indices
    return shard, result


def _unassigned(shard: Shard) -> tuple[Shard, None]:
    return shard, None


class _SplitShard(_ShardReader):
    """Writes the rows of a shard to one file per split."""

    def __init__(self, split: splits.Split, uri: str) -> None:
        super().__init__(split)
        self._uri = uri
        self._positions: np.ndarray | None = None

    def process(
        self, element: tuple[Any, np.ndarray | None], ends: Any = None
    ) -> list[Any]:
        """Writes one shard.

        Args:
            element: The shard, and the splits of its rows if they are known.
            ends: What `splits.time_ends` returns, or None.
        """
        shard, assigned = element
        with contextlib.ExitStack() as stack:
            writers = [
                stack.enter_context(
                    records.SplitWriter(self._uri, name, shard.index, shard.shards)
                )
                for name in self._split.names
            ]
            position = 0
            for batch, columns in self.batches(shard):
                indices = (
                    self._assign(columns, position, len(batch), shard, ends)
                    if assigned is None
                    else assigned[position : position + len(batch)]
                )
                position += len(batch)
                for index, name in enumerate(self._split.names):
                    chosen = np.flatnonzero(indices == index)
                    writers[index].write([batch[row] for row in chosen])
                    _count(_ROWS + name, len(chosen))
        return []

    def _assign(
        self,
        columns: list[records.Column],
        position: int,
        rows: int,
        shard: Any,
        ends: list[int] | None,
    ) -> np.ndarray:
        """Returns the split of each row of a batch, an int array of shape `[rows]`."""
        if isinstance(self._split, splits.RandomSplit):
            self.count_gaps(columns)
            return self._split.assign(columns)
        if isinstance(self._split, splits.TimeSplit):
            timestamps = self.timestamps(columns[0])
            if timestamps is None or ends is None:
                return np.zeros(rows, np.int8)
            return splits.assign_times(timestamps, ends)
        if isinstance(self._split, splits.ShuffleSplit):
            if self._positions is None:
                self._positions = self._split.assign_positions(shard.rows_total)
            first = shard.start + position
            return self._positions[first : first + rows]
        return np.zeros(rows, np.int8)


def _count(name: str, amount: int = 1) -> None:
    if amount:
        beam.metrics.Metrics.counter(_NAMESPACE, name).inc(amount)


def _time_ends(shards: beam.PCollection, split: splits.TimeSplit) -> beam.PCollection:
    """One element: the first timestamp after each split but the last."""
    ranges = shards | "TimeRange" >> beam.ParDo(_TimeRange(split))
    limits = beam.pvalue.AsSingleton(
        ranges | "WholeRange" >> beam.CombineGlobally(_widest)
    )
    counts = shards | "TimeCounts" >> beam.ParDo(_TimeCounts(split), limits)
    total = counts | "AllCounts" >> beam.CombineGlobally(_add_up)
    return total | "TimeEnds" >> beam.Map(_ends, limits, split.fractions)


def _ends(counts: Any, limits: tuple[int, int], fractions: Any) -> list[int]:
    first, last = limits
    return splits.time_ends(counts, first, last, fractions)


def _widest(limits: Any) -> tuple[int, int]:
    """The range that holds all ranges; (0, 0) for none, as Beam asks of the empty."""
    firsts, lasts = zip(*(list(limits) or [(0, 0)]), strict=True)
    return min(firsts), max(lasts)


def _add_up(counts: Any) -> np.ndarray:
    return sum(counts, np.zeros(splits.TIME_BUCKETS, np.int64))


def _check_features(counted: dict[str, int], split: splits.Split, source: str) -> None:
    """Refuses rows without a feature that the split goes by."""
    for name in sorted(counted):
        if name.startswith(_LACKING):
            feature = name.removeprefix(_LACKING)
            is_time = feature == getattr(split, "timestamp", None)
            kind = "integer " if is_time else ""
            raise UserError(
                f"{source} has rows without the {kind}feature {feature!r} that the "
                "split goes by: name another one under split"
            )


def _check_rows(rows: dict[str, int], source: str) -> None:
    """Refuses empty sources and splits."""
    total = sum(rows.values())
    if not total:
        raise UserError(f"{source} has no rows: name a source that has some")
    for name, count in rows.items():
        if not count:
            raise UserError(
                f"split {name!r} of {source} is empty ({total} "
                f"{'row' if total == 1 else 'rows'} in all): give it a larger share "
                "under split or take a larger dataset"
            )
