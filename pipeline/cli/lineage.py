# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist lineage`: what a pushed version was made of, by ML Metadata."""

import argparse
import dataclasses
import json
import os

from pipeline.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument(
        "version", nargs="?", help="its folder's name (default: the newest one)"
    )
    shared.add_root(parser)
    shared.add_pipeline(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the pipeline's config, where its metadata section names a database",
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the executions behind a version, the sources first."""
    from pipeline import lineage
    from pipeline.config import MetadataConfig
    from pipeline.layout import Layout
    from pipeline.metadata import open_store
    from serving import manifest

    config = MetadataConfig()
    if options.config:
        config = shared.read_config(options.config).metadata
    path = shared.newest_version(options.root, options.pipeline)
    name = os.path.basename(os.path.dirname(os.path.dirname(path)))
    store = open_store(config, Layout(options.root, name), read_only=True)
    found = lineage.trace(store, options.version or os.path.basename(path))
    content = dataclasses.asdict(found)
    there = [one for one in (found.pushed_to, found.copy) if manifest.exists(one)]
    content["config"] = manifest.read(there[0]).get("config") if there else None
    if options.format == "json":
        print(json.dumps(content, indent=2))
        return 0
    print(f"{name} {found.version}, pushed to {found.pushed_to}")
    for step in found.steps:
        told = ", ".join(f"{key} {one}" for key, one in step.properties.items())
        print(f"  {step.finished}  {step.node} (execution {step.execution})")
        if told:
            print(f"      {told if len(told) <= 160 else told[:157] + '...'}")
        for key, artifacts in step.outputs.items():
            for one in artifacts:
                span = f", span {one['span']}" if one.get("span") else ""
                print(f"      {key}: artifact {one['id']}{span}, {one['uri']}")
    if found.compared_with:
        print(f"  compared with, or made from: {', '.join(found.compared_with)}")
    return 0
