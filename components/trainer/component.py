# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TwoTowerTrainer: spec and channels."""

from typing import Any

from tfx import types
from tfx.components import Trainer
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.trainer import executor

_RUN_FN = "trainer.run.run_fn"


CANDIDATE_INPUTS = {
    executor.CANDIDATE_TRANSFORM_GRAPH_KEY: component_spec.ChannelParameter(
        type=standard_artifacts.TransformGraph
    ),
    executor.CANDIDATES_KEY: component_spec.ChannelParameter(
        type=standard_artifacts.Examples
    ),
}
"""What TFX's own Trainer and Tuner do not have."""


class TwoTowerTrainerSpec(standard_component_specs.TrainerSpec):
    """Spec of TwoTowerTrainer: the standard one and the candidates."""

    INPUTS = {**standard_component_specs.TrainerSpec.INPUTS, **CANDIDATE_INPUTS}


class TwoTowerTrainer(Trainer):
    """TFX's Trainer with two more inputs: transformed candidates and their graph.

    It calls `trainer.run.run_fn`. A channel passed through custom_config would work in
    notebooks only.

    Component `outputs` contains:
     - `model`: Channel of type `standard_artifacts.Model`: the towers.
     - `model_run`: Channel of type `standard_artifacts.ModelRun`: TensorBoard logs.
    """

    SPEC_CLASS = TwoTowerTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        candidates: types.BaseChannel,
        candidate_transform_graph: types.BaseChannel,
        custom_config: dict[str, Any],
        has_valid_split: bool = False,
        base_model: types.BaseChannel | None = None,
        hyperparameters: types.BaseChannel | None = None,
    ) -> None:
        """Constructs a TwoTowerTrainer component.

        Args:
            examples: Transformed interactions, `standard_artifacts.Examples`.
            transform_graph: Of the interactions, `standard_artifacts.TransformGraph`.
            candidates: Transformed candidates, `standard_artifacts.Examples`.
            candidate_transform_graph: Of the candidates.
            custom_config: What `trainer.run.run_fn` reads, and a fingerprint of its
                code: an edit must not be answered from the cache.
            has_valid_split: Whether the examples have a split to stop early by.
            base_model: Towers to begin with, `standard_artifacts.Model`.
            hyperparameters: The Tuner's, `standard_artifacts.HyperParameters`; they
                stand before those of the custom config.
        """
        spec = TwoTowerTrainerSpec(
            examples=examples,
            transform_graph=transform_graph,
            candidates=candidates,
            candidate_transform_graph=candidate_transform_graph,
            base_model=base_model,
            hyperparameters=hyperparameters,
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(
                splits=["valid" if has_valid_split else "train"]
            ),
            run_fn=_RUN_FN,
            custom_config=json_utils.dumps(
                {**custom_config, executor.HAS_VALID_SPLIT_KEY: has_valid_split}
            ),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
        )
        # The parent's constructor builds the standard spec, without our input.
        base_component.BaseComponent.__init__(self, spec=spec)
