# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Servables brought up to date, beside ones that are built of the same catalogue."""

import json
import os
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import candidates, histories, manifest, scann_files, stacks
from serving.build import build_servable, update_servable
from serving.candidates import Source
from serving.errors import UserError
from serving.evaluation import metrics
from serving.index_config import IndexConfig, plan_index
from serving.model import Recommender
from serving.native import NativeEngine
from serving.towers import Towers
from serving.update import is_up_to_date, known_fingerprints, plan_changes
from tests.unit.conftest import clustered, save_towers

DIM = 8
SIZE = 2000
IDS = [f"c{number:05}" for number in range(SIZE + 400)]
"""All that training has seen; the catalogue has some of them."""
USERS = [str(number) for number in range(60)]
SOURCE = Source("movie_id", "name", {"kind": "category", "year": "number"})
CONFIG = IndexConfig(kind="scann", k=10, leaves=40, leaves_to_search=8, reorder=60)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("towers") / "model")
    bias = np.random.default_rng(2).normal(size=len(IDS)).astype(np.float32) / 10
    queries = clustered(len(USERS), DIM, 30, 9)
    save_towers(path, USERS, IDS, queries, clustered(len(IDS), DIM, 30, 9), bias)
    return path


def catalogue(names: dict[str, str]) -> list[bytes]:
    """Raw candidates by id and name; the rest follows from the name."""
    found = []
    for id_, name in names.items():
        example = tf.train.Example()
        feature = example.features.feature
        feature["movie_id"].bytes_list.value.append(id_.encode())
        feature["name"].bytes_list.value.append(name.encode())
        feature["kind"].bytes_list.value.append([b"a", b"b"][len(name) % 2])
        feature["year"].float_list.value.append(1900 + len(name))
        found.append(example.SerializeToString())
    return found


def embed(folder: pathlib.Path, towers: str, names: dict[str, str], previous=None):
    """Writes shards as CandidateEmbedder does, in batches and in no order."""
    folder.mkdir(parents=True)
    loaded = Towers(towers)
    known = known_fingerprints(previous) if previous else None
    rows = catalogue(names)
    np.random.default_rng(len(rows)).shuffle(rows)
    for at in range(0, len(rows), 700):
        features = candidates.parse(loaded, SOURCE, rows[at : at + 700])
        table = candidates.embed(loaded, SOURCE, features, known)
        pq.write_table(table, folder / f"{at:05}.parquet")


def build(folder: pathlib.Path, towers: str, names: dict[str, str], config=CONFIG):
    embed(folder / "shards", towers, names)
    path = str(folder / "model")
    build_servable(towers, str(folder / "shards"), config, path, {"pipeline": "x"})
    return path


def update(
    folder: pathlib.Path, towers: str, names: dict[str, str], before: str, config=CONFIG
) -> str:
    embed(folder / "shards", towers, names, before)
    path = str(folder / "model")
    update_servable(
        towers, str(folder / "shards"), before, config, path, {"pipeline": "x"}
    )
    return path


FIRST = {id_: f"n{id_}" for id_ in IDS[:SIZE]}


def changed(added: int, renamed: int, removed: int) -> dict[str, str]:
    """A catalogue with so many changes, spread over it."""
    draw = np.random.default_rng(added + renamed + removed)
    order = draw.permutation(SIZE)
    names = dict(FIRST)
    for row in order[:renamed]:
        names[IDS[row]] += "!" * (1 + row % 3)
    for row in order[renamed : renamed + removed]:
        del names[IDS[row]]
    return names | {id_: f"n{id_}" for id_ in IDS[SIZE : SIZE + added]}


@pytest.fixture(scope="module")
def before(towers, tmp_path_factory) -> str:
    return build(tmp_path_factory.mktemp("before"), towers, FIRST)


def same_as_if_built(path: str, towers: str, names: dict[str, str]) -> None:
    """Holds a servable against the catalogue that it should have."""
    engine, model = NativeEngine(path), Recommender(path)
    ids = engine.ids.take(range(len(engine.ids)))
    assert sorted(ids) == sorted(names)
    titles = engine.titles.take(range(len(ids)))
    assert titles == [names[id_] for id_ in ids]
    embedded = Towers(towers).embed_candidate({"movie_id": tf.constant(ids)}).numpy()
    # Not to the last bit, which depends on a row's place in its batch.
    np.testing.assert_allclose(engine.embeddings, embedded, atol=1e-6)
    # Both engines have the same rows; what is asked of all comes by id.
    inside = model._model
    np.testing.assert_array_equal(inside.exact.embeddings.numpy(), engine.embeddings)
    assert [one.decode() for one in inside.catalogue.ids.numpy()[:-1]] == ids
    by_id = np.argsort(np.array([one.encode() for one in ids], object))
    np.testing.assert_array_equal(model.embeddings(), engine.embeddings[by_id])
    assert [one.decode() for one in model.candidate_ids()] == sorted(ids)
    for text in ("kind = a", f"year >= {1900 + 7}"):
        left = {
            id_
            for id_, name in names.items()
            if (len(name) % 2 == 0 if text == "kind = a" else len(name) >= 7)
        }
        rows = engine.survivors(text).rows
        assert {ids[row] for row in rows} == left
    queries = engine.query_embeddings[:-1]
    exact = metrics.exact_top_k(queries, embedded, 10)[1]
    native = engine.nearest_batch(queries, 10)[0]
    assert metrics.recall_against_exact(native, exact, 10).mean() > 0.9
    for user in USERS[:8]:
        found = engine.recommend({"user_id": user}, 10)
        expected = model.recommend({"user_id": user}, 10)
        assert [one["candidate_id"] for one in found] == [
            one["candidate_id"] for one in expected
        ]


@pytest.mark.parametrize(
    ("added", "renamed", "removed"),
    [(0, 0, 0), (30, 0, 0), (0, 40, 0), (0, 0, 50), (60, 20, 30), (20, 20, 60)],
)
def test_an_update_is_as_good_as_a_build(
    added, renamed, removed, before, towers, tmp_path
):
    names = changed(added, renamed, removed)
    path = update(tmp_path, towers, names, before)
    same_as_if_built(path, towers, names)
    told = manifest.read(path)["update"]
    assert told == {
        "added": added,
        "changed": renamed,
        "removed": removed,
        "built": SIZE,
        "since": added + renamed + removed,
    }
    # The graph is that of the servable before, which knows no size.
    assert graph(path) == graph(before)


def graph(path: str) -> bytes:
    return pathlib.Path(path, "saved_model.pb").read_bytes()


def test_only_what_changed_is_embedded(before, towers, tmp_path):
    embed(tmp_path / "shards", towers, changed(5, 7, 9), before)
    _, is_embedded, vectors = candidates.read_shards(str(tmp_path / "shards"))
    assert (len(is_embedded), is_embedded.sum()) == (SIZE + 5 - 9, 12)
    assert vectors.shape == (12, DIM + 1)


def test_updates_of_updates_add_up_until_the_index_is_built_anew(
    before, towers, tmp_path
):
    config = CONFIG.model_copy(update={"rebuild_above": 0.05})
    small, large = changed(30, 0, 30), changed(30, 40, 30)
    first = update(tmp_path / "1", towers, small, before, config)
    assert manifest.read(first)["update"]["since"] == 60
    second = update(tmp_path / "2", towers, large, first, config)
    same_as_if_built(second, towers, large)
    told = manifest.read(second)["update"]
    assert (told["since"], told["built"]) == (0, len(large))
    # Built anew, it is in the order of nothing in particular but whole again.
    back = update(tmp_path / "3", towers, FIRST, second, config)
    same_as_if_built(back, towers, FIRST)


@pytest.mark.parametrize(
    "knobs",
    [
        {"kind": "exact"},
        {"reorder_type": "int8"},
        {"reorder_type": "bfloat16"},
        {"soar_lambda": 1.5},
        {"leaves": 0, "leaves_to_search": None},
        {"quantize_centroids": True},
        {"spherical": True},
        {"avq_eta": 1},
    ],
    ids=str,
)
def test_every_kind_of_index_can_be_updated(knobs, towers, tmp_path):
    config = IndexConfig(**{**CONFIG.model_dump(exclude={"tuning"}), **knobs})
    path = build(tmp_path / "1", towers, FIRST, config)
    names = changed(20, 20, 30)
    updated = update(tmp_path / "2", towers, names, path, config)
    engine = NativeEngine(updated)
    ids = engine.ids.take(range(len(engine.ids)))
    assert sorted(ids) == sorted(names)
    queries = engine.query_embeddings[:-1]
    exact = metrics.exact_top_k(queries, np.asarray(engine.embeddings), 10)[1]
    found = engine.nearest_batch(queries, 10)[0]
    recall = metrics.recall_against_exact(found, exact, 10).mean()
    assert recall > (0.999 if knobs.get("kind") == "exact" else 0.85)
    told = manifest.read(updated)["update"]
    is_built_anew = (
        "kind" in knobs
        or "spherical" in knobs
        or ("soar_lambda" in knobs and not stacks.SOAR_IS_UPDATED)
    )
    assert told["since"] == (0 if is_built_anew else 70)


def test_other_knobs_build_the_index_anew(before, towers, tmp_path):
    config = CONFIG.model_copy(update={"leaves": 20})
    path = update(tmp_path / "1", towers, changed(1, 0, 0), before, config)
    assert manifest.read(path)["index"]["leaves"] == 20
    config = CONFIG.model_copy(update={"leaves_to_search": 3, "k": 7})
    path = update(tmp_path / "2", towers, changed(1, 0, 0), before, config)
    index = manifest.read(path)
    assert (index["index"]["leaves_to_search"], index["index"]["k"]) == (3, 7)
    assert index["update"]["since"] == 1
    assert len(Recommender(path).recommend({"user_id": "3"})) == 7
    config = IndexConfig(kind="scann", knobs="tuned")
    path = update(tmp_path / "3", towers, changed(1, 0, 0), before, config)
    kept, given = (manifest.read(one)["index"] for one in (path, before))
    assert {**kept, "reason": ""} == {**given, "reason": ""}
    assert manifest.read(path)["update"]["since"] == 1
    # Also where it is built anew.
    config = config.model_copy(update={"rebuild_above": 0})
    path = update(tmp_path / "4", towers, changed(1, 0, 0), before, config)
    kept = manifest.read(path)["index"]
    assert {**kept, "reason": "", "training_sample": 0} == {
        **given, "reason": "", "training_sample": 0,
    }  # fmt: skip
    assert manifest.read(path)["update"]["since"] == 0


def test_an_update_is_whole_in_a_process_of_its_own(
    before, towers, tmp_path, run_python
):
    path = update(tmp_path, towers, changed(10, 10, 10), before)
    code = (
        "import serving.process, sys, json; serving.process.set_up()\n"
        "from serving.native import NativeEngine\n"
        "found = NativeEngine(sys.argv[1]).recommend({'user_id': '3'}, 5)\n"
        "print(json.dumps([one['candidate_id'] for one in found]))"
    )
    done = run_python("-c", code, path)
    found = NativeEngine(path).recommend({"user_id": "3"}, 5)
    assert json.loads(done.stdout) == [one["candidate_id"] for one in found]


def test_other_towers_and_lost_candidates_are_refused(before, towers, tmp_path):
    other = str(tmp_path / "other")
    bias = np.zeros(len(IDS), np.float32)
    table = clustered(len(IDS), DIM, 30, 1)
    save_towers(other, USERS, IDS, table[: len(USERS)], table, bias)
    with pytest.raises(UserError, match="was made of other towers"):
        update(tmp_path / "1", other, FIRST, before)
    wider = build(tmp_path / "2", towers, FIRST | {IDS[SIZE]: "new"})
    embed(tmp_path / "3", towers, FIRST | {IDS[SIZE]: "new"}, wider)
    with pytest.raises(UserError, match=f"'{IDS[SIZE]}' is new and was not embedded"):
        update_servable(
            towers, str(tmp_path / "3"), before, CONFIG, str(tmp_path / "4"), {}
        )
    assert not os.path.exists(tmp_path / "4")


@pytest.mark.parametrize(
    ("id_", "sentence"),
    [
        (IDS[3], "'c00003' is in the catalogue twice"),
        (IDS[SIZE], "'c02000' is in the catalogue twice"),
        ("a\nb", "is empty or holds a line break"),
        ("", "'' is empty or holds a line break"),
    ],
    ids=["known", "new", "lines", "empty"],
)
def test_unfit_ids_are_refused(id_, sentence, before, towers, tmp_path):
    shards = tmp_path / "shards"
    embed(shards, towers, {**FIRST, IDS[SIZE]: "new"}, before)
    first = next(iter(sorted(shards.iterdir())))
    table = pq.read_table(first)
    more = table.slice(0, 1).to_pydict()
    vector = np.ones(DIM + 1).tolist()
    row = {**more, "candidate_id": [id_], "embedding": [vector]}
    pq.write_table(pa.Table.from_pydict(row, table.schema), shards / "more.parquet")
    with pytest.raises(UserError, match=sentence):
        update_servable(
            towers, str(shards), before, CONFIG, str(tmp_path / "model"), {}
        )
    assert not os.path.exists(tmp_path / "model")


def test_histories_follow_their_candidates(towers, tmp_path):
    own = tmp_path / "towers"
    shutil.copytree(towers, own)
    vocabulary = own / "vocabulary"
    vocabulary.write_text("".join(f"{id_}\n" for id_ in IDS))
    draw = np.random.default_rng(1)
    chosen = draw.integers(0, SIZE, 40 * len(USERS))
    users = np.repeat(np.arange(len(USERS)), 40)
    histories.write(str(own), users, chosen, len(USERS), str(vocabulary))
    first = build(tmp_path / "1", str(own), FIRST)
    names = changed(0, 20, 300)
    updated = update(tmp_path / "2", str(own), names, first)
    before, after = NativeEngine(first), NativeEngine(updated)
    for user in USERS:
        old, total = before.history(user, 100)
        kept = [one["candidate_id"] for one in old if one["candidate_id"] in names]
        new, still = after.history(user, 100)
        assert [one["candidate_id"] for one in new] == kept
        assert [one["title"] for one in new] == [names[id_] for id_ in kept]
        assert (still, len(kept) < len(old)) == (total, True)


# That there is nothing to update


@pytest.mark.parametrize(
    ("added", "renamed", "removed"), [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
)
def test_a_version_is_up_to_date_without_any_change(
    added, renamed, removed, towers, before, tmp_path
):
    shards = tmp_path / "shards"
    embed(shards, towers, changed(added, renamed, removed), before)
    is_same = not added + renamed + removed
    assert is_up_to_date(str(shards), before, CONFIG) is is_same


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, True),
        ({"knobs": "tuned", "leaves": None, "reorder": None}, True),
        ({"rebuild_above": 0.5}, True),
        ({"rebuild_above": 0}, False),  # one candidate was changed since
        ({"leaves_to_search": 7}, False),
        ({"leaves": 41}, False),
        ({"kind": "exact"}, False),
    ],
)
def test_other_knobs_are_a_change(knobs, expected, towers, before, tmp_path):
    names = changed(0, 1, 0)
    path = update(tmp_path / "1", towers, names, before)
    embed(tmp_path / "2", towers, names, path)
    config = CONFIG.model_copy(update=knobs)
    assert is_up_to_date(str(tmp_path / "2"), path, config) is expected


def test_a_version_of_an_older_format_is_not_up_to_date(
    towers, before, tmp_path, monkeypatch
):
    embed(tmp_path / "shards", towers, FIRST, before)
    monkeypatch.setattr(manifest, "FORMAT", manifest.FORMAT + 1)
    assert not is_up_to_date(str(tmp_path / "shards"), before, CONFIG)


# The files of an index


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"leaves": 0},
        {"quantize_centroids": True},
        {"reorder_type": "bfloat16"},
        {"reorder_type": "int8"},
        pytest.param(
            {"reorder_type": "int8", "soar_lambda": 1.5},
            marks=pytest.mark.skipif(
                not stacks.SOAR_IS_UPDATED, reason="this ScaNN crashes, see stacks.py"
            ),
        ),
    ],
    ids=str,
)
def test_files_are_those_that_scann_writes_of_the_whole(knobs, tmp_path):
    vectors, new = clustered(5000, DIM, 30, 1), clustered(700, DIM, 30, 2)
    config = IndexConfig(kind="scann", k=10, **{"leaves": 50, "reorder": 60} | knobs)
    before, after, whole = (str(tmp_path / one) for one in ("before", "after", "whole"))
    order = scann_files.build(vectors, plan_index(config, *vectors.shape), before)
    # A row that goes for each of some others; what is left of the new comes last.
    gone = np.random.default_rng(3).choice(5000, 300, replace=False)
    sources = np.concatenate([np.arange(5000), np.full(400, -1)])
    sources[gone] = -1
    vector_of = np.empty(5400, np.int64)
    vector_of[gone], vector_of[5000:] = np.arange(300), np.arange(300, 700)
    is_new = sources < 0
    os.makedirs(after)
    scann_files.update(before, sources, is_new, new[vector_of[is_new]], after)
    searcher = scann_files.load_native(before)
    searcher.searcher.upsert(gone.tolist(), new[:300], 256)
    searcher.searcher.upsert([None] * 400, new[300:], 256)
    scann_files.write(searcher, whole)
    files = set(os.listdir(whole))
    assert set(os.listdir(after)) == files - {scann_files.VECTORS}
    for name in files - {scann_files.VECTORS}:
        ours, scanns = (pathlib.Path(one, name) for one in (after, whole))
        if name.endswith(".npy"):  # their headers are spaced otherwise
            np.testing.assert_array_equal(np.load(ours), np.load(scanns), name)
        else:
            assert ours.read_bytes() == scanns.read_bytes(), name
    if scann_files.VECTORS in files:
        written = np.load(os.path.join(whole, scann_files.VECTORS))
        expected = np.concatenate([vectors[order], new[300:]])
        expected[gone] = new[:300]
        np.testing.assert_array_equal(written, expected)


# The plan of an update


@settings(deadline=None)
@given(st.data())
def test_the_plan_leads_from_the_rows_before_to_the_new_catalogue(data):
    before = data.draw(st.lists(st.integers(0, 30), unique=True, min_size=1))
    after = data.draw(st.lists(st.integers(0, 30), unique=True, min_size=1))
    changed = data.draw(st.sets(st.sampled_from(after)))
    place = np.array([before.index(one) if one in before else -1 for one in after])
    is_embedded = np.array([one in changed or one not in before for one in after])
    plan = plan_changes(place, is_embedded, len(before))
    assert sorted(plan.order.tolist()) == list(range(len(after)))
    # What stays keeps its order, and its row where as many come as go.
    rows = [after[new] for new in plan.order.tolist()]
    stayed = [one for one in rows if one in before]
    assert stayed == [one for one in before if one in after]
    if len(before) == len(after):
        assert all(a == b for a, b in zip(before, rows, strict=True) if b in before)
    assert plan.counts == {
        "added": len(set(after) - set(before)),
        "changed": len(changed & set(before)),
        "removed": len(set(before) - set(after)),
    }


# Fingerprints


FEATURES = {
    "number": tf.constant([1.0, np.nan, 0.1]),
    "text": tf.constant(["a", "", "é"]),
    "texts": tf.constant([["a", "b"], ["ab", ""], ["", ""]]),
    "vector": tf.constant([[0.5, 1], [0, 0], [-1, 2]], tf.float32),
}


def test_fingerprints_depend_on_values_and_not_on_their_neighbours():
    whole = candidates.fingerprints(FEATURES)
    assert len(set(whole.tolist())) == 3
    for row in range(3):
        one = {name: values[row : row + 1] for name, values in FEATURES.items()}
        assert candidates.fingerprints(one) == whole[row]
    padded = {**FEATURES, "texts": tf.pad(FEATURES["texts"], [[0, 0], [0, 3]])}
    assert (candidates.fingerprints(padded) == whole).all()


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_changes_a_fingerprint(name):
    rolled = {**FEATURES, name: tf.roll(FEATURES[name], 1, axis=0)}
    before, after = (candidates.fingerprints(one) for one in (FEATURES, rolled))
    assert (before != after).all()
