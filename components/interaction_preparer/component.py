# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""InteractionPreparer: spec and channels."""

import json

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.interaction_preparer import executor
from components.interaction_preparer.preparation import Preparation


class InteractionPreparerSpec(component_spec.ComponentSpec):
    """Spec of InteractionPreparer."""

    PARAMETERS = {
        executor.PREPARATION_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.INTERACTIONS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        executor.QUERIES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
    }
    OUTPUTS = {
        executor.PREPARED_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        )
    }


class InteractionPreparer(base_beam_component.BaseBeamComponent):
    """Selects and weighs interactions, and adds histories and what a table knows.

    Rows are parted by query on disk, so that memory holds one part at a time, however
    long the log is.

    Component `outputs` contains:
     - `prepared_interactions`: Channel of type `standard_artifacts.Examples`, with the
       splits of the interactions.
    """

    SPEC_CLASS = InteractionPreparerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.BaseChannel,
        preparation: Preparation,
        queries: types.BaseChannel | None = None,
        fingerprint: str = "",
    ) -> None:
        """Constructs an InteractionPreparer component.

        Args:
            interactions: Channel of type `standard_artifacts.Examples`.
            preparation: What to do.
            queries: Channel of type `standard_artifacts.Examples`: the table to join.
            fingerprint: Of the code behind this component.
        """
        super().__init__(
            InteractionPreparerSpec(
                interactions=interactions,
                queries=queries,
                preparation=json.dumps(preparation.to_json(), sort_keys=True),
                fingerprint=fingerprint,
                prepared_interactions=types.Channel(type=standard_artifacts.Examples),
            )
        )
