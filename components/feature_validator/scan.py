# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of a file of examples for the checks, and how files are added up.

None of it grows with the number of rows: of each column two distinct values, of each
identifier and category its distinct values, of all rows a sample of bounded size.
"""

import collections
import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.feature_validator import agreement, columns
from components.feature_validator.agreement import Sample
from components.findings import MAX_EXAMPLES

INTERACTIONS = "interactions"
CANDIDATES = "candidates"
TRAIN, EVAL = "train", "eval"

PARTS = 16
"""Parts into which distinct values are divided by their hash."""

_MAX_LABELS = 256
_MAX_PENDING = 1 << 20

Arrays = Mapping[str, pa.LargeListArray]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which columns there are, and what is known of them."""

    query_id: str
    candidate_id: str
    """The candidate's id in the interactions."""
    catalogue_id: str
    """The candidate's id in the catalogue."""
    timestamp: str | None
    """When an interaction was, in seconds."""
    query_features: Mapping[str, str]
    """Type of each feature of the query tower, its id among them if it is learned."""
    candidate_features: Mapping[str, str]
    """The same of the candidate tower."""
    max_new_values: float | None = None
    """Largest share of eval's rows with a value that train does not have."""

    @property
    def context(self) -> list[str]:
        """Features of the query that might tell of the interaction's outcome."""
        return [
            name
            for name, kind in self.query_features.items()
            if name != self.query_id and kind != "history"
        ]

    @property
    def looked_up(self) -> list[str]:
        """Columns of the interactions whose values get an embedding each."""
        names = [
            name
            for name, kind in self.query_features.items()
            if kind in ("id", "category", "categories")
        ]
        # An id that is not learned may be new without harm.
        learned = self.catalogue_id in self.candidate_features
        return names + [self.candidate_id] * learned

    @property
    def later(self) -> list[str]:
        """Features that are instants, to be held against the interaction's own."""
        if not self.timestamp:
            return []
        return [
            name
            for name, kind in self.query_features.items()
            if kind == "timestamp" and name != self.timestamp
        ]

    def columns(self, source: str, split: str) -> list[str]:
        """Returns the columns to read."""
        if source == CANDIDATES:
            return list(self.candidate_features)
        if split == EVAL:
            return self.looked_up
        names = [self.query_id, self.candidate_id, *self.query_features]
        return names + [self.timestamp] * bool(self.timestamp)  # type: ignore[list-item]


@dataclasses.dataclass
class Later:
    """Rows in which an instant lies after the interaction."""

    rows: int = 0
    """Rows that have both."""
    later: int = 0
    examples: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    """Instants and the interactions' own, in seconds, the smallest ones."""


@dataclasses.dataclass
class Summary:
    """What is known of some files."""

    rows: "collections.Counter[tuple[str, str]]" = dataclasses.field(
        default_factory=collections.Counter
    )
    """Rows by source and split."""
    distinct: dict[tuple[str, str], dict[int, str]] = dataclasses.field(
        default_factory=dict
    )
    """Up to two distinct values in train by source and feature: hash and text."""
    later: dict[str, Later] = dataclasses.field(default_factory=dict)
    by_candidate: Sample | None = None
    """Candidate, query and context features of rows; None where there are none."""
    by_query: Sample | None = None
    """Query, candidate and context features of rows."""
    labels: dict[int, tuple[tuple[int, ...], list[str]]] = dataclasses.field(
        default_factory=dict
    )
    """Of the candidates with the smallest hashes: their first row of the sample, and
    what it reads, the candidate's id and the context features."""


def merge(summaries: Iterable[Summary]) -> Summary:
    """Adds up what is known of files."""
    total = Summary()
    parts = list(summaries)
    for one in parts:
        total.rows.update(one.rows)
        for key, values in one.distinct.items():
            known = total.distinct.setdefault(key, {})
            total.distinct[key] = _smallest({**known, **values}, 2)
        for name, later in one.later.items():
            sum_ = total.later.setdefault(name, Later())
            sum_.rows += later.rows
            sum_.later += later.later
            both = {*sum_.examples, *later.examples}
            sum_.examples = heapq.nsmallest(MAX_EXAMPLES, both)
        for unit, label in one.labels.items():
            total.labels[unit] = min(label, total.labels.get(unit, label))
    total.labels = _smallest(total.labels, _MAX_LABELS)
    for name in ("by_candidate", "by_query"):
        samples = [s for s in (getattr(one, name) for one in parts) if s is not None]
        if samples:
            setattr(total, name, Sample.of(samples))
    return total


def _smallest(values: dict[int, Any], count: int) -> dict[int, Any]:
    """Returns the entries with the smallest keys."""
    return {key: values[key] for key in heapq.nsmallest(count, values)}


class Scan:
    """Reads one file, batch by batch."""

    def __init__(self, plan: Plan, source: str, split: str):
        """Starts with nothing.

        Args:
            plan: What to look at.
            source: `interactions` or `candidates`.
            split: `train` or `eval`.
        """
        self._plan, self._source, self._split = plan, source, split
        self._summary = Summary()
        self._pending: list[np.ndarray] = []
        self._train: dict[str, list[np.ndarray]] = collections.defaultdict(list)
        self._values: collections.Counter[str] = collections.Counter()
        self._eval: dict[str, collections.Counter[bytes]] = {}

    def add(self, arrays: Arrays, rows: int) -> None:
        """Takes a batch.

        Args:
            arrays: Columns; one that is nowhere is left out.
            rows: Their length.
        """
        self._summary.rows[self._source, self._split] += rows
        if self._split == EVAL:
            self._count_values(arrays)
            return
        names = self._plan.columns(self._source, self._split)
        hashes = {name: columns.hash_rows(arrays.get(name), rows) for name in names}
        self._add_distinct(arrays, hashes)
        if self._source == INTERACTIONS:
            self._collect_values(arrays)
            self._add_later(arrays, rows)
            self._add_sample(arrays, hashes)

    def summary(self) -> Summary:
        """Returns what is known of the file."""
        self._flush()
        return self._summary

    def values(self) -> Iterator[tuple[tuple[str, int], "Values"]]:
        """Yields the distinct values of each looked up column, part by part."""
        for name, found in self._train.items():
            hashes = np.unique(np.concatenate(found))
            for part in range(PARTS):
                mine = hashes[hashes % np.uint64(PARTS) == part]
                yield (name, part), Values(train=mine)
        for name, counts in self._eval.items():
            parts = _hash_texts(list(counts)) % np.uint64(PARTS)
            divided: list[dict[bytes, int]] = [{} for _ in range(PARTS)]
            for part, (value, count) in zip(parts, counts.items(), strict=True):
                divided[part][value] = count
            for part, mine_ in enumerate(divided):
                yield (name, part), Values(evaluated=mine_)
        for name, total in self._values.items():
            yield (name, 0), Values(train_total=total)

    def _add_distinct(self, arrays: Arrays, hashes: Mapping[str, np.ndarray]) -> None:
        """Keeps two distinct values of each feature."""
        features = (
            self._plan.query_features
            if self._source == INTERACTIONS
            else self._plan.candidate_features
        )
        for name in features:
            known = self._summary.distinct.setdefault((self._source, name), {})
            found = hashes[name]
            for row in {0, int(np.argmax(found != found[0]))} if len(found) else ():
                if len(known) < 2 and int(found[row]) not in known:
                    known[int(found[row])] = _text(arrays, name, row)

    def _add_later(self, arrays: Arrays, rows: int) -> None:
        """Counts instants that lie after the interaction."""
        for name in self._plan.later:
            own, has_own = columns.numbers(arrays.get(str(self._plan.timestamp)), rows)
            instant, has_instant = columns.numbers(arrays.get(name), rows)
            both = has_own & has_instant
            later = np.flatnonzero(both & (instant > own))
            found = self._summary.later.setdefault(name, Later())
            found.rows += int(both.sum())
            found.later += len(later)
            pairs = zip(instant[later].tolist(), own[later].tolist(), strict=True)
            found.examples = heapq.nsmallest(MAX_EXAMPLES, {*found.examples, *pairs})

    def _add_sample(self, arrays: Arrays, hashes: Mapping[str, np.ndarray]) -> None:
        """Keeps rows in which a candidate may determine what the query tells."""
        names = self._plan.context
        if not names:
            return
        ids = [hashes[self._plan.candidate_id], hashes[self._plan.query_id]]
        rows = np.stack(ids + [hashes[name] for name in names], axis=1)
        self._pending.append(rows)
        self._add_labels(arrays, rows)
        if sum(map(len, self._pending)) > agreement.MAX_ROWS:
            self._flush()

    def _add_labels(self, arrays: Arrays, rows: np.ndarray) -> None:
        """Keeps what the first rows of the sample read."""
        labels = self._summary.labels
        names = [self._plan.candidate_id, *self._plan.context]
        chosen = np.argsort(rows[:, 0], kind="stable")
        if len(labels) == _MAX_LABELS:
            chosen = chosen[rows[chosen, 0] <= max(labels)]
        units: set[int] = set()
        for row in chosen:
            key = tuple(rows[row].tolist())
            units.add(key[0])
            if len(units) > _MAX_LABELS:
                break
            if key[0] not in labels or key < labels[key[0]][0]:
                texts = [_text(arrays, name, int(row)) for name in names]
                labels[key[0]] = key, texts
        self._summary.labels = _smallest(labels, _MAX_LABELS)

    def _flush(self) -> None:
        """Cuts the pending rows down to the sample."""
        if not self._pending:
            return
        rows = np.concatenate(self._pending)
        self._pending = []
        for name, order in (("by_candidate", [0, 1]), ("by_query", [1, 0])):
            known = getattr(self._summary, name)
            new = Sample(rows[:, [*order, *range(2, rows.shape[1])]])
            sample = Sample.of([known, new] if known else [new])
            setattr(self._summary, name, sample)

    def _collect_values(self, arrays: Arrays) -> None:
        """Keeps the distinct values of train."""
        for name in self._plan.looked_up:
            if name not in arrays:
                continue
            hashes = columns.hash_values(columns.texts(arrays[name]))
            self._values[name] += len(hashes)
            found = self._train[name]
            found.append(np.unique(hashes))
            # The first array holds what earlier batches came to.
            if sum(map(len, found[1:])) > max(_MAX_PENDING, len(found[0])):
                self._train[name] = [np.unique(np.concatenate(found))]

    def _count_values(self, arrays: Arrays) -> None:
        """Counts the values of eval."""
        for name in self._plan.looked_up:
            if name not in arrays:
                continue
            counted = pc.value_counts(columns.texts(arrays[name]))
            counts = self._eval.setdefault(name, collections.Counter())
            for one in counted.to_pylist():
                counts[one["values"]] += one["counts"]


def _hash_texts(values: list[bytes]) -> np.ndarray:
    return columns.hash_values(pa.array(values, pa.large_binary()))


def _text(arrays: Arrays, name: str, row: int) -> str:
    return columns.to_text(arrays[name][row].as_py()) if name in arrays else ""


@dataclasses.dataclass(frozen=True)
class Values:
    """Distinct values of one column of one file, or one part of them."""

    train: np.ndarray | None = None
    """Hashes, uint64 [values]."""
    train_total: int = 0
    """How many there are, repeated ones and all."""
    evaluated: Mapping[bytes, int] = dataclasses.field(default_factory=dict)
    """How often each value is there in eval."""


@dataclasses.dataclass(frozen=True)
class NewValues:
    """Values of a column that train does not have."""

    train_distinct: int = 0
    train_total: int = 0
    eval_total: int = 0
    new_total: int = 0
    """Those of eval that train does not have, repeated ones and all."""
    examples: Mapping[bytes, int] = dataclasses.field(default_factory=dict)
    """The smallest of them, and how often each is there."""


def compare(parts: Iterable[Values]) -> NewValues:
    """Compares all files' values of one part of a column."""
    train = [np.zeros(0, np.uint64)]
    train_total = 0
    evaluated: collections.Counter[bytes] = collections.Counter()
    for one in parts:
        train_total += one.train_total
        evaluated.update(one.evaluated)
        if one.train is not None:
            train.append(one.train)
    known = np.unique(np.concatenate(train))
    values = list(evaluated)
    is_new = ~np.isin(_hash_texts(values), known)
    new = {values[at]: evaluated[values[at]] for at in np.flatnonzero(is_new)}
    return NewValues(
        train_distinct=len(known),
        train_total=train_total,
        eval_total=sum(evaluated.values()),
        new_total=sum(new.values()),
        examples={value: new[value] for value in heapq.nsmallest(MAX_EXAMPLES, new)},
    )


def add_up(parts: Sequence[NewValues]) -> NewValues:
    """Adds up the parts of a column, which share no values."""
    examples = {value: n for part in parts for value, n in part.examples.items()}
    return NewValues(
        train_distinct=sum(part.train_distinct for part in parts),
        train_total=sum(part.train_total for part in parts),
        eval_total=sum(part.eval_total for part in parts),
        new_total=sum(part.new_total for part in parts),
        examples={v: examples[v] for v in heapq.nsmallest(MAX_EXAMPLES, examples)},
    )
