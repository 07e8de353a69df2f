# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the guesses together: everything that the config will say, and why."""

import dataclasses
import os
import re
from collections.abc import Iterable

from pipeline.init import later, names, settings, signals
from pipeline.init.features import Feature, guess
from pipeline.init.questions import Asker
from pipeline.init.roles import Id, Options, Roles, assign
from pipeline.init.settings import Setting
from pipeline.init.signals import Signals
from pipeline.init.tables import Table

_AFTER = "it may be known only after the interaction: take it in if a request knows it"
_GENERIC = frozenset(
    "data dataset datasets input inputs csv files tmp raw home downloads out".split()
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the config will say."""

    roles: Roles
    signals: Signals
    session: Setting
    """Whether the query is a session."""
    log_features: list[Feature]
    query_features: list[Feature]
    """Of the table of queries."""
    candidate_features: list[Feature]
    catalogue_is_log: bool
    """Whether what is known of candidates stands in the log itself."""

    @property
    def history(self) -> str | None:
        """The name of the history feature, for sessions."""
        if not self.session.value:
            return None
        used = {*self.roles.log.columns, *(f.name for f in self.query_features)}
        return next(
            n for n in ("history", "recent", "last_candidates") if n not in used
        )


def make(tables: dict[str, Table], options: Options, asker: Asker) -> Plan:
    """Decides everything.

    Args:
      tables: By path, in the order of the command.
      options: What the command says already.
      asker: Decides what is left open.

    Raises:
      UserError: Something can't be told, or an option is wrong.
    """
    roles = assign(tables, options, asker)
    found = signals.find(roles, options, asker)
    roles, found = _with_names(roles, found)
    session = settings.is_session(roles, found)
    catalogue_is_log = roles.candidate.table is None and (
        found.title is not None or "candidate" in found.belonging.values()
    )
    log, query, candidate = roles.log, roles.query, roles.candidate
    log_features = _told_apart(
        [
            _log_feature(roles, found, name)
            for name in log.columns
            if _is_free(roles, found, name)
        ],
        [query.column],
    )
    query_features = [
        later.checked(log, query, feature) for feature in _table_features(query)
    ]
    return Plan(
        roles,
        found,
        session,
        log_features,
        _told_apart(query_features, _read_of_log(roles, found, log_features)),
        _told_apart(
            _candidate_features(roles, found)
            if catalogue_is_log
            else _table_features(candidate),
            [candidate.key or candidate.column],
        ),
        catalogue_is_log,
    )


def _read_of_log(roles: Roles, found: Signals, features: list[Feature]) -> list[str]:
    """Returns the names of the log's columns that the config declares."""
    value = found.value.column if found.value else None
    parts = [found.timestamp, value, found.event]
    ids = [roles.query.column, roles.candidate.column]
    declared = [f.name for f in features if f.is_declared and f.type]
    return [*ids, *declared, *(part for part in parts if part)]


def _candidate_features(roles: Roles, found: Signals) -> list[Feature]:
    """Reads what the log says of candidates, a row each."""
    catalogue = roles.log.one_row_each(roles.candidate.column)
    return [
        guess(catalogue, name)
        for name, side in found.belonging.items()
        if side == "candidate" and name != found.timestamp
    ]


def _table_features(one: Id) -> list[Feature]:
    if one.table is None:
        return []
    return [guess(one.table, name) for name in one.table.columns if name != one.key]


def _told_apart(features: list[Feature], taken: Iterable[str]) -> list[Feature]:
    """Leaves out what has a name that is taken, for which letter case does not count.

    Args:
      features: Of one source.
      taken: Names that are in use.
    """
    seen = {name.lower(): name for name in taken}
    result = []
    for feature in features:
        other = seen.get(feature.name.lower())
        if feature.type and other:
            reason = f"{other} is in use already; rename one"
            feature = dataclasses.replace(feature, type=None, reason=reason)
        if feature.type and feature.is_declared:
            seen[feature.name.lower()] = feature.name
        result.append(feature)
    return result


def _is_free(roles: Roles, found: Signals, name: str) -> bool:
    """Tells whether a column of the log has no other part to play."""
    parts = {roles.query.column, roles.candidate.column, found.timestamp, found.event}
    return name not in parts and not (found.value and found.value.column == name)


def _log_feature(roles: Roles, found: Signals, name: str) -> Feature:
    """Decides whether a column of the log is known before the interaction."""
    column = roles.log.columns[name]
    side = found.belonging.get(name)
    if side == "candidate":
        return Feature(name, "it goes with the candidate, not with the query")
    queries = roles.query.table
    if queries and name in queries.columns:
        return Feature(name, f"taken from {os.path.basename(queries.path)}")
    feature = guess(roles.log, name)
    if not feature.type:
        return feature
    is_outcome = names.hints(name, names.OUTCOME | names.LABEL) or column.is_list
    if side == "query" and not is_outcome:
        reason = f"{feature.reason}, the same in all rows of a query"
        feature = dataclasses.replace(feature, reason=reason)
        return later.checked(roles.log, Id(name, "", roles.log, ""), feature)
    is_context = names.hints(name, names.CONTEXT) and not is_outcome
    if is_context and feature.type == "category":
        return feature
    return feature.proposed(_AFTER)


def _with_names(roles: Roles, found: Signals) -> tuple[Roles, Signals]:
    """Gives the columns of files without a header names that say what they are."""
    parts = {
        found.timestamp: "timestamp",
        found.value.column if found.value else None: "value",
        found.event: "event",
        roles.query.column: "user_id",
        roles.candidate.column: "item_id",
    }
    if roles.candidate.table is None:
        parts[found.title] = "title"
    new = {old: name for old, name in parts.items() if old is not None}
    has_names = roles.log.sample.has_names
    if not has_names:
        value = found.value and dataclasses.replace(found.value, column="value")
        found = dataclasses.replace(
            found,
            timestamp=found.timestamp and "timestamp",
            value=value,
            event=found.event and "event",
            belonging={new.get(n, n): side for n, side in found.belonging.items()},
        )
        if roles.candidate.table is None and found.title:
            found = dataclasses.replace(found, title="title")
    log = roles.log if has_names else roles.log.renamed(new)
    candidate, title = _id_with_name(roles.candidate, "item_id", has_names, found.title)
    query, _ = _id_with_name(roles.query, "user_id", has_names, None)
    return Roles(log, query, candidate), dataclasses.replace(found, title=title)


def _id_with_name(
    one: Id, name: str, log_has_names: bool, title: str | None
) -> tuple[Id, str | None]:
    """Renames an id and the title of its table, where their files have no header."""
    column = one.column if log_has_names else name
    if one.table is None or one.table.sample.has_names:
        return dataclasses.replace(one, column=column), title
    new = {one.key: name}
    if title:
        new[title] = "title"
    table = one.table.renamed(new)
    return Id(column, one.reason, table, name), title and "title"


def pipeline_name(log: Table, output: str | None) -> str:
    """Returns a name: of the config, else of the log's folder, else of the log."""
    folder = os.path.basename(os.path.dirname(os.path.abspath(log.path)))
    stems = [log.sample.files.stem, "recommender"]
    if folder.lower() not in _GENERIC and not re.search(r"[*?{]", folder):
        stems.insert(0, folder)
    if output:
        stems.insert(0, os.path.splitext(os.path.basename(output))[0])
    slugs = (re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") for stem in stems)
    return next(slug for slug in slugs if slug)
