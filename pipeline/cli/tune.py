# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist tune`: the index's knobs for a target recall, searched."""

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from pipeline.cli import options as shared
from serving.errors import UserError

if TYPE_CHECKING:
    from serving.index_config import TuningConfig
    from serving.index_tuning import Tuned

_EPILOG = """\
The catalogue and the query ids are a pushed version's. Indexes are built with knobs
that Optuna draws, beginning with ScaNN's own rules; for each the least leaves to search
and hits to rescore that reach the target are found. A third of the queries searches;
the others set the effort of what was found, and recall is reported of each part of them
at what the other parts choose. Where nothing reaches the target the command fails and
shows the best found. Put what is printed below `index` in the config, or let every run
search anew with `index.knobs: tuned` (settings below `index.tuning`).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    shared.add_model(parser)
    shared.add_pipeline(parser)
    reals = {
        "target-recall": ("SHARE", 0.99, "least recall of exact search's best k"),
        "max-ms": ("MS", None, "most milliseconds of a single query, median; of all "
                   "that keep it, what takes least memory is chosen"),
        "max-memory-mb": ("MB", None, "most memory that is searched, 10^6 bytes"),
        "minutes": ("M", 8.0, "after which no further index is built"),
    }  # fmt: skip
    for name, (metavar, value, text) in reals.items():
        known = "" if value is None else " (default: %(default)s)"
        parser.add_argument(
            f"--{name}", type=float, default=value, metavar=metavar, help=text + known
        )
    numbers = {
        "k": (1, 10, "results of a query, for the target"),
        "builds": (1, 20, "indexes to build, at most"),
        "queries": (3, 4000, "query ids to ask with, at most"),
        "seed": (0, 42, "of the search and of the draw of queries"),
    }
    for name, (least, value, text) in numbers.items():
        parser.add_argument(
            *(["-k"] if name == "k" else []),
            f"--{name}",
            type=shared.at_least(least),
            default=value,
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="also write what was found into it, JSON"
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Searches, prints the frontier and the point chosen."""
    tuning = _tuning(options)
    from serving.index_config import IndexConfig
    from serving.index_tuning import tune
    from serving.native import NativeEngine

    path = options.model or shared.newest_version(options.root, options.pipeline)
    engine = NativeEngine(path)
    if engine.query_id is None:
        raise UserError(
            f"the model in {path} knows no query ids to ask with; set index.knobs: "
            "tuned in its config, which asks with the interactions' queries"
        )
    # All but the last row, that of somebody unknown.
    queries = engine.query_embeddings[:-1]
    tuned = tune(engine.embeddings, queries, IndexConfig(tuning=tuning))
    values = {"tuning": tuning.model_dump(), **tuned.as_values()}
    if options.out:
        os.makedirs(os.path.dirname(options.out) or ".", exist_ok=True)
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(json.dumps(values, indent=1) + "\n")
    print(json.dumps(values) if options.format == "json" else _as_text(tuned, tuning))
    return 0


def _tuning(options: argparse.Namespace) -> "TuningConfig":
    """Returns the settings, checked."""
    from pydantic import ValidationError

    from serving.index_config import TuningConfig

    try:
        return TuningConfig(
            **{n: getattr(options, n) for n in TuningConfig.model_fields}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UserError(f"--{name}: {first['msg']}, got {first['input']}") from None


_COLUMNS = {
    "kind": "kind",
    "leaves": "leaves",
    "avq_eta": "eta",
    "dimensions_per_block": "per block",
    "anisotropic_threshold": "threshold",
    "reorder_type": "rescored by",
    "leaves_to_search": "to search",
    "reorder": "rescored",
}


def _as_text(tuned: "Tuned", tuning: "TuningConfig") -> str:
    """Returns the frontier as a table, and the point chosen as a config has it."""
    recall = f"recall@{tuning.k}"
    lines = [
        f"{tuned.builds} indexes built in {tuned.seconds:.0f} s; what no other beats "
        "in recall, time and memory:",
        "".join(f"{name:>13}" for name in (recall, "ms", "MB", *_COLUMNS.values())),
    ]
    for point in tuned.frontier:
        cells = [
            f"{point.recall:.4f}",
            f"{point.ms:.4f}",
            f"{point.memory_bytes / 1e6:,.1f}",
            *(_cell(point.knobs.get(name)) for name in _COLUMNS),
        ]
        mark = " <- chosen" if point == tuned.chosen else ""
        lines.append("".join(f"{cell:>13}" for cell in cells) + mark)
    chosen = tuned.chosen
    return "\n".join(
        [
            *lines,
            "",
            f"chosen: {recall} {chosen.recall:.4f} (standard error "
            f"{chosen.recall_error:.4f}), cross-validated "
            f"{tuned.held_out_recall:.4f}; {chosen.ms:.4f} ms, "
            f"{chosen.memory_bytes / 1e6:,.1f} MB",
            "index:",
            *(f"  {name}: {value}" for name, value in chosen.knobs.items()),
        ]
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
