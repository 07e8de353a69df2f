# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of preparation, in NumPy: which rows stay, their weights and histories."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_DAY_S = 86_400


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What to do with interactions; by default nothing."""

    query_id: str
    """Feature with the id of the query."""
    candidate_id: str
    """Feature with the id of the candidate."""
    timestamp: str | None = None
    """Feature with the time, in seconds."""
    value: str | None = None
    """Feature with a rating or a count."""
    min_value: float | None = None
    """Rows with a smaller value, or none, are left out."""
    scale: str = "none"
    """Of the value in the weight: none, linear or log."""
    event: str | None = None
    """Feature with the type of the interaction."""
    event_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Weight of each type; rows of other types are left out."""
    deduplicate: str = "none"
    """Of several interactions of a query with a candidate: none, first, last, sum."""
    min_query_interactions: int = 1
    """Queries with fewer are left out."""
    min_candidate_interactions: int = 1
    """Interactions with candidates that have fewer are left out."""
    half_life_days: float | None = None
    """Age at which an interaction counts half."""
    histories: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Name and greatest length of each history feature to add."""
    history_of_all_splits: bool = False
    """Whether a history is what came before, of whatever split; else it is the other
    rows of the training split."""
    table_id: str | None = None
    """Feature of the table of queries with their id; None: there is no table."""
    table_features: Sequence[str] = ()
    """Features of that table to join to the interactions."""
    table_duplicates: str = "stop"
    """What several rows of one id in that table do: stop or keep_one."""

    def to_json(self) -> dict[str, Any]:
        """Returns the rules as JSON-able values."""
        return dataclasses.asdict(self)

    @property
    def has_weight(self) -> bool:
        """Tells whether rows get a weight."""
        return bool(
            self.scale != "none"
            or self.event_weights
            or self.half_life_days
            or self.deduplicate == "sum"
        )

    @property
    def is_needed(self) -> bool:
        """Tells whether there is anything to do."""
        return bool(
            self.has_weight
            or self.min_value is not None
            or self.deduplicate != "none"
            or self.min_query_interactions > 1
            or self.min_candidate_interactions > 1
            or self.histories
            or self.table_id
        )

    @property
    def features(self) -> list[str]:
        """The features to read, ids first."""
        names = [self.query_id, self.candidate_id]
        return names + [n for n in (self.timestamp, self.value, self.event) if n]


@dataclasses.dataclass
class Log:
    """Interactions as columns, each [rows], in the order in which they were read."""

    query: np.ndarray
    """Ids as bytes objects."""
    candidate: np.ndarray
    """Ids as bytes objects."""
    timestamp: np.ndarray
    """int64 seconds; 0 where there is none."""
    value: np.ndarray
    """float64; NaN where there is none."""
    event: np.ndarray
    """bytes objects; b"" where there is none."""
    is_train: np.ndarray
    """bool."""

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.query)

    def take(self, rows: np.ndarray) -> "Log":
        """Returns some rows."""
        columns = {
            f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)
        }
        return Log(**columns)


def wanted(log: Log, rules: Preparation) -> np.ndarray:
    """Tells which rows' own values let them stay, bool [rows]."""
    keep = np.ones(len(log), bool)
    if rules.min_value is not None:
        # A missing value compares as False.
        keep &= log.value >= rules.min_value
    if rules.event_weights:
        known = {name.encode() for name in rules.event_weights}
        keep &= np.fromiter((event in known for event in log.event), bool, len(log))
    return keep


def weigh(log: Log, rules: Preparation, newest: int) -> np.ndarray:
    """Returns what each row counts, float64 [rows].

    Args:
        log: The rows.
        rules: The factors: the scaled value (a missing one counts as 1), the weight of
            the event, and 0.5 ** (age / half life).
        newest: The latest timestamp, at which the age is 0.
    """
    weight = np.ones(len(log))
    value = np.where(np.isnan(log.value), 1.0, np.maximum(log.value, 0))
    if rules.scale == "linear":
        weight *= value
    elif rules.scale == "log":
        weight *= np.log1p(value)
    if rules.event_weights:
        weights = {name.encode(): w for name, w in rules.event_weights.items()}
        weight *= np.fromiter((weights[event] for event in log.event), float, len(log))
    if rules.half_life_days:
        age_days = (newest - log.timestamp) / _DAY_S
        weight *= 0.5 ** (age_days / rules.half_life_days)
    return weight


def by_time(log: Log) -> np.ndarray:
    """Returns rows by query and, within one, by time, as they were read where equal."""
    query = np.unique(log.query, return_inverse=True)[1]
    return np.lexsort((np.arange(len(log)), log.timestamp, query))


def deduplicate(
    log: Log, weight: np.ndarray, how: str
) -> tuple[np.ndarray, np.ndarray]:
    """Keeps one interaction of each query with each candidate.

    Args:
        log: Rows by query and time.
        weight: Of each row.
        how: `first` or `last` by time; `sum` keeps the first with the weights of all
            of the same split added up.

    Returns:
        The rows that stay, in their order, and the weight of each of these.
    """
    if how == "none":
        return np.arange(len(log)), weight
    _, query = np.unique(log.query, return_inverse=True)
    _, candidate = np.unique(log.candidate, return_inverse=True)
    pair = query.astype(np.int64) * (candidate.max(initial=0) + 1) + candidate
    if how == "last":
        rows = len(pair) - 1 - np.unique(pair[::-1], return_index=True)[1]
    else:
        rows = np.unique(pair, return_index=True)[1]
    rows = np.sort(rows)
    if how != "sum":
        return rows, weight[rows]
    # The weight of a held-out interaction must not reach training.
    in_split = 2 * pair + log.is_train
    _, group = np.unique(in_split, return_inverse=True)
    return rows, np.bincount(group, weights=weight)[group[rows]]


def counts(ids: np.ndarray) -> dict[bytes, int]:
    """Counts ids."""
    values, numbers = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def frequent(ids: np.ndarray, known: Mapping[bytes, int], least: int) -> np.ndarray:
    """Tells which ids are counted at least so often, bool [rows]."""
    if least <= 1:
        return np.ones(len(ids), bool)
    return np.fromiter((known.get(i, 0) >= least for i in ids), bool, len(ids))


def histories(
    log: Log, length: int, of_all_splits: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each row's history, the oldest candidate first.

    Args:
        log: Rows by query and time.
        length: Most candidates in a history, the latest ones.
        of_all_splits: For splits that hold out later rows, those of one time in the
            order of the splits, or whole queries: a history is what came before, of
            whatever split; where no row has a time, all other rows of the query. Else,
            where rows are held out at random, it is all other training rows of the
            query, before or after: what baselines know of it too.

    Returns:
        The rows whose candidates are in the histories, one history after the other,
        int64 [total], and the length of each, int64 [rows].
    """
    row = np.arange(len(log))
    usable = row if of_all_splits else np.flatnonzero(log.is_train)
    new = np.r_[True, log.query[1:] != log.query[:-1]] if len(log) else row > 0
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    # Where the usable rows of a row's query begin and end among all usable ones.
    begin = np.searchsorted(usable, starts)[group]
    end = np.searchsorted(usable, np.r_[starts[1:], len(log)][: len(starts)])[group]
    if of_all_splits and log.timestamp.any():
        begin = np.maximum(begin, row - length)
        return _ranges(begin, row - begin)
    own = np.searchsorted(usable, row)
    longer = np.maximum(begin, end - length - 1)
    # A row is no part of its own history: one more is looked at where it would be.
    has_itself = (own >= longer) & (own < end) & np.isin(row, usable)
    begin = np.where(has_itself, longer, np.maximum(begin, end - length))
    at, lengths = _ranges(begin, end - begin)
    keep = usable[at] != np.repeat(row, lengths)
    return usable[at[keep]], lengths - has_itself


def _ranges(begin: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns begin, begin + 1, ... of each range, one after the other; and lengths."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(begin - before, lengths) + np.arange(lengths.sum()), lengths
