# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What Transform computes: vocabularies, and ids as positions in them.

Transform runs once a source. The candidates' vocabulary is the catalogue's ids; the
interactions' is the query ids, with the candidate ids' frequencies beside it. The
position of an id that is not in the vocabulary is -1.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from trainer.features import (
    CANDIDATE_FREQUENCY,
    CANDIDATE_INDEX,
    CANDIDATE_VOCABULARY,
    QUERY_INDEX,
    QUERY_VOCABULARY,
)


def preprocess_interactions(
    inputs: dict[str, Any], custom_config: dict[str, Any]
) -> dict[str, Any]:
    """Turns query ids into positions and counts how often candidates occur.

    Args:
      inputs: Raw features, each [batch, 1] or sparse.
      custom_config: `query_id` and `candidate_id`, the names of these features.

    Returns:
      `query_index` int64 [batch, 1] and the candidate id, a string [batch, 1]: its
      position is looked up in the catalogue, which this source does not know.
    """
    query = _dense(inputs[custom_config["query_id"]])
    candidate = _dense(inputs[custom_config["candidate_id"]])
    tft.vocabulary(candidate, vocab_filename=CANDIDATE_FREQUENCY, store_frequency=True)
    return {
        QUERY_INDEX: tft.compute_and_apply_vocabulary(
            query, vocab_filename=QUERY_VOCABULARY, default_value=-1
        ),
        custom_config["candidate_id"]: candidate,
    }


def preprocess_candidates(
    inputs: dict[str, Any], custom_config: dict[str, Any]
) -> dict[str, Any]:
    """Turns candidate ids into positions in the catalogue.

    Args:
      inputs: Raw features, each [batch, 1] or sparse.
      custom_config: `candidate_id`, the name of that feature.

    Returns:
      `candidate_index` int64 [batch, 1].
    """
    candidate = _dense(inputs[custom_config["candidate_id"]])
    return {
        CANDIDATE_INDEX: tft.compute_and_apply_vocabulary(
            candidate, vocab_filename=CANDIDATE_VOCABULARY, default_value=-1
        )
    }


def _dense(feature: Any) -> tf.Tensor:
    """Returns a feature with one value an example as [batch, 1]."""
    if isinstance(feature, tf.SparseTensor):
        feature = tf.sparse.to_dense(
            tf.SparseTensor(
                feature.indices, feature.values, [feature.dense_shape[0], 1]
            ),
            default_value="" if feature.dtype == tf.string else 0,
        )
    return tf.reshape(feature, [-1, 1])
