# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share."""

import argparse
from collections.abc import Callable


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


def at_least(least: int) -> Callable[[str], int]:
    """Returns what reads an option as a whole number that is not too small."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"must be a number of at least {least}, got {text}"
            )
        return value

    return read
