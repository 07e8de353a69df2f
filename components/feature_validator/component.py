# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""FeatureValidator: spec and channels."""

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import DataFindings
from components.feature_validator import executor
from components.feature_validator.scan import Plan
from components.findings import FINDINGS_KEY, POLICY_KEY, Policy


class FeatureValidatorSpec(component_spec.ComponentSpec):
    """Spec of FeatureValidator."""

    PARAMETERS = {
        executor.PLAN_KEY: component_spec.ExecutionParameter(type=str),
        POLICY_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.INTERACTIONS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        executor.CANDIDATES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
    }
    OUTPUTS = {FINDINGS_KEY: component_spec.ChannelParameter(type=DataFindings)}


class FeatureValidator(base_beam_component.BaseBeamComponent):
    """Finds features that teach nothing, and those that tell what is to be predicted.

    It looks for constant features, for values that only eval has, and among the
    query's features for suspects of leakage: what the candidate determines, instants
    after the interaction, and values of a row's own. See `checks`.

    Nothing follows it but by order: let the nodes that are to wait for it name it as
    upstream, so that what it lets pass invalidates nothing.

    Component `outputs` contains:
     - `findings`: Channel of type `DataFindings`.
    """

    SPEC_CLASS = FeatureValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.BaseChannel,
        candidates: types.BaseChannel,
        plan: Plan,
        policy: Policy | None = None,
        fingerprint: str = "",
    ) -> None:
        """Constructs a FeatureValidator component.

        Args:
            interactions: Prepared ones, `standard_artifacts.Examples`.
            candidates: Cleaned ones, `standard_artifacts.Examples`.
            plan: Which columns there are.
            policy: What a finding does; None: it stops the run.
            fingerprint: Of the code behind this component; another one means another
                execution.
        """
        super().__init__(
            FeatureValidatorSpec(
                interactions=interactions,
                candidates=candidates,
                plan=json.dumps(dataclasses.asdict(plan)),
                policy=(policy or Policy()).dump(),
                fingerprint=fingerprint,
                findings=types.Channel(type=DataFindings),
            )
        )
