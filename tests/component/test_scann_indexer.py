# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ScannIndexer on the embedded catalogue of the session's run."""

import json
import os
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.utils import path_utils

from components.artifacts import CandidateEmbeddings
from components.candidate_embedder import executor as embedder
from components.scann_indexer import component, executor
from serving import manifest
from serving.errors import UserError
from serving.index_config import IndexConfig, IndexPlan
from serving.model import Recommender, shard_paths
from serving.shards import open_engine, open_model

ABOUT = {"pipeline": "test", "config": {"model": {"embedding_dim": 64}}}
SCANN = IndexConfig(kind="scann", k=10, leaves=40, leaves_to_search=30, reorder=400)


def properties(index: IndexConfig, fingerprint: str = "") -> dict:
    """The execution's properties, as the component makes them."""
    node = component.ScannIndexer(
        channel_utils.as_channel([standard_artifacts.Model()]),
        channel_utils.as_channel([CandidateEmbeddings()]),
        index=index,
        about=ABOUT,
        fingerprint=fingerprint,
    )
    assert node.outputs["model"].type is standard_artifacts.Model
    return dict(node.exec_properties)


@pytest.fixture
def build(made, new_artifact):
    """Runs the executor; returns the model artifact."""

    def run(
        index: IndexConfig, embeddings=None, knobs=None
    ) -> standard_artifacts.Model:
        output = new_artifact(standard_artifacts.Model)
        executor.Executor().Do(
            {
                "towers": [made("Trainer", "model")],
                "embeddings": [embeddings or made("CandidateEmbedder", "embeddings")],
                **({"knobs": [knobs]} if knobs else {}),
            },
            {"model": [output]},
            properties(index),
        )
        return output

    return run


@pytest.fixture
def exact_answers(made):
    """The ten best candidates of each user by NumPy, from towers and shards alone."""

    def answers(users: list[str]) -> list[list[str]]:
        table = pq.read_table(made("CandidateEmbedder", "embeddings").uri)
        candidates = np.array(table["embedding"].to_pylist(), np.float64)
        towers = tf.saved_model.load(f"{made('Trainer', 'model').uri}/Format-Serving")
        queries = towers.signatures["embed_query"](user_id=tf.constant(users))
        scores = queries["embedding"].numpy().astype(np.float64) @ candidates.T
        ids = table["candidate_id"].to_pylist()
        return [[ids[i] for i in row[:10]] for row in np.argsort(-scores, axis=1)]

    return answers


USERS = [str(number) for number in range(1, 200)]


@pytest.mark.parametrize("index", [IndexConfig(kind="exact", k=10), SCANN])
def test_the_servable_finds_what_numpy_finds(build, exact_answers, index):
    model = build(index)
    recommender = Recommender(path_utils.serving_model_path(model.uri))
    found = recommender.search({"user_id": USERS})["candidate_id"].numpy()
    expected = exact_answers(USERS)
    shared = [
        len({id_.decode() for id_ in mine} & set(theirs)) / 10
        for mine, theirs in zip(found, expected, strict=True)
    ]
    assert np.mean(shared) > (0.999 if index.kind == "exact" else 0.95)


def test_the_manifest_says_what_was_asked_and_what_was_built(build):
    path = path_utils.serving_model_path(build(SCANN).uri)
    content = manifest.read(path)
    assert content["pipeline"] == "test"
    assert content["config"] == ABOUT["config"]
    assert (content["candidates"], content["dimensions"]) == (1682, 65)
    built_with = set(IndexPlan.model_fields) - {"training_sample"}
    asked = SCANN.model_dump(exclude_none=True, include=built_with)
    assert {name: content["index"][name] for name in asked} == asked
    assert content["query_features"] == ["user_id"]
    assert "measured" not in content


@pytest.fixture
def embedded_in_shards(made, new_artifact):
    """Embeds the catalogue into shards; returns the artifact."""

    def run(shards: int) -> CandidateEmbeddings:
        output = new_artifact(CandidateEmbeddings)
        embedder.Executor().Do(
            {
                "candidates": [made("ExampleCleaner", "cleaned_candidates")],
                "model": [made("Trainer", "model")],
            },
            {"embeddings": [output]},
            {
                "candidate_id": "movie_id",
                "title": "movie_title",
                "attributes": "{}",
                "batch_size": 4096,
                "shards": shards,
            },
        )
        return output

    return run


def test_shards_find_what_one_index_finds(build, embedded_in_shards, exact_answers):
    knobs = {"leaves": 20, "leaves_to_search": 15, "reorder": 200, "shards": 2}
    index = SCANN.model_copy(update=knobs)
    model = build(index, embedded_in_shards(2))
    path = path_utils.serving_model_path(model.uri)
    model, engine = open_model(path), open_engine(path)
    queries = {"user_id": USERS}
    rows = engine.nearest_batch(engine.embed(queries), 10)[0]
    expected = exact_answers(USERS)
    for found in (
        model.search(queries)["candidate_id"].numpy(),
        model.candidate_ids()[rows],
    ):
        shared = [
            len({id_.decode() for id_ in mine} & set(theirs)) / 10
            for mine, theirs in zip(found, expected, strict=True)
        ]
        assert np.mean(shared) > 0.95


def test_a_version_in_shards_has_a_manifest_of_them_all(
    build, embedded_in_shards, made
):
    embeddings = embedded_in_shards(2)
    index = IndexConfig(kind="exact", k=10, shards=2)
    path = path_utils.serving_model_path(build(index, embeddings).uri)
    content = manifest.read(path)
    assert (content["shards"], content["candidates"]) == (2, 1682)
    assert (content["pipeline"], content["config"]) == ("test", ABOUT["config"])
    assert sorted(os.listdir(path)) == ["assets.extra", "shards"]
    parts = [manifest.read(part) for part in shard_paths(path)]
    assert [part["shard"] for part in parts] == ["00000-of-00002", "00001-of-00002"]
    assert sum(part["candidates"] for part in parts) == 1682
    # What a worker that died has left is no part of what another builds.
    begun = pathlib.Path(path, "shards", "00001-of-00002")
    (begun / "saved_model.pb").write_bytes(b"half")
    (begun / "left").touch()
    step = executor._BuildShard(
        path_utils.serving_model_path(made("Trainer", "model").uri),
        embeddings.uri,
        index,
        path,
        ABOUT,
    )
    step.process("00001-of-00002")
    assert not (begun / "left").exists()
    assert open_model(path).size == 1682


def test_too_many_shards_are_one_sentence(build, embedded_in_shards):
    index = IndexConfig(kind="exact", k=10, shards=1000)
    with pytest.raises(UserError, match="of 1000 shards have no candidates") as caught:
        build(index, embedded_in_shards(1000))
    assert str(caught.value).endswith("; lower index.shards")


def test_the_warmup_request_can_be_answered(build):
    path = path_utils.serving_model_path(build(IndexConfig(kind="exact")).uri)
    file = os.path.join(path, "assets.extra", "tf_serving_warmup_requests")
    signatures = tf.saved_model.load(path).signatures
    records = list(tf.data.TFRecordDataset(file).as_numpy_iterator())
    assert 1 <= len(records) <= 1000
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record)
        request = request.predict_log.request
        inputs = {
            name: tf.constant(tf.make_ndarray(value))
            for name, value in request.inputs.items()
        }
        answer = signatures[request.model_spec.signature_name](**inputs)
        assert answer["candidate_id"].shape[0] == 1


def shards(folder: str, rows: list[tuple[str, str, list[float]]]) -> None:
    """Writes embedded candidates, a shard each."""
    for number, (id_, title, embedding) in enumerate(rows):
        table = pa.table(
            {"candidate_id": [id_], "title": [title], "embedding": [embedding]}
        )
        pq.write_table(table, pathlib.Path(folder) / f"c-{number}.parquet")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "holds no embedded candidates; the catalogue is empty"),
        ([("7", "a", [1.0]), ("7", "b", [2.0])], "'7' is in the catalogue twice"),
        ([("a\nb", "", [1.0])], r"'a\\nb' is empty or holds a line break"),
        ([("1", "a", [1.0]), ("2", "b", [1.0, 2.0])], "embeddings of unequal length"),
    ],
    ids=["empty", "twice", "line break", "length"],
)
def test_a_catalogue_that_cannot_be_served_is_named(
    build, new_artifact, rows, sentence
):
    embeddings = new_artifact(CandidateEmbeddings)
    shards(embeddings.uri, rows)
    with pytest.raises(UserError, match=sentence) as caught:
        build(SCANN, embeddings)
    assert "\n" not in str(caught.value)


def test_another_index_or_code_is_another_execution():
    plain = properties(SCANN)
    assert plain == properties(IndexConfig(**SCANN.model_dump()))
    assert IndexConfig(**json.loads(plain["index"])) == SCANN
    assert properties(SCANN.model_copy(update={"reorder": 300})) != plain
    assert properties(SCANN, "f") != plain


# IndexTuner before it


def test_an_index_is_built_with_the_knobs_that_were_found(made, new_artifact, build):
    from components.artifacts import IndexKnobs, read_knobs
    from components.index_tuner import component as tuner
    from components.index_tuner import executor as tuner_executor

    config = IndexConfig(
        kind="scann", k=10, knobs="tuned", tuning={"target_recall": 0.9, "builds": 3}
    )
    node = tuner.IndexTuner(
        *(
            channel_utils.as_channel([kind()])
            for kind in (
                standard_artifacts.Model,
                CandidateEmbeddings,
                standard_artifacts.Examples,
            )
        ),
        index=config,
        split="train",
    )
    output = new_artifact(IndexKnobs)
    tuner_executor.Executor().Do(
        {
            "towers": [made("Trainer", "model")],
            "embeddings": [made("CandidateEmbedder", "embeddings")],
            "interactions": [made("ExampleCleaner", "cleaned_interactions")],
        },
        {"knobs": [output]},
        dict(node.exec_properties),
    )
    found = read_knobs(output.uri)
    assert found["chosen"]["recall"] >= 0.9 and found["held_out_recall"] > 0.8
    path = path_utils.serving_model_path(build(config, knobs=output).uri)
    index = manifest.read(path)["index"]
    assert {name: index[name] for name in found["index"]} == found["index"]
    assert (index["k"], index["reason"]) == (10, "IndexTuner chose it")


def test_the_split_that_is_reported_on_tunes_nothing():
    from components.index_tuner.component import IndexTuner

    with pytest.raises(ValueError, match="eval is for reporting"):
        IndexTuner(None, None, None, index=SCANN, split="eval")  # type: ignore
