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
from components.scann_indexer import component, executor
from serving import manifest
from serving.errors import UserError
from serving.index_config import IndexConfig
from serving.model import Recommender

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
    asked = SCANN.model_dump(exclude_none=True, exclude={"training_sample"})
    assert {name: content["index"][name] for name in asked} == asked
    assert content["query_features"] == ["user_id"]
    assert "measured" not in content


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
            "interactions": [made("ExampleCleaner", "interactions")],
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
