# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""PushedModelFinder and EarlierSpanFinder: specs and channels."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.push_finder import executor


class PushedModelFinderSpec(component_spec.ComponentSpec):
    """Spec of PushedModelFinder."""

    PARAMETERS = {
        executor.PUSHES_KEY: component_spec.ExecutionParameter(type=str),
        executor.KIND_KEY: component_spec.ExecutionParameter(type=str),
        executor.LIKE_KEY: component_spec.ExecutionParameter(type=str),
        executor.REQUIRED_KEY: component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        executor.CANDIDATE_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        )
    }
    OUTPUTS = {
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        )
    }


class PushedModelFinder(base_component.BaseComponent):
    """Finds the last pushed model of the same data, by what Pusher wrote down.

    What it answers changes from run to run, so it is never taken from a cache.

    Component `outputs` contains:
     - `model`: Channel of type `standard_artifacts.Model`, at the URI where an earlier
       run has made it; one that says that there is none, see
       `components.artifacts.found`.
    """

    SPEC_CLASS = PushedModelFinderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.ModelExecutor)

    def __init__(
        self,
        pushes: str,
        kind: str,
        like: dict[str, Any],
        required: bool = False,
        candidate: types.BaseChannel | None = None,
    ) -> None:
        """Constructs a PushedModelFinder component.

        Args:
            pushes: Folder of `components.pushes`.
            kind: `servable`, or the `towers` that it was made of.
            like: What the config in its manifest has to hold.
            required: Whether a run without such a model is refused.
            candidate: A servable, `standard_artifacts.Model`: not this one, and one of
                the same format.
        """
        super().__init__(
            PushedModelFinderSpec(
                pushes=pushes,
                kind=kind,
                like=json.dumps(like, sort_keys=True),
                required=int(required),
                candidate=candidate,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )


class EarlierSpanFinderSpec(component_spec.ComponentSpec):
    """Spec of EarlierSpanFinder."""

    PARAMETERS = {
        executor.PUSHES_KEY: component_spec.ExecutionParameter(type=str),
        executor.SOURCE_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.CURRENT_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        )
    }
    OUTPUTS = {
        executor.EARLIER_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        )
    }


class EarlierSpanFinder(base_component.BaseComponent):
    """Finds the statistics of the last earlier span of which a model was pushed.

    Component `outputs` contains:
     - `earlier`: Channel of type `standard_artifacts.ExampleStatistics`.
    """

    SPEC_CLASS = EarlierSpanFinderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.SpanExecutor)

    def __init__(self, pushes: str, source: str, current: types.BaseChannel) -> None:
        """Constructs an EarlierSpanFinder component.

        Args:
            pushes: Folder of `components.pushes`.
            source: Whose statistics, e.g. `interactions`.
            current: The statistics of this run, `standard_artifacts.ExampleStatistics`.
        """
        super().__init__(
            EarlierSpanFinderSpec(
                pushes=pushes,
                source=source,
                current=current,
                earlier=types.Channel(type=standard_artifacts.ExampleStatistics),
            )
        )
