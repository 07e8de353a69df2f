# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What the server does, by whatever protocol it is asked."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.errors import UserError
from serving.queries import read_query
from serving.servable import (
    CANDIDATE_ID,
    EXCLUDE,
    LEAVES_TO_SEARCH,
    REORDER,
    SCORE,
    TITLE,
    K,
)
from serving.server.calls import make_call
from serving.server.engines import EXACT
from serving.server.failure import Code, Failure, invalid, user_errors
from serving.server.metrics import Metrics
from serving.server.models import Models, Tracked
from serving.server.options import ServerOptions
from serving.server.tensors import DEFAULT_SIGNATURE, Tensor, Tensors, as_text


@dataclasses.dataclass(frozen=True)
class Target:
    """Which model, and which version of it, a request is for."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """A request of the humane API."""

    query: Mapping[str, str | Sequence[str]]
    """Features by name, as text; what is left out is missing."""
    k: int = 10
    exclude: Sequence[str] = ()
    filter: str = ""
    leaves_to_search: int = 0
    reorder: int = 0
    exact: bool = False
    """Search exhaustively."""


_MOST_LISTED = 1000
"""Query ids of one answer."""


class Service:
    """Answers requests for models."""

    def __init__(self, models: Models, options: ServerOptions, metrics: Metrics):
        """Takes the models, loaded or not."""
        self.models, self.options, self.metrics = models, options, metrics

    def deadline(self, seconds: float | None = None) -> float:
        """Returns until when a request that comes in now is answered.

        Args:
          seconds: How long its client waits, if that is known.
        """
        most = self.options.deadline_ms / 1e3
        now = asyncio.get_running_loop().time()
        return now + (most if seconds is None else min(most, seconds))

    def use(self, target: Target) -> Tracked:
        """Returns the version that a request is for, to be entered while it is used.

        Raises:
          Failure: There is none, or it is not available.
        """
        model = self.models.named(target.name, target.version, target.label)
        return model.find(target.version, target.label)

    async def recommend(
        self, target: Target, asked: Recommendation
    ) -> tuple[int, list[dict[str, Any]]]:
        """Answers one query of the humane API.

        Returns:
          The version that has answered, and `candidate_id`, `title`, `score` (float32)
          of each result, best first.

        Raises:
          Failure: The request can't be answered.
        """
        deadline = self.deadline()
        with self.use(target) as (number, version):
            signature = version.signatures.find(
                EXACT if asked.exact else DEFAULT_SIGNATURE
            )
            features = version.query_features
            with user_errors():
                given = _query_tensors(read_query(asked.query, features), features)
            given |= {
                name: one
                for name, one in _option_tensors(asked).items()
                if name in signature.inputs
            }
            call = make_call(signature, given, version.limits, asked.filter)
            return number, _results(await version.answer(call, deadline))

    async def known_queries(
        self, target: Target, prefix: str, limit: int
    ) -> dict[str, Any]:
        """Returns query ids that training knew, to choose from.

        Args:
          target: The version that is asked.
          prefix: What ids begin with.
          limit: Most ids.

        Returns:
          `feature`, the name of the id, and `ids`; None and nothing where the version
          has no native engine, or takes no id.
        """
        with self.use(target) as (_, version):
            engine = version.engine
            if engine is None or engine.query_id is None:
                return {"feature": None, "ids": []}
            # Millions of ids may be looked through.
            ids = await asyncio.to_thread(
                engine.known_queries, prefix, max(0, min(limit, _MOST_LISTED))
            )
            return {"feature": engine.query_id, "ids": ids}

    async def history(
        self, target: Target, query: Mapping[str, str], limit: int
    ) -> dict[str, Any]:
        """Returns what training has seen a query choose.

        Args:
          target: The version that is asked.
          query: The query's id, by the name of its feature.
          limit: Most candidates.

        Returns:
          `history`, ids and titles, and `total`, how many they were in all.

        Raises:
          Failure: The version keeps no histories, or the query is not told by its id.
        """
        with self.use(target) as (_, version):
            engine = version.engine
            if engine is None or engine.query_id is None:
                raise Failure(Code.NOT_FOUND, "the version keeps no histories")
            if query.keys() != {engine.query_id}:
                raise invalid(f"name the query by {engine.query_id}=… alone")
            try:
                found, total = await asyncio.to_thread(
                    engine.history, query[engine.query_id], max(0, limit)
                )
            except UserError as error:
                raise Failure(Code.NOT_FOUND, str(error)) from None
            return {"history": found, "total": total}

    def status(self, target: Target) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the states of a model's versions, newest first, or of the named one.

        Raises:
          Failure: There are none.
        """
        model = self.models.find(target.name)
        found = (
            sorted(model.tracked.values(), key=_number, reverse=True) if model else []
        )
        if target.label is not None:
            if model is None:
                raise Failure(
                    Code.NOT_FOUND,
                    f"Could not find any versions of model {target.name}",
                )
            found = [model.find(label=target.label)]
        if target.version is not None:
            found = [one for one in found if one.number == target.version]
            if not found:
                raise Failure(
                    Code.NOT_FOUND,
                    f"Could not find version {target.version} of model {target.name}",
                )
        if not found:
            raise Failure(
                Code.NOT_FOUND, f"Could not find any versions of model {target.name}"
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for one in found:
            told = response.model_version_status.add(
                version=one.number, state=one.state.value
            )
            told.status.error_code = Code.UNKNOWN.value[0] if one.error else 0
            told.status.error_message = one.error
        return response

    def metadata(
        self, target: Target
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a version.

        Raises:
          Failure: It is not available.
        """
        tracked = self.use(target)
        assert tracked.version is not None
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = target.name
        response.model_spec.version.value = tracked.number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, one in tracked.version.signatures.definitions.signature_def.items():
            signatures.signature_def[name].CopyFrom(one)
        response.metadata["signature_def"].Pack(signatures)
        return response


def _number(tracked: Tracked) -> int:
    return tracked.number


def _query_tensors(
    query: Mapping[str, list[Any]], features: Mapping[str, tf.TensorSpec]
) -> Tensors:
    """Makes tensors of a batch of one query."""
    return {
        name: Tensor(*_flat(value, features[name].dtype))
        for name, value in query.items()
    }


def _flat(values: list[Any], dtype: tf.DType) -> tuple[Any, tuple[int, ...]]:
    """Returns the values of one query, [1] or [1, any], and their shape."""
    several = isinstance(values[0], list)
    flat = values[0] if several else values
    shape = (1, len(flat)) if several else (1,)
    if dtype == tf.string:
        return flat, shape
    return np.array(flat, dtype.as_numpy_dtype), shape


def _option_tensors(asked: Recommendation) -> Tensors:
    def number(value: int) -> Tensor:
        return Tensor(np.array([value], np.int32), ())

    return {
        K: number(asked.k),
        EXCLUDE: Tensor(list(asked.exclude), (1, len(asked.exclude))),
        LEAVES_TO_SEARCH: number(asked.leaves_to_search),
        REORDER: number(asked.reorder),
    }


def _results(outputs: Tensors) -> list[dict[str, Any]]:
    """Returns the results of one query, without what fills it up."""
    found: list[dict[str, Any]] = []
    columns = (outputs[name].values for name in (CANDIDATE_ID, TITLE, SCORE))
    for candidate_id, title, score in zip(*columns, strict=True):
        if score == -np.inf:
            break
        found.append(
            {CANDIDATE_ID: as_text(candidate_id), TITLE: as_text(title), SCORE: score}
        )
    return found
