# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Histories as they are kept, beside lists that plain Python gathers."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import histories
from serving.build import build_servable
from serving.errors import UserError
from serving.index_config import IndexConfig
from serving.native import NativeEngine
from tests.unit.conftest import World

QUERIES, CANDIDATES = 5, 9


def plain(pairs: list[tuple[int, int]], query: int) -> list[int]:
    """What a query has chosen, the last first, each once."""
    chosen = [candidate for one, candidate in pairs if one == query]
    return list(dict.fromkeys(reversed(chosen)))


def kept(
    folder, pairs: list[tuple[int, int]], ids: list[str]
) -> histories.Histories | None:
    """Writes histories beside towers, and copies them for a catalogue of these ids."""
    vocabulary = folder / "vocabulary"
    vocabulary.write_text("".join(f"c{number}\n" for number in range(CANDIDATES)))
    query, chosen = (np.array(one, np.int64) for one in zip(*pairs, strict=True))
    histories.write(str(folder), query, chosen, QUERIES, str(vocabulary))
    catalogue = pa.array(ids, pa.large_string())
    histories.copy(str(folder), catalogue, str(folder / "copied"))
    return histories.Histories(str(folder / "copied"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, QUERIES - 1), st.integers(0, CANDIDATES - 1)),
        min_size=1,
    ),
    st.permutations(range(CANDIDATES)),
    st.integers(0, CANDIDATES),
)
def test_each_query_has_what_it_chose_last_first(
    tmp_path_factory, pairs, order, served
):
    rows = order[:served]  # the rest has left the catalogue since
    found = kept(
        tmp_path_factory.mktemp("histories"), pairs, [f"c{number}" for number in rows]
    )
    for query in range(QUERIES):
        expected = plain(pairs, query)
        at, total = found.of(query)
        assert [rows[row] for row in at] == [one for one in expected if one in rows]
        assert total == len(expected)


def test_of_a_long_history_the_last_hundred_are_kept(tmp_path):
    vocabulary = tmp_path / "vocabulary"
    vocabulary.write_text("".join(f"c{number}\n" for number in range(250)))
    query = np.repeat(np.arange(2), 250)
    chosen = np.tile(np.arange(250), 2)
    histories.write(str(tmp_path), query, chosen, 2, str(vocabulary))
    catalogue = pa.array([f"c{n}" for n in range(250)], pa.large_string())
    histories.copy(str(tmp_path), catalogue, str(tmp_path / "to"))
    for position in range(2):
        rows, total = histories.Histories(str(tmp_path / "to")).of(position)
        assert rows.tolist() == list(range(249, 149, -1))
        assert total == 250


@pytest.fixture(scope="module")
def engine(world: World, tmp_path_factory) -> NativeEngine:
    """A native engine whose towers have seen the first user choose three candidates."""
    folder = tmp_path_factory.mktemp("seen")
    towers = shutil.copytree(world.towers, folder / "towers")
    vocabulary = folder / "vocabulary"
    vocabulary.write_text("".join(f"{one}\n" for one in world.ids))
    chosen = np.array([4, 17, 250])
    histories.write(
        str(towers), np.zeros(3, int), chosen, len(world.users), str(vocabulary)
    )
    path = str(folder / "version")
    build_servable(str(towers), world.shards, IndexConfig(kind="exact"), path, {})
    return NativeEngine(path)


def test_an_engine_tells_histories_by_id_and_title(engine, world: World):
    found, total = engine.history(world.users[0], 2)
    assert [one["candidate_id"] for one in found] == [world.ids[250], world.ids[17]]
    assert [one["title"] for one in found] == [world.titles[250], world.titles[17]]
    assert total == 3


def test_who_has_chosen_nothing_has_no_history(engine, world: World):
    assert engine.history(world.users[1], 10) == ([], 0)
    assert engine.history("nobody", 10) == ([], 0)


def test_a_version_without_histories_says_so(build, world: World):
    with pytest.raises(UserError, match="keeps no histories"):
        NativeEngine(build("exact").path).history(world.users[0], 10)
