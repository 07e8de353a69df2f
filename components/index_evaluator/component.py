# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""IndexEvaluator: spec and channels."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.artifacts import IndexEvaluation
from components.index_evaluator import executor
from serving.evaluation.config import EvaluationConfig


class IndexEvaluatorSpec(component_spec.ComponentSpec):
    """Spec of IndexEvaluator."""

    PARAMETERS = {
        executor.QUERY_ID_KEY: component_spec.ExecutionParameter(type=str),
        executor.CANDIDATE_ID_KEY: component_spec.ExecutionParameter(type=str),
        executor.HISTORIES_KEY: component_spec.ExecutionParameter(type=str),
        executor.CONFIG_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
        **{
            key: component_spec.ExecutionParameter(type=float, optional=True)
            for key in executor.GATE_KEYS
        },
    }
    INPUTS = {
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        ),
        executor.PREVIOUS_MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        executor.INTERACTIONS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
    }
    OUTPUTS = {
        executor.EVALUATION_KEY: component_spec.ChannelParameter(type=IndexEvaluation),
        executor.BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing
        ),
    }


class IndexEvaluator(base_component.BaseComponent):
    """Measures a servable in a fresh process: quality, approximation, latency.

    Component `outputs` contains:
     - `evaluation`: Channel of type `IndexEvaluation`: `report.json`.
     - `blessing`: Channel of type `standard_artifacts.InfraBlessing`: whether every
       gate was passed.
    """

    SPEC_CLASS = IndexEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        interactions: types.BaseChannel,
        query_id: str,
        candidate_id: str,
        config: EvaluationConfig,
        previous_model: types.BaseChannel | None = None,
        histories: Sequence[str] = (),
        fingerprint: str = "",
        gates: Mapping[str, data_types.RuntimeParameter] = MappingProxyType({}),
    ) -> None:
        """Constructs an IndexEvaluator component.

        Args:
            model: The servable, `standard_artifacts.Model`.
            interactions: Raw interactions, `standard_artifacts.Examples`; the split
                eval is evaluated, train is what the baselines are fitted to, and
                all but eval is what a query has seen.
            query_id: Feature of the interactions that says who.
            candidate_id: Feature of the interactions that says what.
            config: What to measure, and the gates.
            previous_model: The last blessed servable, measured on the same queries.
            histories: Features of the interactions that hold candidates which the
                query is known to have interacted with.
            fingerprint: Of the code behind this component.
            gates: Bounds that are told when it runs, by their names in the config.
        """
        super().__init__(
            IndexEvaluatorSpec(
                model=model,
                interactions=interactions,
                query_id=query_id,
                candidate_id=candidate_id,
                config=config.model_dump_json(),
                previous_model=previous_model,
                histories=json.dumps(list(histories)),
                fingerprint=fingerprint,
                **gates,
                evaluation=types.Channel(type=IndexEvaluation),
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
