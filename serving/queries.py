# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Query features given as text, read as what the model takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from serving.errors import UserError
from serving.servable import missing_feature


def read_query(
    query: Mapping[str, str | Sequence[str]], specs: Mapping[str, tf.TensorSpec]
) -> dict[str, list[Any]]:
    """Turns text into values of the features' types, each a batch of one.

    Args:
      query: Raw query features by name: texts, or lists of them for a feature that
        takes several values. What is left out is missing.
      specs: All features that the model takes.

    Raises:
      UserError: All features are missing, one is unknown or of the wrong type.
    """
    known = ", ".join(sorted(specs))
    for name in query:
        if name not in specs:
            raise UserError(f"unknown query feature '{name}'; the model takes {known}")
    if not query:
        raise UserError(f"the query has no features; the model takes {known}")
    return {
        name: [_read_feature(name, query[name], spec)]
        if name in query
        else [missing_feature(spec)]
        for name, spec in specs.items()
    }


def _read_feature(name: str, given: str | Sequence[str], spec: tf.TensorSpec) -> Any:
    """Reads the text, or texts, of one feature."""
    texts = [given] if isinstance(given, str) else list(given)
    if spec.shape.rank == 1:
        if len(texts) != 1:
            raise UserError(f"query feature '{name}' takes one value, got {len(texts)}")
        return _read_value(name, texts[0], spec.dtype)
    if spec.dtype == tf.string:
        return texts
    if len(texts) == 1:
        texts = texts[0].strip("[] ").split(",")
    if len(texts) != spec.shape[1]:
        raise UserError(
            f"query feature '{name}' takes {spec.shape[1]} numbers, got {len(texts)}"
        )
    return [_read_value(name, text, spec.dtype) for text in texts]


def _read_value(name: str, text: str, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        return text
    try:
        return dtype.as_numpy_dtype(text)
    except (ValueError, OverflowError):
        raise UserError(
            f"query feature '{name}' must be of type {dtype.name}, got {text!r}"
        ) from None
