# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Building, describing and loading a servable, whole and damaged."""

import importlib.metadata
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving import manifest, stacks
from serving.build import add_measurements, build_servable
from serving.candidates import Candidates, read_candidates
from serving.errors import UserError
from serving.index_config import IndexConfig, plan_index
from serving.model import Recommender, load_scann_ops, version_paths, versions
from serving.servable import Servable
from serving.towers import Towers
from tests.unit.conftest import (
    CANDIDATES,
    DEFAULT_K,
    KINDS,
    Built,
    World,
    write_shards,
)

MANIFEST = "assets.extra/manifest.json"
INDEX = "variables/variables.index"
DATA = "variables/variables.data-00000-of-00001"


# Candidates


def read(folder: pathlib.Path | str, below: pathlib.Path) -> Candidates:
    return read_candidates(str(folder), tempfile.mkdtemp(dir=below))


def test_candidates_are_read_in_the_order_of_their_ids(world: World, tmp_path):
    found = read(world.shards, tmp_path)
    ids = found.ids.to_pylist()
    assert ids == sorted(world.ids, key=str.encode)
    assert found.titles.to_pylist() == [world.title(i) for i in ids]
    rows = [world.ids.index(i) for i in ids]
    assert found.embeddings.dtype == np.float32
    np.testing.assert_array_equal(
        found.embeddings, world.candidate_vectors[rows].astype(np.float32)
    )


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_shards_do_not_matter(shards, world: World, tmp_path):
    vectors = world.candidate_vectors
    folder = tmp_path / "shards"
    write_shards(str(folder), world.ids, world.titles, vectors, shards)
    found, expected = read(folder, tmp_path), read(world.shards, tmp_path)
    assert (found.ids, found.titles) == (expected.ids, expected.titles)
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)


def write_table(folder: pathlib.Path, embeddings: list[list[float]]) -> None:
    ids = [str(row) for row in range(len(embeddings))]
    column = pa.array(embeddings, pa.list_(pa.float32()))
    table = pa.table({"candidate_id": ids, "title": ids, "embedding": column})
    pq.write_table(table, folder / "candidates.parquet")


def test_a_folder_without_candidates_is_an_empty_catalogue(tmp_path):
    sentence = f"{tmp_path} holds no embedded candidates; the catalogue is empty"
    with pytest.raises(UserError) as caught:
        read(tmp_path, tmp_path)
    assert str(caught.value) == sentence
    write_table(tmp_path, [])
    with pytest.raises(UserError) as caught:
        read(tmp_path, tmp_path)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("lengths", [[2, 3], [1, 3], [2, 2, 2, 6]])
def test_vectors_of_unequal_length_are_refused(lengths, tmp_path):
    write_table(tmp_path, [[1.0] * length for length in lengths])
    with pytest.raises(UserError) as caught:
        read(tmp_path, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds embeddings of unequal length; embed them anew"
    )


def test_a_duplicate_id_stops_the_build_and_is_named(world: World, tmp_path):
    ids = [*world.ids[:-1], "007"]
    write_shards(str(tmp_path), ids, world.titles, world.candidate_vectors)
    with pytest.raises(UserError, match="candidate id '007' is in the catalogue twice"):
        build_servable(
            world.towers, str(tmp_path), IndexConfig(), str(tmp_path / "model"), {}
        )
    assert not (tmp_path / "model").exists()


# Towers


def test_towers_take_the_features_they_were_saved_with(world: World):
    towers = Towers(world.towers)
    ((name, spec),) = towers.query_features.items()
    assert (name, spec.dtype, spec.shape.as_list()) == ("user_id", tf.string, [None])
    ((name, spec),) = towers.candidate_features.items()
    assert (name, spec.dtype, spec.shape.as_list()) == ("movie_id", tf.string, [None])
    embedded = towers.embed_candidate({"movie_id": tf.constant(["007", "7"])})
    np.testing.assert_allclose(embedded, world.candidate_vectors[:2], atol=1e-6)
    users = tf.constant(["2", "nobody"])
    assert towers.is_known_query({"user_id": users}).numpy().tolist() == [True, False]
    embedded = towers.embed_query({"user_id": users})
    np.testing.assert_allclose(embedded[0], world.query_vectors[1], atol=1e-6)


# What is written beside the model


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_what_the_model_is_made_of(kind, build, world: World):
    found = manifest.read(build(kind).path)
    assert found["pipeline"] == "small"
    assert found["candidates"] == CANDIDATES
    assert found["dimensions"] == world.candidate_vectors.shape[1]
    assert found["query_features"] == ["user_id"]
    knobs = {"kind": kind, "k": DEFAULT_K, "leaves": 12, "leaves_to_search": 8}
    assert knobs.items() <= found["index"].items()
    for package in ("tensorflow", "scann", "tensorflow-recommenders"):
        assert found["versions"][package] == importlib.metadata.version(package)


def test_measurements_are_added_to_the_manifest(build, tmp_path):
    path = str(tmp_path / "model")
    shutil.copytree(build("exact").path, path)
    before = manifest.read(path)
    report = {
        "recall": {"10": 0.99},
        "latency_ms": {"scann": {"p50": 0.5}},
        "top_k_accuracy": {"exact": {"10": 0.1}},
        "gates": [],
    }
    add_measurements(path, report)
    measured = {name: value for name, value in report.items() if name != "gates"}
    assert manifest.read(path) == {**before, "measured": measured}


@pytest.mark.parametrize("kind", KINDS)
def test_the_warmup_request_can_be_replayed(kind, build, load):
    path = os.path.join(build(kind).path, "assets.extra", "tf_serving_warmup_requests")
    (record,) = tf.data.TFRecordDataset(path).as_numpy_iterator()
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    signature = load(kind).signature(request.model_spec.signature_name)
    inputs = {
        name: tf.constant(tf.make_ndarray(value))
        for name, value in request.inputs.items()
    }
    assert signature(**inputs)["candidate_id"].shape == (1, DEFAULT_K)


# A loaded model


def test_recommendations_are_plain_values_best_first(load, world: World):
    found = load("exact").recommend({"user_id": "3"}, 4)
    assert [one["candidate_id"] for one in found] == world.ranking("3")[:4]
    assert [one["title"] for one in found] == [
        world.title(one["candidate_id"]) for one in found
    ]
    assert json.loads(json.dumps(found)) == found
    assert all(set(one) == {"candidate_id", "title", "score"} for one in found)


def test_recommendations_hold_no_padding(load, world: World):
    model = load("scann")
    without = world.ids[2:]
    found = model.recommend({"user_id": "3"}, 50, without)
    assert {one["candidate_id"] for one in found} == set(world.ids[:2])
    assert model.recommend({"user_id": "3"}, 50, world.ids) == []
    for k in (CANDIDATES + 1, 2**31, 10**12):
        assert len(model.recommend({"user_id": "3"}, k)) == CANDIDATES
    assert len(model.recommend({"user_id": "3"})) == DEFAULT_K
    assert len(model.recommend({"user_id": "3"}, None, [])) == DEFAULT_K


@pytest.mark.parametrize(
    ("query", "k", "sentence"),
    [
        ({"user_id": "3"}, 0, "k must be at least 1, got 0"),
        ({"user_id": "3"}, -4, "k must be at least 1, got -4"),
        ({}, 1, "the query has no features; the model takes user_id"),
        (
            {"user_id": "3", "user": "3"},
            1,
            "unknown query feature 'user'; the model takes user_id",
        ),
    ],
)
def test_a_wrong_query_is_told_in_a_sentence(query, k, sentence, load):
    with pytest.raises(UserError) as caught:
        load("exact").recommend(query, k)
    assert str(caught.value) == sentence


def test_the_catalogue_can_be_read_back(load, world: World):
    model = load("tfrs-scann")
    assert [i.decode() for i in model.candidate_ids()] == sorted(
        world.ids, key=str.encode
    )
    rows = [world.ids.index(i.decode()) for i in model.candidate_ids()]
    np.testing.assert_allclose(
        model.embeddings(), world.candidate_vectors[rows], atol=1e-6
    )


class NumericTowers(tf.Module):
    """Towers whose query features are numbers."""

    query_features = {
        "age": tf.TensorSpec([None], tf.float32, "age"),
        "hour": tf.TensorSpec([None], tf.int64, "hour"),
    }
    candidate_features = {"movie_id": tf.TensorSpec([None], tf.string, "movie_id")}

    def embed_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        hour = tf.cast(features["hour"], tf.float32)
        missing = tf.math.is_nan(features["age"])
        return tf.stack([tf.where(missing, -1.0, features["age"]), hour], axis=1)

    def embed_candidate(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.zeros([tf.size(features["movie_id"]), 2])

    def is_known_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return features["hour"] > 0


@pytest.fixture(scope="module")
def numeric(tmp_path_factory) -> Recommender:
    """A model that is asked with numbers; "old" grows with age, "late" with hour."""
    folder = tmp_path_factory.mktemp("numeric")
    vectors = np.eye(2, dtype=np.float32)
    plan = plan_index(IndexConfig(kind="exact", k=2), 2, 2)
    names = pa.array(["old", "late"], pa.large_string())
    path = str(folder / "model")
    Servable(NumericTowers(), vectors, names, names, plan, str(folder)).save(path)
    manifest.write(path, {"index": plan.model_dump()})
    return Recommender(path)


def test_numbers_are_read_from_text(numeric: Recommender):
    found = numeric.recommend({"age": "1.5", "hour": "23"})
    assert [(one["candidate_id"], one["score"]) for one in found] == [
        ("late", 23),
        ("old", 1.5),
    ]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            {"age": "old", "hour": "1"},
            "query feature 'age' must be of type float32, got 'old'",
        ),
        (
            {"age": "1", "hour": "1.5"},
            "query feature 'hour' must be of type int64, got '1.5'",
        ),
        (
            {"age": "1", "hour": "9" * 30},
            f"query feature 'hour' must be of type int64, got '{'9' * 30}'",
        ),
        (
            {"age": "1", "user_id": "2"},
            "unknown query feature 'user_id'; the model takes age, hour",
        ),
        ({}, "the query has no features; the model takes age, hour"),
        ({"age": ["1", "2"]}, "query feature 'age' takes one value, got 2"),
    ],
)
def test_a_number_that_is_none_is_told_in_a_sentence(query, sentence, numeric):
    with pytest.raises(UserError) as caught:
        numeric.recommend(query)
    assert str(caught.value) == sentence


def test_what_is_left_out_of_a_query_is_missing(numeric: Recommender):
    assert [one["score"] for one in numeric.recommend({"hour": "5"})] == [5, -1]
    assert [one["score"] for one in numeric.recommend({"age": "5"})] == [5, 0]


def test_an_example_without_a_number_is_read_as_missing(numeric: Recommender):
    example = tf.train.Example()
    example.features.feature["hour"].int64_list.value.append(5)
    answer = numeric.signature("serving_examples")(
        examples=tf.constant([example.SerializeToString()])
    )
    assert answer["score"].numpy().tolist() == [[5, -1]]


# Damage


@pytest.fixture
def copy(build: Callable[[str], Built], tmp_path) -> Callable[[str], pathlib.Path]:
    """Copies the model of a kind, to be damaged."""

    def copied(kind: str) -> pathlib.Path:
        return pathlib.Path(shutil.copytree(build(kind).path, tmp_path / "model"))

    return copied


def sentence_of(path: pathlib.Path) -> str:
    """What the loader says, held to be one sentence of one line."""
    with pytest.raises(UserError) as caught:
        Recommender(str(path))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.count(str(path)) >= 1
    return text


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("file", [DATA, INDEX, "saved_model.pb"])
@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_a_truncated_model_is_told_in_a_sentence(kind, file, share, copy):
    path = copy(kind)
    size = (path / file).stat().st_size
    os.truncate(path / file, int(size * share))
    text = sentence_of(path)
    assert text.startswith(f"the SavedModel in {path} is damaged (")
    assert text.endswith("); push the model again")


@pytest.mark.parametrize("file", [DATA, INDEX, "saved_model.pb"])
def test_garbage_in_a_model_is_told_in_a_sentence(file, copy):
    path = copy("exact")
    (path / file).write_bytes(b"garbage" * 99)
    assert sentence_of(path).startswith(f"the SavedModel in {path} is damaged (")


def test_what_another_stack_made_and_this_one_does_not_know_is_told(copy):
    path = copy("exact")
    about = path / "assets.extra" / "manifest.json"
    content = json.loads(about.read_text())
    content["versions"] |= {"tensorflow": "2.99.0", "scann": "9.9"}
    about.write_text(json.dumps(content))
    graph = saved_model_pb2.SavedModel.FromString(
        (path / "saved_model.pb").read_bytes()
    )
    node = graph.meta_graphs[0].graph_def.library.function[0].node_def[0]
    node.op = "OperationOfAFutureTensorFlow"
    (path / "saved_model.pb").write_bytes(graph.SerializeToString())
    text, pins = sentence_of(path), stacks.RUNNING.pins
    assert "OperationOfAFutureTensorFlow" in text
    assert text.endswith(
        "it was made with tensorflow 2.99.0 and scann 9.9, and the stack "
        f"{stacks.RUNNING.name} has tensorflow {pins['tensorflow']} and scann "
        f"{pins['scann']}; push the model again"
    )
    (other,) = (one for one in stacks.STACKS if one is not stacks.RUNNING)
    content["versions"] |= other.pins
    about.write_text(json.dumps(content))
    mend = f"; load it on the stack {other.name}, or push the model again"
    assert sentence_of(path).endswith(mend)


@pytest.mark.parametrize("part", [DATA, INDEX, "variables", "assets"])
def test_a_part_that_is_gone_is_told_in_a_sentence(part, copy):
    path = copy("exact")
    gone = path / part
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert sentence_of(path).startswith(f"the SavedModel in {path} is damaged (")


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_a_model_is_told_in_a_sentence(exists, tmp_path):
    path = tmp_path / "model"
    if exists:
        path.mkdir()
    assert sentence_of(path) == (
        f"{path} holds no SavedModel; name the folder of a version"
    )


def test_a_model_without_a_manifest_is_not_ours(copy):
    path = copy("exact")
    (path / MANIFEST).unlink()
    assert sentence_of(path) == (
        f"{path} has no {MANIFEST}; it is not a model that Shortlist pushed"
    )


@pytest.mark.parametrize("content", [b"", b"{", b'{"index": ', b"\xff\xfe\x00{}"])
def test_a_manifest_that_is_not_json_is_told_in_a_sentence(content, copy):
    path = copy("exact")
    (path / MANIFEST).write_bytes(content)
    assert sentence_of(path) == (
        f"{path / MANIFEST} is not valid JSON; push the model again"
    )


@pytest.mark.parametrize(
    "content", ["{}", "[]", "null", '{"index": 3}', '{"index": {"kind": null}}']
)
def test_a_manifest_without_an_index_is_told_in_a_sentence(content, copy):
    path = copy("exact")
    (path / MANIFEST).write_text(content)
    assert sentence_of(path) == (
        f"{path / MANIFEST} does not name the index; push the model again"
    )


def test_a_model_of_a_newer_format_is_told_in_a_sentence(copy):
    path = copy("exact")
    content = json.loads((path / MANIFEST).read_text())
    assert content["format"] == manifest.FORMAT
    newer = {**content, "format": content["format"] + 1}
    (path / MANIFEST).write_text(json.dumps(newer))
    assert sentence_of(path) == (
        f"{path} was made by a newer Shortlist; upgrade this one"
    )


def test_scanns_operations_can_be_loaded_here():
    load_scann_ops()
    from scann.scann_ops.py import scann_ops

    assert scann_ops.builder


# Versions


def test_versions_are_whole_numbered_folders_oldest_first(tmp_path):
    for name in ("9", "10", "1763900000", "latest", ".pushing-11", "12.tmp", "-3", "²"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()  # still being copied
    (tmp_path / "13" / "variables").mkdir(parents=True)
    (tmp_path / "14").touch()
    assert versions(str(tmp_path)) == [9, 10, 1763900000]


def test_a_version_has_the_folder_that_there_is(tmp_path):
    for name in ("00000123", "7", str(2**63 - 1), str(2**63), "9" * 30):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    assert version_paths(str(tmp_path)) == {
        7: str(tmp_path / "7"),
        123: str(tmp_path / "00000123"),
        2**63 - 1: str(tmp_path / str(2**63 - 1)),
    }


def test_a_base_path_that_is_not_there_has_no_versions(tmp_path):
    assert versions(str(tmp_path / "none")) == []
    assert versions(str(tmp_path)) == []
