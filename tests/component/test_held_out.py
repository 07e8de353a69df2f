# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a pushed version was evaluated on, by a small store of ML Metadata."""

import pathlib

import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from components.index_evaluator import executor
from components.index_evaluator.component import IndexEvaluator
from pipeline import held_out
from pipeline.layout import Layout
from serving.errors import UserError


class Store:
    """ML Metadata as the local runner fills it, as far as it is asked."""

    def __init__(self, layout: Layout):
        connection = pb.ConnectionConfig()
        connection.sqlite.filename_uri = layout.metadata
        connection.sqlite.connection_mode = 3  # made if it is not there
        self.store = metadata_store.MetadataStore(connection)

    def artifact(self, kind: str, uri: str = "", **texts: str) -> int:
        type_id = self.store.put_artifact_type(pb.ArtifactType(name=kind))
        made = pb.Artifact(type_id=type_id, uri=uri)
        for name, text in texts.items():
            made.custom_properties[name].string_value = text
        return self.store.put_artifacts([made])[0]

    def execution(self, node: str, inputs, outputs=None, **texts: str) -> None:
        name = f"components.some.component.{node}"
        type_id = self.store.put_execution_type(pb.ExecutionType(name=name))
        made = pb.Execution(type_id=type_id)
        for key, text in texts.items():
            made.custom_properties[key].string_value = text
        (execution,) = self.store.put_executions([made])
        for kind, artifacts in (
            (pb.Event.INPUT, inputs),
            (pb.Event.OUTPUT, outputs or {}),
        ):
            for key, artifact in artifacts.items():
                event = pb.Event(
                    execution_id=execution, artifact_id=artifact, type=kind
                )
                event.path.steps.add().key = key
                self.store.put_events([event])


def write_interactions(folder: pathlib.Path, rows: list[tuple[str, str]]) -> None:
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as file:
        for row in rows:
            example = tf.train.Example()
            for name, text in zip(("user", "item"), row, strict=True):
                example.features.feature[name].bytes_list.value.append(text.encode())
            file.write(example.SerializeToString())


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Two versions of two splits; the first one's model was the second's baseline."""
    layout = Layout(str(tmp_path), "shop")
    pathlib.Path(layout.home).mkdir()
    store = Store(layout)
    names = {"query_id": "user", "candidate_id": "item"}
    previous = {}
    for version in ("17", "18"):
        folder = pathlib.Path(layout.artifacts, "cleaned", version)
        write_interactions(folder / "Split-train", [("u1", "i1")])
        write_interactions(folder / "Split-eval", [("ü", version), ("u2", "i2")])
        model = store.artifact("Model")
        interactions = store.artifact("Examples", str(folder))
        read = {"model": model, "interactions": interactions}
        store.execution("Evaluator", {"model": model})
        store.execution("IndexEvaluator", {**read, **previous}, **names)
        pushed = store.artifact("PushedModel", pushed_version=version)
        store.execution("AtomicPusher", {"model": model}, {"pushed_model": pushed})
        previous = {"previous_model": model}
    return layout


@pytest.mark.parametrize("version", ["17", "18"])
def test_a_version_has_the_pairs_of_its_own_run(version, layout, tmp_path):
    found = held_out.find(layout, version)
    assert (found.query_id, found.candidate_id) == ("user", "item")
    path = str(tmp_path / "pairs.parquet")
    held_out.write_pairs(found, path)
    rows = pq.read_table(path).to_pylist()
    assert rows == [
        {"query_id": "ü", "candidate_id": version},
        {"query_id": "u2", "candidate_id": "i2"},
    ]


def test_a_version_that_nobody_knows_is_one_sentence(layout):
    with pytest.raises(UserError, match="does not know what version 19 was evaluated"):
        held_out.find(layout, "19")


def test_interactions_that_are_gone_are_one_sentence(layout):
    folder = pathlib.Path(layout.artifacts, "cleaned", "18", "Split-eval")
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(UserError, match="Split-eval, which version 18 .* is gone; run"):
        held_out.find(layout, "18")


def test_names_are_those_of_the_component():
    assert held_out.EVALUATOR == IndexEvaluator.__name__
    assert held_out.MODEL == executor.MODEL_KEY
    assert held_out.INTERACTIONS == executor.INTERACTIONS_KEY
    assert held_out.QUERY_ID == executor.QUERY_ID_KEY
    assert held_out.CANDIDATE_ID == executor.CANDIDATE_ID_KEY
