# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Real data sets of different shape by configuration alone, beside baselines.

Runs `shortlist run` on each config, with several seeds of split and training, and then
times the way of three unknown CSV files to a pushed model: `shortlist init` and
`shortlist run`. `python -m benchmarks.datasets` must have made the data.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import datasets, record
from benchmarks.run_times import call

CONFIGS = ("epinions", "insteval", "movielens-latest", "pictures", "sessions")
THREE_FILES = ("interactions.csv", "items.csv", "users.csv")
KS = ("10", "50", "100")
SYSTEMS = {
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "ease": "EASE",
    "ials": "iALS",
    "index": "Shortlist",
}
PROTOCOL = (
    "top-k accuracy by candidate id over held-out interactions, what is known of the "
    "query left out, the whole catalogue ranked; the split is the config's, its seed "
    "and that of training the ones that are given; every system of one seed on the "
    "same split, all of them told the same of a query (its training interactions, and "
    "its history where the model gets one); baselines with one setting each, named in "
    "serving/evaluation/baselines.py; EASE and item-kNN only up to 10,000 and 50,000 "
    "candidates; interval: 95% bootstrap over users (sessions) of the first seed"
)


def run(config: str, seed: int) -> dict[str, Any]:
    """Runs a config with a seed; returns what its summary says."""
    sets = (
        "interactions.split.method=random",
        f"interactions.split.seed={seed}",
        f"training.seed={seed}",
    )
    overrides = [part for one in sets for part in ("--set", one)]
    with tempfile.TemporaryDirectory(prefix="shortlist-") as root:
        found = call("run", config, "--root", root, *overrides, "--format", "json")
    summary = json.loads(found["output"])
    return {
        "seed": seed,
        "seconds": round(found["seconds"], 1),
        "candidates": summary["candidates"],
        "protocol": summary["protocol"],
        "interval": summary["intervals"],
        "recall": summary["recall"],
        "pushed": summary["pushed_version"] is not None,
        "accuracy": {
            "index": summary["top_k_accuracy_masked"]["scann"],
            **{
                name: figures["top_k_accuracy_masked"]
                for name, figures in summary["baselines"].items()
            },
        },
    }


def measure_first_run(name: str) -> dict[str, Any]:
    """Times three CSV files to a pushed model, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        for file in THREE_FILES:
            shutil.copy(record.ROOT / "data" / name / file, folder)
        paths = [f"{folder}/{file}" for file in THREE_FILES]
        config = f"{folder}/own.yaml"
        init = call("init", *paths, "-o", config, "--yes")
        ran = call("run", config, "--root", f"{folder}/runs", "--format", "json")
        summary = json.loads(ran["output"])
    return {
        "data": name,
        "commands": [
            "make install",
            f"shortlist init {' '.join(THREE_FILES)} -o own.yaml",
            "shortlist run own.yaml",
        ],
        "init_seconds": round(init["seconds"], 1),
        "run_seconds": round(ran["seconds"], 1),
        "pushed": summary["pushed_version"] is not None,
        "top_k_accuracy_masked": summary["top_k_accuracy_masked"]["scann"],
    }


def measure_all(options: argparse.Namespace) -> None:
    """Runs everything; writes after each config, and keeps what it has of others."""
    about = record.about("own_data")
    earlier = record.read(options.out) if options.out.exists() else {}
    content = {
        **about,
        "protocol": PROTOCOL,
        "results": dict(earlier.get("results", {})),
        "first_run": earlier.get("first_run"),
    }
    for name in options.configs:
        content["results"][name] = [
            run(f"configs/{name}.yaml", seed) for seed in options.seeds
        ]
        record.write(options.out, content)
    content["first_run"] = measure_first_run("insteval")
    record.write(options.out, content)


def as_table(content: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    rows = []
    for name, runs in content["results"].items():
        protocol = runs[0]["protocol"]
        rows.append(
            [f"**{name}**: {runs[0]['candidates']:,} candidates, "
             f"{protocol['seen_interactions']:,} interactions to learn from", *[""] * 3]
        )  # fmt: skip
        rows += [
            [label, *(_mean(runs, key, k) for k in KS)]
            for key, label in SYSTEMS.items()
            if key in runs[0]["accuracy"]
        ]
    first = content["first_run"]
    tables = [record.table(["top-k accuracy", *(f"top-{k}" for k in KS)], rows)]
    tables.append(
        f"Three CSV files to a pushed model: `{first['commands'][1]}` "
        f"{first['init_seconds']:.1f} s, `{first['commands'][2]}` "
        f"{first['run_seconds']:.1f} s."
    )
    return "\n\n".join(tables)


def _mean(runs: list[dict[str, Any]], system: str, k: str) -> str:
    values = [one["accuracy"][system][k] for one in runs]
    spread = f" (sd {statistics.stdev(values):.4f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def main() -> None:
    """Measures, unless it is only to show, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--configs",
        nargs="+",
        choices=CONFIGS,
        default=list(CONFIGS),
        metavar="NAME",
        help=f"which to run (default: {' '.join(CONFIGS)}); what a results file has of "
        "others is kept",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[42, 43, 44],
        help="of split and training (default: %(default)s)",
    )
    record.add_arguments(parser, "own_data")
    options = parser.parse_args()
    if not options.show:
        missing = [n for n in datasets.DATASETS if not Path("data", n).is_dir()]
        if missing:
            parser.error(f"no data: python -m benchmarks.datasets {' '.join(missing)}")
        measure_all(options)
    print(as_table(record.read(options.out)))


if __name__ == "__main__":
    main()
