# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What was pushed, and of what: the memory of a pipeline whose nodes are containers.

A node on Kubeflow or Vertex can't ask ML Metadata for what earlier runs have made, as
TFX's resolvers do on one machine. So Pusher writes down there, a file for each version
beside the versions, where its artifacts are.
"""

import dataclasses
import json
import os
from typing import Any

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from serving import folders

_SUFFIX = ".json"


@dataclasses.dataclass(frozen=True)
class Push:
    """One pushed version."""

    version: str
    servable: str
    """URI of the Model artifact that was pushed."""
    towers: str
    """URI of the Trainer's."""
    statistics: dict[str, dict[str, Any]]
    """By source, `uri` and `span` of its ExampleStatistics."""


def write(folder: str, push: Push) -> None:
    """Writes a push down, whole or not at all.

    Args:
      folder: Of all pushes, local or remote.
      push: What was pushed.
    """
    target = os.path.join(folder, f"{push.version}{_SUFFIX}")
    unfinished = os.path.join(folder, f".{push.version}")
    io_utils.write_string_file(
        unfinished, json.dumps(dataclasses.asdict(push), indent=1) + "\n"
    )
    fileio.rename(unfinished, target, overwrite=True)


def read_all(folder: str) -> list[Push]:
    """Reads what was pushed, the last version first.

    Args:
      folder: Of all pushes; none that is not there.
    """
    names = [name for name in folders.names_in(folder) if name[:1].isdigit()]
    found = []
    for name in names:
        with fileio.open(os.path.join(folder, name)) as file:
            found.append(Push(**json.loads(file.read())))
    return sorted(found, key=lambda push: int(push.version), reverse=True)
