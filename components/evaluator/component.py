# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluator: TFX's own, with bounds that a run may be given."""

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components import Evaluator
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.evaluator import executor


class GatedEvaluatorSpec(standard_component_specs.EvaluatorSpec):
    """Spec of GatedEvaluator: the standard one and the bounds."""

    PARAMETERS = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        executor.MIN_TOP_K_ACCURACY_KEY: component_spec.ExecutionParameter(
            type=float, optional=True
        ),
    }


class GatedEvaluator(Evaluator):
    """TFX's Evaluator, to which a finder may say that there is no baseline.

    Component `outputs` contains:
     - `evaluation`: Channel of type `standard_artifacts.ModelEvaluation`.
     - `blessing`: Channel of type `standard_artifacts.ModelBlessing`.
    """

    SPEC_CLASS = GatedEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        schema: types.BaseChannel,
        eval_config: tfma.EvalConfig,
        min_top_k_accuracy: data_types.RuntimeParameter | None = None,
    ) -> None:
        """Constructs a GatedEvaluator component.

        Args:
            examples: `standard_artifacts.Examples`, whose split eval is evaluated.
            model: The servable, `standard_artifacts.Model`.
            baseline_model: What it is compared with, `standard_artifacts.Model`.
            schema: Of the examples, `standard_artifacts.Schema`.
            eval_config: From `components.evaluator.eval_config`.
            min_top_k_accuracy: That bound, told when it runs.
        """
        spec = GatedEvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            schema=schema,
            eval_config=eval_config,
            example_splits=json_utils.dumps(["eval"]),
            fairness_indicator_thresholds=json_utils.dumps(None),
            min_top_k_accuracy=min_top_k_accuracy,
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        )
        # The parent's constructor builds the standard spec, without our parameter.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)
