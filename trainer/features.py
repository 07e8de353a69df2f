# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Names of what Transform makes, and the raw form of each feature's values."""

import re
import zlib
from collections.abc import Mapping

import tensorflow as tf

from trainer.feature_config import Features

CANDIDATE_FREQUENCY = "candidate_frequency"
CANDIDATE_VOCABULARY = "candidate_ids"

CANDIDATE_INDEX = "candidate_index"
"""A candidate's position in the catalogue's vocabulary."""

QUERY_KEY = "query_key"
"""A hash of the query's id, which tells whose an interaction is."""

Values = Mapping[str, tf.Tensor | tf.RaggedTensor]
"""Preprocessed features by name: [rows], [rows, width] or ragged [rows, None]."""


def vocabulary_name(feature: str) -> str:
    """Returns the name of a feature's vocabulary file, for any name of a feature."""
    # Two names may differ only in what a file name can't hold.
    digest = zlib.crc32(feature.encode())
    return f"vocabulary_{re.sub('[^A-Za-z0-9]', '_', feature)}_{digest:08x}"


def raw_specs(features: Features) -> dict[str, tf.TensorSpec]:
    """Returns how requests and tf.Examples give the values of each feature.

    A missing value is "", NaN for a number, 0 for a timestamp, zeros for an embedding;
    several values are padded with "".
    """
    return {name: _raw_spec(name, feature) for name, feature in features.items()}


def _raw_spec(name: str, feature: object) -> tf.TensorSpec:
    kind = feature.type  # type: ignore[attr-defined]
    if kind in ("categories", "history"):
        return tf.TensorSpec([None, None], tf.string, name)
    if kind == "number":
        return tf.TensorSpec([None], tf.float32, name)
    if kind == "timestamp":
        return tf.TensorSpec([None], tf.int64, name)
    if kind == "embedding":
        dimensions = feature.dimensions  # type: ignore[attr-defined]
        return tf.TensorSpec([None, dimensions], tf.float32, name)
    return tf.TensorSpec([None], tf.string, name)
