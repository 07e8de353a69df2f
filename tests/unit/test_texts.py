# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of texts: rows are found again, whatever the texts are."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import texts as module
from serving.texts import RowTable, Texts, padded_tensor, read_table, write_table

# Ids of all lengths around the words of eight bytes that are hashed at a time.
some_text = st.text(max_size=20) | st.text("ab", max_size=40)
unique_texts = st.lists(some_text, unique=True, max_size=50)


def column(texts: list[str], before: int = 0) -> Texts:
    """Returns a column, cut out of one with more texts on both sides."""
    whole = pa.array(["left out"] * before + texts + ["also"], pa.large_string())
    return Texts(whole.slice(before, len(texts)))


@given(texts=unique_texts, others=unique_texts, before=st.integers(0, 3))
def test_rows_are_those_of_a_dictionary(texts, others, before):
    row_of = {text: row for row, text in enumerate(texts)}
    asked = [*texts, *others, "left out", "also"]
    assert column(texts, before).rows(asked) == [row_of.get(one, -1) for one in asked]


@pytest.mark.parametrize("bits", [1, 3, 31])
@pytest.mark.parametrize("part", [7, 1000])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(some_text, max_size=50), others=unique_texts, data=st.data())
def test_rows_of_a_column_among_others_are_those_of_a_dictionary(
    bits, part, texts, others, data, monkeypatch
):
    # With few bits the table keeps one row of many.
    monkeypatch.setattr(module, "_MOST_BITS", bits)
    monkeypatch.setattr(module, "_PART", part)
    texts = data.draw(st.permutations(texts + others))
    columns = [
        pa.array(["before", *some, "after"], pa.large_string()).slice(1, len(some))
        for some in (texts, others)
    ]
    row_of = {text: row for row, text in enumerate(others)}
    found = RowTable(columns[1]).rows(columns[0])
    assert found.dtype == np.int64
    assert found.tolist() == [row_of.get(one, -1) for one in texts]


@given(texts=unique_texts)
def test_texts_of_rows_are_those_asked_for(texts):
    of = column(texts)
    assert of.take(of.rows(reversed(texts))) == texts[::-1]


@given(texts=unique_texts)
def test_one_text_has_the_hash_that_it_has_among_many(texts):
    encoded = [one.encode() for one in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    many = module._hashes(memoryview(b"".join(encoded)), offsets)
    assert many.tolist() == [module._hash(one) for one in encoded]


def test_texts_that_are_alike_are_spread_over_buckets():
    texts = [f"{number:012}" for number in range(100_000)]
    starts, _, _ = column(texts)._buckets
    # 2^17 buckets: of random hashes the fullest has more than 10 in 1 of 1,000 cases.
    assert np.diff(np.asarray(starts).astype(int)).max() <= 10


def test_columns_are_hashed_part_by_part(monkeypatch):
    monkeypatch.setattr(module, "_PART", 7)
    texts = [str(number) for number in range(100)]
    assert column(texts, 2).rows(texts) == list(range(100))
    assert column(texts).beginning("9", 100) == ["9", *(str(n) for n in range(90, 100))]


def test_columns_of_files_are_found_in(tmp_path: Path):
    file = str(tmp_path / "texts.arrow")
    write_table(file, {"text": ["é", "", "b"]})
    of = Texts(read_table(file)["text"].chunk(0))
    assert of.rows(["b", "é", "", "e"]) == [2, 0, 1, -1]


def test_what_is_no_unicode_is_unknown():
    assert column(["\ufffd", "?"]).rows(["\ud800"]) == [-1]


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
@pytest.mark.parametrize("prefix", ["", "a", "aé", "b", "x"])
def test_texts_that_begin_so_come_in_order(prefix, limit):
    texts = ["ab", "aé", "b", "", "aéa", "ba"]
    known = [one for one in texts if one.startswith(prefix)]
    assert column(texts).beginning(prefix, limit) == known[:limit]


@given(texts=st.lists(some_text, max_size=50), before=st.integers(0, 3))
def test_a_tensor_has_all_texts_and_an_empty_one(texts, before):
    whole = pa.array(["left out"] * before + texts + ["also"], pa.large_string())
    made = padded_tensor(whole.slice(before, len(texts)))
    assert made.numpy().tolist() == [one.encode() for one in [*texts, ""]]
