# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist metrics`: the last run's evaluation, from its summary."""

import argparse
import json

from pipeline.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    shared.add_root(parser)
    shared.add_pipeline(parser)
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the summary."""
    from pipeline import summary

    content = summary.read(summary.find(options.root, options.pipeline))
    if options.format == "json":
        print(json.dumps(content, indent=2, sort_keys=True))
    else:
        print(summary.as_table(content, details=True))
    return 0
