# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""AtomicPusher: spec and channels."""

from collections.abc import Mapping
from types import MappingProxyType

from tfx import types
from tfx.components import Pusher
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.artifacts import IndexEvaluation
from components.pusher import executor


class AtomicPusherSpec(standard_component_specs.PusherSpec):
    """Spec of AtomicPusher: the standard one and what was measured."""

    PARAMETERS = {
        **standard_component_specs.PusherSpec.PARAMETERS,
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
        executor.PUSHES_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.SERVING_DIRECTORY_KEY: component_spec.ExecutionParameter(
            type=str, optional=True
        ),
    }
    INPUTS = {
        **standard_component_specs.PusherSpec.INPUTS,
        executor.EVALUATION_KEY: component_spec.ChannelParameter(type=IndexEvaluation),
        executor.TOWERS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        **{
            key: component_spec.ChannelParameter(
                type=standard_artifacts.ExampleStatistics, optional=True
            )
            for key in executor.STATISTICS_KEYS
        },
    }


class AtomicPusher(Pusher):
    """TFX's Pusher, but a version is whole as soon as it can be seen.

    It copies beside the versions, writes what was measured into the manifest, and
    renames. A poller never sees half a model, and a killed push leaves no version.

    Component `outputs` contains:
     - `pushed_model`: Channel of type `standard_artifacts.PushedModel`.
    """

    SPEC_CLASS = AtomicPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel | None,
        infra_blessing: types.BaseChannel,
        evaluation: types.BaseChannel,
        push_destination: pusher_pb2.PushDestination,
        fingerprint: str = "",
        pushes: str | None = None,
        towers: types.BaseChannel | None = None,
        statistics: Mapping[str, types.BaseChannel] = MappingProxyType({}),
        serving_directory: str | data_types.RuntimeParameter | None = None,
    ) -> None:
        """Constructs an AtomicPusher component.

        Args:
            model: The servable, `standard_artifacts.Model`.
            model_blessing: Evaluator's, `standard_artifacts.ModelBlessing`; None where
                it has no say.
            infra_blessing: IndexEvaluator's, `standard_artifacts.InfraBlessing`.
            evaluation: IndexEvaluator's report, `IndexEvaluation`.
            push_destination: The serving folder.
            fingerprint: Of the code behind this component.
            pushes: Folder to write down in what was pushed, see `components.pushes`.
            towers: What the servable was made of, `standard_artifacts.Model`; needed
                with `pushes`.
            statistics: By source, `standard_artifacts.ExampleStatistics`, to be
                written down too.
            serving_directory: In place of that of `push_destination`.
        """
        spec = AtomicPusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            evaluation=evaluation,
            push_destination=push_destination,
            fingerprint=fingerprint,
            pushes=pushes,
            towers=towers,
            serving_directory=serving_directory,
            **{
                key: statistics.get(source)
                for key, source in executor.STATISTICS_KEYS.items()
            },
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
        # The parent's constructor builds the standard spec, without our input.
        base_component.BaseComponent.__init__(self, spec=spec)
