# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A catalogue in shards: which candidate is where, and the answer of all of them.

Each shard is a servable of its own. All are asked for min(k, its size) candidates and
the best k of what they answer are the answer: of exact shards just that of exact search
over the whole catalogue, ties by id as there.
"""

import functools
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving import manifest
from serving.errors import UserError
from serving.model import Recommender, Signature, shard_paths
from serving.native import Found, NativeEngine, QueryEngine, has_native_engine
from serving.servable import CANDIDATE_ID, SCORE, TITLE, K

Answer = dict[str, np.ndarray]
"""Columns of an answer by name, each [batch, any], best first, padded with -inf."""


def shard_of(ids: Sequence[str] | np.ndarray | tf.Tensor, shards: int) -> np.ndarray:
    """Returns the shard of each candidate.

    The same everywhere and for ever: FarmHash's Fingerprint64 of the id's UTF-8 bytes,
    modulo the number of shards.

    Args:
      ids: Candidate ids, [candidates].
      shards: How many there are.

    Returns:
      int64 [candidates], from 0 to shards - 1.
    """
    texts = tf.convert_to_tensor(ids, tf.string)
    return tf.strings.to_hash_bucket_fast(texts, shards).numpy()


def merge(answers: Sequence[Mapping[str, np.ndarray]], k: int) -> Answer:
    """Returns the best k of what all shards answer to the same batch.

    Args:
      answers: A shard each: `candidate_id` (bytes or text), `score` and any other
        columns, [batch, m], best first, padded with -inf; all have together at least k
        columns, m may differ.
      k: Columns wanted, at least 1.

    Returns:
      The same columns, [batch, k]. Of equal scores the lower id comes first.
    """
    joined = {
        name: np.concatenate([one[name] for one in answers], axis=1)
        for name in answers[0]
    }
    ids, scores = joined[CANDIDATE_ID], joined[SCORE]
    order = np.argsort(-scores, axis=1, kind="stable")
    # One more than is wanted: a tie may straddle the end.
    first = np.take_along_axis(scores, order[:, : k + 1], axis=1)
    tied = (first[:, 1:] == first[:, :-1]) & (first[:, 1:] > -np.inf)
    for row in np.flatnonzero(tied.any(axis=1)):
        # lexsort orders no objects, and few rows have ties.
        order[row] = sorted(
            range(order.shape[1]), key=lambda at: (-scores[row, at], ids[row, at])
        )
    return {
        name: np.take_along_axis(values, order[:, :k], axis=1)
        for name, values in joined.items()
    }


def merge_results(
    answers: Iterable[Sequence[dict[str, Any]]], k: int
) -> list[dict[str, Any]]:
    """Returns the best k of what all shards answer to one query.

    Args:
      answers: A shard each: its results with `candidate_id`, `score` and what else.
      k: Most results.

    Returns:
      The results, best first; of equal scores the lower id comes first.
    """
    every = [result for answer in answers for result in answer]
    every.sort(key=lambda result: (-result[SCORE], result[CANDIDATE_ID]))
    return every[:k]


class _MergedSignature:
    """A signature of all shards, called as that of one servable."""

    def __init__(self, name: str, shards: Sequence[Recommender]):
        """Reads names and order of inputs."""
        self._signatures = [shard.signature(name) for shard in shards]
        self._sizes = [shard.size for shard in shards]
        self._default_k = shards[0].manifest["index"]["k"]
        self.inputs = self._signatures[0].inputs

    def __call__(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the merged outputs by name."""
        k = int(inputs.get(K, self._default_k))
        wanted = [min(k, size) for size in self._sizes]
        if K not in inputs or k > sum(self._sizes):
            wanted[0] = k  # it pads its answer, and so that of all

        def ask(signature: Signature, most: int) -> dict[str, tf.Tensor]:
            options = {K: tf.constant(most, tf.int32)} if K in inputs else {}
            return signature(**{**inputs, **options})

        answers = list(map(ask, self._signatures, wanted))
        merged = merge(
            [{name: one[name].numpy() for name in one} for one in answers], k
        )
        return {
            name: tf.constant(values, answers[0][name].dtype, values.shape)
            for name, values in merged.items()
        }


class ShardedRecommender(Recommender):
    """A loaded version in shards, asked as one that is one servable.

    It loads all shards into this process, to try and to measure them, and asks one
    after the other: each may use all cores, and threads beside them were no faster.
    What serves them from several machines asks all at once and calls `merge_results`.
    """

    def __init__(self, path: str):
        """Loads every shard of the version in a folder.

        Raises:
          UserError: One of them can't be loaded.
        """
        self.path = path
        self.manifest = manifest.read_known(path)
        self._shards = [Recommender(one) for one in shard_paths(path)]
        self.query_features = self._shards[0].query_features
        self._defaults = self._shards[0]._defaults

    def signature(self, name: str) -> Any:
        """Returns a signature to call with keyword arguments, all of them given."""
        first = self._shards[0].signature(name)
        if not first.finds_candidates:
            return first  # the towers are the same in each
        return _MergedSignature(name, self._shards)

    @property
    def size(self) -> int:
        """The number of candidates."""
        return sum(shard.size for shard in self._shards)

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """Where the rows of one index over all are in the shards', one by one."""
        ids = np.concatenate([shard.candidate_ids() for shard in self._shards])
        return np.argsort(ids, kind="stable")

    def candidate_ids(self) -> np.ndarray:
        """Returns the ids of the catalogue as bytes objects, [candidates], by id."""
        ids = np.concatenate([shard.candidate_ids() for shard in self._shards])
        return ids[self._order]

    def embeddings(self) -> np.ndarray:
        """Returns the catalogue's embeddings, float32 [candidates, dimensions]."""
        every = np.concatenate([shard.embeddings() for shard in self._shards])
        return every[self._order]


class ShardedEngine(QueryEngine):
    """The native engines of a version in shards, asked as one, one after the other."""

    def __init__(self, path: str):
        """Loads the native engine of every shard.

        Raises:
          UserError: One of them has none, or a damaged one.
        """
        self._shards = [NativeEngine(one) for one in shard_paths(path)]
        self.query_id = self._shards[0].query_id

    @property
    def size(self) -> int:
        """The number of candidates."""
        return sum(shard.size for shard in self._shards)

    @property
    def default_k(self) -> int:
        """Results of a request that does not say how many."""
        return self._shards[0].default_k

    def candidate_ids(self) -> list[str]:
        """See `QueryEngine.candidate_ids`; in the order of all ids."""
        return sorted(itertools.chain(*(one.candidate_ids() for one in self._shards)))

    @functools.cached_property
    def _rows(self) -> list[np.ndarray]:
        """The row in one index over all of each row of a shard, by shard."""
        ids = list(itertools.chain(*(one.candidate_ids() for one in self._shards)))
        rows = np.empty(len(ids), np.int64)
        rows[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        ends = np.cumsum([shard.size for shard in self._shards])
        return np.split(rows, ends[:-1])

    def embed(self, queries: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Embeds raw query features, see `NativeEngine.embed`."""
        return self._shards[0].embed(queries)

    def known_queries(self, prefix: str, limit: int) -> list[str]:
        """Returns query ids that training knew, see `NativeEngine.known_queries`."""
        return self._shards[0].known_queries(prefix, limit)

    def history(self, query_id: str, limit: int) -> tuple[list[dict[str, str]], int]:
        """Returns what a query has chosen, see `NativeEngine.history`."""
        answers = [one.history(query_id, limit) for one in self._shards]
        chosen = [one for found, _ in answers for one in found]
        # Each shard knows its own candidates, and how many they are in all.
        return chosen[:limit], answers[0][1]

    def read_query(self, query: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
        """Reads query features that are given as text, see `NativeEngine`."""
        return self._shards[0].read_query(query)

    def nearest_batch(
        self, queries: np.ndarray, k: int, leaves_to_search: int = 0, reorder: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the candidates with the highest dot products for many queries.

        Args:
          queries: float32 [batch, dimensions].
          k: Results, at most as many as there are candidates.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.

        Returns:
          Rows in the order of all ids and scores, [batch, k], best first.
        """

        def ask(shard: NativeEngine, whole: np.ndarray) -> Answer:
            rows, scores = shard.nearest_batch(
                queries, min(k, shard.size), leaves_to_search, reorder
            )
            return {CANDIDATE_ID: whole[rows], SCORE: scores}

        found = merge(list(map(ask, self._shards, self._rows)), k)
        return found[CANDIDATE_ID], found[SCORE]

    def find(self, query: np.ndarray, k: int, *options: Any, **more: Any) -> Found:
        """Answers one query that is embedded, see `NativeEngine.find`."""
        answers = [one.find(query, k, *options, **more) for one in self._shards]
        return _merge_found(answers, k)

    def find_batch(
        self, queries: np.ndarray, k: int, leaves_to_search: int = 0, reorder: int = 0
    ) -> list[Found]:
        """Answers many queries that are embedded, see `NativeEngine.find_batch`."""
        answers = [
            one.find_batch(queries, min(k, one.size), leaves_to_search, reorder)
            for one in self._shards
        ]
        return [_merge_found(found, k) for found in zip(*answers, strict=True)]


def _merge_found(answers: Iterable[Found], k: int) -> Found:
    best = merge_results([one.as_results() for one in answers], k)
    scores = np.array([one[SCORE] for one in best], np.float32)
    return Found(
        [one[CANDIDATE_ID] for one in best], [one[TITLE] for one in best], scores
    )


def open_model(path: str) -> Recommender:
    """Loads a version, in shards or not.

    Raises:
      UserError: See `serving.model.Recommender`.
    """
    return ShardedRecommender(path) if shard_paths(path) else Recommender(path)


def open_engine(path: str) -> NativeEngine | ShardedEngine | None:
    """Loads the native engine of a version, in shards or not; None: it has none.

    Raises:
      UserError: A part of it is damaged.
    """
    if shard_paths(path):
        return ShardedEngine(path)
    return NativeEngine(path) if has_native_engine(path) else None


def write_manifest(path: str) -> None:
    """Writes the manifest of a version whose shards are all built.

    It says of all what each says of itself, but for the sum of candidates, `shards`,
    and as `index` the knobs of the largest one.

    Args:
      path: Folder of the version.
    """
    parts = [manifest.read(one) for one in shard_paths(path)]
    largest = max(parts, key=lambda part: part["candidates"])
    content = {name: value for name, value in largest.items() if name != "shard"}
    content["candidates"] = sum(part["candidates"] for part in parts)
    manifest.write(path, {**content, "shards": len(parts)})


def check_not_empty(folder: str, names: Sequence[str]) -> None:
    """Refuses a catalogue that is too small for its shards.

    Args:
      folder: Of the embedded candidates, a folder for each shard in it.
      names: Of the shards' folders.

    Raises:
      UserError: There are no candidates in one of them.
    """
    empty = [
        name
        for name in names
        if not tf.io.gfile.glob(os.path.join(folder, name, "*.parquet"))
    ]
    if empty:
        raise UserError(
            f"{len(empty)} of {len(names)} shards have no candidates, such as "
            f"{empty[0]}; lower index.shards"
        )
