# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds instants that lie after the interaction, which no request can know."""

import dataclasses

import numpy as np

from pipeline.init import times
from pipeline.init.features import Feature
from pipeline.init.roles import Id
from pipeline.init.tables import SHAPE_ROWS, Table

_SHARE = 0.01
"""What validation lets pass, as slips of a clock."""


def checked(log: Table, query: Id, feature: Feature) -> Feature:
    """Returns a feature of the query, left out if it is told only later.

    Args:
      log: With the times of the interactions.
      query: The query's column of the log and its table; the log itself where the
        feature is a column of it.
      feature: Of that table.
    """
    table = query.table
    if feature.type != "timestamp" or table is None or log.times is None:
        return feature
    column = table.columns[feature.name]
    moments = times.seconds(column, table.instants[feature.name], table.rows)
    if table is not log:
        moments = _by_row(log, query, table, moments)
    moments = moments[: len(log.times)]
    after = int((moments > log.times).sum())
    if after <= _SHARE * len(moments):
        return feature
    reason = f"later than the interaction in {after:,} of {len(moments):,} rows"
    return dataclasses.replace(feature, type=None, reason=reason)


def _by_row(log: Table, query: Id, table: Table, moments: np.ndarray) -> np.ndarray:
    """Joins the instants of a table to the first rows of the log; 0 where unknown."""
    key, column = table.columns[query.key], log.columns[query.column]
    known = dict(zip(key.values, _first_rows(key.codes), strict=True))
    places = np.array([known.get(value, -1) for value in column.values])
    codes = column.codes[:SHAPE_ROWS]
    rows = np.where(codes >= 0, places[codes], -1)
    return np.where(rows >= 0, moments[rows], 0)


def _first_rows(codes: np.ndarray) -> list[int]:
    """Returns the first row of each value."""
    return np.unique(codes, return_index=True)[1].tolist()
