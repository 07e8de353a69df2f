# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Interactions in memory, and the batches that training gathers from them.

With ids alone a training row is two integers (16 bytes), so that 100 million
interactions fit into 1.6 GB; gathering a batch from arrays is two orders of magnitude
cheaper than parsing its rows again in every epoch.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.distribution import Share
from trainer.features import CANDIDATE_INDEX, Values

QUERY = "query"
WEIGHT = "weight"

_SHUFFLED_IN_MEMORY = 1_000_000
"""Interactions up to which their order is drawn at once, 16 bytes for each."""
_WHOLE = Share()


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Interactions with preprocessed query features and candidates' positions."""

    query: Values
    """Features by name, each [interactions, …], some ragged."""
    candidate: np.ndarray
    """int64 [interactions]: positions in the catalogue."""
    weight: np.ndarray | None = None
    """float32 [interactions]: what each counts in the loss; None: 1."""

    def __len__(self) -> int:
        """Returns the number of interactions."""
        return len(self.candidate)

    def distinct_queries(self) -> tuple[Values, np.ndarray]:
        """Returns each query once, and which one each interaction has.

        Only a query that is an id and nothing else can be told to be the same.
        """
        if len(self.query) == 1:
            ((name, values),) = self.query.items()
            if isinstance(values, tf.Tensor) and values.dtype == tf.int64:
                distinct, of_row = np.unique(values.numpy(), return_inverse=True)
                return {name: tf.constant(distinct)}, of_row
        return self.query, np.arange(len(self))


def training_batches(
    interactions: Interactions,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    share: Share = _WHOLE,
) -> tf.data.Dataset:
    """Makes shuffled batches without end, epoch after epoch.

    Each epoch has an order of its own, which depends on nothing but the seed and its
    number, and keeps its last, smaller batch.

    Args:
      interactions: The training split.
      batch_size: Rows a batch.
      seed: Seeds the order.
      first_epoch: Number of the epoch to begin with.
      share: The parts of each batch that are wanted; an element is then a part.

    Returns:
      A dataset of `query`, features by name, `candidate_index`, int64 [batch], and
      `weight`, float32 [batch], if interactions have one.
    """
    columns: dict[str, Any] = {
        QUERY: dict(interactions.query),
        CANDIDATE_INDEX: tf.constant(interactions.candidate),
    }
    if interactions.weight is not None:
        columns[WEIGHT] = tf.constant(interactions.weight)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        return _positions(len(interactions), batch_size, seeds)

    batches = tf.data.Dataset.counter(first_epoch).flat_map(epoch)
    if share.parts > 1:
        batches = batches.flat_map(lambda rows: _parts(rows, share))
    return (
        batches.map(
            lambda rows: tf.nest.map_structure(
                lambda column: tf.gather(column, rows), columns
            )
        )
        .prefetch(tf.data.AUTOTUNE)
        # Else replicas would ask each other in every step whether there is more.
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    )


def _positions(count: int, batch_size: int, seeds: tf.Tensor) -> tf.data.Dataset:
    """Yields the positions 0 to count - 1 in batches, in the order of two seeds."""
    if count <= _SHUFFLED_IN_MEMORY:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), seeds
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
    last = tf.constant(count - 1, tf.int64)
    # A permutation that computes where each position goes, and so needs no memory.
    return (
        tf.data.Dataset.range(count)
        .batch(batch_size)
        .map(lambda rows: tf.random.experimental.index_shuffle(rows, seeds, last))
    )


def _parts(rows: tf.Tensor, share: Share) -> tf.data.Dataset:
    """Yields our parts of a batch, which differ by one row at most."""
    size = tf.size(rows, tf.int64)
    return tf.data.Dataset.range(share.first, share.first + share.count).map(
        lambda part: rows[part * size // share.parts : (part + 1) * size // share.parts]
    )
