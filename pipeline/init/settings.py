# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that follow from the size and shape of the log, each with its reason."""

import dataclasses

import numpy as np

from pipeline.init import names, times
from pipeline.init.roles import Roles
from pipeline.init.signals import Signals

_SESSION_ROWS = 10
_SESSION_S = 86_400
_SHAPE_ROWS = 200_000
_REPEATED = 0.05
"""Share of rows that repeat a pair from which that is more than a mishap."""
_WIDTHS = ((200_000, 256), (2_000_000, 128))
_NARROW = 64
"""Width of embeddings by the most ids that have one, and of more than these."""
_GATE_KS = (100, 50, 10, 5, 1)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A value and why."""

    value: str | int | float | bool
    reason: str


def is_session(roles: Roles, signals: Signals) -> Setting:
    """Tells whether the query is a session: a few rows close in time, then no more."""
    column = roles.log.columns[roles.query.column]
    rows = np.bincount(column.codes[column.codes >= 0], minlength=column.distinct)
    middle = float(np.median(rows))
    few = f"half of them have at most {int(middle)} row{'' if middle < 2 else 's'}"
    if names.hints(column.name, names.USER):
        return Setting(False, few)
    if names.hints(column.name, names.SESSION):
        return Setting(True, f"sessions by the name, {few}")
    if middle <= _SESSION_ROWS and _is_short(roles, signals):
        return Setting(True, f"{few}, most within a day")
    return Setting(False, few)


def _is_short(roles: Roles, signals: Signals) -> bool:
    """Tells whether nine in ten queries with several rows last less than a day."""
    if not signals.timestamp or not signals.times:
        return False
    log = roles.log
    moments = times.seconds(log.columns[signals.timestamp], signals.times, _SHAPE_ROWS)
    codes = log.columns[roles.query.column].codes[:_SHAPE_ROWS]
    order = np.lexsort((moments, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-2))
    ends = np.append(starts[1:], len(order)) - 1
    several = ends > starts
    if not several.any():
        return False
    spans = moments[order][ends] - moments[order][starts]
    whole = moments.max() - moments.min()
    short = np.mean(spans[several] <= _SESSION_S)
    return bool(short >= 0.9 and whole > 7 * _SESSION_S)


def deduplicate(roles: Roles, signals: Signals) -> Setting:
    """Decides what to do with pairs that come again."""
    log = roles.log
    query = log.columns[roles.query.column]
    candidate = log.columns[roles.candidate.column]
    pairs = np.unique(query.codes * (candidate.distinct + 1) + candidate.codes)
    again = len(query.codes) - len(pairs)
    if not again:
        return Setting("none", "no pair comes twice; else first, last or sum")
    share = f"{again:,} of {log.rows:,} rows repeat a pair"
    if again < _REPEATED * log.rows:
        return Setting("none", f"{share}; else first, last or sum")
    if signals.event_weights:
        return Setting("sum", f"{share}; their weights are added up")
    kept = "last" if signals.timestamp else "first"
    return Setting(kept, f"{share}; held out, they would be known already")


def orphans(roles: Roles) -> Setting:
    """Decides what to do with interactions whose candidate is in no catalogue."""
    table = roles.candidate.table
    if table is None:
        return Setting("stop", "there are none: the catalogue is made from the log")
    column = roles.log.columns[roles.candidate.column]
    known = set(table.columns[roles.candidate.key].values)
    strange = [at for at, value in enumerate(column.values) if value not in known]
    rows = int(column.counts[strange].sum())
    if table.sample.share < 1:
        return Setting("drop", f"not all of {_base(table.path)} was read here")
    if rows:
        return Setting(
            "drop",
            f"{rows:,} of {column.rows:,} rows have a candidate that is not in "
            f"{_base(table.path)}, such as {column.values[strange[0]]}",
        )
    if roles.log.sample.share < 1:
        return Setting("drop", f"not all of {_base(roles.log.path)} was read here")
    return Setting("stop", "there are none; else drop, with a warning")


def duplicates(roles: Roles, side: str) -> Setting:
    """Decides what to do with several rows of one id of a table."""
    one = roles.candidate if side == "candidate" else roles.query
    assert one.table is not None
    key = one.table.columns[one.key]
    again = key.present - key.distinct
    if again:
        return Setting("keep_one", f"{again:,} of {key.rows:,} rows repeat an id")
    if one.table.sample.share < 1:
        return Setting("keep_one", f"not all of {_base(one.table.path)} was read here")
    return Setting("stop", "there are none; else keep_one")


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def candidates(roles: Roles) -> int:
    """Returns the size of the catalogue, estimated if it was not read whole."""
    table = roles.candidate.table
    if table is None:
        return roles.log.columns[roles.candidate.column].distinct
    return table.sample.total_rows


def embedding_dim(roles: Roles) -> Setting:
    """Chooses the width of embeddings by the number of ids that have one."""
    ids = roles.log.columns[roles.query.column].distinct + candidates(roles)
    width = next((width for most, width in _WIDTHS if ids <= most), _NARROW)
    reason = f"width of both towers' embeddings, for about {ids:,} ids"
    return Setting(width, reason)


def gate_k(roles: Roles) -> Setting:
    """Chooses how many results a model is judged by: a part of the catalogue only."""
    count = candidates(roles)
    k = next((k for k in _GATE_KS if 10 * k <= count), 1)
    return Setting(k, f"of {count:,} candidates")
