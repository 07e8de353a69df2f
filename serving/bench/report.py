# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark's results as a table and as a plot."""

from typing import Any

from serving.bench.accuracy import KS
from serving.bench.systems import BASE, STREAMING

_COLUMNS = (
    "recall@10", "recall@100", "p50 ms", "p99 ms", "speed-up", "queries/s by 1",
    "by 32", "by 1000", "load s", "memory MB",
)  # fmt: skip


def as_table(results: dict[str, Any]) -> str:
    """Returns the results as text, a line a system."""
    systems = results["systems"]
    base = systems.get(BASE)
    width = max(map(len, systems))
    built = results["build"]
    shape = f"{results['candidates']:,} x {results['dimensions']}"
    lines = [
        f"{shape} ({_origin(results['vectors'])}), "
        f"{results['queries']} queries, {results['threads']} "
        f"thread{'s' * (results['threads'] > 1)}",
        f"servable: built in {built['build_seconds']:.1f} s with "
        f"{_mb(built['memory_bytes'])} MB at most, {_mb(built['disk_bytes'])} MB on "
        "disk",
        "",
        f"{'':<{width}}" + "".join(f"{name:>15}" for name in _COLUMNS),
        *(f"{name:<{width}}{_cells(one, base)}" for name, one in systems.items()),
    ]
    for name, one in systems.items():
        if "effort" in one:
            effort = one["effort"]
            reached = "reaches" if one["reaches_target"] else "DOES NOT REACH"
            lines.append(
                f"{name}: {effort['leaves_to_search']} leaves, {effort['reorder']} "
                f"rescored, the cheapest found; {reached} recall@10 of "
                f"{results['target_recall']} on the queries it was chosen on"
            )
    return "\n".join([*lines, *_accuracy(results["accuracy"])])


BY_SCORE = (
    "by id: the true candidate is among the k retrieved; by score: fewer than k of "
    "what was retrieved score above it, so an approximate index looks better than "
    "exact search, for the candidates it misses are in nobody's way and the true one "
    "seems to rank higher than it does"
)
"""Why the two accuracies of an index differ."""
_ACCURACY_COLUMNS = (
    *(f"@{k}" for k in (*KS, *KS)),
    "pairs", "s", "ms a pair", "speed-up", "s by query", "speed-up",
)  # fmt: skip


def _accuracy(accuracy: dict[str, Any] | None) -> list[str]:
    """Returns the lines of the second table."""
    if not accuracy or not accuracy["systems"]:
        return []
    systems, pairs = accuracy["systems"], accuracy["pairs"]
    width = max(map(len, systems))
    cells = 8 * len(KS)
    lines = [
        "",
        f"{pairs:,} pairs of a query and its true candidate, {accuracy['queries']:,} "
        f"distinct queries; {accuracy['origin']}: {accuracy['how']}",
    ]
    if accuracy["left_out"]:
        lines.append(
            f"{accuracy['left_out']:,} pairs left out, their candidates are not in the "
            "model's catalogue"
        )
    lines += [
        "",
        f"{'':<{width}}{'top-k accuracy, by id':>{cells}}{'by score':>{cells}}"
        f"{'each pair asked':>48}{'each query once':>24}",
        " " * width
        + "".join(f"{one:>8}" for one in _ACCURACY_COLUMNS[: 2 * len(KS)])
        + "".join(f"{one:>12}" for one in _ACCURACY_COLUMNS[2 * len(KS) :]),
    ]
    base = ms_a_pair(systems[STREAMING]) if STREAMING in systems else None
    for name, one in systems.items():
        figures = [one[how][str(k)] for how in ("by_id", "by_score") for k in KS]
        lines.append(
            f"{name:<{width}}"
            + "".join(f"{figure:8.4f}" for figure in figures)
            + "".join(f"{cell:>12}" for cell in _times(one, pairs, base))
        )
    return [*lines, *notes(accuracy)]


def ms_a_pair(one: dict[str, Any]) -> float:
    """Returns the milliseconds that a system takes for a pair, each asked."""
    return one["seconds"] / one["pairs"] * 1e3


def _times(one: dict[str, Any], pairs: int, base: float | None) -> list[str]:
    """Returns the cells of wall times."""

    def faster(ms: float) -> str:
        return f"{base / ms:,.1f}" if base else "-"

    ms, by_query = ms_a_pair(one), one.get("seconds_by_query")
    return [
        f"{one['pairs']:,}",
        f"{one['seconds']:.2f}",
        f"{ms:.3f}",
        faster(ms),
        _number(by_query, "{:.2f}"),
        faster(by_query / pairs * 1e3) if by_query else "-",
    ]


def notes(accuracy: dict[str, Any]) -> list[str]:
    """Returns the sentences below the table of accuracy."""
    lines = [
        f"{BY_SCORE}.",
        "SavedModel and native search as hard as they were built to.",
    ]
    one, pairs = accuracy["systems"].get(STREAMING), accuracy["pairs"]
    if not one:
        return lines
    lines.append(f"speed-up: over {STREAMING}, in time for a pair.")
    if one["pairs"] < pairs:
        lines.append(
            f"{STREAMING} was asked a sample of {one['pairs']:,} pairs; if its time "
            f"grows as their number, all {pairs:,} take about "
            f"{one['seconds'] / one['pairs'] * pairs:,.0f} s: extrapolated, not "
            "measured."
        )
    return lines


def _origin(vectors: dict[str, Any]) -> str:
    """Says where vectors come from."""
    if "count" in vectors:
        return "synthetic clusters"
    return f"a model's, and {vectors['copies']:,} perturbed copies"


def _cells(one: dict[str, Any], base: dict[str, Any] | None) -> str:
    p50 = one["ms"]["p50"]
    cells = [
        *(_number(one["recall"].get(k), "{:.4f}") for k in ("10", "100")),
        f"{p50:.3f}",
        f"{one['ms']['p99']:.3f}",
        f"{base['ms']['p50'] / p50:.1f}" if base else "-",
        *(_number(one["qps"][size], "{:,.0f}") for size in ("1", "32", "1000")),
        f"{one['load_seconds']:.1f}",
        _mb(one["memory_bytes"]),
    ]
    return "".join(f"{cell:>15}" for cell in cells)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f}"


def plot(results: dict[str, Any], path: str) -> None:
    """Writes recall against latency as an SVG.

    Args:
      results: Of `serving.bench.run`.
      path: Of the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, one in results["systems"].items():
        (point,) = axes.plot(one["ms"]["p50"], one["recall"]["10"], "o", label=name)
        if "frontier" in one:
            line = sorted((at["ms"], at["recall"]) for at in one["frontier"])
            axes.plot(*zip(*line, strict=True), "-", color=point.get_color(), lw=1)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds of a single query, median")
    axes.set_ylabel("recall@10 by id")
    axes.set_title(f"{results['candidates']:,} x {results['dimensions']}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, format="svg")
