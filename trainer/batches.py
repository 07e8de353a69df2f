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

from trainer.features import CANDIDATE_INDEX, Values

QUERY = "query"
WEIGHT = "weight"

_SHUFFLED_IN_MEMORY = 1_000_000
"""Interactions up to which tf.data's own shuffle orders them. It holds a tensor, 200
bytes, for each; with ten million, memory grew by a gigabyte in every epoch."""


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
    interactions: Interactions, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Makes one epoch of shuffled batches, in another order each epoch.

    The last, smaller batch is kept.

    Args:
      interactions: The training split.
      batch_size: Rows a batch.
      seed: Seeds the order.

    Returns:
      A dataset of `query`, features by name, `candidate_index`, int64 [batch], and
      `weight`, float32 [batch], if interactions have one.
    """
    count = len(interactions)
    columns: dict[str, Any] = {
        QUERY: dict(interactions.query),
        CANDIDATE_INDEX: tf.constant(interactions.candidate),
    }
    if interactions.weight is not None:
        columns[WEIGHT] = tf.constant(interactions.weight)
    return (
        _positions(count, batch_size, seed)
        .map(
            lambda rows: tf.nest.map_structure(
                lambda column: tf.gather(column, rows), columns
            )
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def _positions(count: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Yields the positions 0 to count - 1 in batches, in another order each epoch."""
    rows = tf.data.Dataset.range(count)
    if count <= _SHUFFLED_IN_MEMORY:
        return rows.shuffle(count, seed, reshuffle_each_iteration=True).batch(
            batch_size
        )
    last = tf.constant(count - 1, tf.int64)

    def epoch(drawn: tf.Tensor) -> tf.data.Dataset:
        # A permutation that computes where each position goes, and so needs no memory.
        return rows.batch(batch_size).map(
            lambda batch: tf.random.experimental.index_shuffle(batch, drawn, last)
        )

    return (
        tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
        .batch(2, drop_remainder=True)
        .take(1)
        .flat_map(epoch)
        # Keras must know it to run several steps in one call.
        .apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    )
