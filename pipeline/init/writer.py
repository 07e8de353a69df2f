# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a plan as a commented config."""

import json
import os
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from pipeline.init import settings
from pipeline.init.features import Feature
from pipeline.init.plan import Plan
from pipeline.init.profile import Profile
from pipeline.init.settings import Setting
from pipeline.init.tables import Table

_WIDTH = 88
_COMMENT_AT = 34


def scalar(value: Any) -> str:
    """Returns a value as YAML on one line, quoted where it must be."""
    text = yaml.safe_dump(
        value,
        default_flow_style=True,
        allow_unicode=True,
        width=float("inf"),
        sort_keys=False,
    )
    text = text.removesuffix("\n").removesuffix("\n...")
    if "\n" in text:  # a line break in the value: JSON is YAML too
        return json.dumps(value, ensure_ascii=False)
    return text


def line(depth: int, key: str, value: Any = None, comment: str = "") -> str:
    """Returns a key with its value and a comment, beside it where there is room."""
    start = f"{'  ' * depth}{scalar(key)}:"
    if value is not None:
        start += f" {scalar(value)}"
    if not comment:
        return start
    beside = f"{start.ljust(_COMMENT_AT - 2)}  # {_plain(comment)}"
    if len(beside) <= _WIDTH:
        return beside
    return f"{remark(depth, comment)}\n{start}"


def remark(depth: int, text: str) -> str:
    """Returns a comment on lines of its own."""
    indent = f"{'  ' * depth}# "
    return textwrap.fill(
        _plain(text),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _plain(text: str) -> str:
    """Returns a text without anything that would end a comment."""
    printable = (c if c.isprintable() else " " for c in text)
    return " ".join("".join(printable).split())


def write(plan: Plan, name: str, folder: str) -> str:
    """Returns the config as YAML with comments.

    Args:
      plan: What it says.
      name: Of the pipeline.
      folder: Of the config, from which the paths in it start.
    """
    parts = [
        _head(plan, name),
        _interactions(plan, folder),
        _queries(plan, folder),
        _candidates(plan, folder),
        _rest(plan),
    ]
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part) + "\n"


def read_tables(plan: Plan) -> list[Table]:
    """Returns the tables of a plan, the log first."""
    others = (plan.roles.candidate.table, plan.roles.query.table)
    return [plan.roles.log, *(table for table in others if table)]


def how_much(table: Table) -> str:
    """Says how much of a source was read."""
    base = os.path.basename(table.path)
    if table.sample.share == 1:
        return f"all {table.rows:,} rows of {base}"
    return f"{table.rows:,} of about {table.sample.total_rows:,} rows of {base}"


def _head(plan: Plan, name: str) -> list[str]:
    read = ", ".join(how_much(table) for table in read_tables(plan))
    return [
        remark(
            0,
            f"Written by shortlist init from {read}. The comments say what was "
            "guessed and why; correct what is wrong. Paths start from this file's "
            "folder.",
        ),
        "",
        line(0, "name", name),
    ]


def _source(table: Table, folder: str) -> Iterator[str]:
    """Writes a source, on one line if it is short."""
    source = dict(table.sample.source)
    kind = next(iter(source))
    path = os.path.abspath(source[kind])
    source[kind] = os.path.relpath(path, os.path.abspath(folder))
    comment = f"{table.sample.total_rows:,} rows"
    if table.sample.share < 1:
        comment = f"about {comment}"
    if len(scalar(source)) < _WIDTH - len("  source: "):
        yield line(1, "source", source, comment)
        return
    yield line(1, "source", comment=comment)
    rename = source.pop("rename", {})
    for key, value in source.items():
        yield line(2, key, value)
    if rename:
        yield line(2, "rename", comment="names that a request can use, by the file's")
    for old, new in rename.items():
        yield line(3, old, new)


def _interactions(plan: Plan, folder: str) -> Iterator[str]:
    roles, found = plan.roles, plan.signals
    yield line(0, "interactions", comment="the log: who chose what, when")
    yield from _source(roles.log, folder)
    yield line(1, "query_id", roles.query.column, roles.query.reason)
    yield line(1, "candidate_id", roles.candidate.column, roles.candidate.reason)
    if found.timestamp and found.times:
        yield line(1, "timestamp", found.timestamp, found.times.reason)
        if found.times.unit != "s":
            yield line(1, "timestamp_unit", found.times.unit)
        if found.times.format:
            doubt = (
                "day or month first can't be told" if found.times.is_doubtful else ""
            )
            yield line(1, "timestamp_format", found.times.format, doubt)
    else:
        yield remark(1, "timestamp: no column of times in every row was found")
    yield line(
        1,
        "learn_id",
        not plan.session.value,
        f"{plan.session.reason}: told by their history, not by their id"
        if plan.session.value
        else f"an embedding a query; {plan.session.reason}",
    )
    yield from _log_features(plan)
    yield from _signal(plan)
    yield from _split(plan)
    orphans = settings.orphans(roles)
    yield line(1, "orphans", orphans.value, orphans.reason)


def _log_features(plan: Plan) -> Iterator[str]:
    features = [*plan.log_features]
    if plan.history:
        features.insert(
            0,
            Feature(
                plan.history, "what the query chose before", "history", {"length": 50}
            ),
        )
    left_out = plan.roles.log.sample.left_out
    yield from _features(features, left_out, "what a request knows of the query")


def _features(
    features: list[Feature], left_out: dict[str, str], about: str
) -> Iterator[str]:
    """Writes declared features, then, as comments, the others."""
    declared = [f for f in features if f.type and f.is_declared]
    if declared:
        yield line(1, "features", comment=about)
    else:
        is_open = any(f.type for f in features)
        yield line(1, "features", {}, "once one is taken in: no {} here" * is_open)
    for feature in declared:
        yield line(2, feature.name, feature.declaration, feature.reason)
    for feature in features:
        if feature.type and not feature.is_declared:
            yield remark(2, f"not taken in: {feature.reason}")
            yield f"    # {scalar(feature.name)}: {scalar(feature.declaration)}"
        elif not feature.type:
            yield remark(2, f"{feature.name}: left out, {feature.reason}")
    for name, reason in left_out.items():
        yield remark(2, f"{name}: left out, {reason}")


def _signal(plan: Plan) -> Iterator[str]:
    found = plan.signals
    yield line(1, "signal", comment="which interactions count, and how much")
    if found.value:
        column = plan.roles.log.columns[found.value.column]
        yield line(2, "value", found.value.column, found.value.reason)
        yield from _min_value(plan, column)
        if found.value.kind != "label":
            scale = {
                "rating": "linear: weighs by it in the loss",
                "count": "log: weighs by log(1 + it) in the loss",
            }
            yield line(2, "scale", "none", scale[found.value.kind])
    if found.event:
        known = ", ".join(plan.roles.log.columns[found.event].most_frequent(8))
        yield line(2, "event", found.event, f"types: {known}")
        yield line(
            2,
            "event_weights",
            found.event_weights,
            "weights in the loss; other types are left out",
        )
    again = settings.deduplicate(plan.roles, found)
    yield line(2, "deduplicate", again.value, again.reason)


def _min_value(plan: Plan, column: Profile) -> Iterator[str]:
    """Writes where interactions start; for ratings, what a limit would leave."""
    value = plan.signals.value
    assert value is not None and column.numbers is not None
    if value.min_value is not None:
        yield line(2, "min_value", value.min_value, "smaller ones are no interactions")
        return
    limit = column.quantile(0.5)
    if value.kind == "rating":
        kept = int(column.counts[column.numbers >= limit].sum())
        comment = f"{limit:g} would keep {kept:,} of {column.rows:,} rows"
    else:
        comment = "2 would leave out what was chosen once"
    # A null needs its own spelling: no value is no value to `line` too.
    yield f"{'    min_value: null'.ljust(_COMMENT_AT - 2)}  # {comment}"


def _split(plan: Plan) -> Iterator[str]:
    yield line(1, "split")
    if plan.session.value:
        yield line(
            2,
            "method",
            "random",
            "or time: the newest interactions evaluate"
            if plan.signals.timestamp
            else "",
        )
        yield line(2, "by", "query", "whole sessions are held out")
    elif plan.signals.timestamp:
        yield line(2, "method", "random", "or time: the newest interactions evaluate")
    else:
        yield line(2, "method", "random", "time needs a timestamp")
    yield line(
        2, "fractions", {"train": 0.8, "eval": 0.2}, "add valid: 0.05 to stop early"
    )


def _queries(plan: Plan, folder: str) -> Iterator[str]:
    query = plan.roles.query
    if not query.table:
        return
    base = os.path.basename(query.table.path)
    if not any(f.type for f in plan.query_features):
        yield remark(0, f"queries: {base} says nothing that can be learned from")
        for feature in plan.query_features:
            yield remark(0, f"{feature.name}: left out, {feature.reason}")
        return
    yield line(0, "queries", comment="what is known of queries, joined to the log")
    yield from _source(query.table, folder)
    yield line(1, "query_id", query.key, "the same ids as in the log")
    yield from _features(
        plan.query_features, query.table.sample.left_out, "requests may carry them"
    )
    again = settings.duplicates(plan.roles, "query")
    yield line(1, "duplicates", again.value, again.reason)


def _candidates(plan: Plan, folder: str) -> Iterator[str]:
    candidate, title = plan.roles.candidate, plan.signals.title
    if plan.catalogue_is_log:
        yield line(0, "candidates", comment="the catalogue, taken from the log itself")
        yield from _source(plan.roles.log, folder)
        yield line(1, "candidate_id", candidate.column)
        again = Setting("keep_one", "a candidate has many rows in the log")
        left_out = {}
    elif candidate.table:
        yield line(0, "candidates", comment="the catalogue")
        yield from _source(candidate.table, folder)
        yield line(1, "candidate_id", candidate.key, "the same ids as in the log")
        again = settings.duplicates(plan.roles, "candidate")
        left_out = candidate.table.sample.left_out
    else:
        yield remark(
            0,
            "candidates: no catalogue was given, so that it is what was "
            "interacted with",
        )
        return
    if title:
        yield line(1, "title", title, "shown for a candidate")
    yield from _features(plan.candidate_features, left_out, "beside its id")
    yield line(1, "duplicates", again.value, again.reason)


def _rest(plan: Plan) -> Iterator[str]:
    yield line(0, "model")
    width = settings.embedding_dim(plan.roles)
    yield line(1, "embedding_dim", width.value, width.reason)
    yield ""
    yield line(0, "training")
    yield line(1, "rows", "query", "each with all its interactions")
    yield remark(1, "epochs and temperature follow from the size of the data")
    yield ""
    yield line(0, "index")
    yield line(1, "kind", "auto", "exact for a small catalogue, ScaNN for a large one")
    yield ""
    yield line(0, "evaluation")
    yield line(
        1, "gates", comment="what a model must reach to be pushed; null: nothing"
    )
    k = settings.gate_k(plan.roles)
    yield line(2, "better_than_popularity", True)
    yield line(2, "gate_k", k.value, f"by the first {k.value} {k.reason}")
    yield line(2, "min_recall_at_10", 0.95, "of the index, against exact search")
    yield line(2, "max_p99_ms", 50.0, "a query")


def told(features: Iterable[Feature]) -> dict[str, Any]:
    """Returns what is declared, as JSON-able values."""
    return {f.name: f.declaration for f in features if f.type and f.is_declared}
