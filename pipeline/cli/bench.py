# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist bench`: the TFRS tutorial's comparison at any size, in one run."""

import argparse
import json
import os
from typing import Any

from pipeline.cli import options as shared
from serving.errors import UserError

_EPILOG = """\
Each system is measured in a process of its own, one after the other. Recall is by id
against exact search. Where a query may say how hard to search for it, the cheapest
leaves to search and candidates to rescore that reach the target are chosen on one half
of the queries; recall is reported on the other half.

Then, as the TFRS tutorial does, accuracy over pairs of a query and its true candidate,
by id and by score. The pairs are what the run that made the model held out (split
eval); of a --model that lies in no run, and of --synthetic vectors, they are drawn.
TFRS's exact layer, which takes minutes for all pairs of a large catalogue, is asked a
sample of them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    shared.add_model(parser).add_argument(
        "--synthetic",
        type=shared.at_least(16),
        metavar="N",
        help="instead of a model's vectors, N in clusters",
    )
    shared.add_pipeline(parser)
    numbers = {
        "replicate": (0, 0, "perturbed copies of the model's candidates beside them, "
                      "with ids of their own; 1000 is the tutorial's"),
        "dim": (1, 64, "dimensions of synthetic vectors"),
        "queries": (2, 1000, "query ids, or synthetic queries, to ask with"),
        "pairs": (0, 20_000, "pairs of a query and its true candidate to measure "
                  "accuracy on, at most; 0: leave it out"),
        "threads": (1, 1, "cores to search with"),
        "seed": (0, 42, "of all that is drawn"),
    }  # fmt: skip
    for name, (least, default, text) in numbers.items():
        parser.add_argument(
            f"--{name}",
            type=shared.at_least(least),
            default=default,
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument(
        "--target-recall",
        type=float,
        default=0.99,
        metavar="SHARE",
        help="recall@10 that our engines are to reach (default: %(default)s)",
    )
    parser.add_argument(
        "--streaming-seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="ask TFRS's exact layer about as many of the pairs as it answers in this "
        "time; 0: all, however long it takes (default: %(default)s)",
    )
    parser.add_argument(
        "--index",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a knob of the index as under `index` in a config, e.g. leaves=2000 or "
        "soar_lambda=1.5; repeatable",
    )
    parser.add_argument(
        "--system",
        action="append",
        default=[],
        metavar="NAME",
        help="measure this one; repeatable (default: all)",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        help="also write bench.json and bench.svg, recall against latency, into it",
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes files."""
    import tempfile

    from serving.bench import report, run

    names = run.check_names(options.system)
    if not 0 < options.target_recall <= 1:
        raise UserError(
            "--target-recall must be above 0 and at most 1, got "
            f"{options.target_recall}"
        )
    if options.streaming_seconds < 0:
        raise UserError(
            f"--streaming-seconds must be 0 or more, got {options.streaming_seconds:g}"
        )
    vectors, index = _vectors(options), _index(options.index)
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        pairs = _pairs(vectors.get("path"), options.pairs, folder)
        results = run.run(
            run.Bench(
                vectors=vectors,
                index=index,
                systems=names,
                threads=options.threads,
                target_recall=options.target_recall,
                pairs={"count": options.pairs, "file": pairs},
                streaming_seconds=options.streaming_seconds,
            )
        )
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        with open(os.path.join(options.out, "bench.json"), "w") as file:
            file.write(json.dumps(results, indent=1) + "\n")
        report.plot(results, os.path.join(options.out, "bench.svg"))
    print(json.dumps(results) if options.format == "json" else report.as_table(results))
    return 0


def _vectors(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of what makes the workload."""
    common = {"queries": options.queries, "seed": options.seed}
    if options.synthetic:
        return {"count": options.synthetic, "dimensions": options.dim, **common}
    path = options.model or shared.newest_version(options.root, options.pipeline)
    return {"path": path, "copies": options.replicate, **common}


def _pairs(model: str | None, count: int, folder: str) -> str | None:
    """Writes what the run behind a model held out; returns the file, None without.

    Args:
      model: Folder of a version, if there is one.
      count: Pairs that are wanted.
      folder: Where to write.
    """
    if not model or not count:
        return None
    from pipeline.layout import of_version

    layout = of_version(model)
    if layout is None:
        return None
    # Half a second of ML Metadata, for a model of a run only.
    from pipeline import held_out

    version = os.path.basename(os.path.abspath(model))
    path = os.path.join(folder, "pairs.parquet")
    held_out.write_pairs(held_out.find(layout, version), path)
    return path


def _index(given: list[str]) -> dict[str, Any]:
    """Returns the index's knobs, checked."""
    import yaml
    from pydantic import ValidationError

    from serving.index_config import IndexConfig

    values = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator:
            raise UserError(f"--index must be of the form KEY=VALUE, got {one}")
        values[name] = yaml.safe_load(value)
    try:
        IndexConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"--index {key}: {first['msg']}") from None
    if values.get("shards", 1) != 1:
        raise UserError(
            "--index shards: what is compared here is one index; leave it out"
        )
    return values
