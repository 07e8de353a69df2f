# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What was measured as Markdown, one line a target, and as a plot."""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import record
from benchmarks.peers.frontier import TARGETS, Config, cheapest, frontier
from benchmarks.peers.systems import OURS

_LEAST_MISS = 0.0005
"""Of recall, below which a plot tells no difference."""


class Fresh(NamedTuple):
    """A point as it was measured on the second half of the queries."""

    recall: float
    us: float
    """Median of the rounds' medians."""
    p99_us: float
    """Median of the rounds' percentiles."""
    span: tuple[float, float]
    """The lowest and the highest median of a round."""
    memory: float
    """Bytes."""
    build: dict[str, Any]
    effort: tuple[int, int]
    """To search, and hits to rescore."""


Points = dict[str, list[Fresh]]
"""By system."""


def fresh_points(found: dict[str, Any]) -> Points:
    """Returns the points of each system of a workload that were measured afresh."""
    return {
        name: [
            Fresh(
                statistics.median(one["recall"]),
                statistics.median(one["us"]),
                statistics.median(one["p99_us"]),
                (min(one["us"]), max(one["us"])),
                statistics.median(one["memory"]),
                system["builds"][one["build"]],
                (one["search"], one["rescored"]),
            )
            for one in system.get("fresh", [])
            if one["us"]
        ]
        for name, system in found["systems"].items()
    }


def as_text(found: dict[str, Any], name: str) -> str:
    """Returns all tables of a workload and what they say of ours, as Markdown."""
    points = fresh_points(found)
    shape = f"{found['candidates']:,} x {found['dimensions']}"
    header = ["recall@10 of at least", *(f"{target:g}" for target in TARGETS)]
    ours = {target: cheapest(points.get(OURS, []), target) for target in TARGETS}

    def rows(cell: Any) -> list[list[str]]:
        return [
            [name, *(_cell(cheapest(of_system, t), ours[t], cell) for t in TARGETS)]
            for name, of_system in points.items()
        ]

    return "\n\n".join(
        [
            f"**{name}**: {shape}, {found['queries']} queries; microseconds of a "
            "query, median, and how many times ours that is",
            record.table(header, rows(_time)),
            "Microseconds of a query, 99th percentile",
            record.table(header, rows(lambda one, ours: f"{one.p99_us:.0f}")),
            "Memory of that index in MB, and seconds to build it",
            record.table(header, rows(_cost)),
            "Tuning",
            _tuning(found, points),
            "\n".join(["Cheapest for .99:", "", *_choices(points)]),
            "\n".join(f"- {verdict(points, target)}" for target in TARGETS),
        ]
    )


def _cell(one: Fresh | None, ours: Fresh | None, text: Any) -> str:
    return "-" if one is None else text(one, ours)


def _time(one: Fresh, ours: Fresh | None) -> str:
    return f"{one.us:.0f}" + (f" ({one.us / ours.us:.2f})" if ours else "")


def _cost(one: Fresh, ours: Fresh | None) -> str:
    return f"{one.memory / 1e6:,.0f}, {one.build['build_seconds']:.0f} s"


def _tuning(found: dict[str, Any], points: Points) -> str:
    """Returns how far the tuning of each system got."""
    rows = []
    for name, system in found["systems"].items():
        builds = system["builds"]
        version = " ".join(filter(None, [system.get("version"), system.get("detail")]))
        rows.append(
            [
                f"{name} ({version})",
                str(len(builds)),
                f"{sum(one['build_seconds'] for one in builds):.0f}",
                f"{seconds(builds):.0f}",
                system["ended"] or "not yet ended",
                f"{max((one.recall for one in points[name]), default=0):.4f}",
            ]
        )
    header = ["", "builds", "building, s", "in all, s", "ended as", "best recall"]
    return record.table(header, rows)


def _choices(points: Points) -> list[str]:
    """Returns how each system was built and searched where it is cheapest for .99."""
    found = {name: cheapest(of_one, 0.99) for name, of_one in points.items()}
    return [
        f"- {name}: {config_text(one.build['config'])}; {_effort(one)}"
        for name, one in found.items()
        if one
    ]


def seconds(builds: list[dict[str, Any]]) -> float:
    """Returns how long builds and the search for their efforts took."""
    return sum(one["build_seconds"] + one["sweep_seconds"] for one in builds)


def config_text(config: Config) -> str:
    """Returns a configuration as one line."""
    return " ".join(f"{knob}={value}" for knob, value in config.items())


def _effort(one: Fresh) -> str:
    search, rescored = one.effort
    return f"effort {search}" + (f", {rescored} rescored" if rescored else "")


def verdict(points: Points, target: float) -> str:
    """Says whether ours is on the frontier of all systems at a recall.

    Two are level if their medians of single rounds overlap.
    """
    best = {name: cheapest(of_one, target) for name, of_one in points.items()}
    peers = {name: one for name, one in best.items() if one and name != OURS}
    ours = best.get(OURS)
    start = f"recall@10 of {target:g}: "
    if ours is None:
        return (
            f"{start}ours does not reach it" if peers else f"{start}nobody reaches it"
        )
    if not peers:
        return f"{start}ours is on the frontier; nobody else reaches it"
    name, peer = min(peers.items(), key=lambda pair: pair[1].us)
    times = f"{ours.us:.1f} µs, {name} {peer.us:.1f} µs ({peer.us / ours.us:.2f})"
    if ours.span[0] <= peer.span[1] and peer.span[0] <= ours.span[1]:
        return f"{start}ours is level with the frontier: {times}"
    if ours.us < peer.us:
        return f"{start}ours is on the frontier: {times}"
    return f"{start}ours is NOT on the frontier: {times}"


def plot(found: dict[str, Any], name: str, path: Path) -> None:
    """Writes time against recall as an SVG, a line a system, ours bold.

    Args:
      found: The results of a workload.
      name: Of the workload.
      path: Of the file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullLocator

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for system, points in fresh_points(found).items():
        line = [one for one in frontier(points) if one.recall >= TARGETS[0]]
        style = {"lw": 3, "zorder": 3} if system == OURS else {"lw": 1.2}
        misses = [max(1 - one.recall, _LEAST_MISS) for one in line]
        axes.plot(misses, [one.us for one in line], "o-", ms=3, label=system, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1 - TARGETS[0], _LEAST_MISS * 0.9)
    ticks = [*(1 - target for target in TARGETS), _LEAST_MISS]
    labels = [*(f"{target:g}" for target in TARGETS), f"≥ {1 - _LEAST_MISS:g}"]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("recall@10 by id, on fresh queries")
    axes.set_ylabel("microseconds of a single query, median")
    axes.set_title(f"{name}: {found['candidates']:,} x {found['dimensions']}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None})
