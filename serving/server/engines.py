# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What answers the calls of a version: its native engine, or its SavedModel.

Both take a batch of calls and answer each as if it were alone.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from cachetools import LRUCache

from serving.model import Recommender
from serving.native import Found, NativeEngine
from serving.servable import (
    CANDIDATE_ID,
    EMBEDDING,
    EXCLUDE,
    SCORE,
    TITLE,
    parse_examples,
)
from serving.server.calls import Call
from serving.server.failure import Failure, invalid, user_errors
from serving.server.tensors import (
    Signature,
    Tensor,
    Tensors,
    as_text,
    of_array,
    to_array,
)
from serving.shards import ShardedEngine

EXACT, EMBED_QUERY, NEAREST = "exact", "embed_query", "nearest"
EXAMPLES = "serving_examples"
NATIVE_SIGNATURES = frozenset(
    {"serving_default", EXACT, NEAREST, EXAMPLES, EMBED_QUERY}
)
"""What native engines answer; the rest is left to the SavedModel."""

_QUICK_K = 100
"""Results up to which to describe them takes no longer than to search."""

Answer = Tensors | Failure


class Engine(Protocol):
    """Answers calls."""

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        """Answers each call of a batch, or says why not; blocks.

        Raises:
          Exception: Something is wrong with one of them that could not be known.
        """


class NativeAnswers:
    """Answers searches by a native engine."""

    def __init__(
        self,
        engine: NativeEngine | ShardedEngine,
        query_features: Mapping[str, tf.TensorSpec],
        cached_queries: int = 0,
    ):
        """Takes the engine of a version.

        Args:
          engine: The native engine.
          query_features: All that its query tower takes.
          cached_queries: Embedded queries to keep of those that tell more than an id
            and so need the tower; those of ids are in a table anyway.
        """
        self._engine, self._query_features = engine, query_features
        self.cache = QueryCache(cached_queries)

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        """See `Engine.answer`."""
        answers: list[Any] = self._embed(calls)
        together: dict[tuple[int, int, int], list[int]] = {}
        for at, call in enumerate(calls):
            if call.signature.name == EMBED_QUERY:
                answers[at] = {EMBEDDING: of_array(answers[at])}
                continue
            if not np.isfinite(answers[at]).all():
                answers[at] = invalid(
                    "the query can't be searched for: its embedding is not finite"
                )
                continue
            k = call.k or self._engine.default_k
            if self._is_plain(call, k):
                together.setdefault((k, *call.effort), []).append(at)
                continue
            try:
                answers[at] = self._search_each(call, answers[at], k)
            except Failure as failure:
                answers[at] = failure
        for options, which in together.items():
            self._search_together(answers, which, *options)
        return answers

    def is_quick(self, call: Call) -> bool:
        """Tells whether a call is one search of the index for an id or an embedding."""
        k = call.k or self._engine.default_k
        return (
            call.rows == 1
            and k <= _QUICK_K
            and call.effort == (0, 0)
            and self._is_plain(call, k)
            and (
                call.signature.name == NEAREST
                or call.features.keys() == {self._engine.query_id}
            )
        )

    def _is_plain(self, call: Call, k: int) -> bool:
        """Tells whether a call can be searched for together with others."""
        return not (
            call.excludes
            or call.filter
            or call.signature.name == EXACT
            or k > self._engine.size
        )

    def _search_together(
        self, answers: list[Any], which: list[int], k: int, leaves: int, reorder: int
    ) -> None:
        """Replaces the vectors of some calls by what is found for them."""
        vectors = [answers[at] for at in which]
        queries = vectors[0] if len(vectors) == 1 else np.concatenate(vectors)
        found = self._engine.find_batch(queries, k, leaves, reorder)
        end = 0
        for at, own in zip(which, vectors, strict=True):
            begin, end = end, end + len(own)
            answers[at] = _columns(found[begin:end], k)

    def _search_each(self, call: Call, vectors: np.ndarray, k: int) -> Tensors:
        is_exact = call.signature.name == EXACT
        with user_errors():
            found = [
                self._engine.find(
                    vector, k, excluded, *call.effort, call.filter, is_exact
                )
                for vector, excluded in zip(vectors, call.excluded(), strict=True)
            ]
        return _columns(found, k)

    def _embed(self, calls: Sequence[Call]) -> list[np.ndarray]:
        """Returns the embedded queries of each call, float32 [rows, dimensions]."""
        found: list[Any] = [None] * len(calls)
        by_tower = []
        for at, call in enumerate(calls):
            features = call.features
            if call.signature.name == NEAREST:
                found[at] = to_array(features[EMBEDDING], tf.float32)
                continue
            if call.signature.name == EXAMPLES:
                features = self._parsed(*features.values())
            if features.keys() == {self._engine.query_id}:
                found[at] = self._look_up(*features.values())
            else:
                by_tower.append((at, self._arrays(features)))
        if by_tower:
            joined = _join([arrays for _, arrays in by_tower])
            vectors = self.cache.embed(joined, self._engine.embed)
            ends = np.cumsum([calls[at].rows for at, _ in by_tower])
            parts = np.split(vectors, ends[:-1])
            for (at, _), own in zip(by_tower, parts, strict=True):
                found[at] = own
        return found

    def _look_up(self, ids: Tensor) -> np.ndarray:
        name = self._engine.query_id
        assert name is not None  # else there is no such feature
        return self._engine.embed({name: [as_text(one) for one in ids.values]})

    def _parsed(self, examples: Tensor) -> Tensors:
        """Returns the features of serialized tf.Examples."""
        parsed = parse_examples(
            tf.constant(to_array(examples, tf.string)), dict(self._query_features)
        )
        return {name: of_array(values.numpy()) for name, values in parsed.items()}

    def _arrays(self, features: Tensors) -> dict[str, np.ndarray]:
        return {
            name: to_array(one, self._query_features[name].dtype)
            for name, one in features.items()
        }


class QueryCache:
    """Embeddings of the queries that were asked last, by all that they tell."""

    def __init__(self, size: int):
        """Keeps up to `size` of them."""
        self._kept: LRUCache = LRUCache(size)
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def embed(self, features: dict[str, np.ndarray], embed: Any) -> np.ndarray:
        """Embeds queries, those that are not kept in one go.

        Args:
          features: By name, each [batch, ...].
          embed: Embeds features as float32 [batch, dimensions].
        """
        columns = [features[name] for name in sorted(features)]
        if not self._kept.maxsize or not len(columns[0]):
            return embed(features)
        keys = [tuple(map(_hashable, row)) for row in zip(*columns, strict=True)]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
        new = [at for at, key in enumerate(keys) if key not in known]
        if new:
            made = embed({name: values[new] for name, values in features.items()})
            known |= {keys[at]: row for at, row in zip(new, made, strict=True)}
        with self._lock:
            self._kept.update((key, known[key]) for key in known)
            self.hits += len(keys) - len(new)
            self.misses += len(new)
        return np.stack([known[key] for key in keys])


def _hashable(value: Any) -> Any:
    """Returns a feature's value of one query as something to look up.

    Of numbers that is their bytes: NaN, which a missing one is, equals nothing.
    """
    if isinstance(value, bytes):
        return value
    return tuple(filter(None, value)) if value.dtype == object else value.tobytes()


class SavedModelAnswers:
    """Answers all calls by the signatures of a SavedModel."""

    def __init__(self, model: Recommender):
        """Takes the loaded model."""
        self._model = model

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        """See `Engine.answer`."""
        answers: list[Answer] = [
            invalid(
                "a filter needs a native engine and this version has none; push the "
                "model again, with index.kind auto, exact or scann"
            )
        ] * len(calls)
        together: dict[tuple, list[int]] = {}
        for at, call in enumerate(calls):
            if not call.filter:
                together.setdefault(_kind(call), []).append(at)
        for which in together.values():
            found = self._run([calls[at] for at in which])
            for at, one in zip(which, found, strict=True):
                answers[at] = one
        return answers

    def _run(self, calls: Sequence[Call]) -> list[Tensors]:
        """Answers calls that can be joined into one."""
        signature = calls[0].signature
        joined = _join([_batched(call) for call in calls])
        scalars = {
            name: to_array(one, signature.inputs[name].dtype)
            for name, one in calls[0].inputs.items()
            if not one.shape
        }
        run = self._model.signature(signature.name)
        given = {**joined, **scalars}
        outputs = run(
            **{
                name: tf.constant(given[name], spec.dtype)
                for name, spec in run.inputs.items()
            }
        )
        arrays = {name: values.numpy() for name, values in outputs.items()}
        found, end = [], 0
        for call in calls:
            begin, end = end, end + call.rows
            found.append(
                {name: of_array(values[begin:end]) for name, values in arrays.items()}
            )
        return found


def _kind(call: Call) -> tuple:
    """Returns what calls must share to be answered together."""
    scalars = tuple(one.values[0] for one in call.inputs.values() if not one.shape)
    return call.signature.name, scalars, call.excludes


def _batched(call: Call) -> dict[str, np.ndarray]:
    """Returns the inputs of a call that have a row for each query."""
    arrays = {
        name: to_array(one, call.signature.inputs[name].dtype)
        for name, one in call.inputs.items()
        if one.shape
    }
    if call.excludes:
        width = arrays[EXCLUDE].shape[1]
        arrays[EXCLUDE] = np.broadcast_to(arrays[EXCLUDE], (call.rows, width))
    elif EXCLUDE in arrays:
        arrays[EXCLUDE] = np.empty((1, 0), object)
    return arrays


def _join(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins batches; lists of texts are filled up with "" to the longest.

    Nothing to exclude is [1, 0] for any number of queries.
    """
    if len(parts) == 1:
        return dict(parts[0])
    joined = {}
    for name in parts[0]:
        arrays = [one[name] for one in parts]
        if name == EXCLUDE and arrays[0].shape == (1, 0):
            joined[name] = arrays[0]
            continue
        if arrays[0].dtype == object and arrays[0].ndim == 2:
            width = max(one.shape[1] for one in arrays)
            arrays = [
                np.pad(one, [(0, 0), (0, width - one.shape[1])], constant_values=b"")
                for one in arrays
            ]
        joined[name] = np.concatenate(arrays)
    return joined


def _columns(found: Sequence[Found], k: int) -> Tensors:
    """Returns what was found as a servable's outputs, filled up to k columns."""
    ids: list[str] = []
    titles: list[str] = []
    scores = np.full((len(found), k), -np.inf, np.float32)
    for at, one in enumerate(found):
        missing = [""] * (k - len(one.ids))
        ids += one.ids + missing
        titles += one.titles + missing
        scores[at, : len(one.ids)] = one.scores
    shape = (len(found), k)
    return {
        CANDIDATE_ID: Tensor(ids, shape),
        SCORE: Tensor(scores.reshape(-1), shape),
        TITLE: Tensor(titles, shape),
    }


def query_features(signature: Signature) -> dict[str, tf.TensorSpec]:
    """Returns all features that a signature such as `embed_query` takes."""
    return {
        name: tf.TensorSpec(one.shape, one.dtype, name)
        for name, one in signature.inputs.items()
    }
