# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Interactions in memory, and the batches that training gathers from them.

A training row is two integers (16 bytes), so that 100 million interactions fit into
1.6 GB; gathering a batch from arrays is two orders of magnitude cheaper than parsing
its rows again in every epoch.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from trainer.features import CANDIDATE_INDEX, QUERY_INDEX


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Interactions as vocabulary positions: two int64 arrays of [interactions]."""

    query: np.ndarray
    candidate: np.ndarray

    def __len__(self) -> int:
        """Returns the number of interactions."""
        return len(self.query)


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
      A dataset of `query_index` and `candidate_index`, int64 [batch].
    """
    count = len(interactions)
    query = tf.constant(interactions.query)
    candidate = tf.constant(interactions.candidate)
    return (
        tf.data.Dataset.range(count)
        .shuffle(min(count, 10_000_000), seed=seed, reshuffle_each_iteration=True)
        .batch(batch_size)
        .map(
            lambda rows: {
                QUERY_INDEX: tf.gather(query, rows),
                CANDIDATE_INDEX: tf.gather(candidate, rows),
            }
        )
        .prefetch(tf.data.AUTOTUNE)
    )
