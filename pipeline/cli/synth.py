# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist synth`: a synthetic log of any size, and a config that runs it."""

import argparse
import math
import os
import time

from pipeline.cli import options as shared

_LAW = """\
the law behind it:
  Candidates belong to clusters of taste. Cluster c = 1, 2, ... weighs c^-0.5, and in
  it the candidate of rank r = 1, 2, ... weighs 1/r: Zipf's law, exponent 1. Each query
  has three clusters of its own, drawn by weight, which half, a fifth and a tenth of
  its interactions go to; the rest goes to any cluster. The query of rank k acts in
  proportion to (k + 10)^-0.5 and has no candidate twice. Interactions are spread
  evenly over the year 2024. So a good model beats popularity.

  A candidate has a title, a category (a category holds whole clusters) and a price
  (log-normal, its median by category). Ids tell nothing. The same seed gives the same
  rows, whatever the number of files.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _LAW
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="DIR",
        help="where the files go; must not be there, or be empty",
    )
    numbers = {
        "interactions": "rows of the log (default: 100000)",
        "candidates": "size of the catalogue (default: a tenth of the interactions)",
        "queries": "who interacts (default: a twentieth of the interactions)",
        "clusters": "clusters of taste (default: the square root of the candidates)",
        "shards": "files of each source (default: one a million interactions, two at "
        "least)",
    }
    for name, text in numbers.items():
        parser.add_argument(
            f"--{name}", type=shared.at_least(1), metavar="N", help=text
        )
    parser.add_argument(
        "--format",
        choices=("csv", "parquet"),
        default="csv",
        help="of the files (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=shared.at_least(0),
        default=42,
        metavar="N",
        help="another seed is another log (default: %(default)s)",
    )


def execute(options: argparse.Namespace) -> int:
    """Writes the files and says how to run them."""
    from pipeline.synth import files
    from pipeline.synth.world import Size

    interactions = options.interactions or 100_000
    candidates = options.candidates or max(1, interactions // 10)
    size = Size(
        interactions=interactions,
        candidates=candidates,
        queries=options.queries or max(1, interactions // 20),
        clusters=min(options.clusters or math.isqrt(candidates), candidates),
    )
    shards = options.shards or max(2, round(interactions / 1e6))
    started = time.perf_counter()
    files.write(options.out, size, options.seed, options.format, shards)
    print(
        f"{size.interactions:,} interactions of {size.queries:,} queries with "
        f"{size.candidates:,} candidates in {size.clusters:,} clusters, written in "
        f"{time.perf_counter() - started:.1f} s\n"
        f"next: shortlist run {os.path.join(options.out, files.CONFIG_FILE)}"
    )
    return 0
