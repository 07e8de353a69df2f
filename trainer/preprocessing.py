# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What Transform computes: vocabularies, scales, and features in the towers' form.

Transform runs once a source. Each declared feature becomes

* id, category: its position in a vocabulary, int64 [batch, 1], -1 where unknown;
* categories, text: such positions, sparse, or of buckets;
* number: its scaled value and whether it is missing, or the position of its bucket;
* timestamp: scaled, and as points on the circles of day, week and year;
* embedding: the vector, float32 [batch, dimensions], zeros where missing;
* history: candidate ids, sparse strings: this source does not know the catalogue.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from trainer.feature_config import Features, load_features
from trainer.features import (
    CANDIDATE_FREQUENCY,
    CANDIDATE_INDEX,
    CANDIDATE_VOCABULARY,
    QUERY_KEY,
    vocabulary_name,
)

_DAY_S = 86_400
_CIRCLES_S = (_DAY_S, 7 * _DAY_S, 365.2425 * _DAY_S)
_CLIP = 5.0
"""Standard deviations beyond which a scaled value is cut."""
_SEPARATORS = r"[^\pL\pN]+"
"""What stands between words: anything but letters and digits of any script."""


def preprocess_interactions(
    inputs: dict[str, Any], custom_config: dict[str, Any]
) -> dict[str, Any]:
    """Brings query features into the towers' form and counts candidates.

    Args:
      inputs: Raw features, each [batch, 1] or sparse.
      custom_config: `query_id` and `candidate_id`, the names of these features,
        `features`, from `trainer.feature_config.dump_features`, and `weight`, the
        feature that says what an interaction counts, or None.

    Returns:
      The features by name, the weight, `query_key` int64 [batch, 1], a hash of the
      query's id, and the candidate id, a string [batch, 1]: its position is looked up
      in the catalogue, which this source does not know.
    """
    candidate = _dense(inputs[custom_config["candidate_id"]], "")
    tft.vocabulary(candidate, vocab_filename=CANDIDATE_FREQUENCY, store_frequency=True)
    outputs = _features(inputs, load_features(custom_config["features"]))
    outputs[custom_config["candidate_id"]] = candidate
    query = _dense(inputs[custom_config["query_id"]], "")
    outputs[QUERY_KEY] = tf.strings.to_hash_bucket_fast(query, tf.int64.max)
    if weight := custom_config["weight"]:
        outputs[weight] = _dense(inputs[weight], 1.0)
    return outputs


def preprocess_candidates(
    inputs: dict[str, Any], custom_config: dict[str, Any]
) -> dict[str, Any]:
    """Brings candidate features into the towers' form.

    Args:
      inputs: Raw features, each [batch, 1] or sparse.
      custom_config: `candidate_id`, the name of that feature, and `features`.

    Returns:
      The features by name, and `candidate_index` int64 [batch, 1], the position in
      the catalogue.
    """
    name = custom_config["candidate_id"]
    candidate = _dense(inputs[name], "")
    index = tft.compute_and_apply_vocabulary(
        candidate, vocab_filename=CANDIDATE_VOCABULARY, default_value=-1
    )
    features = load_features(custom_config["features"])
    # Its own id is looked up in the catalogue, whatever the options of that feature.
    others = {key: value for key, value in features.items() if key != name}
    return {**_features(inputs, others), CANDIDATE_INDEX: index}


def _features(inputs: dict[str, Any], features: Features) -> dict[str, Any]:
    return {
        name: _PREPROCESSORS[feature.type](inputs[name], name, feature)
        for name, feature in features.items()
    }


def _dense(values: Any, missing: Any, width: int = 1) -> tf.Tensor:
    """Returns a feature as [batch, width]."""
    if isinstance(values, tf.SparseTensor):
        values = tf.sparse.to_dense(
            tf.SparseTensor(
                values.indices, values.values, [values.dense_shape[0], width]
            ),
            default_value=missing,
        )
    return tf.reshape(values, [-1, width])


def _look_up(values: Any, name: str, feature: Any) -> Any:
    """Returns positions in a vocabulary of the training split, most frequent first."""
    return tft.compute_and_apply_vocabulary(
        values,
        default_value=-1,
        top_k=feature.max_values,
        # A threshold of 1 leaves out nothing, and tft warns of it.
        frequency_threshold=feature.min_count if feature.min_count > 1 else None,
        vocab_filename=vocabulary_name(name),
    )


def _preprocess_id(values: Any, name: str, feature: Any) -> tf.Tensor:
    return _look_up(_dense(values, ""), name, feature)


def _preprocess_categories(values: Any, name: str, feature: Any) -> tf.SparseTensor:
    if not isinstance(values, tf.SparseTensor):
        values = tf.sparse.from_dense(values)
    return _look_up(values, name, feature)


def _preprocess_text(values: Any, name: str, feature: Any) -> tf.SparseTensor:
    text = tf.strings.lower(tf.reshape(_dense(values, ""), [-1]), encoding="utf-8")
    words = tf.strings.split(tf.strings.regex_replace(text, _SEPARATORS, " "))
    parts = _parts_of_words(words, feature)
    if not feature.buckets:
        return _look_up(parts.to_sparse(), name, feature)
    buckets = tf.strings.to_hash_bucket_fast(parts.flat_values, feature.buckets)
    return parts.with_flat_values(buckets).to_sparse()


def _parts_of_words(words: tf.RaggedTensor, feature: Any) -> tf.RaggedTensor:
    """Returns what of a text has an embedding, as ragged strings [batch, None]."""
    if feature.characters:
        # As fastText has it (Bojanowski et al., 2017, "Enriching word vectors with
        # subword information").
        bounded = tf.strings.join(["<", words.flat_values, ">"])
        letters = tf.strings.unicode_split(bounded, "UTF-8")
        grams = tf.strings.ngrams(letters, feature.characters, separator="")
        is_short = letters.row_lengths() < feature.characters
        whole = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(bounded, is_short), tf.cast(is_short, tf.int64)
        )
        return words.with_flat_values(tf.concat([grams, whole], 1)).merge_dims(1, 2)
    if feature.ngrams == 1:
        return words
    return tf.strings.ngrams(words, tuple(range(1, feature.ngrams + 1)))


def _preprocess_number(values: Any, name: str, feature: Any) -> tf.Tensor:
    number = _dense(tf.cast(values, tf.float32), math.nan)
    if feature.log:
        number = tf.math.log1p(tf.maximum(number, 0))
    known = tf.math.is_finite(number)
    present = tf.boolean_mask(number, known)
    if feature.buckets:
        limits = tft.quantiles(present, feature.buckets, epsilon=0.01)
        bucket = tft.apply_buckets(tf.where(known, number, 0), limits)
        return tf.where(known, tf.cast(bucket, tf.int64), -1)
    return _scale(number, known, present)


def _scale(number: tf.Tensor, known: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Returns scaled values and whether they are missing, float32 [batch, 2]."""
    deviation = tf.sqrt(tf.cast(tft.var(present), tf.float32))
    scaled = (number - tf.cast(tft.mean(present), tf.float32)) / tf.where(
        deviation > 0, deviation, 1
    )
    scaled = tf.where(known, tf.clip_by_value(scaled, -_CLIP, _CLIP), 0)
    return tf.concat([scaled, tf.cast(~known, tf.float32)], axis=1)


def _preprocess_timestamp(values: Any, name: str, feature: Any) -> tf.Tensor:
    seconds = _dense(values, 0)
    known = seconds != 0
    # Days: float32 would keep seconds since 1970 to two minutes only.
    days = tf.cast(tf.cast(seconds, tf.float64) / _DAY_S, tf.float32)
    points = []
    for circle in _CIRCLES_S:
        turn = tf.cast(
            tf.math.floormod(tf.cast(seconds, tf.float64), circle) / circle, tf.float32
        )
        points += [tf.sin(2 * math.pi * turn), tf.cos(2 * math.pi * turn)]
    scaled = _scale(days, known, tf.boolean_mask(days, known))
    return tf.concat(
        [scaled, tf.concat(points, axis=1) * tf.cast(known, tf.float32)], axis=1
    )


def _preprocess_embedding(values: Any, name: str, feature: Any) -> tf.Tensor:
    return _dense(values, 0.0, feature.dimensions)


def _preprocess_history(values: Any, name: str, feature: Any) -> tf.SparseTensor:
    if isinstance(values, tf.SparseTensor):
        return values
    return tf.sparse.from_dense(values)


_PREPROCESSORS: dict[str, Callable[[Any, str, Any], Any]] = {
    "id": _preprocess_id,
    "category": _preprocess_id,
    "categories": _preprocess_categories,
    "text": _preprocess_text,
    "number": _preprocess_number,
    "timestamp": _preprocess_timestamp,
    "embedding": _preprocess_embedding,
    "history": _preprocess_history,
}
