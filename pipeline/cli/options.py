# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share."""

import argparse
import os
from collections.abc import Callable

from serving.errors import UserError


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds --root."""
    parser.add_argument(
        "--root",
        default="runs",
        metavar="DIR",
        help="folder of all pipelines' runs (default: %(default)s)",
    )


def add_model(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds --root and --model, one of which says what version is asked.

    Returns:
      The group, for what else may say it.
    """
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--root",
        default="runs",
        metavar="DIR",
        help="folder of all pipelines' runs; its newest pushed version is taken "
        "(default: %(default)s)",
    )
    where.add_argument("--model", metavar="DIR", help="folder of one pushed version")
    return where


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


def newest_version(root: str, pipeline: str | None) -> str:
    """Returns the folder of the newest pushed version below a root."""
    from pipeline.layout import Layout

    names = [pipeline] if pipeline else os.listdir(root) if os.path.isdir(root) else []
    found = [
        (int(version), os.path.join(serving, version))
        for serving in (Layout(root, name).serving for name in names)
        if os.path.isdir(serving)
        for version in os.listdir(serving)
        if version.isascii()
        and version.isdigit()
        # What was not pushed whole is no version; the second is of one in shards, by
        # its name as serving.index_config, which imports too much for here, has it.
        and any(
            os.path.exists(os.path.join(serving, version, part))
            for part in ("saved_model.pb", "shards")
        )
    ]
    if not found:
        raise UserError(
            f"no pushed version in {root}; run 'shortlist run CONFIG' first, or name "
            "another --root or a --model"
        )
    return max(found)[1]
