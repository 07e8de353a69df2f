# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist recommend`: raw query features in, ids, titles and scores out."""

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import serving.process
from pipeline.cli import options as shared
from serving.errors import UserError

if TYPE_CHECKING:
    from serving.client import ServerError

_UNAUTHORIZED, _NOT_FOUND = 401, 404


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    where = shared.add_model(parser)
    where.add_argument(
        "--server",
        metavar="URL",
        help="ask a running 'shortlist serve' instead, e.g. http://127.0.0.1:8501; "
        "loads no model and so answers at once",
    )
    shared.add_pipeline(parser)
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="with --server: the model to ask (default: the only one that is served)",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="with --server: file with the token that the server wants to be shown",
    )
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="with --server: PEM file of the authority that has signed its certificate",
    )
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
    """Asks a server, or loads the model, and prints the answer."""
    _check(options)
    query = _query(options.query)
    if options.server is not None:
        found = _ask_server(query, options)
    else:
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


def _check(options: argparse.Namespace) -> None:
    """Refuses options that would be ignored."""
    if options.server is not None:
        if options.pipeline:
            raise UserError("--pipeline is for --root; a server's model is --name")
        return
    for name in ("name", "token_file", "ca_file"):
        if getattr(options, name):
            raise UserError(f"--{name.replace('_', '-')} is for --server; name its URL")


def _ask_server(
    query: dict[str, str | list[str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Lets a server answer."""
    from serving.client import Client, ServerError
    from serving.tokens import read_token

    token = read_token(options.token_file) if options.token_file else None
    with Client(
        options.server, model=options.name, token=token, ca_file=options.ca_file
    ) as client:
        try:
            found = client.recommend(query, options.k, options.exclude, options.filter)
        except ServerError as error:
            raise UserError(_sentence(error, options)) from None
    return [dataclasses.asdict(one) for one in found.results]


def _sentence(error: "ServerError", options: argparse.Namespace) -> str:
    """Returns what a server says, and which option mends it."""
    if error.status is None:
        return str(error)
    mend = ""
    if error.status == _UNAUTHORIZED:
        mend = " (here: --token-file FILE)"
    elif error.status == _NOT_FOUND and options.name:
        mend = "; leave --name out to learn what it serves"
    return f"{options.server} says: {error}{mend}"


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
