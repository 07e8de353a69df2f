# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Saves the trained towers as one SavedModel that takes raw features."""

import tensorflow as tf
import tensorflow_transform as tft

from serving.servable import EMBEDDING
from trainer.features import CANDIDATE_INDEX, QUERY_INDEX
from trainer.model import TwoTowerModel


class TwoTowers(tf.Module):
    """Both towers behind the transform graphs that their training data went through."""

    def __init__(
        self,
        model: TwoTowerModel,
        query_graph: tft.TFTransformOutput,
        candidate_graph: tft.TFTransformOutput,
        query_id: str,
        candidate_id: str,
    ):
        """Traces both towers over raw ids, string [batch]."""
        super().__init__()
        self.query_tower = model.query_tower
        self.candidate_tower = model.candidate_tower
        self.query_transform = query_graph.transform_features_layer()
        self.candidate_transform = candidate_graph.transform_features_layer()
        self._query_spec = query_graph.raw_feature_spec()
        self._candidate_spec = candidate_graph.raw_feature_spec()
        self.embed_query = tf.function(
            self._embed_query, input_signature=[_specs(query_id)]
        )
        self.embed_candidate = tf.function(
            self._embed_candidate, input_signature=[_specs(candidate_id)]
        )

        self.is_known_query = tf.function(
            self._is_known_query, input_signature=[_specs(query_id)]
        )

    def _is_known_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.reshape(self._query_positions(features) >= 0, [-1])

    def _query_positions(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        raw = _as_transform_reads(features, self._query_spec)
        return self.query_transform(raw)[QUERY_INDEX]

    def _embed_query(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        positions = self._query_positions(features)
        return {EMBEDDING: self.query_tower(tf.reshape(positions, [-1]))}

    def _embed_candidate(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raw = _as_transform_reads(features, self._candidate_spec)
        positions = self.candidate_transform(raw)[CANDIDATE_INDEX]
        return {EMBEDDING: self.candidate_tower(tf.reshape(positions, [-1]))}

    def save(self, path: str) -> None:
        """Writes the SavedModel, signatures `embed_query` and `embed_candidate`."""
        tf.saved_model.save(
            self,
            path,
            signatures={
                "embed_query": self.embed_query,
                "embed_candidate": self.embed_candidate,
            },
        )


def _specs(name: str) -> dict[str, tf.TensorSpec]:
    """Returns the signature of one raw string feature, [batch]."""
    return {name: tf.TensorSpec([None], tf.string, name)}


def _as_transform_reads(
    features: dict[str, tf.Tensor], spec: dict[str, tf.io.VarLenFeature]
) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Brings [batch] features into the form in which the schema declares them."""
    read = {}
    for name, value in features.items():
        column = value[:, tf.newaxis]
        if isinstance(spec[name], tf.io.VarLenFeature):
            read[name] = tf.sparse.from_dense(column)
        else:
            read[name] = tf.reshape(column, [-1, *spec[name].shape])
    return read
