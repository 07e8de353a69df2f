# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sampled sources with their columns profiled, and how two of them are joined."""

import dataclasses
import functools

import numpy as np
import pyarrow as pa

from pipeline.init import names, times
from pipeline.init.profile import Profile, profile
from pipeline.init.sampling import Sample, read

SHAPE_ROWS = 200_000
"""Rows whose times are read."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A source: what was read of it."""

    sample: Sample
    columns: dict[str, Profile]

    @property
    def path(self) -> str:
        """The path or pattern as it was given."""
        return self.sample.files.pattern

    @property
    def rows(self) -> int:
        """Rows read."""
        return self.sample.rows

    @functools.cached_property
    def instants(self) -> dict[str, times.Times]:
        """The columns that hold instants."""
        found = {
            name: times.recognise(column, names.is_id_name(name))
            for name, column in self.columns.items()
        }
        return {name: form for name, form in found.items() if form}

    @functools.cached_property
    def id_columns(self) -> list[Profile]:
        """The columns that may hold ids: one value in every row, as text."""
        return [
            column
            for name, column in self.columns.items()
            if not column.is_list
            and not column.missing
            and column.distinct > 1
            and name not in self.instants
            and (column.numbers is None or column.is_whole)
        ]

    @functools.cached_property
    def times(self) -> np.ndarray | None:
        """int64, the first rows' seconds since 1970; None without a column of times."""
        for name, form in self.instants.items():
            if not self.columns[name].missing:
                return times.seconds(self.columns[name], form, SHAPE_ROWS)
        return None

    def clustering(self, column: Profile) -> float:
        """Returns how close in time the rows of a value are.

        It is the mean span of the values with several rows over the span of as many
        rows at random: about 1 for items, near 0 for sessions, and 1 without times.
        """
        if self.times is None:
            return 1.0
        codes = column.codes[:SHAPE_ROWS]
        first = np.full(column.distinct, np.iinfo(np.int64).max)
        last = np.full(column.distinct, np.iinfo(np.int64).min)
        np.minimum.at(first, codes, self.times)
        np.maximum.at(last, codes, self.times)
        rows = np.bincount(codes, minlength=column.distinct)
        several = rows > 1
        whole = self.times.max() - self.times.min()
        if not several.any() or not whole:
            return 1.0
        expected = whole * (rows[several] - 1) / (rows[several] + 1)
        return float(np.mean((last - first)[several] / expected))

    def one_row_each(self, key: str) -> "Table":
        """Returns the first row of each value of a column."""
        rows = np.unique(self.columns[key].codes, return_index=True)[1]
        columns = {
            name: array.take(pa.array(rows))
            for name, array in self.sample.columns.items()
        }
        profiles = {name: profile(name, array) for name, array in columns.items()}
        return Table(dataclasses.replace(self.sample, columns=columns), profiles)

    def renamed(self, new: dict[str, str]) -> "Table":
        """Returns a table without a header under other names of columns."""
        columns = {
            new.get(name, name): dataclasses.replace(column, name=new.get(name, name))
            for name, column in self.columns.items()
        }
        return Table(self.sample.renamed(new), columns)


def load(pattern: str) -> Table:
    """Samples and profiles a source.

    Raises:
      UserError: It can't be read.
    """
    sample = read(pattern)
    columns = {name: profile(name, array) for name, array in sample.columns.items()}
    return Table(sample, columns)


@dataclasses.dataclass(frozen=True)
class Join:
    """A column of the log whose values are the ids of a table."""

    column: str
    """Of the log."""
    key: str
    """Of the table."""
    coverage: float
    """Share of the log's distinct values that the table has."""
    used: float
    """Share of the table's ids that the log has."""
    score: float
    """How good it is, up to 1 and some more for names that agree."""


_UNIQUE = 0.9
"""Least share of distinct values in the key of a table; the rest are duplicates."""
_COVERED = 0.5
_REPEATED = 0.95


def find_join(log: Table, table: Table, column: str | None = None) -> Join | None:
    """Returns the best join of a log with a table, if there is any.

    Args:
      log: Its column must repeat values.
      table: Its column must hardly repeat any.
      column: The log's column, where it is known.
    """
    found = []
    for key in table.id_columns:
        if key.uniqueness < _UNIQUE:
            continue
        ids = set(key.values)
        for one in log.id_columns:
            if column is not None and one.name != column:
                continue
            if column is None and one.uniqueness > _REPEATED:
                continue
            if join := _join(one, key, ids, table.sample.share):
                found.append(join)
    return max(found, key=lambda join: join.score, default=None)


def _join(column: Profile, key: Profile, ids: set[str], share: float) -> Join | None:
    common = len(ids.intersection(column.values))
    coverage, used = common / column.distinct, common / len(ids)
    # Of a table read in part only a part can be found.
    covered = min(1.0, coverage / share)
    if covered < _COVERED:
        return None
    score = 2 * covered * used / (covered + used)
    if column.name == key.name:
        score += 0.3
    elif set(names.tokens(column.name)) & set(names.tokens(key.name)) - {"id"}:
        score += 0.15
    return Join(column.name, key.name, coverage, used, score)
