# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""CatalogueGen: spec and channels."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.catalogue_gen import executor


class CatalogueGenSpec(component_spec.ComponentSpec):
    """Spec of CatalogueGen."""

    PARAMETERS = {
        executor.CANDIDATE_ID_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.INTERACTIONS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        )
    }
    OUTPUTS = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        )
    }


class CatalogueGen(base_beam_component.BaseBeamComponent):
    """Makes a catalogue of the ids of all candidates in the interactions.

    Those of every split: what is known when the model serves. A candidate that only
    evaluation has seen is in it without training.

    Component `outputs` contains:
     - `examples`: Channel of type `standard_artifacts.Examples`, one split, `train`,
       one feature, the id.
    """

    SPEC_CLASS = CatalogueGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.BaseChannel,
        candidate_id: str,
        fingerprint: str = "",
    ) -> None:
        """Constructs a CatalogueGen component.

        Args:
            interactions: Channel of type `standard_artifacts.Examples`.
            candidate_id: Feature of the interactions with the candidate's id.
            fingerprint: Of the code behind this component.
        """
        super().__init__(
            CatalogueGenSpec(
                interactions=interactions,
                candidate_id=candidate_id,
                fingerprint=fingerprint,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
