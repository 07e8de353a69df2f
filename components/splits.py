# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which split a row belongs to: pure functions of the row, free of TFX and Beam.

Six methods, told apart by `method` in the config:

- `none`: every row goes to `train`.
- `random`: by a keyed hash of the row's own key features.
- `within_query`: shares of each query's interactions, at random.
- `leave_last_out`: of each query the last interaction.
- `time`: by quantiles of a timestamp, the oldest rows first.
- `shuffle`: by the positions that the tutorial's `Dataset.shuffle` draws. It alone
  depends on the order of the rows and is there to reproduce the tutorial only.
"""

import bisect
import dataclasses
import hashlib
import itertools
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from serving.errors import UserError

SPLIT_NAMES = ("train", "valid", "eval")
"""Names of splits, in the order in which fractions are dealt out: oldest first."""

TIME_BUCKETS = 2**16
"""Buckets between the first and the last timestamp: the resolution of `time`.

MovieLens 100K spans 215 days, so that a bucket is 284 s wide there. A range of fewer
units than buckets is counted unit by unit, that is, exactly.
"""

MIN_INTERACTIONS = 3
"""Queries with fewer train only where something of every query is held out.

With three each split gets one, so that the same queries evaluate with and without
`valid`.
"""

ROW_KEYS = np.dtype([("query", np.uint64), ("time", np.int64), ("order", np.uint64)])
"""What `row_keys` returns of a row: two hashes and a timestamp."""

ROUNDING = 1e-9
"""What a share of a count may miss a whole number by: .57 of 100 is 57."""

_UNUSED = -1

Value: TypeAlias = bytes | int | float
"""One value of a tf.Example feature."""


@dataclasses.dataclass(frozen=True)
class NoSplit:
    """All rows in one split, as a catalogue needs it."""

    names: tuple[str, ...] = ("train",)
    columns: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RandomSplit:
    """By hash: a row's split depends on its key features' values and the seed only.

    Rows with equal keys share a split. Raising the fraction of `train` moves rows to
    it and none away from it.
    """

    names: tuple[str, ...]
    fractions: tuple[float, ...]
    columns: tuple[str, ...]
    seed: int

    def assign(self, columns: Sequence[Sequence[Sequence[Value]]]) -> np.ndarray:
        """Returns the index of each row's split.

        Args:
            columns: For each of `self.columns` a list of rows, each a list of values.

        Returns:
            int8 array of shape `[rows]`, indices into `self.names`.
        """
        ends = upper_ends(self.fractions)
        indices = [
            bisect.bisect_right(ends, hash_fraction(self.seed, key))
            for key in zip(*columns, strict=True)
        ]
        return np.array(indices, dtype=np.int8)


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """By time: the oldest rows to `train`, the next to `valid`, the last to `eval`.

    Rows of one timestamp, and of one bucket of `TIME_BUCKETS`, share a split.
    """

    names: tuple[str, ...]
    fractions: tuple[float, ...]
    timestamp: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The features that the split looks at."""
        return (self.timestamp,)


@dataclasses.dataclass(frozen=True)
class WithinQuerySplit:
    """Shares of each query's interactions, drawn by hash: any order is as good.

    Of a query's n interactions the share of `eval` goes there, rounded down but at
    least one, then that of `valid`; at least one trains. Rows with equal keys are one
    interaction and share a split.
    """

    names: tuple[str, ...]
    fractions: tuple[float, ...]
    query: str
    keys: tuple[str, ...]
    seed: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The features that the split looks at, the query's id first."""
        return self.query, *self.keys

    def held_out(self, interactions: np.ndarray) -> dict[str, np.ndarray]:
        """Returns how many of so many interactions each held-out split gets.

        Args:
            interactions: `[...]` number of a query's interactions.

        Returns:
            int64 arrays of the same shape by name, in the order of being served.
        """
        room = interactions - 1
        result = {}
        for name in reversed(self.names[1:]):
            share = self.fractions[self.names.index(name)]
            wanted = np.floor(share * interactions + ROUNDING).astype(np.int64)
            result[name] = np.minimum(np.maximum(wanted, 1), room)
            room = room - result[name]
        return _if_enough(result, interactions)


@dataclasses.dataclass(frozen=True)
class LeaveLastOutSplit:
    """The last interaction of each query to `eval`, the one before it to `valid`.

    The last by time, of equal times the one with the largest hash. Rows with equal
    keys are one interaction.
    """

    names: tuple[str, ...]
    query: str
    keys: tuple[str, ...]
    timestamp: str
    seed: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The features that the split looks at: query, keys, timestamp."""
        return self.query, *self.keys, self.timestamp

    def held_out(self, interactions: np.ndarray) -> dict[str, np.ndarray]:
        """Returns how many of so many interactions each held-out split gets."""
        ones = {name: np.ones_like(interactions) for name in reversed(self.names[1:])}
        return _if_enough(ones, interactions)


QuerySplit: TypeAlias = WithinQuerySplit | LeaveLastOutSplit
"""A split of a row that depends on the other rows of its query."""


def _if_enough(
    counts: dict[str, np.ndarray], interactions: np.ndarray
) -> dict[str, np.ndarray]:
    """Holds out nothing of queries with too few interactions."""
    enough = interactions >= MIN_INTERACTIONS
    return {name: np.where(enough, count, 0) for name, count in counts.items()}


@dataclasses.dataclass(frozen=True)
class ShuffleSplit:
    """By position after the tutorial's shuffle; rows that no split takes are left out.

    Unlike the others it depends on the order of the rows in the prepared dataset.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    seed: int
    columns: tuple[str, ...] = ()

    def assign_positions(self, rows: int) -> np.ndarray:
        """Returns the split of each position of a dataset of that many rows.

        Args:
            rows: The number of rows of the whole dataset.

        Returns:
            int8 array of shape `[rows]`, indices into `self.names`, -1 for unused.

        Raises:
            UserError: If the splits ask for more rows than there are.
        """
        if sum(self.counts) > rows:
            raise UserError(
                f"split.counts asks for {sum(self.counts)} rows, but the dataset has "
                f"only {rows}: lower the counts"
            )
        positions = shuffled_positions(rows, self.seed)
        result = np.full(rows, _UNUSED, dtype=np.int8)
        begin = 0
        for index, count in enumerate(self.counts):
            result[positions[begin : begin + count]] = index
            begin += count
        return result


Split: TypeAlias = NoSplit | RandomSplit | QuerySplit | TimeSplit | ShuffleSplit


def parse_split(config: Mapping[str, Any]) -> Split:
    """Returns the split that a config asks for.

    Args:
        config: `{"method": "none"}`, or
            `{"method": "random", "seed": 42, "fractions": {"train": 0.8, "eval": 0.2},
            "keys": ["user_id", "movie_id", "timestamp"]}`, or
            the same with `"method": "within_query", "query": "user_id"`, or
            `{"method": "leave_last_out", "query": "user_id", "keys": [...],
            "timestamp": "timestamp", "valid": False}`, or
            `{"method": "time", "timestamp": "timestamp", "fractions": {...}}`, or
            `{"method": "shuffle", "seed": 42, "counts": {"train": 80000, ...}}`.

    Raises:
        UserError: If a key is missing, unknown or has a wrong value.
    """
    required: dict[str, set[str]] = {
        "none": set(),
        "random": {"seed", "fractions", "keys"},
        "within_query": {"seed", "fractions", "query", "keys"},
        "leave_last_out": {"query", "keys", "timestamp", "valid"},
        "time": {"timestamp", "fractions"},
        "shuffle": {"seed", "counts"},
    }
    method = config.get("method")
    if method not in required:
        raise UserError(
            f"split.method is {method!r}: choose one of {', '.join(required)}"
        )
    given = set(config) - {"method"}
    if given != required[method]:
        raise UserError(
            f"split.method {method} takes the keys {sorted(required[method])}, not "
            f"{sorted(given)}: add or remove keys under split"
        )
    if method == "random":
        names, fractions = _fractions(config["fractions"])
        return RandomSplit(names, fractions, _keys(config["keys"]), _seed(config))
    if method == "within_query":
        names, fractions = _fractions(config["fractions"])
        (query,), keys = _keys([config["query"]]), _keys(config["keys"])
        return WithinQuerySplit(names, fractions, query, keys, _seed(config))
    if method == "leave_last_out":
        query, timestamp = _keys([config["query"], config["timestamp"]])
        names = SPLIT_NAMES if config["valid"] else ("train", "eval")
        return LeaveLastOutSplit(names, query, _keys(config["keys"]), timestamp)
    if method == "time":
        names, fractions = _fractions(config["fractions"])
        return TimeSplit(names, fractions, _keys([config["timestamp"]])[0])
    if method == "shuffle":
        names, counts = _counts(config["counts"])
        return ShuffleSplit(names, counts, _seed(config))
    return NoSplit()


def _names(parts: Any, key: str) -> tuple[str, ...]:
    if not isinstance(parts, Mapping) or not {"train", "eval"} <= set(parts):
        raise UserError(f"split.{key} must map at least train and eval to numbers")
    if unknown := set(parts) - set(SPLIT_NAMES):
        raise UserError(
            f"split.{key} names the unknown split {sorted(unknown)[0]!r}: use "
            f"{', '.join(SPLIT_NAMES)}"
        )
    return tuple(name for name in SPLIT_NAMES if name in parts)


def _fractions(parts: Any) -> tuple[tuple[str, ...], tuple[float, ...]]:
    names = _names(parts, "fractions")
    # A share of 0 is how `valid` is switched off by an override.
    names = tuple(name for name in names if (name, parts[name]) != ("valid", 0))
    for name in names:
        if not isinstance(parts[name], (int, float)) or not 0 < parts[name] < 1:
            raise UserError(
                f"split.fractions.{name} is {parts[name]!r}: give a number between 0 "
                "and 1"
            )
    fractions = tuple(float(parts[name]) for name in names)
    if abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"split.fractions add up to {sum(fractions):g}: make it 1")
    return names, fractions


def _counts(parts: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    names = _names(parts, "counts")
    for name in names:
        if type(parts[name]) is not int or parts[name] < 1:
            raise UserError(
                f"split.counts.{name} is {parts[name]!r}: give a whole number above 0"
            )
    return names, tuple(parts[name] for name in names)


def _seed(config: Mapping[str, Any]) -> int:
    seed = config["seed"]
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise UserError(f"split.seed is {seed!r}: give a whole number from 0 to 2^31-1")
    return seed


def _keys(keys: Any) -> tuple[str, ...]:
    if not isinstance(keys, Sequence) or isinstance(keys, str) or not keys:
        raise UserError(f"split.keys is {keys!r}: give a list of feature names")
    if any(not isinstance(key, str) or not key for key in keys):
        raise UserError(f"split names the feature {keys!r}: give names of features")
    return tuple(keys)


def upper_ends(fractions: Sequence[float]) -> list[float]:
    """Cumulative fractions, the last one exactly 1 whatever the rounding."""
    return [*itertools.accumulate(fractions[:-1]), 1.0]


def hash_fraction(seed: int, key: Sequence[Sequence[Value]]) -> float:
    """Maps a key to a number in [0, 1), evenly over keys and independently of order.

    The number is the first 53 bits of BLAKE2b (RFC 7693) over the seed and the values,
    each with its type and length, so that no two keys are written alike.

    Args:
        seed: Draws another, independent split for the same rows.
        key: For each key feature the list of its values.
    """
    return (hash_key(seed, key) >> 11) / 2**53


def hash_key(seed: int, key: Sequence[Sequence[Value]]) -> int:
    """Maps a key to 64 bits; see `hash_fraction`."""
    digest = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "big"))
    for values in key:
        digest.update(b"[%d" % len(values))
        for value in values:
            tag, data = _encode(value)
            digest.update(b"%c%d:" % (tag, len(data)) + data)
    return int.from_bytes(digest.digest(), "big")


def _encode(value: Value) -> tuple[bytes, bytes]:
    if isinstance(value, bytes):
        return b"s", value
    if isinstance(value, int):
        return b"i", b"%d" % value
    return b"f", struct.pack(">f", value)


def row_keys(
    split: QuerySplit, columns: Sequence[Sequence[Sequence[Value]]]
) -> np.ndarray:
    """Returns what a `QuerySplit` needs to know of rows, however long their ids are.

    Args:
        split: The split.
        columns: For each of `split.columns` a list of rows, each a list of values.

    Returns:
        `[rows]` of type `ROW_KEYS`: `query`, a hash of its id; `time`, 0 unless the
        split goes by it; `order`, a hash of the keys. Of 10 million queries two share
        a hash with a probability of 3 in a million, and are then split as one.
    """
    rows = len(columns[0])
    result = np.zeros(rows, ROW_KEYS)
    result["query"] = [hash_key(split.seed, [query]) for query in columns[0]]
    keys = columns[1 : 1 + len(split.keys)]
    result["order"] = [hash_key(split.seed, key) for key in zip(*keys, strict=True)]
    if isinstance(split, LeaveLastOutSplit):
        result["time"] = [time[0] for time in columns[-1]]
    return result


def assign_within_queries(split: QuerySplit, keys: np.ndarray) -> np.ndarray:
    """Returns the split of each row of whole queries.

    Args:
        split: The split.
        keys: `[rows]` from `row_keys`: every row of the queries in it, in any order.

    Returns:
        int8 array of shape `[rows]`, indices into `split.names`.
    """
    order = np.lexsort((keys["order"], keys["time"], keys["query"]))
    ordered = keys[order]
    new_query = _changes(ordered["query"])
    interaction = np.cumsum(_changes(ordered)) - 1
    query = np.cumsum(new_query) - 1
    # One more than the last interaction of each query, counted from its end below.
    ends = np.r_[interaction[new_query][1:], interaction[-1:] + 1]
    counts = np.diff(np.r_[0, ends])
    from_end = ends[query] - interaction
    indices = np.zeros(len(keys), np.int8)
    begin = np.zeros(len(counts), np.int64)
    for name, count in split.held_out(counts).items():
        chosen = (from_end > begin[query]) & (from_end <= (begin + count)[query])
        indices[chosen] = split.names.index(name)
        begin = begin + count
    result = np.empty_like(indices)
    result[order] = indices
    return result


def _changes(values: np.ndarray) -> np.ndarray:
    """Tells which values are unlike the one before, bool [values]."""
    return np.r_[True, values[1:] != values[:-1]][: len(values)]


def bucket_width(first: int, last: int) -> int:
    """Width of a bucket, in units of the timestamp, for timestamps first..last."""
    return -(-(last - first + 1) // TIME_BUCKETS)


def count_buckets(timestamps: np.ndarray, first: int, last: int) -> np.ndarray:
    """Counts rows per time bucket.

    Args:
        timestamps: int64 array of shape `[rows]`, all within first..last.
        first: The smallest timestamp of the whole dataset.
        last: The largest timestamp of the whole dataset.

    Returns:
        int64 array of shape `[TIME_BUCKETS]`. Counts of parts of a dataset add up to
        the counts of the whole.
    """
    buckets = (timestamps - first) // bucket_width(first, last)
    return np.bincount(buckets, minlength=TIME_BUCKETS)


def time_ends(
    counts: np.ndarray, first: int, last: int, fractions: Sequence[float]
) -> list[int]:
    """Returns the first timestamp after each split but the last.

    Each end is the end of the bucket whose cumulative count is nearest to the wanted
    share of all rows, the earlier one of two equally near.

    Args:
        counts: int array of shape `[TIME_BUCKETS]`, rows per bucket.
        first: The smallest timestamp of the whole dataset.
        last: The largest timestamp of the whole dataset.
        fractions: The share of each split, oldest first; they add up to 1.
    """
    cumulative = np.cumsum(counts)
    wanted = np.array(upper_ends(fractions)[:-1]) * cumulative[-1]
    nearest = [int(np.argmin(np.abs(cumulative - share))) for share in wanted]
    width = bucket_width(first, last)
    return [first + (bucket + 1) * width for bucket in nearest]


def assign_times(timestamps: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    """Returns the index of each row's split, given the ends from `time_ends`."""
    indices = np.searchsorted(np.asarray(ends, np.int64), timestamps, side="right")
    return indices.astype(np.int8)


def shuffled_positions(rows: int, seed: int) -> np.ndarray:
    """Positions 0..rows-1 in the order of the TFRS tutorial's shuffle.

    The same as `tf.random.set_seed(seed)` and then
    `Dataset.range(rows).shuffle(rows, seed=seed, reshuffle_each_iteration=False)`,
    computed in a graph of its own, so that the seed of the process stays as it is.

    Returns:
        int64 array of shape `[rows]`.
    """
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(seed)
        dataset = tf.data.Dataset.range(rows).shuffle(
            rows, seed=seed, reshuffle_each_iteration=False
        )
        iterator = tf.compat.v1.data.make_one_shot_iterator(dataset.batch(rows))
        return session.run(iterator.get_next())
