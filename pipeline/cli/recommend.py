# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist recommend`: raw query features in, ids, titles and scores out."""

import argparse
import json
from typing import Any

import serving.process
from pipeline.cli import options as shared
from serving.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    shared.add_model(parser)
    shared.add_pipeline(parser)
    parser.add_argument(
        "--query",
        action="append",
        type=_feature,
        required=True,
        metavar="FEATURE=VALUE",
        help="a feature of the query, e.g. user_id=42; repeatable, also with one "
        "feature that takes several values, e.g. a history",
    )
    parser.add_argument(
        "-k",
        type=shared.at_least(1),
        default=10,
        help="results (default: %(default)s)",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="ID",
        help="a candidate to leave out; repeatable",
    )
    parser.add_argument(
        "--filter",
        default="",
        metavar="TEXT",
        help='only candidates whose attributes are so, e.g. "genres = Drama and not '
        'year < 1990"; =, !=, <, <=, >, >=, in (a, b), and, or, not, parentheses; '
        "what candidates.attributes of the config declares",
    )
    shared.add_format(parser)


def execute(options: argparse.Namespace) -> int:
    """Loads the model and prints its answer."""
    query = _query(options.query)
    path = options.model or shared.newest_version(options.root, options.pipeline)
    found = _ask(path, query, options)
    if options.format == "json":
        print(json.dumps({"query": query, "recommendations": found}, indent=2))
        return 0
    for place, result in enumerate(found, 1):
        print(
            f"{place:>3}  {result['score']:8.4f}  {result['candidate_id']:<12} "
            f"{result['title']}"
        )
    if not found:
        print("no candidates are left")
    return 0


def _ask(
    path: str, query: dict[str, str | list[str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Answers natively where the version can, else by its SavedModel."""
    with serving.process.fast_imports():
        from serving.shards import open_engine, open_model

    engine = open_engine(path)
    if engine:
        return engine.recommend(
            engine.read_query(query), options.k, options.exclude, filter=options.filter
        )
    if options.filter:
        raise UserError(
            f"--filter needs a native engine and {path} has none; push the model "
            "again, with index.kind auto, exact or scann"
        )
    return open_model(path).recommend(query, options.k, options.exclude)


def _query(given: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Gathers features; one that is given several times has a list of values."""
    values: dict[str, list[str]] = {}
    for name, value in given:
        values.setdefault(name, []).append(value)
    return {name: all_[0] if len(all_) == 1 else all_ for name, all_ in values.items()}


def _feature(text: str) -> tuple[str, str]:
    """Splits FEATURE=VALUE."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(
            f"must be of the form FEATURE=VALUE, got {text}"
        )
    return name, value
