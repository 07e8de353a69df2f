# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""IndexTuner: spec and channels."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import CandidateEmbeddings, IndexKnobs
from components.index_tuner import executor
from serving.index_config import IndexConfig


class IndexTunerSpec(component_spec.ComponentSpec):
    """Spec of IndexTuner."""

    PARAMETERS = {
        executor.INDEX_KEY: component_spec.ExecutionParameter(type=str),
        executor.SPLIT_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.TOWERS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        ),
        executor.EMBEDDINGS_KEY: component_spec.ChannelParameter(
            type=CandidateEmbeddings
        ),
        executor.INTERACTIONS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
    }
    OUTPUTS = {executor.KNOBS_KEY: component_spec.ChannelParameter(type=IndexKnobs)}


class IndexTuner(base_component.BaseComponent):
    """Searches for the knobs that ScannIndexer builds with.

    Component `outputs` contains:
     - `knobs`: Channel of type `IndexKnobs`: the knobs chosen, and the Pareto frontier
       of recall, time and memory that they were chosen from.
    """

    SPEC_CLASS = IndexTunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        towers: types.BaseChannel,
        embeddings: types.BaseChannel,
        interactions: types.BaseChannel,
        index: IndexConfig,
        split: str,
        fingerprint: str = "",
    ) -> None:
        """Constructs an IndexTuner component.

        Args:
            towers: The Trainer's model, `standard_artifacts.Model`.
            embeddings: The embedded catalogue, `CandidateEmbeddings`.
            interactions: Raw interactions, `standard_artifacts.Examples`.
            index: The target, the budgets, and where the search begins.
            split: Whose queries are asked; not eval, which IndexEvaluator reports on.
            fingerprint: Of the code behind this component.
        """
        if split == "eval":
            raise ValueError("the split eval is for reporting; tune by another one")
        super().__init__(
            IndexTunerSpec(
                towers=towers,
                embeddings=embeddings,
                interactions=interactions,
                index=index.model_dump_json(),
                split=split,
                fingerprint=fingerprint,
                knobs=types.Channel(type=IndexKnobs),
            )
        )
