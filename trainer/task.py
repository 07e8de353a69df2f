# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A TFRS task for rows that have many candidates of their own."""

import tensorflow as tf
import tensorflow_recommenders as tfrs


class SharedSoftmax(tfrs.tasks.Task, tf.keras.layers.Layer):
    """A softmax over the same candidates for all rows, each with several targets.

    The loss of a row with targets T and scores s is

        sum over t in T of w_t (log(sum over c of exp(s_c)) - s_t),

    the weighted multinomial likelihood of its targets (Liang et al., 2018, "Variational
    Autoencoders for Collaborative Filtering"). TFRS's own Retrieval has one target a
    row, and would need as many copies of a row as it has targets.
    """

    def __init__(self, temperature: float | None):
        """Remembers what scores are divided by before the softmax."""
        super().__init__(name="shared_softmax")
        self._temperature = temperature

    def call(
        self,
        query_embeddings: tf.Tensor,
        candidate_embeddings: tf.Tensor,
        targets: tf.RaggedTensor,
        weights: tf.RaggedTensor,
        log_sampled: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the summed loss of all rows, a float32 scalar.

        Args:
          query_embeddings: float32 [rows, dimensions].
          candidate_embeddings: float32 [candidates, dimensions], each candidate once.
          targets: int64 [rows, None], positions among the candidates.
          weights: float32 [rows, None], of the targets.
          log_sampled: float32 [candidates], log of the probability that a candidate is
            there, which is taken off its scores (Bengio and Senécal, 2008, "Adaptive
            importance sampling to accelerate training of a neural probabilistic
            language model"); None: all are always there.
        """
        scores = tf.matmul(query_embeddings, candidate_embeddings, transpose_b=True)
        scores /= self._temperature
        if log_sampled is not None:
            scores -= log_sampled
        of_row = targets.value_rowids()
        at = tf.stack([of_row, targets.flat_values], axis=1)
        losses = tf.gather(tf.reduce_logsumexp(scores, axis=1), of_row)
        losses -= tf.gather_nd(scores, at)
        return tf.reduce_sum(weights.flat_values * losses)
