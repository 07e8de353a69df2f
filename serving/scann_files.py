# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A ScaNN index as files: built once, read by the TensorFlow operations and natively.

ScaNN's native library trains the index and writes what it consists of: centroids, the
partition of each candidate, codes, and vectors to rescore with. The TensorFlow
operations search the very same parts, so that both give the same answers. Two of
ScaNN's features are native only: a second partition for each candidate (SOAR), which
the operations leave out, and vectors of bfloat16, in place of which they read floats.
"""

import os
import re
import shutil
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from serving import scann_library
from serving.index_config import IndexPlan
from serving.mapped import take_rows

_ASSETS = "scann_assets.pbtxt"
_CONFIG = "scann_config.pb"
_PARTITIONER = "serialized_partitioner.pb"
_TOKENS = "datapoint_to_token.npy"
_CODEBOOK = "ah_codebook.pb"
_CODES = "hashed_dataset.npy"
_INT8 = "int8_dataset.npy"
_MULTIPLIERS = "int8_multipliers.npy"
VECTORS = "dataset.npy"
"""float32 [candidates, dimensions], where they are rescored by floats."""

_BY_CANDIDATE = (
    _TOKENS, _CODES, "hashed_dataset_soar.npy", _INT8, "bfloat16_dataset.npy", VECTORS,
)  # fmt: skip
"""Files that have as many rows for each candidate, which ones depends on the knobs."""

_OF_CANDIDATES = ("datapoint_to_token", "hashed_dataset", "int8_dataset")
"""Parts of the state that have a row for each candidate."""
_HASH_SAMPLE = 100_000
_UPSERT_BATCH = 256
_UPSERTED = 1024
"""Candidates put into an index at a time, a multiple of the batch."""


def train(embeddings: np.ndarray, plan: IndexPlan) -> Any:
    """Trains an index.

    Args:
      embeddings: float32 [candidates, dimensions].
      plan: Settled knobs, of kind "scann".

    Returns:
      ScaNN's native searcher.
    """
    from scann.scann_ops.py import scann_builder

    builder = scann_library.native().builder(
        np.asarray(embeddings), plan.k, "dot_product"
    )
    if plan.leaves:
        builder = builder.tree(
            plan.leaves,
            plan.leaves_to_search,
            training_sample_size=plan.training_sample,
            training_iterations=plan.training_iterations,
            min_partition_size=1,
            spherical=plan.spherical,
            avq=plan.avq_eta if plan.avq_eta > 1 else None,
            quantize_centroids=plan.quantize_centroids,
            soar_lambda=plan.soar_lambda or None,
        )
    builder = builder.score_ah(
        plan.dimensions_per_block,
        # ScaNN spells "plain quantisation" as NaN.
        anisotropic_quantization_threshold=plan.anisotropic_threshold or float("nan"),
        training_sample_size=min(_HASH_SAMPLE, len(embeddings)),
    )
    if plan.reorder:
        kind = scann_builder.ReorderType[plan.reorder_type.upper()]
        builder = builder.reorder(plan.reorder, kind)
    return builder.build()


def build(embeddings: np.ndarray, plan: IndexPlan, folder: str) -> np.ndarray:
    """Trains an index and writes its files, with the candidates of a leaf in a row.

    What is read together lies together then: the index is loaded in half of the time,
    and queries are a little faster.

    Args:
      embeddings: float32 [candidates, dimensions].
      plan: Settled knobs, of kind "scann".
      folder: Local; is made.

    Returns:
      int64 [candidates], the row of `embeddings` that each row of the index is.
    """
    write(train(embeddings, plan), folder)
    tokens = _array(folder, _TOKENS, np.int32)
    if not tokens.ndim:
        return np.arange(len(embeddings))
    # Of two partitions of a candidate the first is the nearer one.
    leaf = tokens.reshape(len(embeddings), -1)[:, 0]
    order = np.argsort(leaf, kind="stable")
    for name in _BY_CANDIDATE:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            _reorder(path, order)
    return order


def update(
    before: str,
    sources: np.ndarray,
    is_changed: np.ndarray,
    vectors: np.ndarray,
    folder: str,
) -> None:
    """Writes the files of an index whose catalogue has changed, without loading it.

    The partition and the codes of a candidate depend on it and on what was learned, and
    on no other one. So ScaNN puts what is new into an index of one candidate, and what
    it writes is the very same as of the whole one.

    Args:
      before: Local folder of the files before.
      sources: int64 [candidates], the row of each before, -1 for none.
      is_changed: bool [candidates], what is new or gets another vector.
      vectors: float32 [is_changed.sum(), dimensions], these.
      folder: Local, of the new files. `VECTORS`, if the index holds them, are not
        written: they are the catalogue's.
    """
    size = len(np.load(os.path.join(before, _CODES), mmap_mode="r"))
    with tempfile.TemporaryDirectory(prefix="shortlist-") as scratch:
        encoded = os.path.join(scratch, "encoded")
        _encode(before, size, vectors, os.path.join(scratch, "one"), encoded)
        for name in os.listdir(before):
            if name not in _BY_CANDIDATE:
                shutil.copyfile(os.path.join(before, name), os.path.join(folder, name))
            elif name != VECTORS:
                new = np.load(os.path.join(encoded, name))
                path = os.path.join(folder, name)
                old = np.load(os.path.join(before, name), mmap_mode="r")
                each = len(old) // size
                taken = take_rows(old, _rows(np.maximum(sources, 0), each), path)
                new = new[len(new) - each * len(vectors) :]
                taken[_rows(np.flatnonzero(is_changed), each)] = new


def _encode(before: str, size: int, vectors: np.ndarray, one: str, folder: str) -> None:
    """Writes the files of an index of its first candidate and some others.

    Args:
      before: Folder of the files that tell how to encode.
      size: Their candidates.
      vectors: float32 [others, dimensions].
      one: Scratch folder, is made.
      folder: Where to, is made.
    """
    os.makedirs(one)
    for name in os.listdir(before):
        source, target = (os.path.join(place, name) for place in (before, one))
        if name in _BY_CANDIDATE:
            rows = np.load(source, mmap_mode="r")
            np.save(target, rows[: len(rows) // size])
        else:
            shutil.copyfile(source, target)
    searcher = load_native(one)
    # In parts: while one is put in no other thread runs Python.
    for at in range(0, len(vectors), _UPSERTED):
        part = np.ascontiguousarray(vectors[at : at + _UPSERTED])
        searcher.searcher.upsert([None] * len(part), part, _UPSERT_BATCH)
    write(searcher, folder)


def _reorder(path: str, order: np.ndarray) -> None:
    """Changes the order of the candidates in a file, each with one row or several."""
    before = np.load(path, mmap_mode="r")
    rows = _rows(order, len(before) // len(order))
    take_rows(before, rows, f"{path}.part")
    os.replace(f"{path}.part", path)


def _rows(candidates: np.ndarray, each: int) -> np.ndarray:
    """Returns the rows of candidates in a file with so many for each."""
    if each == 1:
        return candidates
    return (candidates[:, np.newaxis] * each + np.arange(each)).reshape(-1)


def write(searcher: Any, folder: str) -> None:
    """Writes the files of a native searcher into a local folder, which is made."""
    os.makedirs(folder)
    searcher.serialize(folder)
    # ScaNN notes whole paths, and the files are to be moved.
    assets = _read(folder, _ASSETS).decode()
    with open(os.path.join(folder, _ASSETS), "w", encoding="utf-8") as file:
        file.write(assets.replace(f'"{folder}{os.sep}', '"'))


def holds_vectors(folder: str) -> bool:
    """Tells whether the files in a local folder hold the candidates' vectors."""
    return os.path.exists(os.path.join(folder, VECTORS))


def load_native(folder: str) -> Any:
    """Returns ScaNN's native searcher over the files in a local folder.

    Raises:
      ValueError, EOFError: A file is cut short, missing, or of another index; ScaNN
        itself may end the process at such a one.
      RuntimeError, IndexError: ScaNN can't read one.
    """
    assets = _read(folder, _ASSETS).decode()
    _check_files(folder, assets)
    library = scann_library.native()
    # ScaNN 1.4 takes a path that is not absolute for one in the folder.
    folder = os.path.abspath(folder)
    assets = assets.replace('asset_path: "', f'asset_path: "{folder}{os.sep}')
    index = library.scann_pybind.ScannNumpy(folder, assets)
    return library.ScannSearcher(index)


def _check_files(folder: str, assets: str) -> None:
    """Refuses files that are not those of one index, each as long as it says.

    Args:
      folder: Of the files.
      assets: What ScaNN has noted of them.
    """
    names = set(os.listdir(folder)) - {_ASSETS, _CONFIG}
    if names != set(re.findall('asset_path: "([^"]*)"', assets)):
        raise ValueError(f"{_ASSETS} does not name the files that are there")
    arrays = {
        name: np.load(os.path.join(folder, name), mmap_mode="r")
        for name in names
        if name.endswith(".npy")
    }
    size = len(arrays[_CODES])
    for name in arrays.keys() & set(_BY_CANDIDATE):
        if not size or len(arrays[name]) % size:
            raise ValueError(f"{name} has not the candidates of {_CODES}")


def load_state(folder: str, vectors: tf.Variable) -> tf.Module:
    """Returns what ScaNN's TensorFlow operations search, as a part of a SavedModel.

    Args:
      folder: Local, with the files.
      vectors: float32 [candidates, dimensions], not copied.
    """
    parts, ops = read_state(folder), scann_library.operations()
    state = ops.ScannState((*parts.values(), np.float32(0), tf.zeros([0, 0])))
    for name in _OF_CANDIDATES:
        if parts[name].ndim:
            # Of no size, so that the graph serves other catalogues too.
            shape = [None, *parts[name].shape[1:]]
            setattr(state, name, tf.Variable(parts[name], shape=shape))
    if not parts["int8_dataset"].ndim:
        state.dataset = vectors
    return state


def read_state(folder: str) -> dict[str, Any]:
    """Reads that state, without the vectors, in the order of ScaNN's own tuple.

    Args:
      folder: Local, with the files.

    Returns:
      Values by the names of the state's variables.
    """
    from scann.proto import scann_pb2

    config = scann_pb2.ScannConfig.FromString(_read(folder, _CONFIG))
    tokens = _array(folder, _TOKENS, np.int32)
    if config.partitioning.HasField("database_spilling"):
        config.partitioning.ClearField("database_spilling")
        tokens = tokens[::2]  # the partitions of each candidate stand side by side
    config.exact_reordering.ClearField("bfloat16")
    return {
        "scann_config": [config.SerializeToString()],
        "serialized_partitioner": [_read(folder, _PARTITIONER)],
        "datapoint_to_token": tokens,
        "ah_codebook": [_read(folder, _CODEBOOK)],
        "hashed_dataset": _array(folder, _CODES, np.uint8),
        "int8_dataset": _array(folder, _INT8, np.int8),
        "int8_multipliers": _array(folder, _MULTIPLIERS, np.float32),
    }


def _read(folder: str, name: str) -> bytes:
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return b""
    with open(path, "rb") as file:
        return file.read()


def _array(folder: str, name: str, dtype: type) -> np.ndarray:
    path = os.path.join(folder, name)
    # A scalar is what ScaNN itself keeps for a part that is not there.
    return np.load(path) if os.path.exists(path) else np.zeros((), dtype)
