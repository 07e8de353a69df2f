# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A catalogue in shards beside the same one in one exact index."""

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.main import main
from serving import manifest
from serving.errors import UserError
from serving.evaluation import evaluate
from serving.exact import exact_top_k
from serving.index_config import SHARDS, IndexConfig, shard_name
from serving.model import Recommender, shard_paths, versions
from serving.native import NativeEngine
from serving.shards import (
    ShardedEngine,
    ShardedRecommender,
    check_not_empty,
    merge,
    merge_results,
    open_engine,
    open_model,
    shard_of,
)
from tests.unit.conftest import (
    CANDIDATES,
    DEFAULT_K,
    USERS,
    World,
    build_version,
)
from tests.unit.test_evaluate import make_interactions, write_interactions

COUNT = 3
NOBODY = "nobody"

Build = Callable[[str], str]


@pytest.fixture(scope="module")
def sharded(world: World, tmp_path_factory) -> dict[str, str]:
    """The small world in shards, a version of each kind."""
    folder = tmp_path_factory.mktemp("sharded")
    return {
        kind: build_version(
            folder / kind, world.towers, world.ids, world.titles,
            world.candidate_vectors,
            IndexConfig(kind=kind, k=DEFAULT_K, leaves=8, leaves_to_search=6,
                        reorder=80, shards=COUNT),
        )
        for kind in ("exact", "scann")
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(build, load) -> tuple[Recommender, NativeEngine]:
    """The same world in one exact index, by both engines."""
    return load("exact"), NativeEngine(build("exact").path)


@pytest.fixture(scope="module")
def parts(sharded) -> tuple[Recommender, ShardedEngine]:
    """The world in exact shards, by both engines."""
    model, engine = open_model(sharded["exact"]), open_engine(sharded["exact"])
    assert isinstance(model, ShardedRecommender) and isinstance(engine, ShardedEngine)
    return model, engine


# Which candidate is where


def test_a_shard_is_the_same_for_ever():
    # By farmhash.fingerprint64 of the package pyfarmhash, modulo a billion.
    golden = {"1": 607034849, "007": 836041884, "7": 82856088, " lead": 859078042}
    golden |= {"東京": 748466101, "élan": 493362047, "B000123456": 126369137}
    for ids in (list(golden), [one.encode() for one in golden]):
        assert shard_of(ids, 10**9).tolist() == list(golden.values())


@given(st.lists(st.text(max_size=8)), st.integers(1, 50))
@settings(max_examples=30)
def test_a_shard_depends_on_the_id_alone(ids, shards):
    found = shard_of(ids, shards)
    assert found.shape == (len(ids),)
    assert all(0 <= one < shards for one in found)
    for one, shard in zip(ids, found, strict=True):
        assert shard_of([one], shards).tolist() == [shard]


def test_shards_are_about_equal():
    counts = np.bincount(shard_of([str(n) for n in range(100_000)], 20))
    assert counts.sum() == 100_000 and len(counts) == 20
    # Poisson: 5,000 with a standard deviation of 71.
    assert 4_600 < counts.min() and counts.max() < 5_400


# The merge beside one exact index


@st.composite
def catalogues(draw: Any) -> dict[str, Any]:
    """Ids with scores of few values, dealt to shards, and what is asked of them."""
    ids = draw(st.lists(st.text(min_size=1, max_size=3), unique=True, min_size=1))
    batch, count = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    numbers = st.integers(-2, 2)
    return {
        "ids": ids,
        "scores": [[draw(numbers) for _ in ids] for _ in range(batch)],
        "shard": [draw(st.integers(0, count - 1)) for _ in ids],
        "count": count,
        "k": draw(st.integers(1, len(ids) + 3)),
        "exclude": set(draw(st.lists(st.sampled_from(ids)))),
    }


def ranked(case: dict[str, Any], row: int, shard: int | None) -> list[tuple[str, int]]:
    """The best k by sorting, of one shard or, by None, of the whole catalogue."""
    pairs = zip(case["ids"], case["scores"][row], case["shard"], strict=True)
    left = [
        (one, score)
        for one, score, where in pairs
        if shard in (None, where) and one not in case["exclude"]
    ]
    # As bytes: the rows of one index are in that order.
    return sorted(left, key=lambda pair: (-pair[1], pair[0].encode()))[: case["k"]]


@given(catalogues())
@settings(max_examples=200)
def test_merged_batches_are_those_of_the_whole(case):
    k, rows = case["k"], range(len(case["scores"]))

    def columns(shard: int | None, width: int) -> dict[str, np.ndarray]:
        found = [ranked(case, row, shard) for row in rows]
        padded = [one + [("", -np.inf)] * (width - len(one)) for one in found]
        shape = (len(padded), width)
        ids = np.empty(shape, object)
        ids[:] = [[one.encode() for one, _ in row] for row in padded]
        scores = np.array([[s for _, s in row] for row in padded], np.float32)
        return {"candidate_id": ids, "score": scores.reshape(shape), "title": ids}

    sizes = [case["shard"].count(shard) for shard in range(case["count"])]
    widths = [min(k, size) for size in sizes]
    widths[0] = k if k > len(case["ids"]) else widths[0]
    found = merge([columns(s, w) for s, w in enumerate(widths)], k)
    expected = columns(None, k)
    for name in expected:
        assert found[name].tolist() == expected[name].tolist()


@given(catalogues())
@settings(max_examples=200)
def test_merged_results_are_those_of_the_whole(case):
    def results(shard: int | None) -> list[dict[str, Any]]:
        return [
            {"candidate_id": one, "title": one.upper(), "score": score}
            for one, score in ranked(case, 0, shard)
        ]

    found = merge_results([results(s) for s in range(case["count"])], case["k"])
    assert found == results(None)


# Shards built from Parquet beside one servable


@given(st.data())
@settings(max_examples=25)
def test_exact_shards_answer_as_one_exact_index(whole, parts, world: World, data):
    users = data.draw(st.lists(st.integers(0, USERS), min_size=1, max_size=3))
    queries = [world.users[user] if user < USERS else NOBODY for user in users]
    exclude = data.draw(
        st.lists(
            st.lists(st.sampled_from([*world.ids, "unknown", ""])),
            min_size=len(users), max_size=len(users),
        )
    )  # fmt: skip
    # A shard has about 100.
    k = data.draw(st.sampled_from([1, 10, 120, CANDIDATES - 1, CANDIDATES + 7]))
    for exact in (False, True):
        one, many = (
            model.search({"user_id": queries}, k, exclude, exact)
            for model in (whole[0], parts[0])
        )
        assert one.keys() == many.keys()
        for name in ("candidate_id", "title"):
            assert (one[name].numpy() == many[name].numpy()).all()
        np.testing.assert_allclose(one["score"], many["score"], rtol=1e-5, atol=1e-6)
    for at, user in enumerate(queries):
        one, many = (
            engine.recommend({"user_id": user}, k, exclude[at])
            for engine in (whole[1], parts[1])
        )
        assert [o["candidate_id"] for o in one] == [o["candidate_id"] for o in many]
        assert [o["title"] for o in one] == [o["title"] for o in many]


def test_all_but_a_few_may_be_excluded(parts, world: World):
    left = set(world.ids[5:8])
    without = [one for one in world.ids if one not in left]
    for model in parts:
        found = model.recommend({"user_id": "1"}, 50, without)
        assert {one["candidate_id"] for one in found} == left
        assert model.recommend({"user_id": "1"}, 50, world.ids) == []


def test_an_empty_batch_gives_an_empty_answer(parts):
    found = parts[0].search({"user_id": []}, 3)
    assert {values.shape for values in found.values()} == {(0, 3)}
    rows, scores = parts[1].nearest_batch(np.zeros((0, 9), np.float32), 3)
    assert rows.shape == scores.shape == (0, 3)


def test_the_catalogue_is_in_the_order_of_one_index(whole, parts):
    assert parts[0].size == parts[1].size == whole[0].size == CANDIDATES
    assert (parts[0].candidate_ids() == whole[0].candidate_ids()).all()
    assert (parts[0].embeddings() == whole[0].embeddings()).all()
    queries = {"user_id": ["1", "2", NOBODY]}
    assert (parts[0].embed_query(queries) == whole[0].embed_query(queries)).all()
    embedded = parts[1].embed(queries)
    for k in (10, CANDIDATES):
        rows, _ = parts[1].nearest_batch(embedded, k)
        assert (rows == whole[1].nearest_batch(embedded, k)[0]).all()


def test_a_signature_without_k_is_merged_too(whole, parts):
    examples = tf.constant(
        [
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        "user_id": tf.train.Feature(
                            bytes_list=tf.train.BytesList(value=[user])
                        )
                    }
                )
            ).SerializeToString()
            for user in (b"3", b"nobody")
        ]
    )
    one, many = (
        model.signature("serving_examples")(examples=examples)["candidate_id"]
        for model in (whole[0], parts[0])
    )
    assert many.shape == (2, DEFAULT_K)
    assert (one.numpy() == many.numpy()).all()


def test_ties_across_shards_go_by_id(world: World, tmp_path):
    # One number that is not 0 each: no order of additions can tell equals apart.
    vectors = np.zeros((CANDIDATES, 9), np.float32)
    vectors[:, 0] = np.arange(CANDIDATES) % 3
    models = []
    for shards in (1, 2):
        config = IndexConfig(kind="exact", k=DEFAULT_K, shards=shards)
        path = build_version(
            tmp_path / str(shards), world.towers, world.ids, world.titles, vectors,
            config,
        )  # fmt: skip
        models.append((open_model(path), open_engine(path)))
    for user in world.users[:5]:
        for k in (1, 7, 99, 150, CANDIDATES):
            found = [
                [one["candidate_id"] for one in model.recommend({"user_id": user}, k)]
                for pair in models
                for model in pair
            ]
            assert found[0] == found[1] == found[2] == found[3]
            assert len(found[0]) == k


def test_scann_shards_find_what_exact_search_finds(sharded, whole, world: World):
    model, engine = open_model(sharded["scann"]), open_engine(sharded["scann"])
    queries = whole[1].embed({"user_id": world.users})
    truth = exact_top_k(queries, whole[0].embeddings(), 10)[1]
    ids = whole[0].candidate_ids()
    batch = model.search({"user_id": world.users}, 10)["candidate_id"].numpy()
    for found in (ids[engine.nearest_batch(queries, 10)[0]], batch):
        pairs = zip(found.tolist(), ids[truth].tolist(), strict=True)
        assert np.mean([len(set(a) & set(b)) for a, b in pairs]) / 10 > 0.95
    # As hard as may be: each shard searches all of its leaves, and so all is found.
    hard = {"leaves_to_search": 10**6, "reorder": 10**6}
    assert (engine.nearest_batch(queries, 10, **hard)[0] == truth).all()
    found = model.search({"user_id": world.users}, 10, **hard)["candidate_id"]
    assert (found.numpy() == ids[truth]).all()


def test_a_fresh_process_gives_the_very_same_answers(sharded, run_python, world):
    code = (
        "import serving.process; serving.process.set_up()\n"
        "import json, sys; from serving.shards import open_engine, open_model\n"
        "print(json.dumps([one(path).recommend({'user_id': '7'}, 20)\n"
        "                  for path in sys.argv[1:]\n"
        "                  for one in (open_model, open_engine)]))"
    )
    done = run_python("-c", code, *sharded.values())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        opened(path).recommend({"user_id": "7"}, 20)
        for path in sharded.values()
        for opened in (open_model, open_engine)
    ]


# What a version in shards is to others


def test_each_shard_is_a_servable_and_the_manifest_is_of_all(sharded, world: World):
    path = sharded["exact"]
    content = manifest.read(path)
    assert (content["shards"], content["candidates"]) == (COUNT, CANDIDATES)
    assert content["pipeline"] == "small" and "shard" not in content
    assert content["index"]["kind"] == "exact"
    ids = []
    for at, part in enumerate(shard_paths(path)):
        assert manifest.read(part)["shard"] == f"{at:05}-of-{COUNT:05}"
        assert os.path.exists(f"{part}/assets.extra/tf_serving_warmup_requests")
        own = [one.decode() for one in Recommender(part).candidate_ids()]
        assert set(shard_of(own, COUNT)) == {at}
        ids += own
    assert sorted(ids) == sorted(world.ids)


def test_a_version_is_whole_with_all_of_its_shards(tmp_path):
    for name, shards in (("7", 3), ("8", 3), ("9", 3), ("10", 1)):
        for shard in range(shards):
            folder = tmp_path / name / SHARDS / shard_name(shard, shards)
            folder.mkdir(parents=True)
            (folder / "saved_model.pb").touch()
    (tmp_path / "8" / SHARDS / "00001-of-00003" / "saved_model.pb").unlink()
    shutil.rmtree(tmp_path / "9" / SHARDS / "00002-of-00003")
    (tmp_path / "11" / SHARDS).mkdir(parents=True)
    assert versions(str(tmp_path)) == [7, 10]


def test_the_command_line_asks_all_shards(sharded, build, capsys):
    answers = []
    for path in (build("exact").path, sharded["exact"]):
        arguments = ["--query", "user_id=7", "--format", "json", "--exclude", "m3"]
        assert main(["recommend", "--model", path, *arguments]) == 0
        answers.append(json.loads(capsys.readouterr().out)["recommendations"])
    assert len(answers[0]) == 10
    one, many = ([{**o, "score": round(o["score"], 5)} for o in a] for a in answers)
    assert one == many


def test_the_evaluation_is_that_of_one_index(sharded, build, world: World, tmp_path):
    train, valid, held_out = make_interactions(world)
    request = {
        "train_files": [write_interactions(tmp_path / "train", train)],
        "valid_files": [write_interactions(tmp_path / "valid", valid)],
        "eval_files": [write_interactions(tmp_path / "eval", held_out)],
        "query_id": "user_id",
        "candidate_id": "movie_id",
        "histories": [],
        "config": {"latency_queries": 2, "gates": {"max_p99_ms": 10_000}},
    }
    one, many = (
        evaluate.evaluate(
            {**request, "model": path, "previous_model": sharded["scann"]}
        )
        for path in (build("exact").path, sharded["exact"])
    )
    for report in (one, many):
        # Filters are tried on one index only.
        del report["latency_ms"], report["load_seconds"], report["index"]
        del report["filtered"]
        report["gates"] = [g for g in report["gates"] if "latency" not in g["name"]]
    assert many == one
    assert many["recall"] == many["native_recall"] == {"10": 1, "100": 1}


# Bad input


def test_who_takes_one_servable_is_told_of_the_shards(sharded):
    with pytest.raises(UserError) as caught:
        Recommender(sharded["exact"])
    assert str(caught.value) == (
        f"{sharded['exact']} is in 3 shards and this takes one servable; name one of "
        f"them, e.g. {sharded['exact']}/shards/00000-of-00003"
    )


def test_an_empty_shard_is_told_with_the_mend(tmp_path):
    names = [shard_name(shard, 3) for shard in range(3)]
    for name in names[::2]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.parquet").touch()
    with pytest.raises(UserError) as caught:
        check_not_empty(str(tmp_path), names)
    assert str(caught.value) == (
        "1 of 3 shards have no candidates, such as 00001-of-00003; lower index.shards"
    )
    check_not_empty(str(tmp_path), names[::2])


@pytest.mark.parametrize("opened", [open_model, open_engine])
def test_a_damaged_shard_is_one_sentence(opened, sharded, tmp_path):
    path = shutil.copytree(sharded["exact"], tmp_path / "version")
    part = path / SHARDS / "00002-of-00003"
    for file in (
        part / "variables" / "variables.index",
        part / "assets.extra" / "native" / "catalogue.arrow",
    ):
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match="00002-of-00003.* is damaged"):
        opened(str(path))


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(parts, k):
    for model in parts:
        with pytest.raises(UserError, match=f"k must be at least 1, got {k}"):
            model.recommend({"user_id": "1"}, k)
