# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles a pipeline for Kubeflow Pipelines and Vertex AI."""

import json
import os
import re
from typing import Any

import yaml
from tfx.orchestration import data_types
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from components.file_example_gen import executor as files
from components.push_finder import executor as push_finder
from pipeline import container_graph
from pipeline.config import SECTIONS, PipelineConfig
from pipeline.layout import Layout
from pipeline.runners import container
from serving.errors import UserError

KUBEFLOW, VERTEX = "kubeflow", "vertex"
RUNNERS = (KUBEFLOW, VERTEX)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://")
_CHANGING = tuple(
    f"{one.__module__}.{one.__qualname__}"
    for one in (push_finder.ModelExecutor, push_finder.SpanExecutor, files.Executor)
)
"""Executors whose answers depend on more than their inputs and parameters."""


def compile_pipeline(
    config: PipelineConfig, layout: Layout, runner: str, update: bool = False
) -> dict[str, Any]:
    """Compiles a pipeline to what Kubeflow Pipelines and Vertex AI run.

    Args:
      config: What to run.
      layout: Where its artifacts and versions go.
      runner: `kubeflow` or `vertex`.
      update: See `pipeline.graph.build_pipeline`.

    Returns:
      A PipelineJob of pipeline spec 2.1, JSON-able: `pipelineSpec` is what Kubeflow
      takes, the whole is what Vertex takes.

    Raises:
      UserError: There is no image, or a name or a path can't be used there.
    """
    image = config.containers.image
    if not image:
        raise UserError(
            "containers.image is not set: build docker/pipeline.Dockerfile, push it "
            "where the cluster can pull it, and name it"
        )
    pipeline = container_graph.build_pipeline(config, layout, update)
    name = pipeline.pipeline_info.pipeline_name
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name: {name} can't be used on {runner}; give at most 128 lower-case "
            "letters, digits and '-'"
        )
    _refuse_local_paths(config, layout)
    job = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            display_name=config.name,
            default_image=image,
            default_commands=container.COMMAND,
            use_pipeline_spec_2_1=True,
        )
    ).run(pipeline, write_out=False)
    _leave_uncached(job["pipelineSpec"])
    _add_defaults(job["pipelineSpec"], pipeline)
    for task in job["pipelineSpec"]["root"]["dag"]["tasks"].values():
        if config.containers.retries:
            task["retryPolicy"] = {"maxRetryCount": config.containers.retries}
    return job


def write(job: dict[str, Any], path: str, runner: str) -> None:
    """Writes a compiled pipeline, as its runner reads it.

    Args:
      job: From `compile_pipeline`.
      path: Of a local file, JSON or, for Kubeflow, YAML by its ending.
      runner: `kubeflow` or `vertex`.
    """
    content = job["pipelineSpec"] if runner == KUBEFLOW else job
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        if path.endswith((".yaml", ".yml")):
            yaml.safe_dump(content, file, sort_keys=True)
        else:
            file.write(json.dumps(content, indent=1, sort_keys=True) + "\n")
    os.replace(f"{path}.part", path)


def _leave_uncached(spec: dict[str, Any]) -> None:
    """Takes from the cache what changes without its parameters.

    Files change behind their path, and pushes behind their folder. What follows is
    taken from the cache where the artifacts are the same ones.
    """
    executors = spec["deploymentSpec"]["executors"]
    for task in spec["root"]["dag"]["tasks"].values():
        component = spec["components"][task["componentRef"]["name"]]
        entry = executors[component["executorLabel"]]["container"]
        # TFX's driver, which looks at files before the cache is asked, knows no window
        # of spans and no parameter, and Kubeflow itself does not run it.
        entry.pop("lifecycle", None)
        if _executor_of(entry) in _CHANGING:
            task["cachingOptions"] = {}


def _add_defaults(spec: dict[str, Any], pipeline: tfx_pipeline.Pipeline) -> None:
    """Gives parameters their defaults, which TFX's compiler leaves out."""
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for node in pipeline.components:
        for value in node.exec_properties.values():
            if isinstance(value, data_types.RuntimeParameter):
                parameter = parameters[value.name]
                parameter |= {"defaultValue": value.default, "isOptional": True}


def _executor_of(entry: dict[str, Any]) -> str:
    arguments = entry["args"]
    return arguments[arguments.index("--executor_class_path") + 1]


def _refuse_local_paths(config: PipelineConfig, layout: Layout) -> None:
    """Refuses files of this machine, where containers elsewhere would look for them.

    With a root on this machine there is no elsewhere.
    """
    if not _REMOTE.match(layout.root):
        return
    for section in SECTIONS:
        table = getattr(config, section)
        path = getattr(table and table.source, "path", None)
        if path and not _REMOTE.match(path):
            raise UserError(
                f"{section}.source: {path} is a file of this machine, and the nodes "
                f"run elsewhere; copy it to a bucket, as the root {layout.root} is"
            )
