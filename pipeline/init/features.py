# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Guesses how a tower reads a column, and says why; or why it had better not."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import feature_columns
from pipeline.init import names
from pipeline.init.profile import Profile, fits
from pipeline.init.tables import Table
from trainer.feature_config import load_features

_SEPARATORS = ("|", ";", ",", "/", " ")
_CHECKED_ROWS = 20_000
_FEW = 32
"""Whole numbers with at most so many values, each often, are rather categories."""
_RARE = 0.5
"""Share of distinct values from which a value says hardly more than the id."""
_OTHERS = 20
"""Rows with another than the most frequent value below which a column is constant."""
_SKEWED = 10
"""How far the 99th percentile is above the median where a logarithm helps."""


@dataclasses.dataclass(frozen=True)
class Feature:
    """A column and what to make of it."""

    name: str
    reason: str
    type: str | None = None
    """None: no feature."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_declared: bool = True
    """False: proposed in a comment only."""

    @property
    def declaration(self) -> Any:
        """What the config says."""
        return {"type": self.type, **self.options} if self.options else self.type

    def proposed(self, reason: str) -> "Feature":
        """Returns it as a proposal, for this reason."""
        return dataclasses.replace(
            self, reason=f"{self.reason}; {reason}", is_declared=False
        )


def guess(table: Table, name: str) -> Feature:
    """Guesses how to read a column; what the pipeline could not read is left out."""
    column = table.columns[name]
    for rule in _RULES:
        if found := rule(table, column):
            break
    if found.type is None:
        return found
    feature = load_features({name: found.declaration})[name]
    (declared,) = feature_columns(name, feature)
    if not fits(column.array[:_CHECKED_ROWS], declared):
        return Feature(name, f"{found.reason}, but not in every row")
    return found


def _of(column: Profile) -> str:
    """Counts values."""
    return f"{column.distinct:,} values in {column.rows:,} rows"


def _empty(table: Table, column: Profile) -> Feature | None:
    if not column.present:
        return Feature(column.name, f"no value in {column.rows:,} rows")
    if column.distinct == 1 and not column.is_list:
        share = "every row" if not column.missing else f"{column.present:,} rows"
        return Feature(column.name, f"always {_short(column.values[0])} in {share}")
    others = column.present - int(column.counts.max())
    if not column.is_list and others < min(_OTHERS, 0.01 * column.present):
        # They may all be held out; what is left is constant.
        reason = f"always {_short(column.most_frequent(1)[0])} but in {others:,} rows"
        return Feature(column.name, reason)
    return None


def _short(value: str) -> str:
    value = " ".join(value.split())
    return repr(value if len(value) <= 30 else value[:27] + "...")


def _list(table: Table, column: Profile) -> Feature | None:
    if not column.is_list:
        return None
    assert column.lengths is not None
    lengths = column.lengths[column.lengths > 0]
    if pa.types.is_floating(column.array.type.value_type):
        if lengths.min() != lengths.max():
            return Feature(column.name, "lists of numbers, not all of one length")
        size = int(lengths[0])
        return Feature(
            column.name, f"{size} numbers a row", "embedding", {"dimensions": size}
        )
    if column.distinct > _RARE * lengths.sum():
        return Feature(column.name, f"lists of {_of(column)}, most of them rare")
    reason = (
        f"lists, {lengths.mean():.1f} long on average, of {column.distinct:,} values"
    )
    return Feature(column.name, reason, "categories")


def _vector(table: Table, column: Profile) -> Feature | None:
    """Finds vectors written as text."""
    texts = column.spread_values[:200]
    for separator in (",", " ", ";", "|"):
        rows = [text.strip("[] ").split(separator) for text in texts]
        sizes = {len(row) for row in rows}
        if len(sizes) != 1 or min(sizes) < 3:
            continue
        if all(_is_decimal(part) for row in rows for part in row):
            size = sizes.pop()
            options: dict[str, Any] = {"dimensions": size}
            if separator != ",":
                options["separator"] = separator
            return Feature(column.name, f"{size} numbers a row", "embedding", options)
    if all(re.fullmatch(r"[\[{(].*[\]})]", text, re.DOTALL) for text in texts):
        return Feature(column.name, "lists or objects in one text; part them first")
    return None


def _is_decimal(text: str) -> bool:
    return bool(re.fullmatch(r"\s*-?\d*\.?\d+([eE][+-]?\d+)?\s*", text))


def _flag(table: Table, column: Profile) -> Feature | None:
    if column.is_flag:
        return Feature(column.name, f"yes or no, in {column.rows:,} rows", "category")
    return None


def _time(table: Table, column: Profile) -> Feature | None:
    form = table.instants.get(column.name)
    if not form:
        return None
    options = {"unit": form.unit} if form.unit != "s" else {}
    if form.format:
        options["format"] = form.format
    return Feature(column.name, form.reason, "timestamp", options)


def _number(table: Table, column: Profile) -> Feature | None:
    if column.numbers is None or column.is_coded:
        return None
    if names.is_id_name(column.name):
        return _category_or_nothing(column, "id")
    is_often = column.present / column.distinct >= 20
    if column.is_whole and column.distinct <= _FEW and is_often:
        return Feature(column.name, _of(column), "category")
    known = column.known_numbers
    reason = f"numbers from {known.min():g} to {known.max():g}"
    middle, high = column.quantile(0.5), column.quantile(0.99)
    if known.min() >= 0 and high > _SKEWED * max(middle, 1e-9) and high > 1:
        reason += f", half of them up to {middle:g}"
        return Feature(column.name, reason, "number", {"log": True})
    return Feature(column.name, reason, "number")


def _categories(table: Table, column: Profile) -> Feature | None:
    for separator in _SEPARATORS:
        if found := _separated(column, separator):
            return found
    return None


def _separated(column: Profile, separator: str) -> Feature | None:
    """Takes a text apart where its parts are few and come again and again."""
    texts = column.spread_values
    split = [[part.strip() for part in text.split(separator)] for text in texts]
    if np.mean([len(parts) > 1 for parts in split]) < 0.1:
        return None
    parts = [part for row in split for part in row if part]
    kinds = set(parts)
    # A blank stands in names too: New York is one value.
    least, most_kinds = (20, 0.2) if separator in " /" else (4, 0.9)
    if len(kinds) > most_kinds * len(texts) or len(parts) < least * len(kinds):
        return None
    if np.mean([len(part.split()) for part in kinds]) > 3:
        return None
    shown = "blanks" if separator == " " else separator
    reason = (
        f"{len(kinds):,} values between {shown}, {len(parts) / len(texts):.1f} a row"
    )
    return Feature(column.name, reason, "categories", {"separator": separator})


def _text(table: Table, column: Profile) -> Feature | None:
    """Finds prose: several words, hardly ever the same."""
    many = column.words >= 3 and column.uniqueness > 0.2
    some = column.words >= 1.3 and column.uniqueness > _RARE
    if not (many or some) or _is_address(column):
        return None
    reason = f"{column.distinct:,} texts of {column.words:.1f} words on average"
    return Feature(column.name, reason, "text")


def _is_address(column: Profile) -> bool:
    return any(
        "://" in value or value.startswith("www.") for value in column.values[:20]
    )


def _rest(table: Table, column: Profile) -> Feature:
    kind = "id" if names.is_id_name(column.name) else "category"
    return _category_or_nothing(column, kind)


def _category_or_nothing(column: Profile, kind: str) -> Feature:
    if column.uniqueness > _RARE:
        return Feature(
            column.name, f"{_of(column)}: too rare to learn anything about each"
        )
    return Feature(column.name, _of(column), kind)


_RULES: tuple[Callable[[Table, Profile], Any], ...] = (
    _empty,
    _list,
    _flag,
    _time,
    _number,
    _vector,
    _categories,
    _text,
    _rest,
)
