# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The graph of a pipeline whose nodes run in containers, on Kubeflow or Vertex.

The same nodes as on one machine but for three things. What TFX's resolvers find in ML
Metadata is found by what Pusher has written down, since a container can't ask ML
Metadata. Paths, dates and bounds are parameters of a run. And a node says what it
needs of a machine.
"""

import functools
from collections.abc import Collection
from typing import Any, TypeVar

from kfp.pipeline_spec import pipeline_spec_pb2
from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import data_types
from tfx.orchestration import pipeline as tfx_pipeline

from components.index_evaluator.executor import GATE_KEYS
from components.push_finder.component import EarlierSpanFinder, PushedModelFinder
from components.resolver import LatestBlessedServableStrategy, trained_on
from pipeline import graph
from pipeline.config import PipelineConfig, ResourcesConfig
from pipeline.layout import Layout

_Node = TypeVar("_Node", bound=BaseNode)

DEFAULT = "default"
"""Key of the resources of nodes that have none of their own."""
UNTIL = "until"
"""Parameter: the last span or date to read, "" for the latest."""
SERVING_DIRECTORY = "serving_directory"
"""Parameter: the folder of versions."""
MIN_TOP_K_ACCURACY = "min_top_k_accuracy"


def build_pipeline(
    config: PipelineConfig, layout: Layout, update: bool = False
) -> tfx_pipeline.Pipeline:
    """Builds the TFX pipeline of a config for containers.

    Args:
      config: What to run.
      layout: Where its artifacts and versions go.
      update: See `pipeline.graph.build_pipeline`.

    Raises:
      UserError: Resources are given to a node that is not there.
    """
    nodes = (_UpdateNodes if update else _Nodes)(config, layout)
    components = nodes.all()
    nodes.refuse_unknown()
    return tfx_pipeline.Pipeline(
        pipeline_name=task_name(config.name.replace("_", "-")),
        pipeline_root=layout.artifacts,
        components=components,
        enable_cache=True,
        beam_pipeline_args=config.beam_args(),
    )


def task_name(node_id: str) -> str:
    """Returns what a node is called where names can't have dots."""
    return node_id.replace(".", "-")


def path_parameter(source: str) -> str:
    """Returns the parameter that holds the path of a source's files."""
    return f"{source}_path"


class _Nodes(graph.Nodes):
    """The nodes, as containers."""

    def _add(self, component: _Node, node_id: str | None = None) -> _Node:
        node_id = node_id or component.id
        self._names[task_name(node_id)] = node_id
        component = super()._add(component, task_name(node_id))
        resources = self._config.containers.resources
        wanted = resources.get(node_id, resources.get(DEFAULT))
        if wanted and isinstance(component, BaseComponent):
            component.with_platform_config(_resources(wanted))
        return component

    def _name_of(self, component: BaseNode) -> str:
        return self._names[component.id]

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        """What `shortlist run` calls nodes, by what they are called here."""
        return {}

    def _settings_of_nodes(self) -> dict[str, Collection[str]]:
        resources = set(self._config.containers.resources) - {DEFAULT}
        return {**super()._settings_of_nodes(), "containers.resources": resources}

    def _file_parameters(
        self, name: str, path: str
    ) -> dict[str, data_types.RuntimeParameter]:
        return {
            "path": data_types.RuntimeParameter(path_parameter(name), str, path),
            "until": data_types.RuntimeParameter(UNTIL, str, ""),
        }

    def _earlier(self, name: str, statistics: types.BaseChannel) -> types.BaseChannel:
        finder = EarlierSpanFinder(self._layout.pushes, name, statistics)
        return self._add(finder, f"EarlierSpan.{name}").outputs["earlier"]

    def _baseline(self, model: types.BaseChannel) -> types.BaseChannel:
        parts = (graph.INTERACTIONS, graph.QUERIES, graph.CANDIDATES)
        identity = graph.identity(self._config)
        finder = PushedModelFinder(
            self._layout.pushes,
            "servable",
            {part: identity[part] for part in parts},
            candidate=model,
        )
        return self._add(finder, "LatestBlessedModel").outputs["model"]

    def _blessed(
        self, strategy: type[LatestBlessedServableStrategy], node_id: str
    ) -> types.BaseChannel:
        identity = graph.identity(self._config)
        finder = PushedModelFinder(
            self._layout.pushes,
            strategy.KIND,
            {graph.INTERACTIONS: trained_on(identity[graph.INTERACTIONS])},
            required=self._needs_blessed,
        )
        return self._add(finder, node_id).outputs["model"]

    _needs_blessed = False
    """Whether there is nothing to do without an earlier model."""

    def _gates(self) -> dict[str, data_types.RuntimeParameter]:
        gates = self._config.evaluation.gates
        return {
            key: data_types.RuntimeParameter(key, float, value)
            for key in GATE_KEYS
            if (value := getattr(gates, key)) is not None
        }

    def _min_top_k_accuracy(self) -> data_types.RuntimeParameter | None:
        value = self._config.evaluation.gates.min_top_k_accuracy
        return data_types.RuntimeParameter(MIN_TOP_K_ACCURACY, float, value or 0.0)

    def _push_options(self, towers: types.BaseChannel) -> dict[str, Any]:
        return {
            "pushes": self._layout.pushes,
            "towers": towers,
            "statistics": self._statistics,
            "serving_directory": data_types.RuntimeParameter(
                SERVING_DIRECTORY, str, self._layout.serving
            ),
        }


class _UpdateNodes(_Nodes, graph.UpdateNodes):
    """The nodes of an update, as containers."""

    _needs_blessed = True


def _resources(
    wanted: ResourcesConfig,
) -> pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec:
    """Returns resources as the pipeline spec has them."""
    container = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec
    spec = container.ResourceSpec(
        cpu_limit=wanted.cpu or 0.0, memory_limit=wanted.memory_gb or 0.0
    )
    if wanted.gpu:
        spec.accelerator.type = wanted.gpu_type
        spec.accelerator.count = wanted.gpu
    return spec
