# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Filters beside a plain reading of them, and filtered search beside a full sort."""

import pathlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import filters
from serving.errors import UserError
from serving.filters import Attributes

GENRES = ["Drama", "Comedy", "Sci-Fi", "Film Noir", "and", 'say "hi"', "Ünï"]
SIZE = 400


def rows() -> list[dict]:
    """Candidates with a country, some genres and maybe a year."""
    draw = np.random.default_rng(5)
    return [
        {
            "country": str(draw.choice(["", "FR", "US", "0"])),
            "genres": draw.choice(GENRES, draw.integers(0, 4), False).tolist(),
            "first year": float(draw.choice([np.nan, 1950, 1990.5, 0.1, -3])),
        }
        for _ in range(SIZE)
    ]


ROWS = rows()


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Attributes:
    folder = str(tmp_path_factory.mktemp("filters") / "attributes")
    kinds = {
        "country": pa.string(),
        "genres": pa.list_(pa.string()),
        "first year": pa.float32(),
    }
    columns = {
        # In several chunks, as shards come.
        name: pa.chunked_array(
            [
                pa.array([row[name] for row in ROWS[:150]], kind),
                pa.array([row[name] for row in ROWS[150:]], kind),
            ]
        )
        for name, kind in kinds.items()
    }
    filters.write(folder, columns)
    return Attributes(folder, SIZE)


# Expressions: what a filter says, and what it means.

NUMBERS = ["1950", "1990.5", "0.1", "-3", "7", "1e3"]


def quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def number_is(sign: str, number: str):
    value = float(np.float32(number))
    compare = {
        "=": lambda x: x == value,
        "!=": lambda x: x != value,
        "<": lambda x: x < value,
        "<=": lambda x: x <= value,
        ">": lambda x: x > value,
        ">=": lambda x: x >= value,
    }[sign]
    return lambda row: bool(compare(float(np.float32(row["first year"]))))


COMPARISONS = st.one_of(
    st.builds(
        lambda value: (f"country = {quote(value)}", lambda r: r["country"] == value),
        st.sampled_from(["FR", "US", "0", "DE"]),
    ),
    st.builds(
        lambda value: (f"genres={quote(value)}", lambda r: value in r["genres"]),
        st.sampled_from([*GENRES, "none"]),
    ),
    st.builds(
        lambda value: (f"genres != {quote(value)}", lambda r: value not in r["genres"]),
        st.sampled_from(GENRES),
    ),
    st.builds(
        lambda values: (
            f"genres IN ({', '.join(map(quote, values))})",
            lambda r: bool(set(values) & set(r["genres"])),
        ),
        st.lists(st.sampled_from(GENRES), min_size=1, max_size=3),
    ),
    st.builds(
        lambda sign, number: (f'"first year" {sign} {number}', number_is(sign, number)),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.sampled_from(NUMBERS),
    ),
)


def negated(one):
    return f"not {one[0]}", lambda row: not one[1](row)


def joined(word: str):
    def join(one, other):
        left, right = one[1], other[1]
        meaning = {
            "and": lambda row: left(row) and right(row),
            "or": lambda row: left(row) or right(row),
        }[word]
        return f"({one[0]}) {word} ({other[0]})", meaning

    return join


EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        inner.map(lambda one: negated((f"({one[0]})", one[1]))),
        st.builds(joined("and"), inner, inner),
        st.builds(joined("or"), inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS)
def test_a_filter_leaves_what_it_says(attributes, expression):
    text, meaning = expression
    survivors = attributes.survivors(text)
    expected = [at for at, row in enumerate(ROWS) if meaning(row)]
    assert survivors.rows.tolist() == expected
    assert survivors.count == len(expected)


def test_and_binds_before_or_and_not_before_both(attributes):
    mixed = attributes.survivors("country = FR or country = US and not genres = Drama")
    expected = [
        at
        for at, row in enumerate(ROWS)
        if row["country"] == "FR"
        or (row["country"] == "US" and "Drama" not in row["genres"])
    ]
    assert mixed.rows.tolist() == expected


def test_bare_names_and_both_quotes_are_the_same(attributes):
    one, two, three = (
        attributes.survivors(text).rows.tolist()
        for text in ("genres = Sci-Fi", 'genres = "Sci-Fi"', "'genres'='Sci-Fi'")
    )
    assert one == two == three != []


def test_what_is_measured_by_default_can_be_read_and_leaves_something(attributes):
    texts = attributes.common()
    assert len(texts) == 5
    for text in texts:
        assert attributes.survivors(text).count > 0


def test_a_filter_is_worked_out_once(attributes):
    assert attributes.survivors("genres = Drama") is attributes.survivors(
        "genres = Drama"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = red", "unknown attribute 'colour'; the model can filter by country"),
        ("genres", "has its end where '=' should be"),
        ("genres =", "has its end where 'a name or a value' should be"),
        ("genres = Drama country = FR", "has 'country' where it should end"),
        ("(genres = Drama", r"has its end where '\)' should be"),
        ("genres in Drama", r"has 'Drama' where '\(' should be"),
        ("genres in (Drama Comedy)", r"has 'Comedy' where '\)' should be"),
        ("genres ( Drama", r"has '\(' where a comparison should be"),
        ("genres < Drama", "'genres' is no number; compare it by =, != or in"),
        ("'first year' > soon", "'first year' is a number, and 'soon' is none"),
        ("genres = 'Drama", "can't be read from ''Drama' on"),
        ("genres = Drama and", "has its end where 'a name or a value' should be"),
        ("= Drama", "has '=' where 'a name or a value' should be"),
        ("genres = Drama; x", "can't be read from '; x' on"),
        ("not", "has its end where"),
        ("and = 3", "has 'and' where"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(attributes, text, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        attributes.survivors(text)
    assert "\n" not in str(caught.value)


# Attributes without any value


def test_empty_attributes_leave_nothing(tmp_path: pathlib.Path):
    folder = str(tmp_path / "attributes")
    filters.write(
        folder,
        {
            "tags": pa.chunked_array([pa.array([[], []], pa.list_(pa.string()))]),
            "price": pa.chunked_array([pa.array([np.nan, np.nan], pa.float32())]),
            "colour": pa.chunked_array([pa.array(["", ""])]),
        },
    )
    found = Attributes(folder, 2)
    assert found.common() == []
    for text in ("tags = a", "price < 1e9", "colour = ''"):
        assert found.survivors(text).count == 0
    assert found.survivors("price != 1").count == 2
