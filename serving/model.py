# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Loads a servable and asks it for recommendations."""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving import folders, manifest, scann_library, stacks
from serving.errors import UserError
from serving.index_config import SHARDS, shard_name
from serving.queries import read_query
from serving.servable import (
    CANDIDATE_ID,
    EMBEDDING,
    EXCLUDE,
    LEAVES_TO_SEARCH,
    OPTIONS,
    REORDER,
    SCORE,
    TITLE,
    K,
)

_VERSION = re.compile("[0-9]{1,19}")
_MOST_VERSION = 2**63 - 1


def versions(base: str) -> list[int]:
    """Returns the whole versions below a base path, oldest first.

    A version is a folder whose name is a whole number and that holds a SavedModel, or
    one in each of its shards; anything else, such as one that is still being copied, is
    passed over.
    """
    return sorted(version_paths(base))


def version_paths(base: str) -> dict[int, str]:
    """Returns the folders of the versions below a base path, see `versions`."""
    return {
        int(name): os.path.join(base, name)
        for name in folders.names_in(base)
        if _VERSION.fullmatch(name)
        and int(name) <= _MOST_VERSION
        and _is_whole(os.path.join(base, name))
    }


def shard_paths(path: str) -> list[str]:
    """Returns the servables that a version is divided into, by their number.

    Args:
      path: Folder of a version.

    Returns:
      Folders; none where the version is one servable itself, or a shard is missing.
    """
    folder = os.path.join(path, SHARDS)
    names = folders.names_in(folder)
    if names != [shard_name(shard, len(names)) for shard in range(len(names))]:
        return []
    return [os.path.join(folder, name) for name in names]


def _is_whole(path: str) -> bool:
    """Tells whether there is a SavedModel in a folder, or in each of its shards."""
    return all(
        tf.io.gfile.exists(os.path.join(one, "saved_model.pb"))
        for one in shard_paths(path) or [path]
    )


class Signature:
    """A signature of a loaded SavedModel, called with keyword arguments.

    TensorFlow's own way to bind them to inputs takes longer than the search does. It is
    left out, and with it all checks: each input must be a tensor of its type.
    """

    def __init__(self, function: Any):
        """Reads names and order of inputs and outputs."""
        self._call = function.inference_fn.call_flat
        self._captured = function.captured_inputs
        self.inputs: dict[str, tf.TensorSpec] = function.structured_input_signature[1]
        self._names = sorted(self.inputs)
        self._outputs = sorted(function.structured_outputs)
        self.finds_candidates = CANDIDATE_ID in self._outputs

    def __call__(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs by name."""
        given = [inputs[name] for name in self._names]
        found = self._call(*given, *self._captured)
        return dict(zip(self._outputs, found, strict=True))


class Recommender:
    """A loaded servable."""

    def __init__(self, path: str):
        """Loads the servable in a folder.

        Raises:
          UserError: There is no SavedModel, it is damaged, made by a newer Shortlist or
            for another stack, or ScaNN's operations, which it needs, can't be loaded.
        """
        if not tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
            shards = shard_paths(path)
            if shards:
                raise UserError(
                    f"{path} is in {len(shards)} shards and this takes one servable; "
                    f"name one of them, e.g. {shards[0]}"
                )
            raise UserError(f"{path} holds no SavedModel; name the folder of a version")
        self.path = path
        self.manifest = manifest.read_known(path)
        if "scann" in self.manifest["index"]["kind"]:
            load_scann_ops()
        try:
            self._model = tf.saved_model.load(path)
        # A truncated file of variables is an IndexError for TensorFlow, an operation
        # that it does not know a RuntimeError.
        except (
            OSError, tf.errors.OpError, ValueError, LookupError, RuntimeError
        ) as error:  # fmt: skip
            what = f"the SavedModel in {path}"
            raise manifest.unreadable(what, self.manifest, error) from None
        self._signatures = {
            name: Signature(function)
            for name, function in self._model.signatures.items()
        }
        self.query_features = {
            name: spec
            for name, spec in self.signature("serving_default").inputs.items()
            if name not in OPTIONS
        }
        self._defaults = {
            K: tf.constant(self.manifest["index"]["k"], tf.int32),
            EXCLUDE: tf.constant([], tf.string, shape=(1, 0)),
            LEAVES_TO_SEARCH: tf.constant(0, tf.int32),
            REORDER: tf.constant(0, tf.int32),
        }

    def signature(self, name: str) -> Signature:
        """Returns a signature to call with keyword arguments, all of them given."""
        return self._signatures[name]

    @property
    def size(self) -> int:
        """The number of candidates."""
        return int(tf.shape(self._model.catalogue.ids)[0]) - 1

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """The rows by their ids: no index shall say who is first of those that tie."""
        return np.argsort(self._model.catalogue.ids.numpy()[:-1], kind="stable")

    def candidate_ids(self) -> np.ndarray:
        """Returns the ids of the catalogue as bytes objects, [candidates], by id."""
        return self._model.catalogue.ids.numpy()[:-1][self._order]

    def embeddings(self) -> np.ndarray:
        """Returns their embeddings, float32 [candidates, dimensions]."""
        return self._model.exact.embeddings.numpy()[self._order]

    def embed_query(self, queries: dict[str, Any]) -> np.ndarray:
        """Embeds raw query features, each [batch], as float32 [batch, dimensions]."""
        features = {
            name: tf.convert_to_tensor(queries[name], spec.dtype)
            for name, spec in self.query_features.items()
        }
        return self.signature("embed_query")(**features)[EMBEDDING].numpy()

    def search(
        self,
        queries: dict[str, Any],
        k: int | None = None,
        exclude: list[list[str]] | None = None,
        exact: bool = False,
        leaves_to_search: int = 0,
        reorder: int = 0,
    ) -> dict[str, tf.Tensor]:
        """Answers a batch.

        Args:
          queries: Raw query features by name, each [batch].
          k: Results a query; null: as the config of the model says.
          exclude: Candidate ids to leave out, a list for each query, or one for all.
          exact: Search exhaustively instead of through the index.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.

        Returns:
          `candidate_id`, `title` (strings) and `score` (float32), each [batch, k];
          padded with "" and -inf.
        """
        signature = self.signature("exact" if exact else "serving_default")
        features = {
            name: tf.convert_to_tensor(queries[name], spec.dtype)
            for name, spec in self.query_features.items()
        }
        options = dict(self._defaults)
        if k is not None:
            options[K] = tf.constant(k, tf.int32)
        if exclude is not None:
            options[EXCLUDE] = tf.ragged.constant(
                exclude, tf.string, ragged_rank=1
            ).to_tensor("")
        for name, effort in ((LEAVES_TO_SEARCH, leaves_to_search), (REORDER, reorder)):
            if effort:
                options[name] = tf.constant(effort, tf.int32)
        options = {name: options[name] for name in OPTIONS if name in signature.inputs}
        return signature(**features, **options)

    def recommend(
        self,
        query: Mapping[str, str | Sequence[str]],
        k: int | None = None,
        exclude: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Answers one query, given as text, with real results only.

        Args:
          query: Raw query features by name: texts, or lists of them for a feature
            that takes several values. What is left out is missing, which is fine if
            anything else is given.
          k: Most results to return.
          exclude: Candidate ids to leave out.

        Returns:
          `candidate_id`, `title` and `score` of each result, best first.

        Raises:
          UserError: All features are missing, one is unknown or of the wrong type, or
            k < 1.
        """
        if k is not None and k < 1:
            raise UserError(f"k must be at least 1, got {k}")
        if k is not None:
            k = min(k, self.size)  # no padding to drop
        answer = self.search(
            read_query(query, self.query_features),
            k,
            None if exclude is None else [exclude],
        )
        columns = [answer[name].numpy()[0] for name in (CANDIDATE_ID, TITLE, SCORE)]
        return [
            {CANDIDATE_ID: i.decode(), TITLE: t.decode(), SCORE: float(s)}
            for i, t, s in zip(*columns, strict=True)
            if i
        ]


def load_scann_ops() -> None:
    """Registers ScaNN's operations with TensorFlow.

    Raises:
      UserError: ScaNN is not installed, or was built for another TensorFlow.
    """
    try:
        scann_library.operations()
    except (ImportError, tf.errors.NotFoundError) as error:
        cause, pins = str(error).splitlines()[0], stacks.RUNNING.pins
        raise UserError(
            "this model needs ScaNN's TensorFlow operations: pip install "
            f"scann=={pins['scann']} beside tensorflow=={pins['tensorflow']} and "
            f"import scann before loading it ({cause})"
        ) from None
