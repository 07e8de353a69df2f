# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist bench` at the tutorial's size, over its own model and a well-trained one.

Both have 32 dimensions and 1,000 perturbed copies of each candidate beside it. The
first is the tutorial's (`configs/tutorial.yaml`), 3 epochs; the second the default
recipe, 31 dimensions and the bias. Measure on a quiet machine.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import record, workloads
from benchmarks.run_times import call

COLUMNS = (
    "recall@10", "recall@100", "p50 ms", "p99 ms", "speed-up", "q/s by 1", "by 1000",
)  # fmt: skip
ACCURACY_KS = ("10", "50", "100")
ACCURACY_COLUMNS = (
    *(f"@{k} by id" for k in ACCURACY_KS), *(f"@{k} by score" for k in ACCURACY_KS),
    "pairs asked", "s", "ms a pair", "speed-up", "s, each query once",
)  # fmt: skip
PROTOCOL = (
    "1,000 copies of the catalogue, each multiplied by numbers drawn evenly from 0 to "
    "1, beside it; all query ids; recall by id against exact search, on the half of "
    "the queries that no knob was chosen on; single queries k = 10, one thread, each "
    "system in a fresh process; speed-up: over TFRS BruteForce in the same run; leaves "
    "to search and candidates to rescore of ours: the cheapest found for recall@10 of "
    ".99; accuracy on the interactions that the run held out, ours searching as hard "
    "as built; TFRS Streaming is asked a sample, its speed-up is in time for a pair"
)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Trains a model and runs the benchmark over it."""
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        version = dict(options.model).get(name) or workloads.train(
            name, f"{folder}/runs"
        )
        call(
            "bench", "--model", version, "--replicate", str(options.replicate),
            "-o", f"{folder}/bench",
        )  # fmt: skip
        shutil.copy(
            f"{folder}/bench/bench.svg", options.out.with_name(f"index-{name}.svg")
        )
        found = json.loads(Path(folder, "bench", "bench.json").read_text())
    del found["vectors"]["path"]  # somebody's folder
    return found


def as_table(results: dict[str, Any]) -> str:
    """Returns the results of one workload as Markdown."""
    systems = results["systems"]
    base = systems["TFRS BruteForce"]["ms"]["p50"]
    rows = [
        [
            name,
            *(f"{one['recall'][k]:.4f}" for k in ("10", "100")),
            f"{one['ms']['p50']:.3f}",
            f"{one['ms']['p99']:.3f}",
            f"{base / one['ms']['p50']:.1f}",
            f"{one['qps']['1']:,.0f}",
            f"{one['qps']['1000']:,.0f}",
        ]
        for name, one in systems.items()
    ]
    return record.table(["", *COLUMNS], rows)


def accuracy_table(accuracy: dict[str, Any]) -> str:
    """Returns the accuracy of one workload as Markdown, and what to know of it."""
    # TensorFlow takes seconds to import.
    from serving.bench import report
    from serving.bench.systems import STREAMING

    systems = accuracy["systems"]
    base = report.ms_a_pair(systems[STREAMING])
    rows = [
        [
            name,
            *(
                f"{one[how][k]:.4f}"
                for how in ("by_id", "by_score")
                for k in ACCURACY_KS
            ),
            f"{one['pairs']:,}",
            f"{one['seconds']:.1f}",
            f"{report.ms_a_pair(one):.3f}",
            f"{base / report.ms_a_pair(one):,.1f}",
            f"{one['seconds_by_query']:.2f}" if "seconds_by_query" in one else "-",
        ]
        for name, one in systems.items()
    ]
    about = (
        f"{accuracy['pairs']:,} pairs, {accuracy['queries']:,} distinct queries; "
        f"{accuracy['origin']}: {accuracy['how']}"
    )
    return "\n\n".join(
        [about, record.table(["", *ACCURACY_COLUMNS], rows), *report.notes(accuracy)]
    )


def as_text(name: str, results: dict[str, Any]) -> str:
    """Returns one workload as Markdown, under its name."""
    size = f"{results['candidates']:,} x {results['dimensions']}"
    parts = [f"**{name}**: {size}", as_table(results)]
    if results.get("accuracy"):  # results of before it was measured have none
        parts.append(accuracy_table(results["accuracy"]))
    return "\n\n".join(parts)


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    workloads.main(parser, "index", PROTOCOL, measure, as_text)


if __name__ == "__main__":
    main()
