# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""RecipeTuner: spec and channels."""

from typing import Any

from tfx import types
from tfx.components import Tuner
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.trainer.component import CANDIDATE_INPUTS
from components.trainer.executor import HAS_VALID_SPLIT_KEY
from components.tuner import executor

_TUNER_FN = "trainer.tuner.tuner_fn"


class RecipeTunerSpec(standard_component_specs.TunerSpec):
    """Spec of RecipeTuner: the standard one and the candidates."""

    INPUTS = {**standard_component_specs.TunerSpec.INPUTS, **CANDIDATE_INPUTS}


class RecipeTuner(Tuner):
    """TFX's Tuner with the transformed candidates and their graph as inputs.

    It runs the search of `trainer.tuner`.

    Component `outputs` contains:
     - `best_hyperparameters`: Channel of type `standard_artifacts.HyperParameters`.
     - `tuner_results`: Channel of type `standard_artifacts.TunerResults`.
    """

    SPEC_CLASS = RecipeTunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        candidates: types.BaseChannel,
        candidate_transform_graph: types.BaseChannel,
        custom_config: dict[str, Any],
    ) -> None:
        """Constructs a RecipeTuner component.

        Args:
            examples: Transformed interactions with splits train and valid,
                `standard_artifacts.Examples`.
            transform_graph: Of the interactions, `standard_artifacts.TransformGraph`.
            candidates: Transformed candidates, `standard_artifacts.Examples`.
            candidate_transform_graph: Of the candidates.
            custom_config: What `trainer.tuner.tuner_fn` reads, and a fingerprint of its
                code.
        """
        spec = RecipeTunerSpec(
            examples=examples,
            transform_graph=transform_graph,
            candidates=candidates,
            candidate_transform_graph=candidate_transform_graph,
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["valid"]),
            tuner_fn=_TUNER_FN,
            custom_config=json_utils.dumps(
                {**custom_config, HAS_VALID_SPLIT_KEY: True}
            ),
            best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
            tuner_results=types.Channel(type=standard_artifacts.TunerResults),
        )
        # The parent's constructor builds the standard spec, without our inputs.
        base_component.BaseComponent.__init__(self, spec=spec)
