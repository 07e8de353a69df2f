# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The two workloads of the index's benchmarks: the vectors of two models' candidates.

Each has 32 dimensions and, beside the catalogue, 1,000 perturbed copies of each
candidate, as in the TFRS tutorial: 1.67 and 1.68 million vectors.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from typing import Any

import serving.process
from benchmarks import record
from benchmarks.run_times import call

WORKLOADS = {
    "tutorial": ("configs/tutorial.yaml", "index.kind=auto"),
    "well-trained": ("configs/movielens-100k.yaml", "model.embedding_dim=31"),
}
"""Config and change of it: the tutorial's model of 3 epochs, and the default recipe."""

_QUERIES, _SEED = 1000, 42
"""As `shortlist bench` has them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --workload and --replicate."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        type=_named_folder,
        metavar="NAME=DIR",
        help="take a pushed version for a workload and train none; repeatable",
    )
    parser.add_argument(
        "--workload",
        action="append",
        choices=list(WORKLOADS),
        metavar="NAME",
        help=f"only this one; repeatable ({', '.join(WORKLOADS)}; default: all)",
    )
    parser.add_argument(
        "--replicate",
        type=int,
        default=1000,
        metavar="N",
        help="copies of the catalogue (default: %(default)s)",
    )


def main(
    parser: argparse.ArgumentParser,
    module: str,
    protocol: str,
    measure: Callable[[str, argparse.Namespace], Any],
    as_text: Callable[[str, Any], str],
) -> None:
    """Measures each workload, unless it is only to show, and prints the results.

    Args:
      parser: Of the command, with the options that only this benchmark has.
      module: Name of the benchmark in this package.
      protocol: How it measures.
      measure: Returns the results of a workload, by its name and the options.
      as_text: Returns them as Markdown.
    """
    add_arguments(parser)
    record.add_arguments(parser, module)
    options = parser.parse_args()
    if not options.show:
        content = {**record.about(module), "protocol": protocol, "results": {}}
        for name in options.workload or WORKLOADS:
            content["results"][name] = measure(name, options)
            record.write(options.out, content)
    for name, results in record.read(options.out)["results"].items():
        print(as_text(name, results) + "\n")


def _named_folder(text: str) -> tuple[str, str]:
    name, _, folder = text.partition("=")
    if name not in WORKLOADS or not folder:
        raise argparse.ArgumentTypeError(
            f"must be NAME=DIR with a NAME of {', '.join(WORKLOADS)}, got {text}"
        )
    return name, os.path.abspath(folder)


def make(name: str, options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Writes the vectors of a workload, and what exact search finds.

    Args:
      name: Of the workload.
      options: As `add_arguments` has them.
      folder: Where to, for `serving.bench.workload.read`.

    Returns:
      `candidates`, `dimensions` and `queries`.
    """
    with tempfile.TemporaryDirectory(prefix="shortlist-") as root:
        version = dict(options.model).get(name) or train(name, root)
        vectors = {
            "path": version,
            "copies": options.replicate,
            "queries": _QUERIES,
            "seed": _SEED,
        }
        request = {
            "step": "make",
            "workload": folder,
            "vectors": vectors,
            "pairs": {"count": 0},
        }
        made = serving.process.ask_module(
            "serving.bench.measure", request, f"making the vectors of {name}"
        )
    return {key: made[key] for key in ("candidates", "dimensions", "queries")}


def train(name: str, root: str) -> str:
    """Runs the pipeline of a workload; returns the folder of the pushed version."""
    config, change = WORKLOADS[name]
    call("run", config, "--root", root, "--set", change)
    (pipeline,) = os.listdir(root)
    serving_folder = os.path.join(root, pipeline, "serving")
    return os.path.join(serving_folder, max(os.listdir(serving_folder), key=int))
