# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The native engine beside the SavedModel and an exact search of our own."""

import pathlib
import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import native, scann_files, stacks
from serving.errors import UserError
from serving.evaluation.filtered import filtered_recall
from serving.exact import exact_top_k
from serving.filters import Survivors
from serving.index import ExactIndex, make_index
from serving.index_config import IndexConfig, plan_index
from serving.model import Recommender
from serving.native import NativeEngine
from serving.texts import Texts
from tests.unit.conftest import CANDIDATES, World, attributes_of, clustered

KINDS = ("exact", "scann")
NOBODY = "nobody"


@pytest.fixture(scope="module")
def engines(build) -> dict[str, NativeEngine]:
    return {kind: NativeEngine(build(kind).path) for kind in KINDS}


def ids_of(found: list[dict[str, Any]]) -> list[str]:
    return [one["candidate_id"] for one in found]


# Both engines over the same files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10, CANDIDATES, CANDIDATES + 7])
def test_both_engines_give_the_same_answers(kind, k, engines, load, world: World):
    for user in [*world.users[:10], NOBODY]:
        query, exclude = {"user_id": user}, world.ranking(world.users[0])[:3]
        for without in ([], exclude, [*exclude, "unknown", ""]):
            found = engines[kind].recommend(query, k, without)
            expected = load(kind).recommend(query, k, without)
            assert ids_of(found) == ids_of(expected)
            assert [o["title"] for o in found] == [o["title"] for o in expected]
            np.testing.assert_allclose(
                [one["score"] for one in found],
                [one["score"] for one in expected],
                rtol=1e-5,
                atol=1e-6,
            )


def test_exact_answers_are_those_of_an_exact_search(engines, world: World):
    for user in world.users:
        found = engines["exact"].recommend({"user_id": user}, 20)
        assert ids_of(found) == world.ranking(user)[:20]


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_a_few_may_be_excluded(kind, engines, world: World):
    query = {"user_id": world.users[0]}
    left = set(world.ids[5:8])
    without = [one for one in world.ids if one not in left]
    assert set(ids_of(engines[kind].recommend(query, 50, without))) == left
    assert engines[kind].recommend(query, 50, world.ids) == []


def test_an_id_alone_is_embedded_as_by_the_tower(engines, load, world: World):
    users = [*world.users, NOBODY, ""]
    found = engines["scann"].embed({"user_id": users})
    expected = load("scann").embed_query({"user_id": users})
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_tower_embeds_where_there_is_no_table(build, world: World, tmp_path):
    path = shutil.copytree(build("scann").path, tmp_path / "version")
    (path / native.FOLDER / "query_ids.arrow").unlink()
    engine = NativeEngine(str(path))
    assert engine.query_id is None
    found = engine.recommend({"user_id": world.users[3]}, 5)
    whole = NativeEngine(build("scann").path)
    assert ids_of(found) == ids_of(whole.recommend({"user_id": world.users[3]}, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_answered_as_its_queries(kind, engines, world: World):
    engine = engines[kind]
    queries = engine.embed({"user_id": world.users})
    rows, scores = engine.nearest_batch(queries, 10)
    for at, query in enumerate(queries):
        one, values = engine.nearest(query, 10)
        assert rows[at].tolist() == one.tolist()
        np.testing.assert_allclose(scores[at], values, rtol=1e-5)


def test_a_batch_from_leaves_that_hold_too_few_is_completed(engines, world: World):
    engine = engines["scann"]
    queries = engine.embed({"user_id": world.users})
    rows, scores = engine.nearest_batch(queries, 100, leaves_to_search=1)
    assert np.isfinite(scores).all()
    assert all(len(set(row)) == 100 for row in rows.tolist())
    short = [engine.searcher.search(q, 100, 100, 1)[0] for q in queries]
    assert any(len(one) < 100 for one in short)  # else nothing was completed


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_gives_an_empty_answer(kind, engines):
    engine = engines[kind]
    rows, scores = engine.nearest_batch(engine.embeddings[:0], 5)
    assert rows.shape == scores.shape == (0, 5)


# How hard to search


def test_an_effort_below_one_is_that_of_the_build(engines, world: World):
    engine = engines["scann"]
    queries = engine.embed({"user_id": world.users})
    expected = engine.nearest_batch(queries, 10)[0]
    assert (engine.nearest_batch(queries, 10, -3, -7)[0] == expected).all()


def test_more_leaves_find_more_and_bounds_hold(build, load, engines, world: World):
    engine, model = engines["scann"], load("scann")
    queries = engine.embed({"user_id": world.users})
    truth = exact_top_k(queries, engine.embeddings, 10)[1]

    def recall(leaves: int, reorder: int) -> float:
        found = engine.nearest_batch(queries, 10, leaves, reorder)[0]
        pairs = zip(found.tolist(), truth.tolist(), strict=True)
        return float(np.mean([len(set(a) & set(b)) for a, b in pairs])) / 10

    assert recall(1, 10) < recall(4, 100) <= recall(12, CANDIDATES)
    assert recall(12, CANDIDATES) == 1
    assert recall(10**6, 10**9) == 1  # lowered to what there is
    for leaves, reorder in ((1, 10), (4, 100), (10**6, 10**9)):
        found = model.search(
            {"user_id": world.users}, 10, leaves_to_search=leaves, reorder=reorder
        )
        rows = engine.nearest_batch(queries, 10, leaves, reorder)[0]
        expected = [engine.ids.take(row) for row in rows.tolist()]
        assert [
            [one.decode() for one in row] for row in found["candidate_id"].numpy()
        ] == expected


def test_nearest_answers_embeddings(load, engines, world: World):
    model, queries = load("scann"), {"user_id": world.users}
    embedded = model.embed_query(queries)
    found = model._model.nearest({"embedding": tf.constant(embedded)})
    expected = model.search(queries)
    for name in ("candidate_id", "title"):
        assert (found[name].numpy() == expected[name].numpy()).all()


# Knobs


KNOBS = [
    {},
    {"soar_lambda": 1.5},
    {"reorder_type": "bfloat16"},
    {"reorder_type": "int8"},
    {"reorder_type": "bfloat16", "soar_lambda": 1.5},
    {"quantize_centroids": True},
    {"spherical": True},
    {"avq_eta": 1},
    {"avq_eta": 4, "spherical": True},
    {"anisotropic_threshold": 0},
    {"dimensions_per_block": 3},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_every_knob_is_searched_by_both_engines(knobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths need not be absolute
    vectors = clustered(3000, 16, 40, seed=11)
    queries = (vectors[:300] + 0.1 * clustered(300, 16, 40, seed=12)).astype(np.float32)
    config = IndexConfig(
        kind="scann", leaves=50, leaves_to_search=25, reorder=300, **knobs
    )
    plan = plan_index(config, *vectors.shape)
    order = scann_files.build(vectors, plan, "scann")
    moved = shutil.move("scann", "moved")
    index = make_index(ExactIndex(vectors[order]), plan, moved)
    truth = exact_top_k(queries, vectors[order], 10)[1]
    natively, _ = scann_files.load_native(moved).search_batched(queries, 10, 300)
    by_ops = index.search(tf.constant(queries), tf.constant(10))[1].numpy()
    for found in (natively, by_ops):
        pairs = zip(found.tolist(), truth.tolist(), strict=True)
        recall = np.mean([len(set(a) & set(b)) for a, b in pairs]) / 10
        assert recall > (0.8 if knobs.get("reorder_type") == "int8" else 0.97)
    if not knobs.get("soar_lambda") and knobs.get("reorder_type") != "bfloat16":
        assert (natively == by_ops).mean() > 0.999


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_candidates_of_a_leaf_lie_together_and_are_those_they_were(knobs, tmp_path):
    vectors = clustered(500, 16, 10, seed=13)
    config = IndexConfig(kind="scann", leaves=10, leaves_to_search=10, **knobs)
    plan = plan_index(config, *vectors.shape)
    folder = tmp_path / "scann"
    order = scann_files.build(vectors, plan, str(folder))
    assert sorted(order) == list(range(500))
    tokens = np.load(folder / "datapoint_to_token.npy")
    leaf = tokens[:: len(tokens) // 500]
    assert (np.diff(leaf) >= 0).all() and len(set(leaf)) > 5
    searcher = scann_files.load_native(str(folder))
    rows, _ = searcher.search_batched(vectors, 1, 500, 10)
    # A vector of length 1 is nearest to itself, up to what int8 can tell apart.
    assert (order[rows[:, 0]] == np.arange(500)).mean() > 0.9


def test_an_index_without_leaves_keeps_the_order(tmp_path):
    vectors = clustered(500, 16, 10, seed=13)
    plan = plan_index(IndexConfig(kind="scann", leaves=0), *vectors.shape)
    order = scann_files.build(vectors, plan, str(tmp_path / "scann"))
    assert order.tolist() == list(range(500))


def test_vectors_are_on_disk_once(build):
    folder = pathlib.Path(build("scann").path, native.FOLDER)
    assert [one.name for one in folder.rglob("*.npy") if "dataset" in one.name]
    assert not (folder / "embeddings.npy").exists()
    assert pathlib.Path(build("exact").path, native.FOLDER, "embeddings.npy").exists()


# Parts


@given(st.lists(st.text(max_size=5)), st.data())
@settings(deadline=None)
def test_texts_are_read_from_where_they_lie(texts, data):
    whole = pa.array(["before", *texts, "after"], pa.large_string())
    column = Texts(whole[1:-1])
    assert len(column) == len(texts)
    rows = data.draw(st.lists(st.integers(0, max(len(texts) - 1, 0)), max_size=8))
    assert column.take(rows if texts else []) == [texts[r] for r in rows if texts]


# Bad input


def test_k_below_one_is_refused(engines):
    with pytest.raises(UserError, match="k must be at least 1, got 0"):
        engines["scann"].recommend({"user_id": "1"}, 0)


def test_an_unknown_feature_is_told_with_those_that_there_are(engines):
    with pytest.raises(UserError, match="unknown query feature 'age'; the model takes"):
        engines["scann"].recommend({"user_id": "1", "age": 3}, 2)


def test_a_query_id_that_is_no_text_is_told(engines):
    with pytest.raises(UserError, match="^user_id is a text, got 42$"):
        engines["scann"].recommend({"user_id": 42})


def test_an_id_to_leave_out_that_is_no_text_is_told(engines):
    with pytest.raises(UserError, match="^candidate_id is a text, got 64$"):
        engines["scann"].recommend({"user_id": "1"}, exclude=["7", 64])


@pytest.mark.parametrize("kind", KINDS)
def test_candidate_ids_are_by_the_rows_that_are_found(kind, engines, world: World):
    engine = engines[kind]
    ids = engine.candidate_ids()
    assert sorted(ids) == sorted(world.ids)
    query = engine.embed({"user_id": world.users[:1]})
    rows, _ = engine.nearest_batch(query, 10)
    found = engine.recommend({"user_id": world.users[0]}, 10)
    assert [ids[row] for row in rows[0]] == ids_of(found)


def test_a_version_without_a_native_engine_is_one_sentence(build):
    with pytest.raises(UserError, match="has no native engine; push the model again"):
        NativeEngine(build("tfrs-scann").path)


@pytest.mark.parametrize(
    "part",
    [
        "catalogue.arrow",
        "scann/ah_codebook.pb",
        "scann/datapoint_to_token.npy",
        "scann/dataset.npy",
        "scann/hashed_dataset.npy",
        "scann/scann_assets.pbtxt",
        "scann/scann_config.pb",
        "scann/serialized_partitioner.pb",
    ],
)
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.7, 0.99])
def test_a_damaged_part_is_one_sentence(part, share, build, tmp_path):
    path = shutil.copytree(build("scann").path, tmp_path / "version")
    file = path / native.FOLDER / part
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="native engine in .* is damaged"):
        NativeEngine(str(path))
    file = path / "assets.extra" / "manifest.json"
    file.write_text(file.read_text().replace(stacks.RUNNING.pins["scann"], "9.9"))
    with pytest.raises(UserError, match=r"can't be loaded .* made with .* scann 9\.9,"):
        NativeEngine(str(path))


@pytest.mark.parametrize("part", ["hashed_dataset.npy", "datapoint_to_token.npy"])
def test_a_part_of_another_index_is_one_sentence(part, build, tmp_path):
    path = shutil.copytree(build("scann").path, tmp_path / "version")
    file = path / native.FOLDER / native.SCANN / part
    np.save(file, np.load(file)[:-3])
    with pytest.raises(UserError, match="has not the candidates of hashed_dataset"):
        NativeEngine(str(path))
    file.unlink()
    with pytest.raises(UserError, match="does not name the files that are there"):
        NativeEngine(str(path))


def test_a_fresh_process_answers_without_the_saved_model(build, run_python, world):
    code = (
        "import serving.process; serving.process.set_up()\n"
        "import sys; from serving.native import NativeEngine\n"
        "import tensorflow as tf; tf.saved_model.load = None\n"
        "found = NativeEngine(sys.argv[1]).recommend({'user_id': sys.argv[2]}, 3)\n"
        "print([one['candidate_id'] for one in found])"
    )
    done = run_python("-c", code, build("scann").path, world.users[1])
    expected = Recommender(build("scann").path).recommend(
        {"user_id": world.users[1]}, 3
    )
    assert done.stdout.strip() == str(ids_of(expected)), done.stderr


# Filters

FILTERS = {
    "kind = film": lambda one: one["kind"] == "film",
    "tags = rare and year >= 1950": lambda o: "rare" in o["tags"] and o["year"] >= 1950,
    "not (tags = new or tags = old)": lambda o: not {"new", "old"} & set(o["tags"]),
    "year = 1907": lambda one: one["year"] == 1907,
    "kind = none": lambda one: False,
    "year >= 1900": lambda one: True,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("k", [1, 10, CANDIDATES])
def test_a_filter_leaves_nothing_out_but_what_it_says(
    kind, text, k, engines, world: World
):
    left = {one for one in world.ids if FILTERS[text](attributes_of(one))}
    for user in world.users[:15]:
        best_first = [one for one in world.ranking(user) if one in left]
        for without in ([], best_first[:2]):
            found = engines[kind].recommend({"user_id": user}, k, without, filter=text)
            expected = [one for one in best_first if one not in without][:k]
            assert len(found) == len(expected)
            assert set(ids_of(found)) <= left - set(without)
            if kind == "exact":
                assert ids_of(found) == expected
            assert [one["score"] for one in found] == sorted(
                (one["score"] for one in found), reverse=True
            )


PARTITIONED = {"leaves": 140, "leaves_to_search": 14, "reorder": 60}
FLAT = {"leaves": 0, "reorder": 600}


def large_engine(
    engine: NativeEngine, monkeypatch, knobs: dict[str, int]
) -> tuple[NativeEngine, np.ndarray]:
    """An engine over 20,000 clustered vectors in place of its own."""
    vectors = clustered(20_000, 16, 100, 4)
    config = IndexConfig(kind="scann", k=10, **knobs)
    plan = plan_index(config, *vectors.shape)
    monkeypatch.setattr(engine, "embeddings", vectors)
    monkeypatch.setattr(engine, "plan", plan)
    monkeypatch.setattr(engine, "searcher", scann_files.train(vectors, plan))
    return engine, vectors


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.02, 0.0005])
@pytest.mark.parametrize("is_about_the_vectors", [False, True])
@pytest.mark.parametrize("knobs", [PARTITIONED, FLAT], ids=str)
def test_filtered_search_finds_what_a_filtered_sort_finds(
    share, is_about_the_vectors, knobs, engines, monkeypatch
):
    engine, vectors = large_engine(engines["scann"], monkeypatch, knobs)
    queries = clustered(60, 16, 100, 4)
    draw = np.random.default_rng(3)
    value = vectors[:, 0] if is_about_the_vectors else draw.random(len(vectors))
    mask = value >= np.quantile(value, 1 - share)
    within = Survivors(mask, int(mask.sum()))
    recalls = []
    for query in queries:
        scores = np.where(mask, vectors @ query, -np.inf)
        truth = np.argsort(-scores)[: min(10, within.count)].tolist()
        excluded = frozenset(truth[:3])
        for exclude, expected in ((frozenset(), truth), (excluded, truth[3:])):
            found, values = engine.nearest(query, 10, exclude, within=within)
            assert len(found) == min(10, within.count - len(exclude))
            assert mask[found].all() and not exclude & set(found.tolist())
            np.testing.assert_allclose(values, scores[found], rtol=1e-5, atol=1e-6)
            recalls.append(len(set(found) & set(expected)) / len(expected))
    assert np.mean(recalls) > (0.999 if share < 0.05 else 0.93)


def test_a_model_without_attributes_says_so(engines, monkeypatch):
    engine = engines["exact"]
    monkeypatch.setattr(engine, "attributes", None)
    assert engine.survivors(" ") is None
    with pytest.raises(UserError, match="no attributes to filter by; declare"):
        engine.recommend({"user_id": "1"}, filter="kind = film")


def test_the_recall_of_filters_is_reported(engines, world):
    queries = world.query_vectors.astype(np.float32)
    for kind in KINDS:
        found = filtered_recall(engines[kind], queries, 10)
        assert len(found) == 4
        for one in found:
            left = engines[kind].survivors(one["filter"])
            assert one["candidates"] == left.count > 0
            assert one["recall"] >= (1 if kind == "exact" else 0.9)
