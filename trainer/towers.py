# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The two towers: from positions in a vocabulary to embeddings to be multiplied."""

import math

import tensorflow as tf

from trainer.config import ModelConfig


class IdTower(tf.keras.layers.Layer):
    """Embeds ids given as vocabulary positions; -1, the unknown id, becomes zero.

    A zero query scores every candidate by its bias alone, which ranks a user never
    seen in training much as popularity does.
    """

    def __init__(self, vocabulary_size: int, config: ModelConfig, name: str):
        """Makes a table of [vocabulary_size, config.embedding_dim]."""
        super().__init__(name=name)
        self._config = config
        stddev = 1 / math.sqrt(config.embedding_dim)
        initializers = {
            "normal": tf.keras.initializers.RandomNormal(stddev=stddev),
            "uniform": tf.keras.initializers.RandomUniform(),
        }
        self.embedding = tf.keras.layers.Embedding(
            vocabulary_size,
            config.embedding_dim,
            embeddings_initializer=initializers[config.initializer],
        )

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        """Embeds int64 [batch] positions as float32 [batch, embedding_dim]."""
        known = tf.cast(positions >= 0, tf.float32)[:, tf.newaxis]
        embedded = self.embedding(tf.maximum(positions, 0))
        if self._config.normalize:
            embedded = tf.math.l2_normalize(embedded, axis=1)
        return embedded * known


class QueryTower(IdTower):
    """The query side; with a candidate bias, one more column that picks it up."""

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        """Embeds int64 [batch] positions as float32 [batch, dimensions].

        The extra column is the temperature T: the dot product is then q.v + T b, and
        divided by T in the loss it is q.v / T + b, b the candidate's bias.
        """
        embedded = super().call(positions)
        if not self._config.candidate_bias:
            return embedded
        temperature = tf.fill([tf.shape(embedded)[0], 1], self._config.temperature)
        return tf.concat([embedded, temperature], axis=1)


class CandidateTower(IdTower):
    """The candidate side; with a candidate bias, one more column that holds it."""

    def __init__(self, vocabulary_size: int, config: ModelConfig, name: str):
        """Makes the table, and one of [vocabulary_size, 1] for biases."""
        super().__init__(vocabulary_size, config, name)
        if config.candidate_bias:
            self.bias = tf.keras.layers.Embedding(
                vocabulary_size, 1, embeddings_initializer="zeros"
            )

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        """Embeds int64 [batch] positions as float32 [batch, dimensions]."""
        embedded = super().call(positions)
        if not self._config.candidate_bias:
            return embedded
        known = tf.cast(positions >= 0, tf.float32)[:, tf.newaxis]
        bias = self.bias(tf.maximum(positions, 0)) * known
        return tf.concat([embedded, bias], axis=1)
