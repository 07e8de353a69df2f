# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How benchmarks/peers chooses what to build, to try and to report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers import frontier, report
from benchmarks.peers.frontier import TARGETS, Point
from benchmarks.peers.systems import OURS, SYSTEMS

POINTS = st.lists(
    st.builds(
        Point,
        st.sampled_from([0.5, 0.9, 0.93, 0.96, 0.992, 0.996, 0.9993, 1.0]),
        st.integers(1, 30).map(float),
        st.integers(0, 4),
        st.integers(1, 9),
    ),
    max_size=25,
)
VALUES = {"leaves": (1, 2, 4, 8), "space": ("ip", "cos", "l2"), "spherical": (0, 1)}
DEFAULT = {"leaves": 2, "space": "ip", "spherical": 0}


def is_beaten(one: Point, points: list[Point]) -> bool:
    return any(
        other.recall >= one.recall
        and other.us <= one.us
        and (other.recall, other.us) != (one.recall, one.us)
        for other in points
    )


@given(POINTS)
def test_the_frontier_is_what_no_other_beats(points):
    found = frontier.frontier(points)
    left = {(one.recall, one.us) for one in points if not is_beaten(one, points)}
    assert [(one.recall, one.us) for one in found] == sorted(left)


@given(POINTS)
def test_what_is_measured_again_is_as_quick_at_every_target(points):
    found = frontier.chosen(points)
    assert set(found) <= set(points)
    assert frontier.best_times(found) == frontier.best_times(points)
    if points:
        assert max(one.recall for one in found) == max(one.recall for one in points)


@given(POINTS)
def test_winners_are_the_builds_of_the_cheapest(points):
    cheap = [frontier.cheapest(points, target) for target in TARGETS]
    wins = [one.build for one in cheap if one]
    found = frontier.winners(points)
    assert len(found) == len(set(found)) and bool(found) == bool(points)
    if wins:
        assert set(found) == set(wins)
        assert wins.count(found[0]) == max(map(wins.count, wins))


def test_what_is_given_is_built_first_and_then_everything_that_wins_leads_to():
    tried: list[frontier.Config] = []
    first = ({"space": "l2"}, {"leaves": 8, "spherical": 1}, {})
    while True:
        config = frontier.next_config(VALUES, DEFAULT, first, tried, range(len(tried)))
        if config is None:
            break
        tried.append(config)
    assert tried[:3] == [DEFAULT, *({**DEFAULT, **one} for one in first[:2])]
    assert len(tried) == len({tuple(one.values()) for one in tried}) == 4 * 3 * 2


def test_a_neighbour_differs_by_a_step_of_one_knob():
    found = frontier.neighbours(VALUES, DEFAULT)
    changes = [set(one.items()) - set(DEFAULT.items()) for one in found]
    assert changes == [
        {("leaves", 1)},
        {("leaves", 4)},
        {("space", "cos")},
        {("space", "l2")},
        {("spherical", 1)},
    ]


@given(
    st.integers(1, 2000),
    st.floats(0.5, 3),
    st.integers(1, 10),
    st.integers(100, 100_000),
)
def test_a_sweep_closes_in_on_every_target(half, steepness, least, most):
    def recall(search: int) -> float:
        return 1 / (1 + (half / search) ** steepness / 10)

    asked = []

    def measure(search: int, rescored: int) -> tuple[float, float]:
        asked.append(search)
        return recall(search), search / 1000

    points = frontier.sweep(measure, (least, most), (0,), {})
    assert len(asked) == len(set(asked)) < 80
    assert all(least <= one <= most for one in asked)
    for target in TARGETS:
        if recall(max(asked)) < target:
            continue
        needed = next(at for at in range(least, most + 1) if recall(at) >= target)
        found = frontier.cheapest(points, target)
        assert found.search <= max(needed + 1, needed * 1.1 + 1)


def test_a_sweep_leaves_out_what_is_beaten():
    def measure(search: int, rescored: int) -> tuple[float, float]:
        return 1 - 1 / (search + 1), float(search)

    known = dict.fromkeys(TARGETS, 10.0)
    points = frontier.sweep(measure, (1, 10_000), (0,), known)
    assert max(one.us for one in points) == 16


def test_a_sweep_goes_on_past_a_doubling_that_gains_nothing():
    def measure(search: int, rescored: int) -> tuple[float, float]:
        return {1: 0.9, 2: 0.95, 4: 0.95, 8: 0.99}.get(search, 0.99), 1.0

    points = frontier.sweep(measure, (1, 1000), (0,), {})
    assert max(one.recall for one in points) == 0.99
    assert max(one.search for one in points) == 32


# The report


def fresh(recall: float, us: float, spread: float = 0) -> report.Fresh:
    span = (us - spread, us + spread)
    return report.Fresh(recall, us, 2 * us, span, 1e6, {}, (1, 0))


@pytest.mark.parametrize(
    ("ours", "peer", "said"),
    [
        (fresh(0.99, 40), fresh(0.99, 80), "ours is on the frontier: 40.0 µs, them 8"),
        (fresh(0.99, 80), fresh(0.99, 40), "ours is NOT on the frontier: 80.0 µs, th"),
        (fresh(0.99, 41, 2), fresh(0.99, 40), "ours is level with the frontier: 41"),
        (fresh(0.99, 80), fresh(0.98, 40), "on the frontier; nobody else reaches it"),
        (fresh(0.98, 80), fresh(0.99, 40), "ours does not reach it"),
        (fresh(0.98, 80), fresh(0.98, 40), "nobody reaches it"),
    ],
)
def test_the_verdict_compares_those_that_reach_the_target(ours, peer, said):
    assert said in report.verdict({OURS: [ours], "them": [peer]}, 0.99)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("candidates", [2000, 1_683_682])
def test_knobs_hold_all_that_is_built_first(name, candidates):
    values, default, first = SYSTEMS[name].knobs(candidates)
    for config in (default, *({**default, **one} for one in first)):
        assert list(config) == list(values)
        assert frontier.neighbours(values, config)
    for of_knob in values.values():
        assert len(set(of_knob)) == len(of_knob)
        if not isinstance(of_knob[0], str):
            assert list(of_knob) == sorted(of_knob)
