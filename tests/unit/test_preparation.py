# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which interactions count, and how much, against loops over plain rows."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.interaction_preparer import preparation
from components.interaction_preparer.preparation import Log, Preparation

DAY_S = 86_400


class Row(NamedTuple):
    """One interaction."""

    query: bytes
    candidate: bytes
    timestamp: int
    value: float
    event: bytes
    is_train: bool


ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from([b"a", b"b", b"\xc3\xa9"]),
        st.sampled_from([b"x", b"y", b"z", b"w"]),
        st.integers(0, 6).map(lambda day: day * DAY_S),
        st.one_of(st.just(math.nan), st.floats(-2, 9)),
        st.sampled_from([b"", b"view", b"buy"]),
        st.booleans(),
    ),
    max_size=25,
)


def log_of(rows: list[Row]) -> Log:
    kinds = (object, object, np.int64, np.float64, object, bool)
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return Log(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True)))


def rules(**changes: Any) -> Preparation:
    return Preparation("user", "item", **changes)


def in_order(rows: list[Row]) -> list[int]:
    """Places of rows by query and time; equal ones stay as they were."""
    return sorted(range(len(rows)), key=lambda i: (rows[i].query, rows[i].timestamp))


def test_by_default_nothing_is_to_be_done():
    assert not rules().is_needed
    assert not rules().has_weight


@pytest.mark.parametrize(
    ("changes", "has_weight"),
    [
        ({"min_value": 1.0, "value": "stars"}, False),
        ({"scale": "log", "value": "stars"}, True),
        ({"event": "kind", "event_weights": {"buy": 1.0}}, True),
        ({"deduplicate": "last"}, False),
        ({"deduplicate": "sum"}, True),
        ({"min_query_interactions": 2}, False),
        ({"min_candidate_interactions": 2}, False),
        ({"half_life_days": 3.0, "timestamp": "time"}, True),
        ({"histories": {"before": 3}}, False),
        ({"table_id": "user", "table_features": ["age"]}, False),
    ],
)
def test_each_rule_is_something_to_do(changes, has_weight):
    assert rules(**changes).is_needed
    assert rules(**changes).has_weight == has_weight


@given(ROWS, st.one_of(st.none(), st.floats(-1, 5)), st.booleans())
def test_wanted_rows(rows, least, by_event):
    chosen = rules(
        value="v", min_value=least, event_weights={"buy": 2.0} if by_event else {}
    )
    expected = [
        (least is None or row.value >= least) and (not by_event or row.event == b"buy")
        for row in rows
    ]
    assert preparation.wanted(log_of(rows), chosen).tolist() == expected


@given(ROWS, st.sampled_from(["none", "linear", "log"]), st.booleans(), st.booleans())
def test_weights(rows, scale, by_event, by_age):
    events = {"": 1.0, "view": 0.5, "buy": 4.0} if by_event else {}
    chosen = rules(
        scale=scale, event_weights=events, half_life_days=2.0 if by_age else None
    )
    expected = []
    for row in rows:
        value = 1.0 if math.isnan(row.value) else max(row.value, 0.0)
        weight = {"none": 1.0, "linear": value, "log": math.log(1 + value)}[scale]
        if by_event:
            weight *= events[row.event.decode()]
        if by_age:
            weight /= 2 ** ((9 * DAY_S - row.timestamp) / DAY_S / 2)
        expected.append(weight)
    found = preparation.weigh(log_of(rows), chosen, newest=9 * DAY_S)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(ROWS)
def test_order_is_by_query_and_time_and_stable(rows):
    assert preparation.by_time(log_of(rows)).tolist() == in_order(rows)


@given(ROWS, st.sampled_from(["none", "first", "last", "sum"]))
def test_one_interaction_of_each_pair_is_kept(rows, how):
    rows = [rows[i] for i in in_order(rows)]
    weight = np.arange(1.0, len(rows) + 1)
    found, kept = preparation.deduplicate(log_of(rows), weight, how)
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault((row.query, row.candidate), []).append(place)
    if how == "none":
        expected = {place: weight[place] for place in range(len(rows))}
    else:
        expected = {}
        for places in groups.values():
            one = places[-1] if how == "last" else places[0]
            same_split = [p for p in places if rows[p].is_train == rows[one].is_train]
            summed = weight[same_split].sum()
            expected[one] = summed if how == "sum" else weight[one]
    assert found.tolist() == sorted(expected)
    np.testing.assert_allclose(kept, [expected[place] for place in sorted(expected)])


@given(ROWS, st.integers(1, 4))
def test_frequent_ids(rows, least):
    ids = log_of(rows).candidate
    known = preparation.counts(ids)
    every = [row.candidate for row in rows]
    assert known == {candidate: every.count(candidate) for candidate in every}
    found = preparation.frequent(ids, known, least)
    assert found.tolist() == [every.count(candidate) >= least for candidate in every]


def naive_history(rows: list[Row], at: int, length: int, of_all: bool) -> list[bytes]:
    """What a row may know of its query, in a loop."""
    timed = of_all and any(row.timestamp for row in rows)
    before = []
    for place, row in enumerate(rows):
        if row.query != rows[at].query or place == at:
            continue
        if (place < at) if timed else (of_all or row.is_train):
            before.append(row.candidate)
    return before[-length:]


@given(ROWS, st.integers(1, 5), st.booleans(), st.booleans())
def test_histories_equal_a_loop(rows, length, of_all_splits, with_time):
    rows = [rows[i] for i in in_order(rows)]
    if not with_time:
        rows = [row._replace(timestamp=0) for row in rows]
    log = log_of(rows)
    at, lengths = preparation.histories(log, length, of_all_splits)
    ends = np.cumsum(lengths)
    found = [
        log.candidate[at[end - size : end]].tolist()
        for end, size in zip(ends, lengths, strict=True)
    ]
    assert found == [
        naive_history(rows, place, length, of_all_splits) for place in range(len(rows))
    ]


@given(ROWS)
def test_a_history_never_tells_of_what_is_held_out(rows):
    """In random splits a training row must not know held-out ones, nor they others."""
    rows = [rows[i] for i in in_order(rows)]
    at, _ = preparation.histories(log_of(rows), 50, of_all_splits=False)
    assert all(rows[place].is_train for place in at)
