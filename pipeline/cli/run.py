# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist run`: a pipeline on this machine, a line a node, a table at the end."""

import argparse
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import serving.process
from pipeline.cli import options as shared
from serving.errors import UserError

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.layout import Layout


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


def execute(options: argparse.Namespace, update: bool = False) -> int:
    """Runs the pipeline; 1 where a node failed or a gate refused the model.

    Args:
      options: As parsed.
      update: Bring the last blessed model up to date with the catalogue.
    """
    from pipeline.config import load_config

    try:
        config = load_config(options.config, options.overrides, check_sources=True)
    except UserError as error:
        print(f"shortlist {options.verb}: {error}", file=sys.stderr)
        return 2
    from pipeline.layout import Layout, exclusive

    if update and config.index.shards > 1:
        raise UserError(
            f"an update changes one index and index.shards is {config.index.shards}; "
            "run the pipeline instead: shortlist run"
        )
    if update:
        shared.newest_version(options.root, config.name)  # there must be one
    layout = Layout(os.path.abspath(options.root), config.name)
    # Before anything heavy is imported: a root that can't be used shows at once.
    with exclusive(layout):
        content = _run(config, layout, options, update)
    if content is None:
        return 1
    return _report(content, options)


def _run(
    config: "PipelineConfig",
    layout: "Layout",
    options: argparse.Namespace,
    update: bool,
) -> dict[str, Any] | None:
    """Runs the pipeline; None where a node failed, which has been told then."""
    from pipeline.progress import Progress

    progress = Progress()
    doing = "updating" if update else "running"
    progress.say(f"{doing} {config.name} in {layout.home}")
    with serving.process.quiet_imports(options.verbose):
        from pipeline.run import run_locally
        from pipeline.runners.local import NodeError

    progress.say(f"{progress.elapsed:7.1f} s  imports")
    try:
        return run_locally(config, layout, progress, update)
    except NodeError as error:
        if options.verbose:
            traceback.print_exc()
        hint = "" if options.verbose else "; --verbose shows the whole story"
        print(f"shortlist {options.verb}: {error}{hint}", file=sys.stderr)
        return None


def _report(content: dict[str, Any], options: argparse.Namespace) -> int:
    """Prints a run's summary; 1 where a gate refused the model."""
    from pipeline import summary

    if options.format == "json":
        print(json.dumps(content, indent=2, sort_keys=True))
    else:
        print(f"\n{summary.as_table(content)}")
    if content["pushed_version"]:
        return 0
    for sentence in summary.refusals(content):
        print(f"shortlist {options.verb}: not pushed: {sentence}", file=sys.stderr)
    return 1
