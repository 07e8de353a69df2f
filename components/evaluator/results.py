# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what TFX's Evaluator wrote, as plain values."""

from typing import Any

import tensorflow_model_analysis as tfma

from components.evaluator.metrics import top_k_accuracy_name
from serving.evaluation.config import GatesConfig
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


def read_gates(
    folder: str, config: GatesConfig, slices: list[dict[str, Any]]
) -> list[Gate]:
    """Returns the bounds that Evaluator checked on the overall slice.

    Args:
      folder: URI of the evaluation artifact.
      config: The bounds.
      slices: From `read_slices`.

    Returns:
      One gate for each bound that is set, and a failed one more should Evaluator have
      refused for another reason than these.
    """
    overall = slices[0]["metrics"]
    name = top_k_accuracy_name(config.gate_k)
    gates = []
    if config.min_top_k_accuracy is not None:
        value = overall[name]["value"]
        gates.append(Gate(name, value, config.min_top_k_accuracy, "at least"))
    difference = overall.get(f"{name}_diff")
    if difference and config.max_drop_from_baseline is not None:
        gates.append(
            Gate(
                f"{name} minus that of the last blessed model",
                difference["value"],
                -config.max_drop_from_baseline,
                "at least",
            )
        )
    blessed = tfma.load_validation_result(folder).validation_ok
    if not blessed and all(gate.passed for gate in gates):
        gates.append(Gate("Evaluator's own verdict", 0, 1, "at least"))
    return gates
