# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of GatedEvaluator."""

from typing import Any

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import executor
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from components.artifacts import found

MIN_TOP_K_ACCURACY_KEY = "min_top_k_accuracy"


class Executor(executor.Executor):
    """TFX's own, by the bounds of this run."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates the model.

        Args:
            input_dict: As of the standard executor.
            output_dict: As of the standard executor.
            exec_properties: Those of the standard executor, and maybe
                `min_top_k_accuracy`.
        """
        key = standard_component_specs.BASELINE_MODEL_KEY
        inputs = {**input_dict, key: found(input_dict.get(key))}
        bound = exec_properties.get(MIN_TOP_K_ACCURACY_KEY)
        if bound is not None:
            key = standard_component_specs.EVAL_CONFIG_KEY
            config = _bounded(exec_properties[key], bound)
            exec_properties = {**exec_properties, key: config}
        super().Do(inputs, output_dict, exec_properties)


def _bounded(text: str, bound: float) -> str:
    """Returns an EvalConfig, as JSON, with another lower bound of its metric."""
    config = proto_utils.json_to_proto(text, tfma.EvalConfig())
    for metrics in config.metrics_specs:
        for per_slice in metrics.per_slice_thresholds.values():
            for one in per_slice.thresholds:
                one.threshold.value_threshold.lower_bound.value = bound
    return proto_utils.proto_to_json(config)
