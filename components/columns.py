# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from a source: columns, and the type that each is declared to have.

What a column becomes is declared, never guessed from its values: an id that looks like
a number stays text in every file of a source.
"""

import dataclasses
import difflib
import enum
import json
from collections.abc import Sequence
from typing import Any

from serving.errors import UserError

_MAX_NAMED = 20

WEIGHT_FEATURE = "interaction_weight"
"""Feature with what an interaction counts in the loss; it is computed."""


class Kind(enum.Enum):
    """What a column holds, and so its type in a tf.Example."""

    TEXT = "text"
    """One string (bytes)."""
    TEXTS = "texts"
    """Any number of strings (bytes)."""
    NUMBER = "number"
    """One number (float)."""
    TIMESTAMP = "timestamp"
    """One instant, whole seconds since 1970 UTC (int64)."""
    VECTOR = "vector"
    """As many numbers in every row (float)."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that is read from a source."""

    name: str
    kind: Kind
    required: bool = False
    """Whether every row must have a value."""
    separator: str | None = None
    """Between the values of a text that holds several; None: a list, or one value."""
    unit: str = "s"
    """Of whole-number timestamps."""
    time_format: str | None = None
    """Of timestamps as text, as strptime takes it; None: ISO 8601, or a number."""
    dimensions: int = 0
    """Length of vectors."""

    def to_json(self) -> dict[str, Any]:
        """Returns the column as JSON-able values."""
        return {**dataclasses.asdict(self), "kind": self.kind.value}


def dump_columns(columns: Sequence[Column]) -> str:
    """Returns columns as JSON, the same for equal columns."""
    return json.dumps([column.to_json() for column in columns], sort_keys=True)


def load_columns(text: str) -> list[Column]:
    """Reads what `dump_columns` wrote."""
    return [
        Column(**{**values, "kind": Kind(values["kind"])})
        for values in json.loads(text)
    ]


def check_names(columns: Sequence[Column], found: Sequence[str], where: str) -> None:
    """Refuses a source that lacks a column or names one twice.

    Raises:
        UserError: It names the column and what there is instead.
    """
    for column in columns:
        count = found.count(column.name)
        if count > 1:
            raise UserError(
                f"{where} has {count} columns of the name {column.name!r}: give each "
                "a name of its own"
            )
        if not count:
            raise UserError(f"{where} {_missing(column.name, found)}")


def _missing(name: str, found: Sequence[str]) -> str:
    """Says that a column is not there, and which one is like it or what there is."""
    near = difflib.get_close_matches(name, found, 1, 0.75)
    there = [repr(one) for one in found[:_MAX_NAMED]]
    if len(found) > _MAX_NAMED:
        there.append(f"and {len(found) - _MAX_NAMED} more")
    return (
        f"has no column {name!r}; "
        + (f"did you mean {near[0]!r}? It" if near else "it")
        + f" has {', '.join(there) or 'none'}: mend the name in the config or in the "
        "file"
    )
