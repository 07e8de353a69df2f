# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The two towers: from preprocessed features to embeddings to be multiplied.

Each feature has an encoder of its own; a tower adds up what they give. A value that
training has not seen becomes zero, so that what is known decides: a new user with a
country is scored by the country, one of whom nothing is known by the candidates'
biases alone, which ranks much as popularity does. Sums of feature embeddings: Kula,
"Metadata Embeddings for User and Item Cold-start Recommendations" (2015).
"""

import math
from collections.abc import Callable, Mapping

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.feature_config import Features
from trainer.features import Values


class Lookup(tf.keras.layers.Layer):
    """Embeds positions in a vocabulary; -1, the unknown value, becomes zero."""

    def __init__(
        self, size: int, width: int, initializer: Callable, root: bool = False
    ):
        """Makes a table of [size, width].

        Args:
          size: Of the vocabulary.
          width: Of what it gives.
          initializer: Of the table.
          root: Divide the sum of several values by the root of their number instead
            of their number: the longer a history, the more it says.
        """
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(
            max(size, 1), width, embeddings_initializer=initializer
        )
        self._root = root

    def call(self, positions: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Embeds int64 [batch] or ragged [batch, None] as float32 [batch, width]."""
        return pooled(self.embedding, positions, self._root)


def pooled(
    embedding: tf.keras.layers.Embedding,
    positions: tf.Tensor | tf.RaggedTensor,
    root: bool,
) -> tf.Tensor:
    """Embeds one or several positions a row; -1 counts for nothing."""
    flat = (
        positions.flat_values if isinstance(positions, tf.RaggedTensor) else positions
    )
    known = tf.cast(flat >= 0, tf.float32)[:, tf.newaxis]
    embedded = embedding(tf.maximum(flat, 0)) * known
    if not isinstance(positions, tf.RaggedTensor):
        return embedded
    rows, batch = positions.value_rowids(), positions.nrows()
    total = tf.math.unsorted_segment_sum(embedded, rows, batch)
    count = tf.maximum(tf.math.unsorted_segment_sum(known, rows, batch), 1)
    return total / (tf.sqrt(count) if root else count)


class SharedHistory(tf.keras.layers.Layer):
    """Embeds the candidates of a history by the candidate tower's own table."""

    def __init__(self, candidates: Lookup):
        """Remembers whose table it shares."""
        super().__init__()
        self.candidates = candidates

    def call(self, positions: tf.RaggedTensor) -> tf.Tensor:
        """Embeds ragged [batch, None] positions in the catalogue as [batch, width]."""
        return pooled(self.candidates.embedding, positions, root=True)


class Tower(tf.keras.layers.Layer):
    """Adds up encoded features, with or without layers on top of the sum."""

    def __init__(
        self,
        features: Features,
        sizes: Mapping[str, int],
        config: ModelConfig,
        name: str,
        history: tf.keras.layers.Layer | None = None,
        precision: str = "float32",
    ):
        """Makes the encoders.

        Args:
          features: What the tower reads.
          sizes: Of the vocabularies, by feature.
          config: The recipe.
          name: Of the layer.
          history: Encodes the history features; None: a table of their own.
          precision: Keras's dtype policy of the hidden layers, e.g. mixed_bfloat16.
        """
        super().__init__(name=name)
        self._config = config
        stddev = 1 / math.sqrt(config.embedding_dim)
        initializers = {
            "normal": lambda: tf.keras.initializers.RandomNormal(stddev=stddev),
            "uniform": tf.keras.initializers.RandomUniform,
        }
        self.encoders = _encoders(
            features,
            sizes,
            config.embedding_dim,
            initializers[config.initializer],
            tf.keras.initializers.GlorotUniform,
            history,
        )
        widths = [*config.hidden_layers, config.embedding_dim]
        self.hidden = [
            tf.keras.layers.Dense(
                width, "relu" if at < len(widths) - 1 else None, dtype=precision
            )
            for at, width in enumerate(widths)
            if config.hidden_layers
        ]

    def embed(self, values: Values) -> tf.Tensor:
        """Embeds preprocessed features as float32 [batch, embedding_dim]."""
        total = tf.add_n([encode(values[n]) for n, encode in self.encoders.items()])
        for layer in self.hidden:
            total = layer(total)
        total = tf.cast(total, tf.float32)  # for lengths, scores and the export
        if self._config.normalize:
            total = tf.math.l2_normalize(total, axis=1)
        return total


def _encoders(
    features: Features,
    sizes: Mapping[str, int],
    width: int,
    of_tables: Callable,
    of_kernels: Callable,
    history: tf.keras.layers.Layer | None = None,
) -> dict[str, tf.keras.layers.Layer]:
    """Makes an encoder for each feature, with initial values from two makers."""
    encoders = {}
    for name, feature in features.items():
        if feature.type == "history":
            encoders[name] = history or Lookup(sizes[name], width, of_tables(), True)
        elif name in sizes:
            encoders[name] = Lookup(sizes[name], width, of_tables())
        else:
            encoders[name] = tf.keras.layers.Dense(
                width, use_bias=False, kernel_initializer=of_kernels()
            )
    return encoders


class QueryTower(Tower):
    """The query side; with a candidate bias, one more column that picks it up."""

    def call(self, values: Values) -> tf.Tensor:
        """Embeds preprocessed features as float32 [batch, dimensions].

        The extra column is the temperature T: the dot product is then q.v + T b, and
        divided by T in the loss it is q.v / T + b, b the candidate's bias.
        """
        embedded = self.embed(values)
        if not self._config.candidate_bias:
            return embedded
        temperature = tf.fill([tf.shape(embedded)[0], 1], self._config.temperature)
        return tf.concat([embedded, temperature], axis=1)


class CandidateTower(Tower):
    """The candidate side; with a candidate bias, one more column that holds it."""

    def __init__(
        self,
        features: Features,
        sizes: Mapping[str, int],
        config: ModelConfig,
        name: str,
        precision: str = "float32",
    ):
        """Makes the encoders, and as many of width 1 for biases."""
        super().__init__(features, sizes, config, name, precision=precision)
        if config.candidate_bias:
            zeros = tf.keras.initializers.Zeros
            self.biases = _encoders(features, sizes, 1, zeros, zeros)

    def call(self, values: Values) -> tf.Tensor:
        """Embeds preprocessed features as float32 [batch, dimensions]."""
        embedded = self.embed(values)
        if not self._config.candidate_bias:
            return embedded
        bias = tf.add_n([encode(values[n]) for n, encode in self.biases.items()])
        return tf.concat([embedded, bias], axis=1)
