# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Where a pushed version comes from, by ML Metadata: back to data, schema and code."""

import dataclasses
import datetime
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from serving.errors import UserError

_Event = metadata_store_pb2.Event
_SHOWN = (
    "fingerprint", "span", "input_fingerprint", "dataset", "input_base", "pattern",
    "path", "schema_file", "split", "source",
)  # fmt: skip
"""What an execution was told that says which data and which code it used."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One execution behind a version."""

    node: str
    execution: int
    """Its id in ML Metadata."""
    component: str
    finished: str
    """ISO 8601, UTC."""
    properties: dict[str, Any]
    """What says which data and code it used."""
    inputs: dict[str, list[int]]
    """Ids of artifacts by key."""
    outputs: dict[str, list[dict[str, Any]]]
    """Artifacts by key: `id`, `type`, `uri`, and `span` where there is one."""


@dataclasses.dataclass(frozen=True)
class Lineage:
    """All that a version was made of."""

    version: str
    pushed_to: str
    copy: str
    """Pusher's own, which stays when the version goes from the serving folder."""
    steps: list[Step]
    """The sources first, Pusher last."""
    compared_with: list[str]
    """Versions that were pushed of the models that it was compared with, or updates."""


def trace(store: metadata_store.MetadataStore, version: str) -> Lineage:
    """Finds all executions and artifacts behind a pushed version.

    Args:
      store: ML Metadata.
      version: Name of the version's folder.

    Raises:
      UserError: ML Metadata does not know it.
    """
    known = {
        one.custom_properties["pushed_version"].string_value: one
        for one in store.get_artifacts_by_type("PushedModel")
        if one.custom_properties["pushed"].int_value
    }
    if version not in known:
        names = ", ".join(sorted(known)) or "none"
        raise UserError(
            f"ML Metadata knows no pushed version {version}; it knows {names}"
        )
    pushed = known[version]
    steps = _steps(store, pushed.id)
    return Lineage(
        version,
        pushed.custom_properties["pushed_destination"].string_value,
        pushed.uri,
        steps,
        _others(store, known, version, {step.execution for step in steps}),
    )


def _steps(store: metadata_store.MetadataStore, artifact: int) -> list[Step]:
    """Returns the executions that led to an artifact, each after its inputs' own."""
    found: dict[int, Step] = {}
    waiting, seen = [artifact], set()
    while waiting:
        wanted = [one for one in waiting if one not in seen]
        seen.update(wanted)
        waiting = []
        makers = {
            event.execution_id
            for event in store.get_events_by_artifact_ids(wanted)
            if event.type == _Event.OUTPUT
        }
        for execution in store.get_executions_by_id(sorted(makers - found.keys())):
            if execution.last_known_state == metadata_store_pb2.Execution.CACHED:
                continue  # it made nothing, and took what there was
            step = _step(store, execution)
            found[execution.id] = step
            waiting += [one for ids in step.inputs.values() for one in ids]
    # Ids grow with time, and what is made is younger than what it is made of.
    return [found[one] for one in sorted(found)]


def _step(
    store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution
) -> Step:
    inputs: dict[str, list[int]] = {}
    outputs: dict[str, list[int]] = {}
    for event in store.get_events_by_execution_ids([execution.id]):
        sides = {_Event.INPUT: inputs, _Event.OUTPUT: outputs}
        if event.type in sides and event.path.steps:
            key = event.path.steps[0].key
            sides[event.type].setdefault(key, []).append(event.artifact_id)
    return Step(
        _node(store, execution.id),
        execution.id,
        execution.type,
        datetime.datetime.fromtimestamp(
            execution.last_update_time_since_epoch / 1000, datetime.timezone.utc
        ).isoformat(timespec="seconds"),
        {
            name: _value(value)
            for name, value in sorted(execution.custom_properties.items())
            if name in _SHOWN and _value(value) not in ("", None)
        },
        inputs,
        {
            key: [_artifact(one) for one in store.get_artifacts_by_id(ids)]
            for key, ids in outputs.items()
        },
    )


def _node(store: metadata_store.MetadataStore, execution: int) -> str:
    """Returns the node of an execution, without the pipeline's name."""
    (name,) = (
        context.name
        for context in store.get_contexts_by_execution(execution)
        if context.type == "node"
    )
    return name.partition(".")[2]


def _artifact(artifact: metadata_store_pb2.Artifact) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": artifact.id, "type": artifact.type, "uri": artifact.uri,
    }  # fmt: skip
    for properties in (artifact.properties, artifact.custom_properties):
        if "span" in properties:
            told["span"] = _value(properties["span"])
    return told


def _value(value: metadata_store_pb2.Value) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def _others(
    store: metadata_store.MetadataStore,
    known: dict[str, metadata_store_pb2.Artifact],
    version: str,
    executions: set[int],
) -> list[str]:
    """Returns the other pushed versions whose Pusher is among the executions' inputs.

    A model that was compared with, or updated, was pushed by an execution of its own:
    by the Model artifact that both have as an input.
    """
    used = {
        event.artifact_id
        for event in store.get_events_by_execution_ids(sorted(executions))
        if event.type == _Event.INPUT
    }
    found = []
    for name, artifact in known.items():
        makers = [
            event.execution_id
            for event in store.get_events_by_artifact_ids([artifact.id])
            if event.type == _Event.OUTPUT
        ]
        models = {
            event.artifact_id
            for event in store.get_events_by_execution_ids(makers)
            if event.type == _Event.INPUT and event.path.steps[0].key == "model"
        }
        if name != version and models & used:
            found.append(name)
    return sorted(found)
