# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Efforts: the least that reaches a recall, and what that is worth to other queries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.efforts import cross_validated, efforts, efforts_near, least, mean_of

K, MOST, LEAVES = 10, 5000, 400


def recall(leaves: int, reorder: int) -> float:
    """A recall that grows with both, as that of an index does."""
    return (1 - np.exp(-leaves / 12)) * (1 - np.exp(-reorder / 30))


@given(st.integers(1, 200), st.integers(0, 200), st.integers(1, 250))
def test_bisection_finds_the_least_that_is_enough(low, more, enough):
    high = low + more
    found = least(low, high, lambda number: number >= enough)
    assert found == min(max(enough, low), high)


@pytest.mark.parametrize("target", [0.5, 0.95, 0.99, 0.999])
def test_no_effort_nearby_has_a_leaf_or_a_hit_too_many(target):
    tried = efforts(recall, LEAVES, K, MOST, target)
    enough = [one for one in tried if recall(*one) >= target]
    assert enough
    for effort in enough:
        near = list(efforts_near(recall, effort, LEAVES, K, MOST, target))
        assert len({leaves for leaves, _ in near}) == len(near) >= 1
        for leaves, reorder in near:
            assert recall(leaves, reorder) >= target
            assert reorder == K or recall(leaves, reorder - 1) < target


@pytest.mark.parametrize("target", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_whoever_rescores_more_searches_fewer_leaves(target):
    tried = efforts(recall, LEAVES, K, MOST, target)
    leaves, hits = zip(*(one for one in tried if recall(*one) >= target), strict=True)
    assert list(leaves) == sorted(set(leaves), reverse=True)
    assert list(hits) == sorted(hits)


def test_nearby_is_what_the_index_has():
    for leaves in (0, 1, 3):
        near = list(efforts_near(lambda *_: 1.0, (leaves, 40), leaves, K, MOST, 0.9))
        assert {one for one, _ in near} <= {min(1, leaves), *range(1, leaves + 1)}
        assert {reorder for _, reorder in near} == {K}
    assert not list(efforts_near(lambda *_: 0.5, (3, 40), 9, K, MOST, 0.9))


def test_cross_validation_tells_of_what_one_query_alone_asks_for():
    needs = np.full(20, 15)
    needs[7] = 35

    def recalls(leaves: int, reorder: int) -> np.ndarray:
        return np.where(reorder >= needs, 1.0, 0.0)

    effort = (4, 35)
    assert mean_of(recalls)(*effort) == 1
    # The part with that query is asked as the others want, and misses it.
    assert cross_validated(recalls, effort, K, MOST, 1.0) == 0.95


@given(st.integers(2, 40))
def test_few_queries_can_be_cross_validated(count):
    def recalls(leaves: int, reorder: int) -> np.ndarray:
        return np.full(count, recall(leaves, reorder))

    (effort,) = list(efforts_near(recall, (0, 9), 0, K, MOST, 0.0))
    found = cross_validated(recalls, effort, K, MOST, 0.0)
    assert found == pytest.approx(recall(*effort))
