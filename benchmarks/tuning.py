# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the search for knobs reaches its targets, at the size of the tutorial.

`serving.index_tuning.tune`, as `shortlist tune` and IndexTuner call it, on the vectors
of benchmarks/index.py. Measure on a quiet machine.
"""

import argparse
import tempfile
from typing import Any

from benchmarks import record, workloads

TARGETS = (0.95, 0.99, 0.999)
PROTOCOL = (
    "vectors of benchmarks/index.py; for each target and seed a search of its own, of "
    "its minutes and at most 20 indexes; a third of the query ids, drawn by the seed, "
    "searches, the others set the effort; fresh: recall@10 by id of these, each tenth "
    "at what the other nine choose, of the index that was built then; error: standard "
    "error of that; milliseconds: median of single queries to ScaNN's native searcher"
)
COLUMNS = (
    "seed", "recall, chosen on", "fresh recall", "error", "ms", "MB", "indexes", "s",
    "leaves", "searched", "rescored", "by",
)  # fmt: skip


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Searches for each target and seed on one workload."""
    import serving.process

    serving.process.set_up()
    from serving.bench.workload import read
    from serving.index_config import IndexConfig
    from serving.index_tuning import tune

    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        workloads.make(name, options, folder)
        workload = read(folder)
        found = []
        for target in TARGETS:
            for seed in options.seeds:
                tuning = {
                    "target_recall": target,
                    "k": 10,
                    "minutes": options.minutes,
                    "seed": seed,
                }
                tuned = tune(
                    workload.vectors, workload.queries, IndexConfig(tuning=tuning)
                )
                found.append({**tuning, **tuned.as_values()})
    return found


def as_table(results: list[dict[str, Any]]) -> str:
    """Returns the searches of one workload as Markdown."""
    rows = []
    for one in results:
        chosen, knobs = one["chosen"], one["chosen"]["knobs"]
        rows.append(
            [
                f"{one['target_recall']}",
                f"{one['seed']}",
                f"{chosen['recall']:.4f}",
                f"{one['held_out_recall']:.4f}",
                f"{chosen['recall_error']:.4f}",
                f"{chosen['ms']:.4f}",
                f"{chosen['memory_bytes'] / 1e6:.0f}",
                f"{one['builds']}",
                f"{one['seconds']:.0f}",
                *(
                    f"{knobs.get(name, '-')}"
                    for name in ("leaves", "leaves_to_search", "reorder")
                ),
                str(knobs.get("reorder_type", "-")),
            ]
        )
    return record.table(["target", *COLUMNS], rows)


def as_text(name: str, results: list[dict[str, Any]]) -> str:
    """Returns one workload as Markdown, under its name."""
    return f"**{name}**\n\n{as_table(results)}"


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--minutes",
        type=float,
        default=2.0,
        help="of each search (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[42], help="(default: 42)"
    )
    workloads.main(parser, "tuning", PROTOCOL, measure, as_text)


if __name__ == "__main__":
    main()
