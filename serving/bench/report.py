# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark's results as a table and as a plot."""

from typing import Any

from serving.bench.systems import BASE

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
    return "\n".join(lines)


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
