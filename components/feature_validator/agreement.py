# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Does a candidate, or a query, determine the value of a feature?

Rows that share a candidate are taken for raters of one unit who should agree, and
their agreement is Krippendorff's alpha for nominal data (Krippendorff, Computing
Krippendorff's Alpha-Reliability, 2011):

    alpha = 1 - D_o / D_e
    D_o = 1/n * sum_u sum_v n_uv * (n_u - n_uv) / (n_u - 1)
    D_e = 1/(n * (n - 1)) * sum_v n_v * (n - n_v)

with n_uv rows of unit u and value v, over the units with n_u > 1 rows; n_v and n are
sums of these. It is 1 if the unit determines the value and about 0, whatever the
number of values and rows, if it tells nothing about it.

Alpha says little where even chance would let most rows agree. How much there is to
disagree on is the expected number of disagreements, D_e * sum_u (n_u - 1): if the unit
told nothing, about so many rows would differ from another one of their unit.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.feature_validator.columns import MISSING

MAX_ROWS = 1 << 17
"""Rows of a sample."""
MAX_ROWS_PER_UNIT = 50
"""Rows that one unit contributes, so that a few popular ones do not decide."""

_NO_LIMIT = np.uint64(2**64 - 1)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far the rows of a unit have the same value."""

    alpha: float
    expected: float
    """Disagreements if the unit told nothing."""
    rows: int
    """Rows of units with several rows."""
    usual: int
    """Those that have the most frequent value of their unit."""
    chance: float
    """Share of pairs of any rows that have the same value, 1 - D_e."""


def agreement(units: np.ndarray, values: np.ndarray) -> Agreement | None:
    """Measures how far units determine values.

    Args:
        units: uint64 [rows].
        values: uint64 [rows]; rows that are `MISSING` do not count.

    Returns:
        None where there is nothing to disagree on: no unit has several rows, or all
        their values are the same.
    """
    present = values != MISSING
    if not present.any():
        return None
    pairs, n_uv = np.unique(
        np.stack([units[present], values[present]]), axis=1, return_counts=True
    )
    unit = np.unique(pairs[0], return_inverse=True)[1]
    n_u = np.bincount(unit, weights=n_uv)
    several = n_u[unit] > 1
    unit, n_uv, value = unit[several], n_uv[several], pairs[1][several]
    n = n_uv.sum()
    n_v = np.bincount(np.unique(value, return_inverse=True)[1], weights=n_uv)
    if len(n_v) < 2:
        return None
    d_o = (n_uv * (n_u[unit] - n_uv) / (n_u[unit] - 1)).sum() / n
    d_e = (n_v * (n - n_v)).sum() / (n * (n - 1))
    usual = np.zeros(len(n_u), np.int64)
    np.maximum.at(usual, unit, n_uv)
    return Agreement(
        alpha=float(1 - d_o / d_e),
        expected=float(d_e * (n_u[n_u > 1] - 1).sum()),
        rows=int(n),
        usual=int(usual.sum()),
        chance=float(1 - d_e),
    )


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of the units with the smallest hashes: the same however files are cut.

    It holds one row of each unit and other id, at most `MAX_ROWS_PER_UNIT` of a unit,
    and whole units as far as `MAX_ROWS` go.
    """

    rows: np.ndarray
    """uint64 [rows, 2 + features]: unit, other id, hash of each feature; sorted."""
    limit: np.uint64 = _NO_LIMIT
    """Units from this hash on are left out."""

    @classmethod
    def of(cls, parts: Sequence["Sample"]) -> "Sample":
        """Returns the sample of the rows of several, at least one."""
        limit = min(part.limit for part in parts)
        rows = np.concatenate([part.rows for part in parts])
        rows = rows[rows[:, 0] < limit]
        rows = rows[np.lexsort(rows.T[::-1])]
        rows = rows[_is_first(rows[:, :2])]
        starts = np.flatnonzero(_is_first(rows[:, :1]))
        sizes = np.diff(np.append(starts, len(rows)))
        rank = np.arange(len(rows)) - np.repeat(starts, sizes)
        rows = rows[rank < MAX_ROWS_PER_UNIT]
        if len(rows) > MAX_ROWS:
            limit = rows[MAX_ROWS, 0]
            rows = rows[rows[:, 0] < limit]
        return cls(rows, limit)


def _is_first(rows: np.ndarray) -> np.ndarray:
    """Tells which rows differ from the one before, bool [rows]."""
    return np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)][: len(rows)]
