# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Folders on any file system that TensorFlow knows."""

import os
from typing import NoReturn


def names_in(folder: str) -> list[str]:
    """Returns what is in a folder, sorted; nothing where there is none.

    Raises:
      OSError: A folder of this machine can't be read.
      tf.errors.OpError: One elsewhere can't.
    """
    if "://" not in folder:  # TensorFlow takes seconds to import
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    import tensorflow as tf

    if not tf.io.gfile.isdir(folder):
        return []
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))


def copy(source: str, target: str) -> None:
    """Copies a folder, into one that may be there already.

    Args:
      source: Local or remote.
      target: Local or remote.

    Raises:
      tf.errors.OpError: There is no such folder, or a file can't be read or written.
    """
    import tensorflow as tf

    for folder, _, names in tf.io.gfile.walk(source, onerror=_raise):
        below = os.path.relpath(folder, source)
        # Not normpath, which makes one slash of the two in gs://.
        into = target if below == os.curdir else os.path.join(target, below)
        tf.io.gfile.makedirs(into)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(into, name))


def _raise(error: Exception) -> NoReturn:
    raise error
