# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes one query of BigQuery's standard SQL for each split of a source.

The work of typing and splitting is BigQuery's: each query selects the declared columns
as the types that they are declared to have, and the rows of its own split.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from components import splits
from components.columns import Column, Kind
from components.conversion import UNITS_PER_SECOND
from serving.errors import UserError

_TABLE = re.compile(r"`?[\w-]+(\.[\w-]+){1,2}\*?`?")
_HASH_RANGE = 2**32


def split_queries(
    source: str, columns: Sequence[Column], split: Mapping[str, Any]
) -> dict[str, str]:
    """Returns a query for each split, by its name.

    A random split goes by FARM_FINGERPRINT of the keys' texts and the seed, so that it
    is another one than that of files, but the same in every run; so does what is drawn
    within queries. A time split cuts exactly at quantiles of the timestamp; rows of
    one timestamp share a split.

    Args:
        source: A table, as project.dataset.table, or a query.
        columns: What to select.
        split: See `splits.parse_split`.

    Raises:
        UserError: The source is a dataset or has a trailing semicolon, or the split is
            `shuffle`, which goes by an order that a table does not have.
    """
    parsed = splits.parse_split(split)
    rows = f"WITH source AS (\n  {rows_query(source)}\n)"
    typed = ",\n  ".join(f"{_typed(column)} AS {_name(column)}" for column in columns)
    typed_rows = f"{rows},\nrow_data AS (\n  SELECT\n  {typed}\n  FROM source\n)"
    if isinstance(parsed, splits.NoSplit):
        return {parsed.names[0]: f"{typed_rows}\nSELECT * FROM row_data"}
    if isinstance(parsed, splits.RandomSplit):
        return _random(typed_rows, parsed)
    if isinstance(parsed, splits.QuerySplit):
        return _within_queries(typed_rows, columns, parsed)
    if isinstance(parsed, splits.TimeSplit):
        return _by_time(typed_rows, parsed)
    raise UserError(
        "split.method shuffle goes by the order of a TFDS dataset; choose another one "
        "for BigQuery"
    )


def rows_query(source: str) -> str:
    """Returns a query for all rows of a table or query."""
    text = source.strip()
    if _TABLE.fullmatch(text):
        return f"SELECT * FROM `{text.strip('`')}`"
    if not re.match(r"(?i)(select|with)\b", text):
        raise UserError(
            f"{source!r} is no table or query: give a table as project.dataset.table, "
            "or a query that starts with SELECT or WITH"
        )
    if text.endswith(";"):
        raise UserError("the query ends with ';': leave that out")
    return text


def _name(column: Column) -> str:
    return f"`{column.name}`"


def _text(value: str) -> str:
    """Returns a text as a literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _trimmed(expression: str) -> str:
    """Returns a value as text without blanks around it, NULL where nothing is left."""
    return f"NULLIF(TRIM(CAST({expression} AS STRING)), '')"


def _typed(column: Column) -> str:
    """Returns the expression that gives a column its declared type."""
    name = _name(column)
    if column.kind == Kind.TEXT:
        return _trimmed(name)
    if column.kind == Kind.NUMBER:
        return f"CAST({_trimmed(name)} AS FLOAT64)"
    if column.kind == Kind.TIMESTAMP:
        return _seconds(column)
    if column.kind == Kind.VECTOR:
        return f"ARRAY(SELECT CAST(value AS FLOAT64) FROM UNNEST({name}) AS value)"
    values = name
    if column.separator is not None:
        values = f"SPLIT(CAST({name} AS STRING), {_text(column.separator)})"
    return (
        f"ARRAY(SELECT {_trimmed('value')} FROM UNNEST({values}) AS value "
        f"WHERE {_trimmed('value')} IS NOT NULL)"
    )


def _seconds(column: Column) -> str:
    """Returns whole seconds since 1970 of a number, a text, or a time of any type."""
    text = _trimmed(_name(column))
    if column.time_format:
        return f"UNIX_SECONDS(PARSE_TIMESTAMP({_text(column.time_format)}, {text}))"
    units = UNITS_PER_SECOND[column.unit]
    # Rounded down, before 1970 too.
    number = f"CAST(FLOOR(SAFE_CAST({text} AS NUMERIC) / {units}) AS INT64)"
    is_number = f"SAFE_CAST({text} AS NUMERIC) IS NOT NULL"
    return f"IF({is_number}, {number}, UNIX_SECONDS(CAST({text} AS TIMESTAMP)))"


def _fingerprint(seed: int, keys: Sequence[str]) -> str:
    """Returns the expression of a hash of some columns."""
    # Each value with its length, so that no two keys are written alike.
    texts = ", ".join(
        f"CAST(LENGTH(IFNULL(CAST(`{key}` AS STRING), '')) AS STRING), ':', "
        f"IFNULL(CAST(`{key}` AS STRING), '')"
        for key in keys
    )
    return f"FARM_FINGERPRINT(CONCAT('{seed}:', {texts}))"


def _random(rows: str, split: splits.RandomSplit) -> dict[str, str]:
    fingerprint = _fingerprint(split.seed, split.columns)
    number = f"MOD(MOD({fingerprint}, {_HASH_RANGE}) + {_HASH_RANGE}, {_HASH_RANGE})"
    ends = [round(end * _HASH_RANGE) for end in splits.upper_ends(split.fractions)]
    return {
        name: f"{rows}\nSELECT * FROM row_data\n"
        f"WHERE {number} BETWEEN {begin} AND {end - 1}"
        for name, begin, end in zip(split.names, [0, *ends], ends, strict=False)
    }


def _within_queries(
    rows: str, columns: Sequence[Column], split: splits.QuerySplit
) -> dict[str, str]:
    """Counts the interactions of each query from the end; see `splits`."""
    order = f"{_fingerprint(split.seed, split.keys)} DESC"
    if isinstance(split, splits.LeaveLastOutSplit):
        order = f"`{split.timestamp}` DESC, {order}"
    query, place, count = f"`{split.query}`", "split_place", "split_count"
    placed = (
        f"{rows},\nplaced AS (\n  SELECT *, DENSE_RANK() OVER "
        f"(PARTITION BY {query} ORDER BY {order}) AS {place}\n  FROM row_data\n),\n"
        f"counted AS (\n  SELECT *, MAX({place}) OVER "
        f"(PARTITION BY {query}) AS {count}\n  FROM placed\n)"
    )
    names = ", ".join(map(_name, columns))
    begin, conditions = "0", {}
    for name, held_out in _held_out(split, count).items():
        end = f"{begin} + {held_out}"
        conditions[name] = f"{place} > {begin} AND {place} <= {end}"
        begin = end
    conditions["train"] = f"{place} > {begin}"
    return {
        name: f"{placed}\nSELECT {names} FROM counted\nWHERE {conditions[name]}"
        for name in split.names
    }


def _held_out(split: splits.QuerySplit, count: str) -> dict[str, str]:
    """Returns `held_out` of the split as expressions of the number of interactions."""
    enough = f"{count} >= {splits.MIN_INTERACTIONS}"
    taken, result = "1", {}
    for name in reversed(split.names[1:]):
        number = "1"
        if isinstance(split, splits.WithinQuerySplit):
            share = split.fractions[split.names.index(name)]
            floor = f"CAST(FLOOR({share!r} * {count} + {splits.ROUNDING!r}) AS INT64)"
            number = f"LEAST(GREATEST({floor}, 1), {count} - ({taken}))"
        taken += f" + {number}"
        result[name] = f"IF({enough}, {number}, 0)"
    return result


def _by_time(rows: str, split: splits.TimeSplit) -> dict[str, str]:
    time = f"`{split.timestamp}`"
    bounds = [
        f"(SELECT DISTINCT PERCENTILE_DISC({time}, {end}) OVER () FROM row_data)"
        for end in splits.upper_ends(split.fractions)[:-1]
    ]
    conditions = [
        " AND ".join(
            [
                *([f"{time} > {low}"] if low else []),
                *([f"{time} <= {high}"] if high else []),
            ]
        )
        for low, high in zip([None, *bounds], [*bounds, None], strict=True)
    ]
    # A row without a time is in the first split, so that it is found and told.
    conditions[0] = f"({conditions[0]}) OR {time} IS NULL"
    return {
        name: f"{rows}\nSELECT * FROM row_data\nWHERE {condition}"
        for name, condition in zip(split.names, conditions, strict=True)
    }
