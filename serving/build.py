# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a servable folder out of trained towers and embedded candidates."""

import dataclasses
import json
import logging
import os
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from serving import manifest, native
from serving.errors import UserError
from serving.index_config import IndexConfig, plan_index
from serving.servable import (
    EXCLUDE,
    LEAVES_TO_SEARCH,
    REORDER,
    SCANN_FILES,
    K,
    Servable,
    missing_feature,
)
from serving.towers import Towers, read_recipe

_WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Candidates:
    """An embedded catalogue, its rows in the order of the ids."""

    ids: list[str]
    titles: list[str]
    embeddings: np.ndarray
    """float32 [candidates, dimensions]."""


def read_candidates(folder: str) -> Candidates:
    """Reads the Parquet shards of an embedded catalogue.

    Args:
      folder: Local or remote folder with `*.parquet` of columns candidate_id, title
        (strings) and embedding (a list of as many floats in each row).

    Returns:
      The candidates in the order of their ids, which does not depend on the shards.

    Raises:
      UserError: There are no shards, no rows, or vectors of unequal length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files = sorted(tf.io.gfile.glob(os.path.join(folder, "*.parquet")))
    tables = []
    for name in files:
        with tf.io.gfile.GFile(name, "rb") as file:
            tables.append(pq.read_table(pa.BufferReader(file.read())))
    table = pa.concat_tables(tables) if tables else None
    if not table:
        raise UserError(
            f"{folder} holds no embedded candidates; the catalogue is empty"
        )
    table = table.sort_by("candidate_id").combine_chunks()
    column = table["embedding"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if len(pc.unique(pc.list_value_length(column))) > 1:
        raise UserError(f"{folder} holds embeddings of unequal length; embed them anew")
    return Candidates(
        ids=table["candidate_id"].to_pylist(),
        titles=table["title"].to_pylist(),
        embeddings=flat.astype(np.float32, copy=False).reshape(len(table), -1),
    )


def build_servable(
    towers_path: str,
    candidates_path: str,
    config: IndexConfig,
    path: str,
    about: dict[str, Any],
) -> None:
    """Indexes a catalogue and writes the servable.

    Args:
      towers_path: The Trainer's SavedModel.
      candidates_path: Folder of the embedded candidates.
      config: The index's knobs.
      path: Where the SavedModel goes.
      about: What else the manifest should say, JSON-able.

    Raises:
      UserError: The catalogue is empty or its ids are not unique lines of text.
    """
    candidates = read_candidates(candidates_path)
    count, dimensions = candidates.embeddings.shape
    plan = plan_index(config, count, dimensions)
    _log.info("index: %s, because %s", plan.kind, plan.reason)
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        servable = Servable(
            Towers(towers_path),
            candidates.embeddings,
            candidates.ids,
            candidates.titles,
            plan,
            folder,
        )
        servable.save(path)
        if plan.kind in ("exact", "scann"):
            native.write(
                path,
                towers_path,
                candidates.ids,
                candidates.titles,
                candidates.embeddings,
                os.path.join(folder, SCANN_FILES) if plan.kind == "scann" else None,
            )
    _write_warmup(path, servable)
    manifest.write(
        path,
        {
            **about,
            "recipe": read_recipe(towers_path),
            "format": manifest.FORMAT,
            "candidates": count,
            "dimensions": dimensions,
            "index": plan.model_dump(),
            "query_features": sorted(servable.towers.query_features),
            "versions": manifest.versions(),
        },
    )


def _write_warmup(path: str, servable: Servable) -> None:
    """Writes the request that TensorFlow Serving replays before it takes traffic."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "serving_default"
    for name, spec in servable.towers.query_features.items():
        request.inputs[name].CopyFrom(
            tf.make_tensor_proto([missing_feature(spec)], spec.dtype)
        )
    request.inputs[K].CopyFrom(tf.make_tensor_proto(servable.default_k, tf.int32))
    request.inputs[EXCLUDE].CopyFrom(tf.make_tensor_proto([], tf.string, [1, 0]))
    for name in (LEAVES_TO_SEARCH, REORDER):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(0, tf.int32))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    target = os.path.join(path, _WARMUP)
    tf.io.gfile.makedirs(os.path.dirname(target))
    with tf.io.TFRecordWriter(target) as writer:
        writer.write(log.SerializeToString())


def add_measurements(path: str, evaluation: dict[str, Any]) -> None:
    """Adds what was measured of a servable to its manifest.

    Args:
      path: The servable's folder.
      evaluation: IndexEvaluator's report.
    """
    content = manifest.read(path)
    content["measured"] = {
        name: evaluation[name] for name in ("recall", "latency_ms", "top_k_accuracy")
    }
    manifest.write(path, json.loads(json.dumps(content)))
