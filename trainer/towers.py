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

import numpy as np
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.feature_config import Features
from trainer.features import Values

OWN_HISTORY = "own history"
"""A part of what a query interacted with, a value that only training has."""


class Lookup(tf.keras.layers.Layer):
    """Embeds positions in a vocabulary; -1, the unknown value, becomes zero."""

    def __init__(
        self, size: int, width: int, initializer: Callable, regularization: float = 0
    ):
        """Makes a table of [size, width].

        Args:
          size: Of the vocabulary.
          width: Of what it gives.
          initializer: Of the table.
          regularization: Times its sum of squares is added to the loss.
        """
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(
            max(size, 1),
            width,
            embeddings_initializer=initializer,
            embeddings_regularizer=(
                tf.keras.regularizers.L2(regularization) if regularization else None
            ),
        )

    def call(self, positions: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Embeds int64 [batch] or ragged [batch, None] as float32 [batch, width]."""
        return pooled(self.embedding, positions)


def pooled(
    embedding: tf.keras.layers.Embedding,
    positions: tf.Tensor | tf.RaggedTensor,
    root: bool = False,
) -> tf.Tensor:
    """Embeds one or several positions a row; -1 counts for nothing.

    The sum of several is divided by their number, or by the root of it.
    """
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


def united(known: tf.RaggedTensor, told: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns what is known and what is told beyond it, of int64 [batch, None]."""
    largest = [tf.reduce_max(one.flat_values) for one in (told, known)]
    stride = 2 + tf.maximum(tf.reduce_max(largest), -1)  # for -1 as well

    def places(values: tf.RaggedTensor) -> tf.Tensor:
        return values.value_rowids() * stride + values.flat_values + 1

    # With what no row can hold at the end, so that there is always a next one.
    among = tf.concat([tf.sort(places(known)), [told.nrows() * stride]], axis=0)
    wanted = places(told)
    found = tf.gather(among, tf.searchsorted(among, wanted)) == wanted
    new = tf.ragged.boolean_mask(told, told.with_flat_values(~found))
    return tf.concat([known, new], axis=1)


class KnownHistories(tf.Module):
    """What training knew of queries whose ids stand for it, 4 bytes an interaction."""

    def __init__(self, ids: np.ndarray, histories: tf.RaggedTensor, size: int):
        """Keeps histories by the positions of their ids.

        Args:
          ids: int64 [queries]: positions in the vocabulary of the id, -1: unknown.
          histories: int64 [queries, None]: positions in the catalogue.
          size: Of the vocabulary.
        """
        super().__init__()
        splits = histories.row_splits.numpy()
        begin, end = np.zeros(size, np.int64), np.zeros(size, np.int64)
        begin[ids[ids >= 0]] = splits[:-1][ids >= 0]
        end[ids[ids >= 0]] = splits[1:][ids >= 0]
        self.begin = tf.Variable(begin, trainable=False)
        self.end = tf.Variable(end, trainable=False)
        self.candidates = tf.Variable(
            tf.cast(histories.flat_values, tf.int32), trainable=False
        )

    def __call__(self, ids: tf.Tensor) -> tf.RaggedTensor:
        """Returns the histories of ids, int64 [batch, None]; of unknown ones, empty."""
        begin = tf.gather(self.begin, tf.maximum(ids, 0))
        end = tf.where(ids < 0, begin, tf.gather(self.end, tf.maximum(ids, 0)))
        at = tf.ragged.range(begin, end)
        found = tf.gather(self.candidates, at.flat_values)
        return at.with_flat_values(tf.cast(found, tf.int64))


class History(tf.keras.layers.Layer):
    """Embeds the candidates of a history, by the candidate tower's own table if it can.

    Their sum is divided by the root of their number, the longer a history, the more it
    says, and multiplied by a factor that is learned.
    """

    def __init__(self, candidates: Lookup):
        """Remembers whose table it reads."""
        super().__init__()
        self.candidates = candidates
        self.scale = self.add_weight("scale", [], initializer="ones")

    def call(self, positions: tf.RaggedTensor) -> tf.Tensor:
        """Embeds ragged [batch, None] positions in the catalogue as [batch, width]."""
        return self.scale * pooled(self.candidates.embedding, positions, root=True)


class Tower(tf.keras.layers.Layer):
    """Adds up encoded features, with or without layers on top of the sum."""

    def __init__(
        self,
        features: Features,
        sizes: Mapping[str, int],
        config: ModelConfig,
        name: str,
        candidates: Lookup | None = None,
        precision: str = "float32",
    ):
        """Makes the encoders.

        Args:
          features: What the tower reads.
          sizes: Of the vocabularies, by feature.
          config: The recipe.
          name: Of the layer.
          candidates: Whose table histories read; None: they have one of their own.
          precision: Keras's dtype policy of the hidden layers, e.g. mixed_bfloat16.
        """
        super().__init__(name=name)
        self._config = config
        self.encoders = _encoders(
            features,
            sizes,
            self._lookup,
            lambda: tf.keras.layers.Dense(config.embedding_dim, use_bias=False),
            candidates,
        )
        self.hidden: list[tf.keras.layers.Layer] = []
        last = [(config.embedding_dim, None)] if config.hidden_layers else []
        for width, activation in [*((w, "relu") for w in config.hidden_layers), *last]:
            if config.dropout:
                self.hidden.append(tf.keras.layers.Dropout(config.dropout))
            self.hidden.append(
                tf.keras.layers.Dense(width, activation, dtype=precision)
            )

    def _lookup(self, size: int) -> Lookup:
        """Makes the table of a vocabulary."""
        config = self._config
        initializer = (
            tf.keras.initializers.RandomNormal(
                stddev=1 / math.sqrt(config.embedding_dim)
            )
            if config.initializer == "normal"
            else tf.keras.initializers.RandomUniform()
        )
        return Lookup(
            size, config.embedding_dim, initializer, config.embedding_regularization
        )

    def encoder(self, name: str) -> tf.keras.layers.Layer:
        """Returns what embeds a value."""
        return self.encoders[name]

    def add_up(self, values: Values) -> tf.Tensor:
        """Returns the sum of encoded features, float32 [batch, embedding_dim]."""
        return tf.add_n([self.encoder(name)(value) for name, value in values.items()])

    def embed(self, total: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds sums of encoded features as float32 [batch, embedding_dim]."""
        for layer in self.hidden:
            total = layer(total, training=training)
        total = tf.cast(total, tf.float32)  # for lengths, scores and the export
        if self._config.normalize:
            total = tf.math.l2_normalize(total, axis=1)
        return total


def _encoders(
    features: Features,
    sizes: Mapping[str, int],
    lookup: Callable[[int], Lookup],
    dense: Callable[[], tf.keras.layers.Layer],
    candidates: Lookup | None = None,
) -> dict[str, tf.keras.layers.Layer]:
    """Makes an encoder for each feature, by a maker for tables and one for numbers."""
    encoders: dict[str, tf.keras.layers.Layer] = {}
    for name, feature in features.items():
        if feature.type == "history":
            encoders[name] = History(candidates or lookup(sizes[name]))
        elif name in sizes:
            encoders[name] = lookup(sizes[name])
        else:
            encoders[name] = dense()
    return encoders


class QueryTower(Tower):
    """The query side; with a candidate bias, one more column that picks it up."""

    def __init__(
        self,
        features: Features,
        sizes: Mapping[str, int],
        config: ModelConfig,
        name: str,
        candidates: Lookup | None = None,
        catalogue_size: int | None = None,
        precision: str = "float32",
    ):
        """Makes the encoders, and one of OWN_HISTORY if the catalogue's size is told.

        Args:
          features: What the tower reads.
          sizes: Of the vocabularies, by feature.
          config: The recipe, its temperature a number.
          name: Of the layer.
          candidates: Whose table histories read; None: they have one of their own.
          catalogue_size: Number of candidates; None: training knows no histories.
          precision: Keras's dtype policy of the hidden layers, e.g. mixed_bfloat16.
        """
        super().__init__(features, sizes, config, name, candidates, precision)
        self.own_history = None
        if catalogue_size is not None:
            self.own_history = History(candidates or self._lookup(catalogue_size))
        self.known: KnownHistories | None = None
        self.stranger = self.add_weight(
            "stranger", [config.embedding_dim], initializer="zeros", trainable=False
        )

    def encoder(self, name: str) -> tf.keras.layers.Layer:
        """Returns what embeds a value."""
        return self.own_history if name == OWN_HISTORY else super().encoder(name)

    def remember(self, name: str, history: str, known: KnownHistories) -> None:
        """Takes the embeddings of ids for those of ids with histories.

        Args:
          name: Of the id feature.
          history: Name of the feature in which a request tells of its query.
          known: The histories that ids stand for.
        """
        self._told, self.known = (name, history), known

    def add_up(self, values: Values) -> tf.Tensor:
        """Returns the sum of encoded features, float32 [batch, embedding_dim].

        What is told of a query is added to what its id stands for, and not twice.
        """
        if self.known is None:
            return super().add_up(values)
        name, history = self._told
        encode, known = self.encoder(history), self.known(values[name])
        more = encode(united(known, values[history])) - encode(known)
        others = {one: value for one, value in values.items() if one != history}
        return super().add_up(others) + more

    def call(self, values: Values, training: bool = False) -> tf.Tensor:
        """Embeds preprocessed features as float32 [batch, dimensions].

        A query of which nothing is known is embedded as `stranger`.

        The extra column is the temperature T: the dot product is then q.v + T b, and
        divided by T in the loss it is q.v / T + b, b the candidate's bias.
        """
        total = self.add_up(values)
        is_known = tf.reduce_any(total != 0, axis=1, keepdims=True)
        embedded = tf.where(is_known, self.embed(total, training), self.stranger)
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
            zeros = tf.keras.initializers.Zeros()
            self.biases = _encoders(
                features,
                sizes,
                lambda size: Lookup(size, 1, zeros),
                lambda: tf.keras.layers.Dense(
                    1, use_bias=False, kernel_initializer=zeros
                ),
            )

    def forget(self, name: str, which: np.ndarray) -> None:
        """Sets embeddings to 0, so that other features decide.

        Args:
          name: Of a feature; nothing happens if the tower does not read it.
          which: bool [values].
        """
        if name in self.encoders:
            table = self.encoders[name].embedding.embeddings
            kept = np.ones(table.shape[0], bool)
            kept[: len(which)] = ~which
            table.assign(table * tf.cast(kept, table.dtype)[:, tf.newaxis])

    def settle(self, name: str, counts: np.ndarray) -> None:
        """Gives ids that were never seen the mean bias of those seen least.

        What is 0 at the end has never been trained, by an earlier model neither.

        Args:
          name: Of the id feature; nothing happens if the tower does not read it.
          counts: int64 [ids]: how often each was seen.
        """
        if not self._config.candidate_bias or name not in self.biases:
            return
        table = self.biases[name].embedding.embeddings
        biases = table.numpy()[: len(counts), 0]
        unseen = (counts == 0) & (biases == 0)
        if unseen.any() and not unseen.all():
            rarest = counts == counts[counts > 0].min()
            biases[unseen] = biases[rarest].mean()
            table.assign(
                np.concatenate([biases[:, None], table.numpy()[len(biases) :]])
            )

    def call(self, values: Values, training: bool = False) -> tf.Tensor:
        """Embeds preprocessed features as float32 [batch, dimensions]."""
        embedded = self.embed(self.add_up(values), training)
        if not self._config.candidate_bias:
            return embedded
        bias = tf.add_n([self.biases[name](value) for name, value in values.items()])
        return tf.concat([embedded, bias], axis=1)
