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
    shared.add_config(parser)
    shared.add_root(parser)
    shared.add_format(parser)


def execute(options: argparse.Namespace, update: bool = False) -> int:
    """Runs the pipeline; 1 where a node failed or a gate refused the model.

    Args:
      options: As parsed.
      update: Bring the last blessed model up to date with the catalogue.
    """
    config = shared.read_config(options.config, options.overrides, check_sources=True)
    from pipeline.layout import Layout, exclusive

    if update and config.index.shards > 1:
        raise UserError(
            f"an update changes one index and index.shards is {config.index.shards}; "
            "run the pipeline instead: shortlist run"
        )
    if "://" in options.root:
        raise UserError(
            f"--root {options.root}: a run on this machine keeps its metadata and its "
            "lock there; name a folder of this machine, or run it elsewhere: shortlist "
            "submit"
        )
    layout = Layout(os.path.abspath(options.root), config.name)
    served = shared.newest_version(layout.root, config.name) if update else None
    # Before anything heavy is imported: a root that can't be used shows at once.
    with exclusive(layout):
        return _run(config, layout, options, served)


def _run(
    config: "PipelineConfig",
    layout: "Layout",
    options: argparse.Namespace,
    served: str | None,
) -> int:
    """Runs the pipeline and tells what came of it; 1 where nothing good did.

    Args:
      config: What to run.
      layout: Where it lies.
      options: As parsed.
      served: Folder of the newest version, if it is to be brought up to date.
    """
    from pipeline.progress import Progress

    progress = Progress()
    doing = "updating" if served else "running"
    progress.say(f"{doing} {config.name} in {layout.home}")
    with serving.process.quiet_imports(options.verbose):
        from pipeline.run import run_locally
        from pipeline.runners.local import NodeError

    progress.say(f"{progress.elapsed:7.1f} s  imports")
    try:
        content = run_locally(config, layout, progress, served)
    except NodeError as error:
        if options.verbose:
            traceback.print_exc()
        hint = "" if options.verbose else "; --verbose shows the whole story"
        print(f"shortlist {options.verb}: {error}{hint}", file=sys.stderr)
        return 1
    if content is None:
        assert served  # only an update may find nothing to do
        return _report_up_to_date(config.name, os.path.basename(served), options)
    return _report(content, options)


def _report_up_to_date(name: str, version: str, options: argparse.Namespace) -> int:
    """Says that there was nothing to push."""
    if options.format == "json":
        content = {"pipeline": name, "pushed_version": None, "up_to_date": version}
        print(json.dumps(content, indent=2, sort_keys=True))
    else:
        print(
            f"{name}: nothing was pushed: no candidate was added, changed or removed "
            f"since version {version}"
        )
    return 0


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
