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
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from serving import index_cost, manifest, native
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
    """float32 [candidates, dimensions], mapped from a file."""


def read_candidates(folder: str, scratch: str) -> Candidates:
    """Reads the Parquet shards of an embedded catalogue, batch by batch.

    Args:
      folder: Local or remote folder with `*.parquet` of columns candidate_id, title
        (strings) and embedding (a list of as many floats in each row).
      scratch: Local folder for the file that the embeddings are mapped from; it must
        stay as long as they are used.

    Returns:
      The candidates in the order of their ids, which does not depend on the shards.

    Raises:
      UserError: There are no shards, no rows, or vectors of unequal length.
    """
    files = sorted(tf.io.gfile.glob(os.path.join(folder, "*.parquet")))
    columns = ["candidate_id", "title"]
    texts = [_open_shard(name).read(columns=columns) for name in files]
    table = pa.concat_tables(texts) if texts else None
    if not table:
        raise UserError(
            f"{folder} holds no embedded candidates; the catalogue is empty"
        )
    order = pc.sort_indices(table["candidate_id"]).to_numpy()
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=order.dtype)
    table = table.take(order)
    return Candidates(
        ids=table["candidate_id"].to_pylist(),
        titles=table["title"].to_pylist(),
        embeddings=_read_embeddings(folder, files, place, scratch),
    )


def _read_embeddings(
    folder: str, files: list[str], place: np.ndarray, scratch: str
) -> np.ndarray:
    """Reads vectors into a mapped file, each row to its place."""
    embeddings: np.ndarray | None = None
    at = 0
    for name in files:
        for batch in _open_shard(name).iter_batches(columns=["embedding"]):
            vectors = _vectors(batch.column(0))
            if embeddings is None and vectors is not None:
                embeddings = np.lib.format.open_memmap(
                    os.path.join(scratch, "embeddings.npy"),
                    "w+",
                    np.float32,
                    (len(place), vectors.shape[1]),
                )
            if (
                vectors is None
                or embeddings is None
                or vectors.shape[1] != embeddings.shape[1]
            ):
                raise UserError(
                    f"{folder} holds embeddings of unequal length; embed them anew"
                )
            embeddings[place[at : at + len(vectors)]] = vectors
            at += len(vectors)
    assert embeddings is not None  # there are rows
    return embeddings


def _open_shard(name: str) -> pq.ParquetFile:
    """Opens a Parquet file: a local one mapped, a remote one in memory."""
    if os.path.exists(name):
        return pq.ParquetFile(name, memory_map=True)
    with tf.io.gfile.GFile(name, "rb") as file:
        return pq.ParquetFile(pa.BufferReader(file.read()))


def _vectors(column: pa.Array) -> np.ndarray | None:
    """Returns a column of lists as [rows, dimensions]; None: of unequal length."""
    lengths = pc.unique(pc.list_value_length(column))
    if len(lengths) != 1 or not lengths[0].as_py():
        return None
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(len(column), -1)


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
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        candidates = read_candidates(candidates_path, folder)
        count, dimensions = candidates.embeddings.shape
        plan = plan_index(config, count, dimensions)
        cost = index_cost.estimate(
            plan, count, dimensions, len(os.sched_getaffinity(0))
        )
        _log.info(
            "index: %s, because %s; about %.1f GB and %.0f s to build",
            plan.kind, plan.reason, cost.memory_bytes / 1e9, cost.seconds,
        )  # fmt: skip
        index_cost.refuse_too_large(cost, count, dimensions)
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
