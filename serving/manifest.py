# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a servable: what it is made of and what was measured of it."""

import importlib.metadata
import json
import os
from typing import Any

import tensorflow as tf

from serving import stacks
from serving.errors import UserError

FORMAT = 4
"""Goes up when a servable's signatures, what they mean, or its graph change."""

_PATH = os.path.join("assets.extra", "manifest.json")
_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-recommenders", "scann", "tfx")


def versions() -> dict[str, str]:
    """Returns the versions of the packages that a servable depends on."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def write(path: str, content: dict[str, Any]) -> None:
    """Writes the manifest of the servable in the folder `path`."""
    target = os.path.join(path, _PATH)
    tf.io.gfile.makedirs(os.path.dirname(target))
    with tf.io.gfile.GFile(target, "w") as file:
        file.write(json.dumps(content, indent=2, sort_keys=True) + "\n")


def exists(path: str) -> bool:
    """Tells whether the folder `path` holds a manifest."""
    return tf.io.gfile.exists(os.path.join(path, _PATH))


def read(path: str) -> dict[str, Any]:
    """Reads the manifest of the servable in the folder `path`.

    Raises:
      UserError: There is none, it is not JSON, or it does not name the index.
    """
    target = os.path.join(path, _PATH)
    try:
        with tf.io.gfile.GFile(target) as file:
            content = json.loads(file.read())
    except tf.errors.NotFoundError:
        raise UserError(
            f"{path} has no {_PATH}; it is not a model that Shortlist pushed"
        ) from None
    except ValueError:
        raise UserError(f"{target} is not valid JSON; push the model again") from None
    index = content.get("index") if isinstance(content, dict) else None
    if not isinstance(index, dict) or not isinstance(index.get("kind"), str):
        raise UserError(f"{target} does not name the index; push the model again")
    return content


def read_known(path: str) -> dict[str, Any]:
    """Reads the manifest of a servable that is to be loaded.

    Raises:
      UserError: As of `read`, or a newer Shortlist has made the servable.
    """
    content = read(path)
    if content.get("format", 0) > FORMAT:
        raise UserError(f"{path} was made by a newer Shortlist; upgrade this one")
    return content


def unreadable(what: str, content: dict[str, Any], error: Exception) -> UserError:
    """Returns what tells that a part of a servable can't be loaded, and the mend.

    Args:
      what: The part and where it is.
      content: The servable's manifest.
      error: What loading raised.
    """
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    made, here = content.get("versions", {}), stacks.RUNNING.pins
    names = [name for name in ("tensorflow", "scann") if name in made]
    if all(made[name] == here[name] for name in names):
        return UserError(f"{what} is damaged ({cause}); push the model again")
    theirs, ours = (
        " and ".join(f"{name} {one[name]}" for name in names) for one in (made, here)
    )
    fits = [
        f"load it on the stack {one.name}, or "
        for one in stacks.STACKS
        if all(made[name] == one.pins[name] for name in names)
    ]
    return UserError(
        f"{what} can't be loaded ({cause}): it was made with {theirs}, and the stack "
        f"{stacks.RUNNING.name} has {ours}; {''.join(fits)}push the model again"
    )
