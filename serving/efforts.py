# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How hard an index is to search: the leaves and the hits rescored for a recall.

An effort is a pair of both, chosen for each query. More leaves never find less, nor do
more hits rescored, so that bisection finds the least; a hit more or less moves recall
by far less than a leaf does.
"""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

_SATURATED = 0.0005
"""Recall that twice the leaves must bring, lest more are tried."""
_REORDER_FACTORS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Hits rescored, in multiples of k."""
_NEAR = (0.75, 0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2)
"""Leaves to try near some that are about right, in multiples of these."""
_MOST_NEAR = 4
"""Hits to try near some that are about right, at most, in multiples of these."""
_PARTS = 10
"""Of the queries, in cross-validation."""


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean of values, [n], and its standard error."""
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def mean_of(
    recalls: Callable[[int, int], np.ndarray],
) -> Callable[[int, int], float]:
    """Returns the mean over queries of what tells each one's recall by effort."""
    return lambda leaves, reorder: float(recalls(leaves, reorder).mean())


def efforts(
    recall: Callable[[int, int], float], leaves: int, k: int, most: int, target: float
) -> Iterator[tuple[int, int]]:
    """Yields leaves to search and hits to rescore that reach a recall with the least.

    For each number of hits rescored the least leaves, and with these leaves the least
    hits. Where nothing reaches the target, the most that was tried.

    Args:
      recall: Of an effort; neither more leaves nor more hits find less.
      leaves: Partitions of the index; 0: none, which is what is yielded then.
      k: Results of a query.
      most: Hits that may be rescored.
      target: The recall to reach.
    """

    def is_enough(leaves: int, reorder: int) -> bool:
        return recall(leaves, reorder) >= target

    if not leaves:
        yield 0, least(k, most, functools.partial(is_enough, 0))
        return
    enough, before, is_reached = leaves, k, False
    for reorder in sorted({min(factor * k, most) for factor in _REORDER_FACTORS}):
        found = _least_leaves(recall, reorder, enough, target)
        if not is_enough(found, reorder):
            yield found, reorder
        elif is_reached and found == enough:
            return  # to rescore more saves no leaf any longer
        else:
            yield found, least(before, reorder, functools.partial(is_enough, found))
            enough, is_reached = found, True
        before = reorder


def efforts_near(
    recall: Callable[[int, int], float],
    effort: tuple[int, int],
    leaves: int,
    k: int,
    most: int,
    target: float,
) -> Iterator[tuple[int, int]]:
    """Yields efforts near one that reach a recall: for some leaves the least hits.

    All of them have the recall of the target, but for what a single hit brings; which
    is the cheapest is for a clock to tell.

    Args:
      recall: As of `efforts`.
      effort: About what reaches the target.
      leaves: Partitions of the index, 0 for none.
      k: Results of a query.
      most: Hits that may be rescored.
      target: The recall to reach.
    """
    most = min(_MOST_NEAR * effort[1], most)
    few = min(1, leaves)
    for searched in sorted(
        {min(max(round(effort[0] * one), few), leaves) for one in _NEAR}
    ):
        if recall(searched, most) >= target:
            yield searched, _least_hits(recall, searched, k, most, target)


def cross_validated(
    recalls: Callable[[int, int], np.ndarray],
    effort: tuple[int, int],
    k: int,
    most: int,
    target: float,
) -> float:
    """Returns the mean recall of queries at what others choose.

    Each part of the queries is asked with the least hits rescored that the other parts
    need for the target: no query has a say in its own effort.

    Args:
      recalls: Of each query by effort, [queries], at least 2.
      effort: What all of them together choose; its leaves are kept.
      k: Results of a query.
      most: Hits that may be rescored.
      target: The recall to reach.
    """
    leaves, most = effort[0], min(_MOST_NEAR * effort[1], most)
    count = len(recalls(*effort))
    part = np.arange(count) % _PARTS

    def asked(one: int) -> np.ndarray:
        def of_others(leaves: int, reorder: int) -> float:
            return float(recalls(leaves, reorder)[part != one].mean())

        reorder = _least_hits(of_others, leaves, k, most, target)
        return recalls(leaves, reorder)[part == one]

    parts = range(min(_PARTS, count))
    return float(np.concatenate([asked(one) for one in parts]).mean())


def _least_hits(
    recall: Callable[[int, int], float], leaves: int, k: int, most: int, target: float
) -> int:
    """Returns the least hits to rescore for a recall, `most` where less do not do."""
    return least(k, most, lambda reorder: recall(leaves, reorder) >= target)


def _least_leaves(
    recall: Callable[[int, int], float], reorder: int, most: int, target: float
) -> int:
    """Returns the least leaves that reach the target, or where more bring little.

    Args:
      recall: Of an effort.
      reorder: Hits rescored.
      most: Leaves that are known to be enough, or all.
      target: The recall to reach.
    """
    before, leaves = -1.0, 1
    while leaves < most:
        now = recall(leaves, reorder)
        if now >= target:
            break
        if leaves > most // 100 and now - before < _SATURATED:
            return leaves
        before, leaves = now, 2 * leaves
    return least(
        leaves // 2 + 1, min(leaves, most), lambda n: recall(n, reorder) >= target
    )


def least(low: int, high: int, is_enough: Callable[[int], bool]) -> int:
    """Returns the least number that is enough, `high` where none below it is."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return high
