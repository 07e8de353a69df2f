# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist init`: looks at files and writes a commented config that runs."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from pipeline.cli import options as shared

if TYPE_CHECKING:
    from pipeline.init.roles import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="the log, the catalogue and a table of users, in any order; CSV, Parquet, "
        "JSON lines or TFRecord, also 'logs/*.csv' and 'logs/{SPAN}.csv' in quotes",
    )
    parser.add_argument(
        "-o", "--output", metavar="CONFIG.yaml", help="default: the name and .yaml"
    )
    parser.add_argument("--name", help="of the pipeline (default: the log's folder)")
    for role, what in (
        ("interactions", "the log"),
        ("candidates", "the catalogue"),
        ("queries", "the table of users"),
    ):
        parser.add_argument(f"--{role}", metavar="FILE", help=f"which file is {what}")
    for name, what in (
        ("query-id", "says who, a user or a session"),
        ("candidate-id", "says what"),
        ("timestamp", "says when"),
        ("value", "is a rating or a count"),
        ("event", "is the type of event"),
        ("title", "is shown for a candidate"),
    ):
        parser.add_argument(f"--{name}", metavar="COL", help=f"which column {what}")
    parser.add_argument(
        "--yes", action="store_true", help="ask nothing, take the guesses"
    )
    parser.add_argument(
        "--force", action="store_true", help="write over an existing config"
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Writes the config; 2 where the command leaves open what can't be guessed."""
    from pipeline.init.command import create
    from pipeline.init.questions import Asker, Undecided

    asker = Asker(
        is_interactive=not options.yes
        and options.format == "text"
        and sys.stdin.isatty()
        and sys.stderr.isatty(),
        answers=sys.stdin,
        prompts=sys.stderr,
    )
    try:
        created = create(
            _given(options), asker, options.output, options.name, options.force
        )
    except Undecided as error:
        print(f"shortlist init: {error}", file=sys.stderr)
        return 2
    if options.format == "json":
        print(json.dumps(created.as_json(), indent=2))
    else:
        print(created.as_text())
    return 0


def _given(options: argparse.Namespace) -> "Options":
    """Returns what the command says of the files."""
    from pipeline.init.roles import Options

    named = (options.interactions, options.candidates, options.queries)
    files = dict.fromkeys([*options.files, *(path for path in named if path)])
    return Options(
        tuple(files),
        options.interactions,
        options.candidates,
        options.queries,
        options.query_id,
        options.candidate_id,
        options.timestamp,
        options.value,
        options.event,
        options.title,
    )
