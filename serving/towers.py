# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The trained towers as a servable holds them: loaded from the Trainer's model."""

import json
import os
from typing import Any

import tensorflow as tf

RECIPE = os.path.join("assets.extra", "recipe.json")
"""What towers were trained with, in their folder."""

QUERY_ID = os.path.join("assets.extra", "query_id.json")
"""Name of the query's id feature and where its vocabulary is, in their folder."""

_CANDIDATE_SIDE = ("candidate_tower", "candidate_transform", "embed_candidate")
_EMBED_QUERY = "embed_query"
_EMBED_CANDIDATE = "embed_candidate"
_EMBEDDING = "embedding"


class Towers(tf.Module):
    """Embeds raw query and candidate features."""

    def __init__(self, path: str):
        """Loads the SavedModel that the Trainer wrote."""
        super().__init__()
        self.path = path
        self.model = tf.saved_model.load(path)
        # Not attributes: a tf.Module would wrap the specs as something to save.
        self._specs = lambda name: {
            # TensorFlow calls a loaded signature's inputs by their names in small
            # letters, and a signature traced over such specs takes them for the names.
            feature: tf.TensorSpec(spec.shape, spec.dtype, feature)
            for feature, spec in self.model.signatures[name]
            .structured_input_signature[1]
            .items()
        }

    @property
    def query_features(self) -> dict[str, tf.TensorSpec]:
        """Names and types of the raw query features, each [batch]."""
        return self._specs(_EMBED_QUERY)

    @property
    def candidate_features(self) -> dict[str, tf.TensorSpec]:
        """Names and types of the raw candidate features, each [batch]."""
        return self._specs(_EMBED_CANDIDATE)

    def embed_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Embeds raw query features, each [batch], as float32 [batch, dimensions]."""
        return self.model.embed_query(features)[_EMBEDDING]

    def save_query_tower(self, path: str) -> None:
        """Writes a SavedModel with `embed_query` and what that needs, and no more."""
        side = tf.Module()
        for name, child in tf.train.TrackableView.children(self.model).items():
            if name not in (*_CANDIDATE_SIDE, "signatures"):
                setattr(side, name, child)
        tf.saved_model.save(side, path, signatures={_EMBED_QUERY: side.embed_query})

    def is_known_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Tells which queries training has seen, bool [batch]."""
        return self.model.is_known_query(features)

    def embed_candidate(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Embeds raw candidate features as float32 [batch, dimensions]."""
        return self.model.embed_candidate(features)[_EMBEDDING]


def read_query_ids(path: str) -> tuple[str, list[str]] | None:
    """Returns the query's id feature and the ids that training knew.

    Args:
      path: Folder of the towers' SavedModel.

    Returns:
      None where the query tower reads no id.
    """
    file = os.path.join(path, QUERY_ID)
    if not tf.io.gfile.exists(file):
        return None
    with tf.io.gfile.GFile(file) as content:
        about = json.loads(content.read())
    with tf.io.gfile.GFile(os.path.join(path, about["vocabulary"]), "rb") as lines:
        ids = lines.read().split(b"\n")[:-1]
    return about["feature"], [one.decode() for one in ids]


def towers_fingerprint(path: str) -> str:
    """Returns what tells trained towers from others: a hash of all their variables.

    Args:
      path: Folder of the towers' SavedModel.
    """
    found = tf.saved_model.experimental.read_fingerprint(path)
    return f"{found.checkpoint_hash:016x}"


def read_recipe(path: str) -> dict[str, Any] | None:
    """Returns `model` and `training` as towers were trained, None if it is not told.

    Args:
      path: Folder of the towers' SavedModel.
    """
    file = os.path.join(path, RECIPE)
    if not tf.io.gfile.exists(file):
        return None
    with tf.io.gfile.GFile(file) as content:
        return json.loads(content.read())
