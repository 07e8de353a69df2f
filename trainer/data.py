# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what Transform wrote into memory: interactions, candidates, vocabularies."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from serving.errors import UserError
from trainer.batches import Interactions
from trainer.feature_config import Features
from trainer.features import (
    CANDIDATE_FREQUENCY,
    CANDIDATE_INDEX,
    CANDIDATE_VOCABULARY,
    QUERY_KEY,
    vocabulary_name,
)
from trainer.model import Catalogue

_PARSE_BATCH = 8192


class CandidateLookup(tf.Module):
    """Positions of candidate ids in the catalogue."""

    def __init__(self, graph: tft.TFTransformOutput):
        """Loads the vocabulary of the candidates' transform graph."""
        super().__init__()
        path = graph.vocabulary_file_by_name(CANDIDATE_VOCABULARY)
        self.size = graph.vocabulary_size_by_name(CANDIDATE_VOCABULARY)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

    def __call__(self, ids: Any) -> Any:
        """Returns int64 positions of string ids, -1 where unknown; may be ragged."""
        if isinstance(ids, tf.RaggedTensor):
            return ids.with_flat_values(self.table.lookup(ids.flat_values))
        return self.table.lookup(ids)


def vocabulary_sizes(
    graph: tft.TFTransformOutput, features: Features, candidates: CandidateLookup
) -> dict[str, int]:
    """Returns the sizes of the features that are looked up, by name.

    Args:
      graph: Of the side whose features these are.
      features: Of that side; an id of candidates must be left to the caller.
      candidates: The catalogue, which histories are looked up in.
    """
    sizes = {}
    for name, feature in features.items():
        if feature.type == "history":
            sizes[name] = candidates.size
        elif buckets := getattr(feature, "buckets", 0):
            sizes[name] = buckets
        elif feature.type not in ("number", "timestamp", "embedding"):
            sizes[name] = graph.vocabulary_size_by_name(vocabulary_name(name))
    return sizes


def candidate_counts(
    graph: tft.TFTransformOutput, candidates: CandidateLookup
) -> np.ndarray:
    """Returns each candidate's number of training interactions, [candidates]."""
    lines = (
        tf.io.gfile.GFile(graph.vocabulary_file_by_name(CANDIDATE_FREQUENCY), "rb")
        .read()
        .splitlines()
    )
    # Each line is "<count> <id>"; an id may hold blanks itself.
    pairs = [line.split(b" ", 1) for line in lines]
    positions = candidates(tf.constant([term for _, term in pairs])).numpy()
    counts = np.array([int(count) for count, _ in pairs], np.int64)
    result = np.zeros(candidates.size, np.int64)
    known = positions >= 0
    result[positions[known]] = counts[known]
    return result


def read_interactions(
    patterns: list[str],
    graph: tft.TFTransformOutput,
    features: Features,
    candidate_id: str,
    candidates: CandidateLookup,
    weight: str | None,
) -> Interactions:
    """Reads one split of transformed interactions.

    Args:
      patterns: Glob patterns of its gzipped TFRecord shards.
      graph: That wrote them.
      features: Of the query.
      candidate_id: Name of the candidate id feature.
      candidates: The catalogue's positions.
      weight: Name of the feature with what an interaction counts, or None.

    Returns:
      The interactions, in the order of the sorted shard names, their weights scaled
      to a mean of 1.

    Raises:
      UserError: The split is empty, or a row names no candidate of the catalogue.
    """
    names = [*features, candidate_id, QUERY_KEY, *([weight] if weight else [])]
    columns = _read(patterns, graph, names)
    if not columns:
        raise UserError(f"no interactions in {', '.join(patterns)}; the split is empty")
    candidate = candidates(columns.pop(candidate_id)).numpy()
    if (candidate < 0).any():
        raise UserError(
            f"{int((candidate < 0).sum())} interactions in {', '.join(patterns)} name "
            "no candidate of the catalogue; run the ExampleCleaner before Transform"
        )
    for name, feature in features.items():
        if feature.type == "history":
            columns[name] = candidates(columns[name])
    key = columns.pop(QUERY_KEY).numpy()
    if not weight:
        return Interactions(columns, candidate, key)
    weights = columns.pop(weight).numpy().reshape(-1)
    # So that a weight says how interactions compare, and not how fast to learn.
    return Interactions(columns, candidate, key, weights / max(weights.mean(), 1e-12))


def read_catalogue(
    patterns: list[str],
    graph: tft.TFTransformOutput,
    features: Features,
    candidate_id: str,
    counts: np.ndarray,
) -> Catalogue:
    """Reads transformed candidates, in the order of their positions.

    Args:
      patterns: Glob patterns of gzipped TFRecord shards.
      graph: That wrote them.
      features: Of the candidate tower.
      candidate_id: Name of the id feature.
      counts: Training interactions with each, int64 [candidates].
    """
    others = [name for name in features if name != candidate_id]
    if not others:
        return Catalogue(candidate_id, features, {}, counts)
    columns = _read(patterns, graph, [*others, CANDIDATE_INDEX])
    order = np.argsort(columns.pop(CANDIDATE_INDEX).numpy())
    values = {name: tf.gather(columns[name], order) for name in others}
    return Catalogue(candidate_id, features, values, counts)


def _read(
    patterns: list[str], graph: tft.TFTransformOutput, names: list[str]
) -> dict[str, Any]:
    """Reads features as tensors, [rows] or [rows, width], or ragged; {} for no rows."""
    parts: dict[str, list[Any]] = {name: [] for name in names}
    for batch in _batches(patterns, graph, names):
        for name, values in batch.items():
            parts[name].append(values)
    if not parts[names[0]]:
        return {}
    # A catalogue or a log in memory as one array a column, not as thousands.
    return {name: tf.concat(values, axis=0) for name, values in parts.items()}


def _batches(
    patterns: list[str], graph: tft.TFTransformOutput, names: list[str]
) -> Iterator[dict[str, Any]]:
    files = sorted(name for one in patterns for name in tf.io.gfile.glob(one))
    spec = {name: graph.transformed_feature_spec()[name] for name in names}
    yield from (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_PARSE_BATCH)
        .map(lambda rows: as_values(tf.io.parse_example(rows, spec)))
    )


def as_values(features: dict[str, Any]) -> dict[str, Any]:
    """Brings transformed features into the form in which the towers read them.

    Sparse ones become ragged; [batch, 1] becomes [batch], but for single floats, which
    a dense layer reads.
    """
    values = {}
    for name, feature in features.items():
        if isinstance(feature, tf.SparseTensor):
            values[name] = tf.RaggedTensor.from_sparse(feature)
        elif feature.dtype.is_floating:
            values[name] = feature
        else:
            values[name] = tf.reshape(feature, [-1])
    return values
