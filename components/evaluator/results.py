# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what TFX's Evaluator wrote, as plain values."""

from typing import Any

import tensorflow_model_analysis as tfma

from serving.evaluation.gates import Gate

_LOWER, _UPPER = "lowerBound", "upperBound"


def read_slices(folder: str) -> list[dict[str, Any]]:
    """Returns the candidate model's metrics, a dict a slice, the overall one first.

    Args:
      folder: URI of the evaluation artifact.

    Returns:
      Each with `slice` ("" for overall, else "feature:value") and, by metric,
      `value` and, where intervals were computed, `low` and `high` (95%).
    """
    result = tfma.load_eval_result(folder)
    slices = []
    for key, outputs in result.slicing_metrics:
        metrics = outputs[""][""]
        slices.append(
            {
                "slice": " x ".join(f"{name}:{_text(value)}" for name, value in key),
                "metrics": {name: _figure(value) for name, value in metrics.items()},
            }
        )
    return sorted(slices, key=lambda one: one["slice"])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _figure(value: dict[str, Any]) -> dict[str, float]:
    """Returns a metric's value and interval."""
    if "boundedValue" in value:
        bounded = value["boundedValue"]
        return {
            "value": bounded["value"],
            "low": bounded[_LOWER],
            "high": bounded[_UPPER],
        }
    return {"value": float(value["doubleValue"])}


def read_gates(folder: str) -> list[Gate]:
    """Returns the bounds that Evaluator checked on the overall slice.

    Args:
      folder: URI of the evaluation artifact.
    """
    result = tfma.load_validation_result(folder)
    gates = []
    for by_slice in result.metric_validations_per_slice:
        for failure in by_slice.failures:
            gates.append(_failed(failure))
    return gates


def _failed(failure: tfma.proto.validation_result_pb2.ValidationFailure) -> Gate:
    """Turns a failed threshold into a gate."""
    name = failure.metric_key.name
    value = failure.metric_value.double_value.value
    if failure.metric_value.HasField("bounded_value"):
        value = failure.metric_value.bounded_value.value.value
    threshold = failure.metric_threshold
    if failure.metric_key.is_diff:
        bound = threshold.change_threshold.absolute.value
        return Gate(f"{name} against the last blessed model", value, bound, "at least")
    bound = threshold.value_threshold.lower_bound.value
    return Gate(name, value, bound, "at least")
