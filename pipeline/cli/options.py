# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share."""

import argparse


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds --root."""
    parser.add_argument(
        "--root",
        default="runs",
        metavar="DIR",
        help="folder of all pipelines' runs (default: %(default)s)",
    )


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Adds --pipeline."""
    parser.add_argument(
        "--pipeline",
        metavar="NAME",
        help="which pipeline below the root (default: the one that ran last)",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Adds --format."""
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="how to print results (default: %(default)s)",
    )
