# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A whole run on this machine: build the graph, run it, sum up what came out."""

import functools
import json
import os
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from components.artifacts import DataFindings, read_findings
from components.candidate_embedder import executor as embedder
from components.evaluator import results
from components.example_cleaner import executor as cleaner
from components.findings import Finding
from components.index_evaluator.executor import REPORT_FILE
from pipeline import summary
from pipeline.config import PipelineConfig
from pipeline.graph import build_pipeline, is_declared_alike
from pipeline.layout import Layout
from pipeline.metadata import open_store
from pipeline.progress import Progress
from pipeline.runners import local
from serving import manifest
from serving.update import is_up_to_date

_EMBEDDER = "CandidateEmbedder"


def run_locally(
    config: PipelineConfig,
    layout: Layout,
    progress: Progress,
    served: str | None = None,
) -> dict[str, Any] | None:
    """Runs a pipeline on the local runner and writes its summary.

    The caller holds `pipeline.layout.exclusive`.

    Args:
      config: What to run.
      layout: Where it lies, with an absolute root.
      progress: Where lines go.
      served: Folder of the newest pushed version: bring the last blessed model's
        catalogue up to date, train nothing. None: run the whole pipeline.

    Returns:
      The summary, as `shortlist metrics --format json` prints it; None where `served`
      is up to date, so that there is nothing to build, evaluate and push.

    Raises:
      UserError: The run stopped for a reason that the user can mend.
      NodeError: A node failed otherwise.
    """
    if config.metadata.mysql:
        open_store(config.metadata, layout)  # which is told if it does not answer
    update = served is not None
    nodes = local.run(
        build_pipeline(config, layout, update),
        layout,
        progress,
        is_over=functools.partial(_is_needless, config, served),
    )
    if nodes[-1].node == _EMBEDDER:
        return None
    if _is_lost(nodes):
        # TFX remembers a push, not whether what was pushed is still there.
        progress.say("the pushed version was deleted since; pushing it anew")
        pipeline = build_pipeline(config, layout, update)
        nodes = local.run(pipeline, layout, progress, uncached={"Pusher"})
    content = summarize(config, nodes, progress.elapsed)
    summary.write(layout, content)
    return content


def _is_needless(
    config: PipelineConfig, served: str | None, ran: local.NodeRun
) -> bool:
    """Tells whether an update has just found out that nothing has changed."""
    if served is None or ran.node != _EMBEDDER:
        return False
    blessed = manifest.read(
        path_utils.serving_model_path(ran.inputs[embedder.PREVIOUS_KEY].uri)
    )
    before = manifest.read(served)
    return (
        # What is served may be another model: of another split, or in shards.
        before.get("towers") == blessed.get("towers")
        and is_declared_alike(config, before["config"])
        and is_up_to_date(
            ran.outputs[embedder.EMBEDDINGS_KEY].uri, served, config.index
        )
    )


def summarize(
    config: PipelineConfig, nodes: list[local.NodeRun], seconds: float
) -> dict[str, Any]:
    """Puts together what the nodes of a run measured and decided."""
    outputs = {run.node: run.outputs for run in nodes}
    folder = outputs["IndexEvaluator"]["evaluation"].uri
    with fileio.open(os.path.join(folder, REPORT_FILE)) as file:
        report = json.loads(file.read())
    slices, gates = [], []
    if "Evaluator" in outputs:  # not where the catalogue is in shards
        evaluation = outputs["Evaluator"]["evaluation"].uri
        slices = results.read_slices(evaluation)
        gates = results.read_gates(evaluation, config.evaluation.gates, slices)
    return {
        **report,
        "pipeline": config.name,
        "shards": config.index.shards,
        "findings": [finding.to_json() for finding in _findings(nodes)],
        "gates": report["gates"] + [gate.as_dict() for gate in gates],
        "slices": slices,
        "pushed_version": _pushed_version(outputs["Pusher"]["pushed_model"]),
        "run": {
            "seconds": round(seconds, 1),
            "nodes": [
                {
                    "node": run.node,
                    "seconds": round(run.seconds, 2),
                    "cached": run.cached,
                }
                for run in nodes
            ],
        },
    }


def _findings(nodes: list[local.NodeRun]) -> list[Finding]:
    """Returns what all validators found in the data and let pass."""
    found = []
    for run in nodes:
        for artifact in run.outputs.values():
            if artifact.type == DataFindings.TYPE_NAME:
                found += read_findings(artifact.uri)
        if run.node == "ExampleCleaner":
            folder = run.outputs[cleaner.REPORT_KEY].uri
            with fileio.open(os.path.join(folder, cleaner.REPORT_FILE)) as file:
                found += cleaner.describe(json.loads(file.read()))
    return found


def _is_lost(nodes: list[local.NodeRun]) -> bool:
    """Tells whether Pusher's version, taken from the cache, is no longer there."""
    (pusher,) = (run for run in nodes if run.node == "Pusher")
    artifact = pusher.outputs["pushed_model"]
    destination = artifact.custom_properties["pushed_destination"].string_value
    return _pushed_version(artifact) is not None and not fileio.exists(destination)


def _pushed_version(artifact: metadata_store_pb2.Artifact) -> str | None:
    """Returns the version that Pusher made, or None where it refused."""
    properties = artifact.custom_properties
    if not properties["pushed"].int_value:
        return None
    return properties["pushed_version"].string_value
