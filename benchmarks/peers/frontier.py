# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What to build and to try next, and what of it is best: the same for each system."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

TARGETS = (0.90, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Of recall."""

Config = dict[str, Any]
"""A value for each knob of a build."""

_MARGINS = (0, 0.25, 0.5)
"""Of what a target leaves to 1: fresh queries may be answered a little worse."""
_ENOUGH = 0.9995
_LEAST_GAIN = 0.0005
"""Of recall by four times the effort."""
_CLOSE = 1.1
"""Ratio of two efforts between which none is tried."""
_NOISE = 1.2
"""Ratio by which a time of one pass over the queries may be off."""
_MOST_US = 20_000.0
"""Of a median: exhaustive search takes no longer."""


class Point(NamedTuple):
    """What a build does at one effort."""

    recall: float
    us: float
    """Median time of a query, microseconds."""
    build: int = 0
    """Number of the build."""
    search: int = 0
    rescored: int = 0


_Found = TypeVar("_Found", bound=Any)


def cheapest(points: Iterable[_Found], target: float) -> _Found | None:
    """Returns the quickest of the points with at least a recall, None if none has it.

    Args:
      points: With `recall` and `us`.
      target: Of recall.
    """
    enough = [one for one in points if one.recall >= target]
    return min(enough, key=lambda one: one.us, default=None)


def frontier(points: Iterable[_Found]) -> list[_Found]:
    """Returns the points than which no other is both as good and as quick.

    Args:
      points: With `recall` and `us`.

    Returns:
      By rising recall and time; of equal points one.
    """
    found: list[_Found] = []
    for one in sorted(points, key=lambda one: (one.us, -one.recall)):
        if not found or one.recall > found[-1].recall:
            found.append(one)
    return found


def chosen(points: Sequence[Point]) -> list[Point]:
    """Returns the points worth measuring again on fresh queries.

    For each target the cheapest that reaches it, and those that do so with a margin.
    """
    levels = [
        target + margin * (1 - target) for target in TARGETS for margin in _MARGINS
    ]
    found = {cheapest(points, level) for level in levels}
    found.add(max(points, key=lambda one: (one.recall, -one.us), default=None))
    return frontier(one for one in found if one)


def best_times(points: Sequence[Point]) -> dict[float, float]:
    """Returns the shortest time by target, infinity where none reaches it."""
    found = {target: cheapest(points, target) for target in TARGETS}
    return {target: one.us if one else math.inf for target, one in found.items()}


def next_config(
    values: Mapping[str, Sequence[Any]],
    default: Config,
    first: Sequence[Config],
    tried: Sequence[Config],
    winners: Sequence[int],
) -> Config | None:
    """Returns what to build next: given ones first, then neighbours of what wins.

    A neighbour differs in one knob, by one step if that is a number.

    Args:
      values: By knob, what counts most first; numbers ascend.
      default: The first to build.
      first: The next ones, as they differ from the default.
      tried: What was built, in its order.
      winners: Numbers of those builds that are the cheapest at some target, most
        targets first.

    Returns:
      A value for each knob; None if there is nothing left.
    """
    known = [default, *({**default, **one} for one in first)]
    for number in winners:
        known += neighbours(values, tried[number])
    return next((one for one in known if one not in tried), None)


def neighbours(values: Mapping[str, Sequence[Any]], config: Config) -> list[Config]:
    """Returns the configurations one step away, in the order of the knobs."""
    found = []
    for knob, all_values in values.items():
        at = list(all_values).index(config[knob])
        is_number = not isinstance(config[knob], str)
        others = [
            value
            for number, value in enumerate(all_values)
            if number != at and (not is_number or abs(number - at) == 1)
        ]
        found += [{**config, knob: value} for value in others]
    return found


def winners(points: Sequence[Point]) -> list[int]:
    """Returns the builds that are the cheapest at some target, most targets first.

    Where no target is reached, it is the build with the highest recall.
    """
    cheap = [cheapest(points, target) for target in TARGETS]
    builds = [one.build for one in cheap if one]
    if not builds:
        builds = [max(points, key=lambda one: one.recall).build] if points else []
    return sorted(dict.fromkeys(builds), key=lambda one: -builds.count(one))


def sweep(
    measure: Callable[[int, int], tuple[float, float]],
    efforts: tuple[int, int],
    rescored: Sequence[int],
    best: Mapping[float, float],
) -> list[Point]:
    """Tries efforts: doubled until it is enough, then halved in towards each target.

    Args:
      measure: Returns recall and median microseconds at a search effort and a number of
        hits to rescore.
      efforts: The least and the most to search.
      rescored: Numbers of hits to rescore.
      best: Shortest time known by target; what can't be shorter is left out.
    """
    points: list[Point] = []
    for hits in rescored:
        known = {
            target: min(best.get(target, math.inf), time)
            for target, time in best_times(points).items()
        }
        tried: dict[int, Point] = {}

        def try_out(search: int, hits: int = hits, tried: dict = tried) -> Point:
            recall, us = measure(search, hits)
            tried[search] = Point(recall, us, 0, search, hits)
            return tried[search]

        _double(try_out, efforts, known[TARGETS[-1]])
        for target in TARGETS:
            _approach(try_out, tried, target, known[target])
        points += tried.values()
    return points


def _double(
    try_out: Callable[[int], Point], efforts: tuple[int, int], longest: float
) -> None:
    """Tries the least effort and twice the last one, as long as it may pay."""
    search, most = efforts
    recalls: list[float] = []
    while True:
        search = min(search, most)
        point = try_out(search)
        recalls.append(point.recall)
        # Twice in vain: one doubling may just miss.
        gains_nothing = len(recalls) > 2 and recalls[-1] < recalls[-3] + _LEAST_GAIN
        is_slow = point.us > min(_MOST_US, longest * _NOISE)
        if point.recall >= _ENOUGH or gains_nothing or is_slow or search == most:
            return
        search *= 2


def _approach(
    try_out: Callable[[int], Point],
    tried: Mapping[int, Point],
    target: float,
    shortest: float,
) -> None:
    """Tries efforts between those that just miss and just reach a target."""
    while True:
        high = min((s for s, one in tried.items() if one.recall >= target), default=0)
        low = max((s for s in tried if s < high), default=0)
        if not low or high <= max(low + 1, low * _CLOSE):
            return
        if tried[low].us > shortest * _NOISE:
            return
        try_out(round(math.sqrt(low * high)))
