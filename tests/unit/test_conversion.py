# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What values of any source become, against plain Python."""

import datetime
import decimal
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.columns import Column, Kind, dump_columns, load_columns
from components.conversion import BadValue, convert

UTC = datetime.timezone.utc
NOON = datetime.datetime(2021, 3, 4, 12, 0, 0)
NOON_S = int(NOON.replace(tzinfo=UTC).timestamp())


def converted(values: Any, kind: Kind, **options: Any) -> list[list[Any] | None]:
    """What a column of one batch becomes."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    batch = convert({"c": array}, [Column("c", kind, **options)])
    (result,) = batch.columns
    numbers = {Kind.TIMESTAMP: pa.int64(), Kind.NUMBER: pa.float32()}
    numbers[Kind.VECTOR] = pa.float32()
    assert result.type == pa.large_list(numbers.get(kind, pa.large_binary()))
    return result.to_pylist()


def refused(values: Any, kind: Kind, **options: Any) -> BadValue:
    with pytest.raises(BadValue) as error:
        converted(values, kind, **options)
    assert error.value.column == "c"
    return error.value


# Text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["007", "7", "1e3", "true", "null"], [b"007", b"7", b"1e3", b"true", b"null"]),
        ([" a ", "é\t"], [b"a", "é".encode()]),
        (["", "  ", None], [None, None, None]),
        ([7, None, -1], [b"7", None, b"-1"]),
        ([7.0, None, math.nan], [b"7", None, None]),
        ([2.0**53], [b"9007199254740992"]),
        ([b"raw", b""], [b"raw", None]),
        ([True, False], [b"true", b"false"]),
        ([decimal.Decimal("1.50")], [b"1.50"]),
        ([["a"], [], None], [b"a", None, None]),
        (pa.array(["x", None, "x"]).dictionary_encode(), [b"x", None, b"x"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_text(values, expected):
    wanted = [None if value is None else [value] for value in expected]
    assert converted(values, Kind.TEXT) == wanted


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=20))
def test_whole_numbers_are_their_digits(values):
    expected = [None if v is None else [str(v).encode()] for v in values]
    assert converted(pa.array(values, pa.int64()), Kind.TEXT) == expected


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8")))))
def test_text_is_trimmed_and_otherwise_as_it_is(values):
    # Arrow and Python agree on what a blank is but for these.
    odd = "\x1c\x1d\x1e\x1f\x85"
    values = [v and "".join(c for c in v if c not in odd) for v in values]
    found = converted(pa.array(values, pa.string()), Kind.TEXT)
    for value, row in zip(values, found, strict=True):
        trimmed = value.strip() if value else ""
        assert row == ([trimmed.encode()] if trimmed else None)


def test_a_fraction_is_no_id():
    bad = refused([1.0, None, 2.5], Kind.TEXT)
    assert bad.row == 2
    assert str(bad) == (
        "holds 2.5, but ids and categories are text or whole numbers: declare it as a "
        "number or mend the value"
    )


def test_bytes_must_be_utf_8():
    assert refused([b"ok", None, b"\xff"], Kind.TEXT).row == 2


def test_one_value_is_one_value():
    bad = refused([["a"], ["b", "c"]], Kind.TEXT)
    assert (bad.row, str(bad)) == (
        1,
        "holds 2 values where one is wanted: mend the row, or declare a feature as "
        "categories",
    )


def test_a_required_value_must_be_there():
    bad = refused(["a", " ", "b"], Kind.TEXT, required=True)
    assert (bad.row, str(bad)) == (1, "has no value: fill it in or remove the row")


# Texts


@pytest.mark.parametrize(
    ("values", "separator", "expected"),
    [
        (["a|b", "c", "", None], "|", [[b"a", b"b"], [b"c"], None, None]),
        ([" a | |b ", "||"], "|", [[b"a", b"b"], None]),
        (["a, b"], None, [[b"a, b"]]),
        (["a.*b"], ".*", [[b"a", b"b"]]),
        ([["a", "b "], []], None, [[b"a", b"b"], None]),
        ([None, [None, "c"]], None, [None, [b"c"]]),
        ([[1, 2], [3]], "|", [[b"1", b"2"], [b"3"]]),
        ([3, None], "|", [[b"3"], None]),
    ],
)  # fmt: skip
def test_texts(values, separator, expected):
    assert converted(values, Kind.TEXTS, separator=separator) == expected


@given(st.lists(st.lists(st.text("abé;", max_size=3), max_size=4), max_size=8))
def test_texts_equal_splitting_in_python(rows):
    lines = [";".join(row) for row in rows]
    expected = [[p.encode() for p in line.split(";") if p] or None for line in lines]
    found = converted(pa.array(lines, pa.string()), Kind.TEXTS, separator=";")
    assert found == expected


def test_a_bad_value_in_a_list_is_told_by_its_row():
    assert refused([[1.0], [2.0, 2.5]], Kind.TEXTS).row == 1


# Numbers


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", " 2.5 ", "-1e3", "", "NA", "nan", "null", None],
         [1, 2.5, -1000, None, None, None, None, None]),
        ([1, 2, None], [1, 2, None]),
        ([1.5, math.nan], [1.5, None]),
        ([True, False], [1, 0]),
        ([decimal.Decimal("2.25")], [2.25]),
        ([[3.0], []], [3, None]),
        (pa.nulls(1), [None]),
    ],
)  # fmt: skip
def test_numbers(values, expected):
    found = [row and row[0] for row in converted(values, Kind.NUMBER)]
    assert found == expected


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32)))
def test_a_number_survives_as_text(numbers):
    found = converted(pa.array([repr(x) for x in numbers], pa.string()), Kind.NUMBER)
    assert found == [[x] for x in numbers]


@pytest.mark.parametrize(
    ("values", "row", "sentence"),
    [
        (
            ["1", "abc"],
            1,
            "holds 'abc', which is no number: mend it, or declare another type",
        ),
        (
            ["1,5"],
            0,
            "holds '1,5', which is no number: mend it, or declare another type",
        ),
        ([1.0, math.inf], 1, "is infinite: mend the value"),
        (["-inf"], 0, "is infinite: mend the value"),
        (
            [datetime.date(2020, 1, 1)],
            0,
            "holds date32[day] where numbers are wanted: declare another type",
        ),
    ],
)
def test_what_is_no_number_is_told(values, row, sentence):
    bad = refused(values, Kind.NUMBER)
    assert (bad.row, str(bad)) == (row, sentence)


# Timestamps


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-04T12:00:00Z",
        "2021-03-04 12:00:00",
        "2021-03-04T13:30:00+01:30",
        "2021-03-04T12:00:00.123456789Z",
        "2021-03-04T12:00:00.9",
        "2021-03-04T12:00",
        str(NOON_S),
    ],
)
def test_times_as_text(text):
    assert converted([text, "", None], Kind.TIMESTAMP) == [[NOON_S], None, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_arrow(unit):
    array = pa.array([NOON, None], pa.timestamp(unit))
    assert converted(array, Kind.TIMESTAMP) == [[NOON_S], None]
    zoned = pa.array([NOON.replace(tzinfo=UTC)], pa.timestamp(unit, "Europe/Berlin"))
    assert converted(zoned, Kind.TIMESTAMP) == [[NOON_S]]


def test_dates():
    day = datetime.date(1970, 1, 3)
    assert converted([day, None], Kind.TIMESTAMP) == [[2 * 86_400], None]


@given(
    st.datetimes(
        datetime.datetime(1900, 1, 1),
        datetime.datetime(2200, 1, 1),
        timezones=st.timezones(),
    ),
)
def test_a_time_with_a_zone_is_that_instant(moment):
    moment = moment.astimezone(UTC)
    expected = [[math.floor(moment.timestamp())]]
    assert converted([moment.isoformat()], Kind.TIMESTAMP) == expected


@given(
    st.lists(st.integers(-(2**62), 2**62)),
    st.sampled_from([("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]),
)
def test_whole_units_are_rounded_down_to_seconds(values, unit):
    name, per_second = unit
    # Within the years 1 to 9999; 0 tells them from times of our age in another unit.
    values = [0] + [v for v in values if -62 * 10**9 < v // per_second < 253 * 10**9]
    expected = [[value // per_second] for value in values]
    found = converted(pa.array(values, pa.int64()), Kind.TIMESTAMP, unit=name)
    assert found == expected
    texts = pa.array(list(map(str, values)), pa.string())
    assert converted(texts, Kind.TIMESTAMP, unit=name) == expected


def test_a_format_of_its_own():
    texts = ["04/03/21 12h", "05/03/21 12h"]
    found = converted(texts, Kind.TIMESTAMP, time_format="%d/%m/%y %Hh")
    assert found == [[NOON_S], [NOON_S + 86_400]]


def test_floats_are_cut_to_seconds():
    assert converted([1.9, None, -0.5], Kind.TIMESTAMP) == [[1], None, [-1]]


def test_what_is_no_time_is_told():
    bad = refused(["2021-03-04", "yesterday"], Kind.TIMESTAMP)
    assert (bad.row, str(bad)) == (
        1,
        "holds 'yesterday', which is no time: give ISO 8601 or a whole number, or set "
        "timestamp_format (format of a feature)",
    )


# Vectors


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2.5], None, []],
        ["1,2.5", None, ""],
        ["[1, 2.5]", None, " "],
        pa.array([[1, 2.5], None, None], pa.list_(pa.float64(), 2)),
    ],
)
def test_vectors(values):
    assert converted(values, Kind.VECTOR, dimensions=2) == [[1, 2.5], None, None]


def test_vectors_as_text_between_blanks():
    found = converted(["1 2 3"], Kind.VECTOR, dimensions=3, separator=" ")
    assert found == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("values", "row", "sentence"),
    [
        (
            [[1.0, 2.0], [1.0]],
            1,
            "has a length of 1, but its dimensions are 2: mend the row or the config",
        ),
        ([[1.0, None]], 0, "lacks one of its numbers: mend the row"),
        ([[1.0, math.nan]], 0, "lacks one of its numbers: mend the row"),
        ([[1.0, 1.0], [math.inf, 1.0]], 1, "is infinite: mend the value"),
        (
            ["1;2"],
            0,
            "holds '1;2', which are no numbers between ',': mend the row or say the "
            "separator",
        ),
        (
            [1.0],
            0,
            "holds double where lists of numbers are wanted: declare another type",
        ),
    ],
)
def test_what_is_no_vector_is_told(values, row, sentence):
    bad = refused(values, Kind.VECTOR, dimensions=2)
    assert (bad.row, str(bad)) == (row, sentence)


# Batches


@given(st.integers(0, 7), st.integers(1, 5))
def test_a_slice_of_a_batch_is_converted_like_the_rows_alone(start, length):
    """Arrow hands on views of larger arrays, whose offsets must not be forgotten."""
    whole = {
        "text": pa.array(["a", None, "", "d", "e", " f", "g", "h"]),
        "list": pa.array([["a", "b"], [], None, ["c"], ["d", None], ["e"], [], ["f"]]),
        "time": pa.array(np.arange(8) * 10**3),
        "vector": pa.array([[1.0, 2.0], None] * 4),
    }
    columns = [
        Column("text", Kind.TEXT),
        Column("list", Kind.TEXTS),
        Column("time", Kind.TIMESTAMP, unit="ms"),
        Column("vector", Kind.VECTOR, dimensions=2),
    ]
    part = {name: array.slice(start, length) for name, array in whole.items()}
    expected = convert(whole, columns).slice(start, length)
    assert convert(part, columns).to_pydict() == expected.to_pydict()


def test_columns_survive_json():
    columns = [
        Column("a", Kind.TEXT, required=True),
        Column("é", Kind.TEXTS, separator="|"),
        Column("t", Kind.TIMESTAMP, unit="ms", time_format="%d"),
        Column("v", Kind.VECTOR, dimensions=3),
    ]
    assert load_columns(dump_columns(columns)) == columns
