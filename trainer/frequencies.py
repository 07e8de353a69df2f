# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How often candidates are sampled, estimated from the batches themselves."""

import tensorflow as tf


class StreamingFrequency(tf.keras.layers.Layer):
    """Estimates each candidate's probability to be in a batch while batches go by.

    Keeps for each candidate the step in which it was seen last and a moving average of
    the steps between its appearances, whose inverse is the estimate (Yi et al., 2019,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations",
    algorithm 2, with a place for each candidate instead of a hash). It follows a
    distribution that changes and needs no count of the training split.
    """

    def __init__(self, size: int, first: float, rate: float = 0.05):
        """Makes the estimates.

        Args:
          size: Of the catalogue.
          first: Steps between appearances to begin with.
          rate: Of the moving average.
        """
        super().__init__(name="streaming_frequency")
        self._rate = rate

        def state(name: str, value: float) -> tf.Variable:
            return self.add_weight(
                name,
                [size],
                initializer=tf.keras.initializers.Constant(value),
                trainable=False,
                # All replicas see the same candidates.
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

        self.seen = state("seen", 0.0)
        self.gap = state("gap", first)
        self.step = self.add_weight(
            "step",
            [],
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def observe(self, candidates: tf.Tensor) -> None:
        """Takes in the candidates of a whole batch, int64 [batch]."""
        distinct, _ = tf.unique(candidates)
        now = self.step + 1
        seen = tf.gather(self.seen, distinct)
        gap = tf.gather(self.gap, distinct)
        # What was never seen has no gap yet.
        moved = gap + self._rate * (now - seen - gap)
        gaps = tf.where(seen > 0, moved, gap)
        at = distinct[:, tf.newaxis]
        times = tf.fill(tf.shape(distinct), now)
        self.gap.assign(tf.tensor_scatter_nd_update(self.gap, at, gaps))
        self.seen.assign(tf.tensor_scatter_nd_update(self.seen, at, times))
        self.step.assign(now)

    def call(self, candidates: tf.Tensor) -> tf.Tensor:
        """Returns the probability of each to be in a batch, float32 [candidates]."""
        return 1 / tf.maximum(tf.gather(self.gap, candidates), 1.0)
