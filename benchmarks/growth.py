# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How build time, memory and latency grow with the catalogue, at recall@10 of .99.

`shortlist bench --synthetic N --dim 64` for each size. Ten million candidates take some
10 GB of memory and 15 GB of disk. Measure on a quiet machine.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.run_times import call

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
QUERIES = "4000"
"""Half choose the effort: one standard error of recall@10 near .99 is .001 then."""
NATIVE = "native, embedding to rows"
SAVED_MODEL = "SavedModel, embedding to ids"
SYSTEMS = (NATIVE, SAVED_MODEL, "exact, NumPy")
PROTOCOL = (
    "synthetic clustered vectors of 64 dimensions, 4,000 queries, half of which choose "
    "the least effort for recall@10 of .99 by id, k = 10, one thread; the index that "
    "index.kind auto builds, about √n leaves from 100,000 candidates on, but ScaNN's "
    "hashes at the smallest size too; each system in a fresh process; build: reading "
    "shards to a whole version with both engines, by all cores; exponent: slope of "
    "the least squares line through logarithms, from 100,000 candidates on"
)
FIGURES = {
    "build s": lambda one: one["build"]["build_seconds"],
    "build MB": lambda one: one["build"]["memory_bytes"] / 1e6,
    "disk MB": lambda one: one["build"]["disk_bytes"] / 1e6,
    "native MB": lambda one: one["systems"][NATIVE]["memory_bytes"] / 1e6,
    "native ms": lambda one: one["systems"][NATIVE]["ms"]["p50"],
    "native p99 ms": lambda one: one["systems"][NATIVE]["ms"]["p99"],
    "SavedModel MB": lambda one: one["systems"][SAVED_MODEL]["memory_bytes"] / 1e6,
    "SavedModel ms": lambda one: one["systems"][SAVED_MODEL]["ms"]["p50"],
    "exact ms": lambda one: one["systems"]["exact, NumPy"]["ms"]["p50"],
}
_FITTED_FROM = 100_000


def measure(size: int) -> dict[str, Any]:
    """Runs the benchmark at one size."""
    systems = [part for name in SYSTEMS for part in ("--system", name)]
    # Below 20,000 index.kind auto would search exactly.
    small = ["--index", "kind=scann", "--index", "leaves=0"] if size < 20_000 else []
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        call(
            "bench", "--synthetic", str(size), "--dim", "64", "--pairs", "0",
            "--queries", QUERIES, *small, "--index", "k=10", *systems, "-o", folder,
        )  # fmt: skip
        return json.loads(Path(folder, "bench.json").read_text())


def exponents(results: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the fitted exponent of each figure, from 100,000 candidates on."""
    fitted = [one for one in results if one["candidates"] >= _FITTED_FROM]
    if len(fitted) < 2:
        return {}
    sizes = np.log([one["candidates"] for one in fitted])
    return {
        name: float(np.polyfit(sizes, np.log([of(one) for one in fitted]), 1)[0])
        for name, of in FIGURES.items()
    }


def as_table(results: list[dict[str, Any]]) -> str:
    """Returns all sizes as Markdown, the exponents in the last row."""
    rows = [
        [
            f"{one['candidates']:,}",
            f"{one['systems'][NATIVE]['recall']['10']:.4f}",
            *(_short(of(one)) for of in FIGURES.values()),
        ]
        for one in results
    ]
    found = exponents(results)
    if found:
        rows.append(["exponent", "", *(f"{found[name]:.2f}" for name in FIGURES)])
    return record.table(["candidates", "recall@10", *FIGURES], rows)


def _short(value: float) -> str:
    """Returns a figure with three digits that count."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{min(digits, 3)}f}"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Writes the figures over the size, on logarithmic axes, as an SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    parts = {
        "seconds": ("build s",),
        "MB": ("build MB", "disk MB", "native MB", "SavedModel MB"),
        "milliseconds of a query": ("native ms", "SavedModel ms", "exact ms"),
    }
    found = exponents(results)
    for axes, (label, names) in zip(figure.subplots(1, 3), parts.items(), strict=True):
        for name in names:
            slope = f" ~ n^{found[name]:.2f}" if found else ""
            axes.loglog(
                [one["candidates"] for one in results],
                [FIGURES[name](one) for one in results],
                "o-",
                label=name + slope,
            )
        axes.set_xlabel("candidates")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, format="svg")


def main() -> None:
    """Measures, unless it is only to show, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=SIZES,
        metavar="N",
        help="candidates (default: 10^4 to 10^7)",
    )
    record.add_arguments(parser, "growth")
    options = parser.parse_args()
    if not options.show:
        content = {**record.about("growth"), "protocol": PROTOCOL, "results": []}
        for size in options.sizes:
            content["results"].append(measure(size))
            record.write(options.out, content)
    results = record.read(options.out)["results"]
    plot(results, options.out.with_suffix(".svg"))
    print(as_table(results))


if __name__ == "__main__":
    main()
