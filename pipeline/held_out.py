# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The held-out interactions behind a pushed version, found through ML Metadata."""

import dataclasses
import os

import pyarrow as pa
import pyarrow.parquet as pq
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.layout import Layout
from serving.errors import UserError

# As components.index_evaluator names them, whose module takes TFX half a minute to
# import: a test compares.
EVALUATOR = "IndexEvaluator"
MODEL, INTERACTIONS = "model", "interactions"
QUERY_ID, CANDIDATE_ID = "query_id", "candidate_id"
_SPLIT = "eval"

_Event = metadata_store_pb2.Event


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Interactions that a model was evaluated on."""

    pattern: str
    """Of the files of the split eval: gzipped TFRecords of tf.Examples."""
    query_id: str
    candidate_id: str
    """Names of the features."""


def find(layout: Layout, version: str) -> HeldOut:
    """Finds what the model of a pushed version was evaluated on.

    Args:
      layout: Where the pipeline lies.
      version: Name of the version.

    Raises:
      UserError: ML Metadata knows nothing of it, or the files are gone.
    """
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = layout.metadata
    connection.sqlite.connection_mode = (
        metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    )
    found = _evaluation(metadata_store.MetadataStore(connection), version)
    if found is None:
        raise UserError(
            f"{layout.metadata} does not know what version {version} was evaluated "
            "on; run the pipeline again, or leave the accuracy out by --pairs 0"
        )
    execution, interactions = found
    folder = os.path.join(interactions.uri, f"Split-{_SPLIT}")
    if not os.path.isdir(folder):
        raise UserError(
            f"{folder}, which version {version} was evaluated on, is gone; run the "
            "pipeline again, or leave the accuracy out by --pairs 0"
        )
    names = execution.custom_properties
    return HeldOut(
        os.path.join(folder, "*"),
        names[QUERY_ID].string_value,
        names[CANDIDATE_ID].string_value,
    )


def _evaluation(
    store: metadata_store.MetadataStore, version: str
) -> tuple[metadata_store_pb2.Execution, metadata_store_pb2.Artifact] | None:
    """Returns the last evaluation of a version's model, and its interactions."""
    pushed = [
        one
        for one in store.get_artifacts_by_type("PushedModel")
        if one.custom_properties["pushed_version"].string_value == version
    ]
    for artifact in pushed:
        for event in store.get_events_by_artifact_ids([artifact.id]):
            inputs = _inputs(store, event.execution_id)
            if event.type != _Event.OUTPUT or MODEL not in inputs:
                continue
            uses = store.get_events_by_artifact_ids([inputs[MODEL]])
            users = sorted((one.execution_id for one in uses), reverse=True)
            for execution in store.get_executions_by_id(users):
                read = _inputs(store, execution.id)
                if (
                    execution.type.rpartition(".")[2] == EVALUATOR
                    and read.get(MODEL) == inputs[MODEL]
                    and INTERACTIONS in read
                ):
                    (found,) = store.get_artifacts_by_id([read[INTERACTIONS]])
                    return execution, found
    return None


def _inputs(store: metadata_store.MetadataStore, execution: int) -> dict[str, int]:
    """Returns the ids of an execution's input artifacts by key."""
    return {
        event.path.steps[0].key: event.artifact_id
        for event in store.get_events_by_execution_ids([execution])
        if event.type == _Event.INPUT and event.path.steps
    }


def write_pairs(found: HeldOut, path: str) -> None:
    """Writes the (query id, candidate id) pairs of interactions as Parquet.

    Args:
      found: The interactions.
      path: Of the file; its columns are `query_id` and `candidate_id`, texts.
    """
    import tensorflow as tf

    from serving.evaluation.interactions import read_table

    text = tf.TensorSpec([None], tf.string)
    names = {QUERY_ID: found.query_id, CANDIDATE_ID: found.candidate_id}
    table = read_table([found.pattern], dict.fromkeys(names.values(), text))
    pq.write_table(
        pa.table(
            {
                column: pa.array(table.columns[name].tolist(), pa.binary()).cast(
                    pa.string()
                )
                for column, name in names.items()
            }
        ),
        path,
    )
