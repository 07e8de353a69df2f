# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist run`: a pipeline on this machine, a line a node, a table at the end."""

import argparse
import json
import os
import sys
import traceback

import serving.process
from pipeline.cli import options as shared
from serving.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument("config", help="YAML file, e.g. configs/movielens-100k.yaml")
    shared.add_root(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        dest="overrides",
        help="override a config value, e.g. --set training.epochs=4; repeatable",
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the pipeline; 1 where a node failed or a gate refused the model."""
    from pipeline.config import load_config

    try:
        config = load_config(options.config, options.overrides)
    except UserError as error:
        print(f"shortlist run: {error}", file=sys.stderr)
        return 2
    from pipeline.progress import Progress

    progress = Progress()
    progress.say(f"running {config.name} in {os.path.join(options.root, config.name)}")
    with serving.process.quiet_imports(options.verbose):
        from pipeline import summary
        from pipeline.run import run_locally
        from pipeline.runners.local import NodeError

    progress.say(f"{progress.elapsed:7.1f} s  imports")
    try:
        content = run_locally(config, options.root, progress)
    except NodeError as error:
        if options.verbose:
            traceback.print_exc()
        hint = "" if options.verbose else "; --verbose shows the whole story"
        print(f"shortlist run: {error}{hint}", file=sys.stderr)
        return 1
    if options.format == "json":
        print(json.dumps(content, indent=2, sort_keys=True))
    else:
        print(f"\n{summary.as_table(content)}")
    if content["pushed_version"]:
        return 0
    for sentence in summary.refusals(content):
        print(f"shortlist run: not pushed: {sentence}", file=sys.stderr)
    return 1
