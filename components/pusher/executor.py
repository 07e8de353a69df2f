# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of AtomicPusher."""

import json
import os
import time
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components import pushes
from components.index_evaluator.executor import REPORT_FILE
from serving import checksums, folders
from serving.build import add_measurements

EVALUATION_KEY = "evaluation"
TOWERS_KEY = "towers"
STATISTICS_KEYS = {
    f"{source}_statistics": source
    for source in ("interactions", "queries", "candidates")
}
PUSHES_KEY = "pushes"
SERVING_DIRECTORY_KEY = "serving_directory"
FINGERPRINT_KEY = "fingerprint"

# Not a number, so that no server takes it for a version.
_UNFINISHED = ".pushing-"


class Executor(executor.Executor):
    """Pushes a blessed model in one rename."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if the blessings allow it.

        Args:
            input_dict: `model`, maybe `model_blessing`, `infra_blessing`, `evaluation`;
                where the push is to be written down, `towers` and, by source, maybe
                statistics.
            output_dict: `pushed_model` (PushedModel).
            exec_properties: `push_destination`, a PushDestination as JSON; maybe
                `serving_directory` in its place, and `pushes`, where to write down what
                was pushed.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        base = _base_directory(exec_properties)
        model = input_dict[standard_component_specs.MODEL_KEY]
        folder = exec_properties.get(PUSHES_KEY)
        before = _version_of(artifact_utils.get_single_uri(model), folder, base)
        if before:
            # A run over again pushes nothing twice, whatever its cache remembers.
            self._MarkPushed(pushed, os.path.join(base, before), before)
            return
        io_utils.copy_dir(self.GetModelPath(input_dict), pushed.uri)
        add_measurements(pushed.uri, _report(input_dict))
        # Last, of all that is pushed: a server knows by them that a copy is whole.
        checksums.write(pushed.uri)
        version = _publish(pushed.uri, base)
        self._MarkPushed(
            pushed,
            pushed_destination=os.path.join(base, version),
            pushed_version=version,
        )
        if folder:
            pushes.write(folder, _push(version, input_dict))


def _report(input_dict: dict[str, list[types.Artifact]]) -> dict[str, Any]:
    """Returns what IndexEvaluator measured."""
    folder = artifact_utils.get_single_uri(input_dict[EVALUATION_KEY])
    with fileio.open(os.path.join(folder, REPORT_FILE)) as file:
        return json.loads(file.read())


def _base_directory(exec_properties: dict[str, Any]) -> str:
    """Returns the serving folder."""
    destination = proto_utils.json_to_proto(
        exec_properties[standard_component_specs.PUSH_DESTINATION_KEY],
        pusher_pb2.PushDestination(),
    )
    return (
        exec_properties.get(SERVING_DIRECTORY_KEY)
        or destination.filesystem.base_directory
    )


def _version_of(model: str, folder: str | None, base: str) -> str | None:
    """Returns the last version, if it is of this very model and still there."""
    last = next(iter(pushes.read_all(folder)), None) if folder else None
    if last is None or last.servable != model:
        return None
    return last.version if fileio.exists(os.path.join(base, last.version)) else None


def _push(version: str, input_dict: dict[str, list[types.Artifact]]) -> pushes.Push:
    """Returns what there is to write down of a push."""
    return pushes.Push(
        version=version,
        servable=artifact_utils.get_single_uri(
            input_dict[standard_component_specs.MODEL_KEY]
        ),
        towers=artifact_utils.get_single_uri(input_dict[TOWERS_KEY]),
        statistics={
            source: {"uri": one.uri, "span": one.span, "split_names": one.split_names}
            for key, source in STATISTICS_KEYS.items()
            for one in input_dict.get(key) or []
        },
    )


def _publish(model: str, base: str) -> str:
    """Copies a model beside the versions below `base` and renames it into the next.

    Returns:
      The version: the time in seconds, or one more than the last version.
    """
    fileio.makedirs(base)
    names = folders.names_in(base)
    for name in names:
        if name.startswith(_UNFINISHED):  # of a run that was killed
            fileio.rmtree(os.path.join(base, name))
    # Only ASCII: "²" is a digit to Python, but no number.
    taken = [int(name) for name in names if name.isascii() and name.isdigit()]
    last = max(taken, default=0)
    version = str(max(int(time.time()), last + 1))
    unfinished = os.path.join(base, f"{_UNFINISHED}{version}")
    io_utils.copy_dir(model, unfinished)
    fileio.rename(unfinished, os.path.join(base, version))
    return version
