# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The queries for BigQuery, run for real: by DuckDB, in its own dialect.

sqlglot reads them as BigQuery's standard SQL and writes them as DuckDB's. What DuckDB
lacks is given to it: FARM_FINGERPRINT, from the same library as BigQuery's.
"""

import datetime
from typing import Any

import duckdb
import farmhash
import numpy as np
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from components import splits
from components.bigquery_example_gen.queries import split_queries
from components.columns import Column, Kind
from serving.errors import UserError

ROWS = 3000
ALL = {"method": "none"}
KEYS = ["user id", "item", "time"]
RANDOM = {
    "method": "random",
    "seed": 3,
    "fractions": {"train": 0.7, "valid": 0.1, "eval": 0.2},
    "keys": KEYS,
}
TIME = {
    "method": "time",
    "timestamp": "time",
    "fractions": {"train": 0.7, "valid": 0.1, "eval": 0.2},
}
WITHIN = {**RANDOM, "method": "within_query", "query": "user id"}
LAST_OUT = {
    "method": "leave_last_out",
    "query": "user id",
    "keys": KEYS,
    "timestamp": "time",
    "valid": True,
}
COLUMNS = [
    Column("user id", Kind.TEXT, required=True),
    Column("item", Kind.TEXT, required=True),
    Column("time", Kind.TIMESTAMP, required=True),
]


def signed_fingerprint(text: str) -> int:
    value = farmhash.fingerprint64(text)
    return value - 2**64 if value >= 2**63 else value


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    """Three thousand rows whose ids are numbers, in a table called shop.sales.log."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.create_function(
        "farm_fingerprint", signed_fingerprint, ["VARCHAR"], "BIGINT"
    )
    connection.execute("ATTACH ':memory:' AS shop; CREATE SCHEMA shop.sales")
    connection.execute(
        'CREATE TABLE shop.sales.log AS SELECT i % 97 AS "user id", '
        "i * 7 % 411 AS item, 1600000000 + (i * 7919) % 5000 AS time "
        f"FROM range({ROWS}) AS numbers(i)"
    )
    return connection


def run(database: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    # What TFX's converter puts around each query to learn the types of its columns.
    database.execute(translate(f"SELECT * FROM ({query}) LIMIT 0"))
    return database.execute(translate(query)).fetchall()


def translate(query: str) -> str:
    (translated,) = sqlglot.transpile(query, read="bigquery", write="duckdb")
    # BigQuery's NUMERIC has 38 digits, DuckDB's DECIMAL 18 unless it is told.
    return translated.replace(" AS DECIMAL)", " AS DECIMAL(38, 9))")


def value_of(database: duckdb.DuckDBPyConnection, column: Column, literal: str) -> Any:
    """What a column holds for one row with a literal of BigQuery."""
    source = f"SELECT {literal} AS `{column.name}`"
    (((value,),),) = (
        run(database, q) for q in split_queries(source, [column], ALL).values()
    )
    return value


@pytest.mark.parametrize("split", [RANDOM, TIME], ids=["random", "time"])
def test_splits_part_all_rows(split, database):
    queries = split_queries("shop.sales.log", COLUMNS, split)
    rows = {name: run(database, query) for name, query in queries.items()}
    assert list(rows) == ["train", "valid", "eval"]
    everything = run(database, split_queries("shop.sales.log", COLUMNS, ALL)["train"])
    assert sorted(sum(rows.values(), [])) == sorted(everything)
    for name, fraction in split["fractions"].items():
        assert len(rows[name]) / ROWS == pytest.approx(fraction, abs=0.03)


def test_a_time_split_cuts_where_sorting_would(database):
    queries = split_queries("shop.sales.log", COLUMNS, TIME)
    train, valid, held_out = (
        [row[2] for row in run(database, query)] for query in queries.values()
    )
    ordered = sorted(train + valid + held_out)
    assert max(train) == ordered[int(0.7 * ROWS) - 1] < min(valid)
    assert max(valid) == ordered[int(0.8 * ROWS) - 1] < min(held_out)


def counted_by_user(
    database: duckdb.DuckDBPyConnection, source: str, split: dict[str, Any]
) -> dict[str, dict[str, list[Any]]]:
    """The distinct rows of each user by split; none is lost and none is in two."""
    queries = split_queries(source, COLUMNS, split)
    rows = {name: run(database, query) for name, query in queries.items()}
    everything = run(database, split_queries(source, COLUMNS, ALL)["train"])
    assert sorted(sum(rows.values(), [])) == sorted(everything)
    found: dict[str, dict[str, list[Any]]] = {}
    for name, own in rows.items():
        for row in sorted(set(own)):
            user = found.setdefault(row[0], {n: [] for n in queries})
            assert not any(row in rows for n, rows in user.items() if n != name)
            user[name].append(row)
    return found


# Of user u there are u rows, the last ones at the same time, and one of them twice.
UNEVEN = (
    "SELECT u AS `user id`, i AS item, LEAST(i, u - 2) AS time "
    "FROM UNNEST(GENERATE_ARRAY(1, 40)) AS u, UNNEST(GENERATE_ARRAY(1, 40)) AS i "
    "WHERE i <= u UNION ALL SELECT 7, 3, 3"
)


def test_a_split_within_queries_gives_each_its_shares(database):
    shares = {"train": 0.43, "eval": 0.57}
    for fractions in (WITHIN["fractions"], shares):
        split = {**WITHIN, "fractions": fractions}
        rules = splits.parse_split(split)
        for user, own in counted_by_user(database, UNEVEN, split).items():
            counts = {name: len(rows) for name, rows in own.items()}
            expected = {
                name: int(count)
                for name, count in rules.held_out(np.array(int(user))).items()
            }
            expected["train"] = int(user) - sum(expected.values())
            assert counts == expected


@pytest.mark.parametrize("valid", [True, False])
def test_the_last_row_of_each_query_is_held_out(valid, database):
    found = counted_by_user(database, UNEVEN, {**LAST_OUT, "valid": valid})
    for user, own in found.items():
        times = {name: [row[2] for row in rows] for name, rows in own.items()}
        if int(user) < 3:
            assert set(map(len, own.values())) == {0, int(user)}
            continue
        assert len(times["eval"]) == 1
        held_out = times["eval"] + times.get("valid", [])
        assert len(held_out) == 1 + valid
        assert max(times["train"]) <= min(held_out)
        assert times["eval"][0] == max(held_out)


def test_a_row_without_a_time_is_not_lost(database):
    source = "SELECT CAST(NULL AS INT64) AS time UNION ALL SELECT 1 UNION ALL SELECT 9"
    split = {**TIME, "fractions": {"train": 0.5, "eval": 0.5}}
    queries = split_queries(source, [COLUMNS[2]], split)
    rows = [sorted(run(database, query), key=str) for query in queries.values()]
    assert rows == [[(1,), (None,)], [(9,)]]


@pytest.mark.parametrize("split", [RANDOM, WITHIN], ids=["random", "within_query"])
def test_a_random_split_is_drawn_anew_by_its_seed_alone(split, database):
    def train(seed: int) -> list[tuple[Any, ...]]:
        queries = split_queries("shop.sales.log", COLUMNS, {**split, "seed": seed})
        return sorted(run(database, queries["train"]))

    assert train(3) == train(3) != train(4)


def test_rows_of_one_key_share_a_split(database):
    split = {**RANDOM, "keys": ["user id"]}
    queries = split_queries("shop.sales.log", COLUMNS, split)
    users = [{row[0] for row in run(database, query)} for query in queries.values()]
    assert sum(map(len, users)) == len(set().union(*users)) == 97


def test_ids_are_text_whatever_they_are_in_the_table(database):
    (row, *_) = run(database, split_queries("shop.sales.log", COLUMNS, ALL)["train"])
    assert row == ("0", "0", 1_600_000_000)


WHEN = datetime.datetime(2020, 9, 13, 12, 26, 40, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("unit", "literal", "seconds"),
    [
        ("s", "1600000000", 1_600_000_000),
        ("s", "'1600000000'", 1_600_000_000),
        ("s", "-1", -1),
        ("ms", "1600000000999", 1_600_000_000),
        ("ms", "-1", -1),
        ("us", "1600000000999999", 1_600_000_000),
        ("s", "TIMESTAMP '2020-09-13 12:26:40+00'", int(WHEN.timestamp())),
        ("s", "DATETIME '2020-09-13 12:26:40'", int(WHEN.timestamp())),
        ("s", "DATE '1970-01-02'", 86_400),
        ("s", "'2020-09-13T12:26:40Z'", int(WHEN.timestamp())),
        ("s", "CAST(NULL AS TIMESTAMP)", None),
        ("s", "' '", None),
    ],
)
def test_a_time_of_any_type_becomes_seconds(unit, literal, seconds, database):
    column = Column("t", Kind.TIMESTAMP, unit=unit)
    assert value_of(database, column, literal) == seconds


def test_a_time_in_a_format_of_its_own(database):
    column = Column("t", Kind.TIMESTAMP, time_format="%d/%m/%Y %H:%M")
    assert value_of(database, column, "'13/09/2020 12:26'") == 1_600_000_000 - 40


@pytest.mark.parametrize(
    ("column", "literal", "value"),
    [
        (Column("c", Kind.NUMBER), "'1.5'", 1.5),
        (Column("c", Kind.NUMBER), "2", 2.0),
        (Column("c", Kind.NUMBER), "''", None),
        (Column("c", Kind.TEXT), "' a b '", "a b"),
        (Column("c", Kind.TEXT), "''", None),
        (Column("c", Kind.TEXT), "7", "7"),
        (Column("c", Kind.TEXTS, separator="|"), "'a| b||'", ["a", "b"]),
        (Column("c", Kind.TEXTS, separator="'"), '"a\'b"', ["a", "b"]),
        (Column("c", Kind.TEXTS, separator="\\"), r"'a\\b'", ["a", "b"]),
        (Column("c", Kind.TEXTS), "['a', '', 'b']", ["a", "b"]),
        (Column("c", Kind.VECTOR, dimensions=2), "[1, 2.5]", [1.0, 2.5]),
    ],
)
def test_columns_become_what_they_are_declared_to_be(column, literal, value, database):
    assert value_of(database, column, literal) == value


def test_what_is_no_number_fails_and_is_not_dropped(database):
    with pytest.raises(duckdb.ConversionException, match="abc"):
        value_of(database, Column("c", Kind.NUMBER), "'abc'")


@settings(max_examples=25, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=3
    )
)
def test_no_separator_breaks_the_query(separator):
    column = Column("c", Kind.TEXTS, separator=separator)
    (query,) = split_queries("a.b.c", [column], ALL).values()
    literals = [
        literal.this
        for literal in sqlglot.parse_one(query, "bigquery").find_all(
            sqlglot.expressions.Literal
        )
    ]
    assert separator in literals


@pytest.mark.parametrize("table", ["p-1.d.t", "`p-1.d.t`", " d.t ", "p.d.events_*"])
def test_a_table_is_read_whole(table):
    (query,) = split_queries(table, COLUMNS, ALL).values()
    assert f"FROM `{table.strip().strip('`')}`" in query


@pytest.mark.parametrize(
    ("source", "split", "sentence"),
    [
        (
            "orders",
            ALL,
            "'orders' is no table or query: give a table as project.dataset.table, or "
            "a query that starts with SELECT or WITH",
        ),
        (
            "DROP TABLE x",
            ALL,
            "'DROP TABLE x' is no table or query: give a table as "
            "project.dataset.table, or a query that starts with SELECT or WITH",
        ),
        (
            "SELECT 1 AS x;",
            ALL,
            "the query ends with ';': leave that out",
        ),
        (
            "a.b.c",
            {"method": "shuffle", "seed": 1, "counts": {"train": 1, "eval": 1}},
            "split.method shuffle goes by the order of a TFDS dataset; choose another "
            "one for BigQuery",
        ),
    ],
)
def test_what_cannot_be_asked_is_told(source, split, sentence):
    with pytest.raises(UserError) as error:
        split_queries(source, COLUMNS, split)
    assert str(error.value) == sentence
