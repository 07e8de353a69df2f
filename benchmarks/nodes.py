# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a config up to a node, for a benchmark that watches this process from outside.

Prints a JSON list of the nodes: what each is called, when it began and ended by the
machine's monotonic clock, which all its processes share, and how many bytes it wrote.
"""

import argparse
import json
import os
import time
from typing import Any

import serving.process
from pipeline.progress import Progress


class Clock(Progress):
    """Remembers when each node began and ended, beside printing it."""

    def __init__(self) -> None:
        """Starts without nodes."""
        super().__init__()
        self.nodes: list[dict[str, Any]] = []

    def start(self, node: str) -> None:
        """Notes the beginning."""
        self.nodes.append({"node": node, "start": time.monotonic()})
        super().start(node)

    def end(self, node: str, state: str) -> float:
        """Notes the end."""
        self.nodes[-1]["end"] = time.monotonic()
        return super().end(node, state)


def size_of(folder: str) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(
        os.path.getsize(os.path.join(at, name))
        for at, _, names in os.walk(folder)
        for name in names
    )


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("root")
    parser.add_argument("until", help="id of the last node to run")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    serving.process.set_up()
    with serving.process.quiet_imports():
        from pipeline.config import load_config
        from pipeline.graph import build_pipeline
        from pipeline.layout import Layout, exclusive
        from pipeline.runners import local

    config = load_config(options.config, options.overrides)
    layout, clock = Layout(options.root, config.name), Clock()
    with exclusive(layout):
        pipeline = build_pipeline(config, layout)
        ran = local.run(pipeline, layout, clock, until=options.until)
    for node, run in zip(clock.nodes, ran, strict=True):
        folders = {artifact.uri for artifact in run.outputs.values()}
        node["bytes"] = sum(map(size_of, folders))
    print(json.dumps(clock.nodes))


if __name__ == "__main__":
    main()
