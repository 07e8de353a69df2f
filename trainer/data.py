# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what Transform wrote: interactions as positions, and the vocabularies."""

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from serving.errors import UserError
from trainer.batches import Interactions
from trainer.features import (
    CANDIDATE_FREQUENCY,
    CANDIDATE_VOCABULARY,
    QUERY_INDEX,
    QUERY_VOCABULARY,
)

_PARSE_BATCH = 8192


class CandidateLookup:
    """Positions of candidate ids in the catalogue."""

    def __init__(self, graph: tft.TFTransformOutput):
        """Loads the vocabulary of the candidates' transform graph."""
        path = graph.vocabulary_file_by_name(CANDIDATE_VOCABULARY)
        self.size = graph.vocabulary_size_by_name(CANDIDATE_VOCABULARY)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns int64 positions of string ids, -1 where unknown."""
        return self._table.lookup(ids)


def query_count(graph: tft.TFTransformOutput) -> int:
    """Returns how many query ids the training split holds."""
    return graph.vocabulary_size_by_name(QUERY_VOCABULARY)


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
    patterns: list[str], candidate_id: str, candidates: CandidateLookup
) -> Interactions:
    """Reads one split of transformed interactions.

    Args:
      patterns: Glob patterns of its gzipped TFRecord shards.
      candidate_id: Name of the candidate id feature.
      candidates: The catalogue's positions.

    Returns:
      The interactions, in the order of the sorted shard names.

    Raises:
      UserError: The split is empty, or a row names no candidate of the catalogue.
    """
    files = sorted(name for one in patterns for name in tf.io.gfile.glob(one))
    spec = {
        QUERY_INDEX: tf.io.FixedLenFeature([], tf.int64),
        candidate_id: tf.io.FixedLenFeature([], tf.string),
    }
    dataset = (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_PARSE_BATCH)
        .map(lambda rows: tf.io.parse_example(rows, spec))
    )
    batches = [
        (rows[QUERY_INDEX].numpy(), candidates(rows[candidate_id]).numpy())
        for rows in dataset
    ]
    if not batches:
        raise UserError(f"no interactions in {', '.join(patterns)}; the split is empty")
    query, candidate = (np.concatenate(column) for column in zip(*batches, strict=True))
    if (candidate < 0).any():
        raise UserError(
            f"{int((candidate < 0).sum())} interactions in {', '.join(patterns)} name "
            "no candidate of the catalogue; run the ExampleCleaner before Transform"
        )
    return Interactions(query, candidate)
