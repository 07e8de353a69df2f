# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""From the files and options of a command to a config on disk."""

import dataclasses
import os
import shlex
import tempfile
from typing import Any

from components.conversion import BadValue, convert
from pipeline.config import PipelineConfig, columns_of, load_config
from pipeline.init import writer
from pipeline.init.plan import Plan, make, pipeline_name
from pipeline.init.questions import Asker, Undecided
from pipeline.init.roles import Options
from pipeline.init.tables import Table, load
from serving.errors import UserError

_CHECKED_ROWS = 100_000
_WIDTH = 18


@dataclasses.dataclass(frozen=True)
class Created:
    """A config that was written."""

    path: str
    name: str
    plan: Plan

    @property
    def next_command(self) -> str:
        """What to type next."""
        return f"shortlist run {shlex.quote(self.path)}"

    def as_json(self) -> dict[str, Any]:
        """Returns what was chosen as JSON-able values."""
        plan, found = self.plan, self.plan.signals
        roles = plan.roles
        return {
            "config": self.path,
            "name": self.name,
            "read": [writer.how_much(table) for table in writer.read_tables(plan)],
            "interactions": roles.log.path,
            "candidates": _path(roles.candidate.table),
            "queries": _path(roles.query.table),
            "query_id": roles.query.column,
            "candidate_id": roles.candidate.column,
            "timestamp": found.timestamp,
            "value": found.value.column if found.value else None,
            "event": found.event,
            "title": found.title,
            "features": {
                "interactions": writer.told(plan.log_features),
                "queries": writer.told(plan.query_features),
                "candidates": writer.told(plan.candidate_features),
            },
            "left_out": self.left_out,
            "next": self.next_command,
        }

    @property
    def left_out(self) -> dict[str, str]:
        """Columns that no feature is made of, and why."""
        plan = self.plan
        every = [*plan.log_features, *plan.query_features, *plan.candidate_features]
        declared = {f.name for f in every if f.type and f.is_declared}
        return {f.name: f.reason for f in every if f.name not in declared}

    def as_text(self) -> str:
        """Returns a short summary."""
        plan, found = self.plan, self.plan.signals
        roles = plan.roles
        rows = [
            ("read", "; ".join(map(writer.how_much, writer.read_tables(plan)))),
            ("who", f"{roles.query.column}: {roles.query.reason}"),
            ("what", f"{roles.candidate.column}: {roles.candidate.reason}"),
        ]
        if found.timestamp and found.times:
            rows.append(("when", f"{found.timestamp}: {found.times.reason}"))
        if found.value:
            rows.append(("value", f"{found.value.column}: {found.value.reason}"))
        if found.event:
            rows.append(("event", found.event))
        if found.title:
            rows.append(("title", found.title))
        for side, features in (
            ("query", [*plan.log_features, *plan.query_features]),
            ("candidate", plan.candidate_features),
        ):
            declared = writer.told(features)
            if declared:
                rows.append(
                    (
                        f"of the {side}",
                        ", ".join(
                            f"{name} ({_type(value)})"
                            for name, value in declared.items()
                        ),
                    )
                )
        if self.left_out:
            rows.append(("left out", ", ".join(self.left_out)))
        lines = [f"{label:<{_WIDTH}}{text}" for label, text in rows]
        written = f"wrote {self.path}; its comments give the reasons. Next:"
        return "\n".join([*lines, "", written, f"  {self.next_command}"])


def _path(table: Table | None) -> str | None:
    return table.path if table else None


def _type(declaration: Any) -> str:
    return declaration["type"] if isinstance(declaration, dict) else declaration


def create(
    options: Options, asker: Asker, output: str | None, name: str | None, force: bool
) -> Created:
    """Writes a config for some files.

    Args:
      options: What the command says of them.
      asker: Decides what it leaves open.
      output: Path of the config; None: the name, in the working folder.
      name: Of the pipeline; None: from the output or the log's folder.
      force: Whether to write over an existing config.

    Returns:
      The config, which loads and with which the sample can be read.

    Raises:
      UserError: A file can't be read, a choice can't be made, or the config is there.
    """
    if not options.files:
        raise Undecided("no file is given; name the log, and the catalogue if any")
    if output:
        _refuse_existing(output, force)
    tables = {path: load(path) for path in options.files}
    new = {
        old: name
        for table in tables.values()
        for old, name in table.sample.source.get("rename", {}).items()
    }
    plan = make(tables, options.renamed(new), asker)
    name = name or pipeline_name(plan.roles.log, output)
    path = output or asker.text("Where to write the config?", f"{name}.yaml")
    _refuse_existing(path, force)
    text = writer.write(plan, name, os.path.dirname(path) or ".")
    _put(path, text, plan)
    return Created(path, name, plan)


def _refuse_existing(path: str, force: bool) -> None:
    if os.path.exists(path) and not force:
        raise UserError(
            f"{path} is there already; choose another -o, or give --force to write "
            "over it"
        )


def _put(path: str, text: str, plan: Plan) -> None:
    """Writes a config whole, once it loads and the sample can be read by it."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        file = tempfile.NamedTemporaryFile(
            "w", dir=folder, suffix=".yaml", delete=False, encoding="utf-8"
        )
    except OSError as error:
        raise UserError(
            f"can't write {path} ({error.strerror}); choose another -o"
        ) from None
    try:
        with file:
            file.write(text)
        try:
            config = load_config(file.name)
        except UserError as error:
            # It names a file that will be gone.
            raise UserError(str(error).replace(file.name, path)) from None
        _check(config, plan)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    finally:
        if os.path.exists(file.name):
            os.remove(file.name)


def _check(config: PipelineConfig, plan: Plan) -> None:
    """Reads the sample as the pipeline would.

    Raises:
      UserError: A value does not fit its column.
    """
    roles = plan.roles
    catalogue = roles.log if plan.catalogue_is_log else roles.candidate.table
    for part, table in (
        (config.interactions, roles.log),
        (config.queries, roles.query.table),
        (config.candidates, catalogue),
    ):
        if part is None or table is None:
            continue
        columns = columns_of(part)
        last = max(0, table.rows - _CHECKED_ROWS)
        for start in dict.fromkeys((0, last)):
            arrays = {
                c.name: table.sample.columns[c.name].slice(start, _CHECKED_ROWS)
                for c in columns
            }
            try:
                convert(arrays, columns)
            except BadValue as bad:
                raise UserError(
                    f"{table.path}: column {bad.column!r} {bad.problem}"
                ) from None
