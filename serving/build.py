# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a servable folder out of trained towers and embedded candidates, or anew."""

import json
import logging
import os
import tempfile
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from serving import index_cost, manifest, native, revision, scann_files
from serving.candidates import Candidates, read_candidates
from serving.index_config import IndexConfig, IndexPlan, plan_index
from serving.mapped import take_rows
from serving.servable import (
    EXCLUDE,
    LEAVES_TO_SEARCH,
    REORDER,
    SCANN_FILES,
    WARMUP,
    K,
    Servable,
    check_ids,
    missing_feature,
)
from serving.towers import Towers, read_recipe, towers_fingerprint
from serving.update import update_candidates

_log = logging.getLogger(__name__)


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
        check_ids(candidates.ids)
        _write(path, towers_path, candidates, plan, folder, about)


def update_servable(
    towers_path: str,
    candidates_path: str,
    previous_path: str,
    config: IndexConfig,
    path: str,
    about: dict[str, Any],
) -> None:
    """Writes a servable of a changed catalogue, from the one before.

    Args:
      towers_path: The Trainer's SavedModel, the same as that servable's.
      candidates_path: Folder of the new catalogue, embedded where it changed.
      previous_path: The servable before.
      config: The index's knobs.
      path: Where the SavedModel goes.
      about: What else the manifest should say, JSON-able.

    Raises:
      UserError: See `serving.update.update_candidates`.
    """
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        update = update_candidates(
            candidates_path, previous_path, towers_fingerprint(towers_path), config,
            folder,
        )  # fmt: skip
        about = {**about, "update": update.about}
        candidates, plan = update.candidates, update.plan
        scann = os.path.join(folder, SCANN_FILES)
        if not update.is_indexed or not revision.can_follow(update.previous, plan):
            _write(path, towers_path, candidates, plan, folder, about)
            return
        with futures.ThreadPoolExecutor() as pool:
            catalogue = pool.submit(
                native.rewrite_catalogue,
                path, previous_path, candidates, update.sources,
            )  # fmt: skip
            revision.write(path, previous_path, candidates, scann)
            catalogue.result()
        native.write_index(path, candidates.embeddings, scann)
        features = update.previous["query_features"]
        _write_manifest(path, towers_path, candidates, plan, features, about)


def _write(
    path: str,
    towers_path: str,
    candidates: Candidates,
    plan: IndexPlan,
    folder: str,
    about: dict[str, Any],
) -> None:
    """Indexes candidates, unless ScaNN's files are in the folder, and writes all."""
    if plan.kind == "scann" and not os.path.isdir(os.path.join(folder, SCANN_FILES)):
        # First, so that what training takes is free again before all else.
        candidates = _indexed(candidates, plan, folder)
    towers = Towers(towers_path)
    servable = Servable(
        towers,
        candidates.embeddings,
        candidates.ids,
        candidates.titles,
        plan,
        folder,
    )
    servable.save(path)
    if plan.kind in native.KINDS:
        scann = os.path.join(folder, SCANN_FILES) if plan.kind == "scann" else None
        native.write(path, towers, candidates, scann)
    _write_warmup(path, servable)
    features = sorted(towers.query_features)
    _write_manifest(path, towers_path, candidates, plan, features, about)


def _indexed(candidates: Candidates, plan: IndexPlan, folder: str) -> Candidates:
    """Writes ScaNN's files into a folder, and returns candidates in their order."""
    scann = os.path.join(folder, SCANN_FILES)
    order = scann_files.build(candidates.embeddings, plan, scann)
    embeddings = (
        np.load(os.path.join(scann, scann_files.VECTORS), mmap_mode="c")
        if scann_files.holds_vectors(scann)
        else take_rows(candidates.embeddings, order, os.path.join(folder, "sorted.npy"))
    )
    return candidates.reordered(order, embeddings)


def _write_manifest(
    path: str,
    towers_path: str,
    candidates: Candidates,
    plan: IndexPlan,
    query_features: list[str],
    about: dict[str, Any],
) -> None:
    count, dimensions = candidates.embeddings.shape
    manifest.write(
        path,
        {
            **about,
            "recipe": read_recipe(towers_path),
            "towers": towers_fingerprint(towers_path),
            "format": manifest.FORMAT,
            "candidates": count,
            "dimensions": dimensions,
            "index": plan.model_dump(),
            "query_features": query_features,
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
    target = os.path.join(path, WARMUP)
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
