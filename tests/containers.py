# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the nodes of a compiled pipeline as Kubeflow does, by what the IR says alone.

What Kubeflow's driver and launcher do around a container is done here: parameters and
artifacts are looked up as the IR wires them, `{{$}}` becomes the ExecutorInput, and
what the container wrote down of its outputs goes to the tasks that follow. The
container's own command is ours before TFX's entry point, with the arguments of the IR.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any
from unittest import mock

from tfx.dsl.io import fileio

from pipeline.runners import container

Container = Callable[[list[str]], None]
"""Runs the arguments of a container's command."""


def in_this_process(arguments: list[str]) -> None:
    """Runs TFX's entry point as its own main does, after ours."""
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    given = ["entry point", *container.prepared(arguments)]
    parsed = kubeflow_v2_run_executor._parse_flags(given)
    # TFX packs itself for each Beam node, 53 MB, which ends with the container.
    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.object(tempfile, "tempdir", scratch),
    ):
        kubeflow_v2_run_executor.main(parsed)


class Cluster:
    """Runs compiled pipelines, each run below the root that the pipeline names."""

    def __init__(self, root: str, container: Container = in_this_process):
        """Takes the folder of artifacts and what runs a container."""
        self._root, self._container = root, container
        self._cache: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        """Of the last run, by task and output."""
        self.cached: set[str] = set()
        """Tasks of the last run whose outputs are of a run before."""

    def run(
        self,
        spec: Mapping[str, Any],
        run: str,
        only: Collection[str] = (),
        **parameters: Any,
    ) -> None:
        """Runs all tasks, each when those that it depends on are done.

        Args:
          spec: A pipeline spec as JSON has it.
          run: Name of the run.
          only: Tasks to run, if any are named; of all others the outputs of the run
            before are taken.
          **parameters: In place of defaults.
        """
        known = spec["root"]["inputDefinitions"]["parameters"]
        assert not set(parameters) - set(known), "no such parameter"
        defaults = {name: one.get("defaultValue") for name, one in known.items()}
        values = {**defaults, **parameters}
        tasks = dict(spec["root"]["dag"]["tasks"])
        kept = set(tasks) - set(only) if only else set()
        self.outputs = {name: self.outputs[name] for name in kept}
        tasks = {name: task for name, task in tasks.items() if name not in kept}
        self.seconds, self.cached = {}, set()
        while tasks:
            ready = [
                name
                for name, task in tasks.items()
                if not set(task.get("dependentTasks", ())) & set(tasks)
            ]
            assert ready, f"tasks wait for each other: {sorted(tasks)}"
            for name in ready:
                started = time.perf_counter()
                self.outputs[name] = self._run_task(
                    spec, name, tasks.pop(name), run, values
                )
                self.seconds[name] = time.perf_counter() - started

    def _run_task(
        self,
        spec: Mapping[str, Any],
        name: str,
        task: Mapping[str, Any],
        run: str,
        values: Mapping[str, Any],
    ) -> dict[str, Any]:
        component = spec["components"][task["componentRef"]["name"]]
        folder = os.path.join(self._root, run, name)
        wired = task.get("inputs", {})
        executor_input = {
            "inputs": {
                "parameterValues": {
                    key: values[one["componentInputParameter"]]
                    if "componentInputParameter" in one
                    else one["runtimeValue"]["constant"]
                    for key, one in wired.get("parameters", {}).items()
                },
                "artifacts": {
                    key: {"artifacts": [self._input(one["taskOutputArtifact"])]}
                    for key, one in wired.get("artifacts", {}).items()
                },
            },
            "outputs": {
                "artifacts": {
                    key: {
                        "artifacts": [
                            {
                                "name": f"{run}/{name}/{key}",
                                "type": one["artifactType"],
                                "uri": os.path.join(folder, key),
                            }
                        ]
                    }
                    for key, one in component["outputDefinitions"]["artifacts"].items()
                },
                "outputFile": os.path.join(folder, "executor_output.json"),
            },
        }
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]
        given = container["container"]["args"]
        key = json.dumps([name, given, executor_input["inputs"]], sort_keys=True)
        if task.get("cachingOptions", {}).get("enableCache") and key in self._cache:
            self.cached.add(name)
            return self._cache[key]
        asked = json.dumps(executor_input)
        self._container([asked if one == "{{$}}" else one for one in given])
        with fileio.open(executor_input["outputs"]["outputFile"]) as file:
            told = json.loads(file.read()).get("artifacts", {})
        found = {}
        for output, one in executor_input["outputs"]["artifacts"].items():
            (artifact,) = one["artifacts"]
            (more,) = told.get(output, {}).get("artifacts", [{}])
            found[output] = {**artifact, **more, "type": artifact["type"]}
        self._cache[key] = found
        return found

    def _input(self, wired: Mapping[str, str]) -> dict[str, Any]:
        return self.outputs[wired["producerTask"]][wired["outputArtifactKey"]]
