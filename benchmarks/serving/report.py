# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of benchmarks.serving."""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import record


def as_text(size: str, found: dict[str, Any]) -> str:
    """Returns what was measured of one model as Markdown."""
    about = found["about"]
    parts = [
        f"**{size}**: {about['candidates']:,} candidates, recall@10 "
        f"{about['recall']:.4f}"
    ]
    writers: dict[str, Callable[[Any], str]] = {
        "load": _load,
        "overhead": _overhead,
        "stores": _stores,
        "swap": _swap,
        "follow": _follow,
        "overload": _overload,
        "soak": _soak,
    }
    parts += [write(found[name]) for name, write in writers.items() if name in found]
    return "\n\n".join(parts)


def _load(found: dict[str, Any]) -> str:
    plain = statistics.median(found["baseline"]["peaks"])
    rows = []
    for name, one in found.items():
        peak = statistics.median(one["peaks"])
        at = sorted(one["open"].values(), key=lambda run: run["rate"])
        rows.append(
            [
                name, f"{peak:,.0f}", f"{peak / plain:.1f}",
                "; ".join(f"{run['rate']:,.0f}" for run in at),
                "; ".join(f"{run['ms']['p50']:.2f}" for run in at),
                "; ".join(f"{run['ms']['p99']:.2f}" for run in at),
                f"{one['memory_mib']:,.0f}", f"{one['start_seconds']:.1f}",
            ]
        )  # fmt: skip
    header = [
        "", "peak/s", "× baseline", "sent/s", "p50 ms", "p99 ms", "MiB", "start s",
    ]  # fmt: skip
    return record.table(header, rows)


def _overhead(found: dict[str, Any]) -> str:
    rows = [
        [name, f"{one['p50']:.3f}", f"{one['p99']:.3f}",
         f"{one['p50'] - found['engine']['p50']:.3f}"]
        for name, one in found.items()
    ]  # fmt: skip
    return record.table(["one at a time", "p50 ms", "p99 ms", "over engine ms"], rows)


def _stores(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{name} {one['version']}, {one['index']}", f"{one['recall']:.4f}",
            f"{one['ms']['p50']:.2f}", f"{one['ms']['p99']:.2f}",
            *(f"{rate:,.0f}" for rate in one["per_second"].values()),
            f"{one['build_seconds']:.0f}",
        ]
        for name, one in found.items()
    ]  # fmt: skip
    threads = next(iter(found.values()))["per_second"]
    header = [
        "embedding to ids and titles", "recall@10", "p50 ms", "p99 ms",
        *(f"{count} threads/s" for count in threads), "build s",
    ]  # fmt: skip
    return record.table(header, rows)


def _swap(found: dict[str, Any]) -> str:
    seconds = [one["seconds"] for one in found["swaps"]]
    memory = found["memory_mib"]
    return (
        f"Swaps: {len(seconds)} under {found['rate']:,.0f} requests/s, "
        f"{statistics.median(seconds):.1f} s each (median); answers: "
        f"{_counts(found['statuses'])}; p99 {found['ms']['p99']:.1f} ms, longest "
        f"{found['ms']['max']:.0f} ms; memory {memory['before']:,.0f} → "
        f"{memory['after']:,.0f} MiB"
    )


def _follow(found: dict[str, Any]) -> str:
    seconds = found["seconds"]
    return (
        f"A registry's champion: {len(seconds)} promotions and ways back under "
        f"{found['rate']:,.0f} requests/s, the new one answers after "
        f"{statistics.median(seconds):.1f} s (median, longest {max(seconds):.1f}); "
        f"answers: {_counts(found['statuses'])}; p99 {found['ms']['p99']:.1f} ms, "
        f"longest {found['ms']['max']:.0f} ms"
    )


def _overload(found: dict[str, Any]) -> str:
    over, after = found["over"], found["after"]
    return (
        f"Three times the peak of {found['peak']:,.0f}/s: accepted "
        f"{over['per_second']:,.0f}/s, p99 {over['ms']['p99']:.0f} ms, longest "
        f"{over['ms']['max']:.0f} ms; answers: {_counts(over['statuses'])}; then half "
        "of the peak, p99 by second: "
        + ", ".join(f"{p99:.1f}" for *_, p99 in after["by_second"])
        + f" ms, {_counts(after['statuses'])}"
    )


def _soak(found: dict[str, Any]) -> str:
    memory = [mib for _, mib in found["memory_mib"]]
    tenth = max(1, len(memory) // 10)
    return (
        f"{found['memory_mib'][-1][0] / 60:.0f} minutes at {found['rate']:,.0f}/s: "
        f"{_counts(found['statuses'])}; p50 {found['ms']['p50']:.2f}, p99 "
        f"{found['ms']['p99']:.2f} ms, worst second's p99 "
        f"{found['worst_second_p99_ms']:.1f} ms; memory {memory[tenth]:,.0f} MiB after "
        f"a tenth of the time, {memory[-1]:,.0f} at the end"
    )


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in statuses.items())
