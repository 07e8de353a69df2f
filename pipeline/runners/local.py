# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The local runner: TFX's launcher node by node, with a lock and a line a node."""

import dataclasses
import datetime
import errno
import os
import re
from collections.abc import Callable, Collection

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.dsl.io import fileio
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from pipeline.layout import Layout
from pipeline.progress import Progress
from serving.errors import UserError

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
# What Beam appends to the text of an error, once for each step that it passes.
_BEAM_NOTE = re.compile(r"(\s*\[while running '.*?'\])+$")


class NodeError(RuntimeError):
    """A node failed for a reason that is not the user's; its cause is chained."""


@dataclasses.dataclass(frozen=True)
class NodeRun:
    """One node of one run."""

    node: str
    seconds: float
    cached: bool
    outputs: dict[str, metadata_store_pb2.Artifact]
    """Its output artifacts by key."""
    inputs: dict[str, metadata_store_pb2.Artifact]
    """Its first input artifact by key."""


def run(
    pipeline: tfx_pipeline.Pipeline,
    layout: Layout,
    progress: Progress,
    uncached: Collection[str] = (),
    until: str | None = None,
    is_over: Callable[[NodeRun], bool] = lambda ran: False,
) -> list[NodeRun]:
    """Runs a pipeline's nodes in order.

    The caller holds `exclusive(layout)`.

    Args:
      pipeline: From `pipeline.graph.build_pipeline`.
      layout: Where it lies.
      progress: Where its lines go.
      uncached: Ids of nodes to execute even if the cache could answer.
      until: Id of the last node to run; None: all. The graph stays whole, so that a
        later run takes these nodes from the cache.
      is_over: Asked after each node; the run ends there, as by `until`, if so.

    Returns:
      What was run and what came from the cache.

    Raises:
      UserError: A node stopped for a reason that the user can mend.
      NodeError: A node failed otherwise.
    """
    fileio.makedirs(layout.home)
    graph = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        graph,
        {constants.PIPELINE_RUN_ID_PARAMETER_NAME: datetime.datetime.now().isoformat()},
    )
    deployment = runner_utils.extract_local_deployment_config(graph)
    connection = getattr(
        deployment.metadata_connection_config,
        deployment.metadata_connection_config.WhichOneof("connection_config"),
    )
    for node in graph.nodes:
        if node.pipeline_node.node_info.id in uncached:
            options = node.pipeline_node.execution_options
            options.caching_options.enable_cache = False
    _abandon_killed_runs(connection, layout)
    ran = []
    for node in graph.nodes:
        ran.append(_launch(graph, node.pipeline_node, deployment, connection, progress))
        if ran[-1].node == until or is_over(ran[-1]):
            break
    return ran


def _launch(
    graph: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    deployment: pipeline_pb2.IntermediateDeploymentConfig,
    connection: metadata_store_pb2.ConnectionConfig,
    progress: Progress,
) -> NodeRun:
    """Runs one node, or takes its outputs from the cache."""
    node_id = node.node_info.id
    progress.start(node_id)
    try:
        info = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(connection),
            pipeline_info=graph.pipeline_info,
            pipeline_runtime_spec=graph.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(
                deployment, node_id
            ),
        ).launch()
    except Exception as error:  # noqa: BLE001  (told in one sentence, cause chained)
        progress.end(node_id, "failed")
        raise _told(node_id, error) from error
    with metadata.Metadata(connection) as handle:
        state, outputs, inputs = _published(handle.store, info.execution_id)
    if state == metadata_store_pb2.Execution.FAILED:
        # A resolver that raises is booked as failed, but TFX goes on without it.
        progress.end(node_id, "failed")
        raise NodeError(f"{node_id} failed: its inputs can't be resolved")
    cached = state == metadata_store_pb2.Execution.CACHED
    seconds = progress.end(node_id, "cached" if cached else "done")
    return NodeRun(node_id, seconds, cached, outputs, inputs)


_Artifacts = dict[str, metadata_store_pb2.Artifact]


def _published(
    store: metadata_store.MetadataStore, execution_id: int
) -> tuple[int, _Artifacts, _Artifacts]:
    """Returns the state of an execution, and its outputs and inputs by key."""
    (execution,) = store.get_executions_by_id([execution_id])
    kinds = metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INPUT
    found: dict[int, _Artifacts] = {kind: {} for kind in kinds}
    for event in store.get_events_by_execution_ids([execution_id]):
        if event.type in found:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            found[event.type].setdefault(event.path.steps[0].key, artifact)
    return execution.last_known_state, *found.values()


def _told(node_id: str, error: Exception) -> Exception:
    """Returns the error to raise for what a node raised, in one sentence."""
    user_error = _find(error, UserError)
    if user_error:
        return UserError(f"{node_id}: {_BEAM_NOTE.sub('', str(user_error))}")
    trouble = _disk_trouble(error)
    if trouble:
        return UserError(f"{node_id}: {trouble}; make room or choose another --root")
    return NodeError(f"{node_id} failed: {_first_line(error)}")


def _disk_trouble(error: BaseException) -> str | None:
    """Says what an error has against writing, if it is about that."""
    refused = _find(error, OSError)
    if isinstance(refused, OSError) and refused.errno in _DISK_ERRORS:
        return f"can't write {refused.filename or 'its output'}: {refused.strerror}"
    # TensorFlow, sqlite and Beam tell it in words of their own.
    for words in ("No space left on device", "disk is full", "Read-only file system"):
        if any(words in str(cause) for cause in _causes(error)):
            return f"can't write its output: {words}"
    return None


def _find(error: BaseException, kind: type) -> BaseException | None:
    """Returns the first error of a kind among an error and its causes."""
    return next((one for one in _causes(error) if isinstance(one, kind)), None)


def _causes(error: BaseException) -> list[BaseException]:
    """Returns an error and what it was raised from, in turn.

    Beam chains what a worker raised, or raises it anew with more text.
    """
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    return chain


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _abandon_killed_runs(
    connection: metadata_store_pb2.ConnectionConfig, layout: Layout
) -> None:
    """Marks executions that a killed run left as running, and deletes their output.

    The caller holds the pipeline's lock, so none of them can be alive. TFX would not
    take their outputs for finished, but would keep them for ever.
    """
    with metadata.Metadata(connection) as handle:
        for execution in handle.store.get_executions():
            if execution.last_known_state != metadata_store_pb2.Execution.RUNNING:
                continue
            execution.last_known_state = metadata_store_pb2.Execution.FAILED
            handle.store.put_executions([execution])
            for pattern in ("*/*", "*/.system/*"):
                unfinished = os.path.join(layout.artifacts, pattern, str(execution.id))
                for folder in fileio.glob(unfinished):
                    fileio.rmtree(folder)
