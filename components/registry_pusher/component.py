# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""RegistryPusher: spec and channels."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import RegisteredModel
from components.registry_pusher import executor
from serving.registry.config import RegistryConfig


class RegistryPusherSpec(component_spec.ComponentSpec):
    """Spec of RegistryPusher."""

    PARAMETERS = {
        executor.NAME_KEY: component_spec.ExecutionParameter(type=str),
        executor.REGISTRY_KEY: component_spec.ExecutionParameter(type=str),
        executor.CONFIG_HASH_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.PUSHED_MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.PushedModel
        ),
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        ),
    }
    OUTPUTS = {
        executor.REGISTERED_MODEL_KEY: component_spec.ChannelParameter(
            type=RegisteredModel
        )
    }


class RegistryPusher(base_component.BaseComponent):
    """Registers what Pusher has pushed, and nothing where it has not.

    Component `outputs` contains:
     - `registered_model`: Channel of type `RegisteredModel`: `registered.json`, with
       the registry's number, or null.
    """

    SPEC_CLASS = RegistryPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        pushed_model: types.BaseChannel,
        model: types.BaseChannel,
        name: str,
        registry: RegistryConfig,
        config_hash: str,
    ) -> None:
        """Constructs a RegistryPusher component.

        Args:
            pushed_model: Pusher's answer, `standard_artifacts.PushedModel`.
            model: The servable that it pushed, `standard_artifacts.Model`.
            name: Of the model in the registry.
            registry: Which one, and what the model becomes there.
            config_hash: Of the config that it was made by.
        """
        super().__init__(
            RegistryPusherSpec(
                pushed_model=pushed_model,
                model=model,
                name=name,
                registry=registry.model_dump_json(),
                config_hash=config_hash,
                registered_model=types.Channel(type=RegisteredModel),
            )
        )
