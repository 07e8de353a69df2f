# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Saves the trained towers as one SavedModel that takes raw features."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from serving.servable import EMBEDDING
from trainer.data import CandidateLookup, as_values
from trainer.feature_config import Features
from trainer.features import CANDIDATE_INDEX, raw_specs
from trainer.towers import Tower


@dataclasses.dataclass(frozen=True)
class Side:
    """One tower and what its features go through before it."""

    tower: Tower
    graph: tft.TFTransformOutput
    features: Features
    id_feature: str


class TwoTowers(tf.Module):
    """Both towers behind the transform graphs that their training data went through."""

    def __init__(self, query: Side, candidate: Side, candidates: CandidateLookup):
        """Traces both towers over raw features.

        Args:
          query: The query side.
          candidate: The candidate side.
          candidates: The catalogue, in which histories are looked up.
        """
        super().__init__()
        self.query_tower = query.tower
        self.candidate_tower = candidate.tower
        self.query_transform = query.graph.transform_features_layer()
        self.candidate_transform = candidate.graph.transform_features_layer()
        self.candidates = candidates
        # Not attributes: a tf.Module would wrap what they hold as something to save.
        self._sides = lambda: (query, candidate)
        specs = [raw_specs(query.features)]
        self.embed_query = _traced(self._embed_query, specs)
        self.is_known_query = _traced(self._is_known_query, specs)
        self.embed_candidate = _traced(
            self._embed_candidate, [raw_specs(candidate.features)]
        )

    def _query_values(self, features: dict[str, tf.Tensor]) -> dict[str, Any]:
        query, _ = self._sides()
        transformed = self.query_transform(_as_transform_reads(features, query))
        values = as_values({name: transformed[name] for name in query.features})
        for name, feature in query.features.items():
            if feature.type == "history":
                values[name] = self.candidates(values[name])
        return values

    def _embed_query(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {EMBEDDING: self.query_tower(self._query_values(features))}

    def _is_known_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Tells whether training has seen the id, or a candidate of the history.

        True for all where the model learns neither.
        """
        query, _ = self._sides()
        values = self._query_values(features)
        known = [
            tf.reduce_any(values[name] >= 0, axis=1)
            for name, feature in query.features.items()
            if feature.type == "history"
        ]
        if query.id_feature in values:
            known.append(values[query.id_feature] >= 0)
        if known:
            return tf.reduce_any(tf.stack(known), axis=0)
        size = tf.shape(next(iter(features.values())))[0]
        return tf.ones([size], tf.bool)

    def _embed_candidate(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        _, candidate = self._sides()
        transformed = self.candidate_transform(_as_transform_reads(features, candidate))
        values = as_values(
            {
                name: transformed[
                    CANDIDATE_INDEX if name == candidate.id_feature else name
                ]
                for name in candidate.features
            }
        )
        return {EMBEDDING: self.candidate_tower(values)}

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


def _traced(function: Callable[..., Any], specs: list[dict[str, tf.TensorSpec]]) -> Any:
    """Returns a function of tensors, traced as it is written.

    AutoGraph would rewrite all of Keras below it, in half of the Trainer's seconds, and
    change nothing: no branch or loop depends on a tensor.
    """
    return tf.function(function, input_signature=specs, autograph=False)


def _as_transform_reads(
    features: dict[str, tf.Tensor], side: Side
) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Brings raw features into the form in which the schema declares them."""
    spec = side.graph.raw_feature_spec()
    read = {}
    for name, value in features.items():
        column = value if value.shape.rank == 2 else value[:, tf.newaxis]
        if isinstance(spec[name], tf.io.VarLenFeature):
            read[name] = _sparse(tf.cast(column, spec[name].dtype))
        else:
            read[name] = tf.reshape(
                tf.cast(column, spec[name].dtype), [-1, *spec[name].shape]
            )
    return read


def _sparse(values: tf.Tensor) -> tf.SparseTensor:
    """Returns what is there of [batch, width]: no "", no NaN, no 0 of whole numbers.

    Zeros of floats are values; an embedding of zeros is what a missing one becomes.
    """
    if not values.dtype.is_floating:
        return tf.sparse.from_dense(values)
    at = tf.where(~tf.math.is_nan(values))
    return tf.SparseTensor(
        at, tf.gather_nd(values, at), tf.shape(values, out_type=tf.int64)
    )
