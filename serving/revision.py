# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The SavedModel of an update: the graph of the version before with other variables.

The graph of a servable knows no size of its catalogue (`serving.index.length`). Where
towers and knobs are the same it is taken over as it is, so that no towers are loaded
and no signatures traced; what changes are variables, whose checkpoint is written anew,
and the file of ids.
"""

import os
from collections.abc import Iterable, Mapping
from concurrent import futures
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from serving import manifest, scann_files
from serving.candidates import Candidates
from serving.index_config import IndexPlan
from serving.servable import IDS_FILE, WARMUP
from serving.texts import padded_tensor, write_lines

_GRAPH = "saved_model.pb"
_VARIABLES = os.path.join("variables", "variables")
_IDS, _TITLES = "catalogue/ids", "catalogue/titles"
_VECTORS = "exact/embeddings"
_STATE = "index/state/"
"""Where the variables of a servable are, see `serving.servable.Servable`."""
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""What a checkpoint adds to names, and what it tells all objects in."""
_PARTS = ("-vectors", "-ids", "-titles", "-others")
"""Of a checkpoint, until they are merged."""


def can_follow(previous: Mapping[str, Any], plan: IndexPlan) -> bool:
    """Tells whether the graph of a servable fits an index that was brought up to date.

    Args:
      previous: Manifest of the servable, of the same towers.
      plan: Of the index.
    """
    return (
        previous.get("format") == manifest.FORMAT
        and previous.get("versions") == manifest.versions()
        and IndexPlan(**previous["index"]).knobs == plan.knobs
    )


def write(path: str, previous_path: str, candidates: Candidates, scann: str) -> None:
    """Writes the SavedModel.

    Args:
      path: Its folder, local or remote.
      previous_path: Folder of the servable before.
      candidates: The new catalogue, in the order of its index.
      scann: Local folder of ScaNN's files.
    """
    for name in (_GRAPH, WARMUP):
        target = os.path.join(path, name)
        tf.io.gfile.makedirs(os.path.dirname(target))
        tf.io.gfile.copy(os.path.join(previous_path, name), target)
    # No fingerprint.pb: that of the graph before would name another checkpoint.
    before, target = (os.path.join(one, _VARIABLES) for one in (previous_path, path))
    assets = os.path.join(path, "assets")
    for folder in (assets, os.path.dirname(target)):
        tf.io.gfile.makedirs(folder)
    parts = [target + part for part in _PARTS]
    with futures.ThreadPoolExecutor() as pool:
        saved = [
            pool.submit(_save_vectors, parts[0], candidates.embeddings),
            pool.submit(_save_texts, parts[1], _IDS, candidates.ids),
            pool.submit(_save_texts, parts[2], _TITLES, candidates.titles),
            pool.submit(_save_others, parts[3], before, scann),
        ]
        write_lines(os.path.join(assets, IDS_FILE), candidates.ids)
        for part in saved:
            part.result()
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=target, delete_old_dirs=False
    )


def _save_vectors(prefix: str, vectors: np.ndarray) -> None:
    # Not copied: they are as large as all else together.
    mapped = tf.experimental.dlpack.from_dlpack(vectors.__dlpack__())
    _save(prefix, {_VECTORS: mapped})


def _save_texts(prefix: str, name: str, texts: pa.LargeStringArray) -> None:
    _save(prefix, {name: padded_tensor(texts)})


def _save_others(prefix: str, before: str, scann: str) -> None:
    """Saves ScaNN's state, and what is as it was."""
    state = scann_files.read_state(scann)
    tensors = {_STATE + name: tf.constant(value) for name, value in state.items()}
    same = {
        name: dtype
        for name, dtype in _variables(before).items()
        if name not in (*tensors, _IDS, _TITLES, _VECTORS)
    }
    _save(prefix, {**tensors, **_restore(before, same)})


def _variables(prefix: str) -> dict[str, tf.DType]:
    """Returns the types of a checkpoint's variables by their names."""
    types = tf.train.load_checkpoint(prefix).get_variable_to_dtype_map()
    return {key.removesuffix(_SUFFIX): dtype for key, dtype in types.items()}


def _restore(prefix: str, types: Mapping[str, tf.DType]) -> dict[str, tf.Tensor]:
    """Reads some variables of a checkpoint."""
    tensors = tf.raw_ops.RestoreV2(
        prefix=prefix,
        tensor_names=_keys(types),
        shape_and_slices=[""] * len(types),
        dtypes=list(types.values()),
    )
    return dict(zip(types, tensors, strict=True))


def _save(prefix: str, tensors: Mapping[str, tf.Tensor]) -> None:
    """Writes a part of a checkpoint."""
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=_keys(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


def _keys(names: Iterable[str]) -> list[str]:
    """Returns what a checkpoint calls variables, and the description of its objects."""
    return [name if name == _OBJECTS else name + _SUFFIX for name in names]
