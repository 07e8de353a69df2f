# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A version of a model, loaded, warmed and asked."""

import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import checksums, manifest, native
from serving.errors import UserError
from serving.model import shard_paths
from serving.servable import EXCLUDE
from serving.server import proto_tensors
from serving.server.batcher import Batcher, answer_each
from serving.server.calls import Call, Limits, make_call
from serving.server.engines import (
    EMBED_QUERY,
    NATIVE_SIGNATURES,
    Answer,
    Engine,
    NativeAnswers,
    SavedModelAnswers,
    query_features,
)
from serving.server.failure import Failure
from serving.server.options import ServerOptions
from serving.server.tensors import Tensor, Tensors, read_signatures
from serving.shards import open_engine, open_model

_WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MOST_WARMUPS = 1000
_WARM_BATCHES = (1, 2)
"""Sizes of batches that are tried: one query and several take different ways."""


class LazyModel:
    """The SavedModel of a version, loaded when something first asks it."""

    def __init__(self, path: str):
        """Takes the folder of the version."""
        self._path, self._lock = path, threading.Lock()

    @functools.cached_property
    def _answers(self) -> SavedModelAnswers:
        return SavedModelAnswers(open_model(self._path))

    def load(self) -> None:
        """Loads it now.

        Raises:
          UserError: It can't be loaded.
        """
        with self._lock:
            _ = self._answers

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        """See `Engine.answer`."""
        self.load()
        return self._answers.answer(calls)


class Version:
    """What is needed to answer requests for a version of a model."""

    def __init__(self, path: str, options: ServerOptions):
        """Loads and warms a version; takes seconds, for a thread of its own.

        Args:
          path: Its folder.
          options: Of the server.

        Raises:
          UserError: It is damaged, not whole, or fails on its own warm-up requests.
        """
        self.path = path
        if checksums.exist(path):
            checksums.verify(path)
        self.manifest = manifest.read_known(path)
        self.signatures = read_signatures((shard_paths(path) or [path])[0])
        self.limits = Limits(
            options.max_k, options.max_rows, options.max_results, options.max_excluded
        )
        self._options = options
        self._model = LazyModel(path)
        self.native: NativeAnswers | None = None
        engine = None if options.engine == "saved_model" else open_engine(path)
        self.engine = engine
        # Once, and not for each request.
        self.query_features = query_features(self.signatures.find(EMBED_QUERY))
        if engine is not None:
            self.native = NativeAnswers(
                engine, self.query_features, options.cached_queries
            )
        else:
            self._check_no_engine()
            self._model.load()
        self._warm()

    def _check_no_engine(self) -> None:
        """Refuses to do without a native engine where there should be one.

        Raises:
          UserError: There should.
        """
        if self._options.engine == "native":
            raise UserError(
                f"{self.path} has no native engine and --engine native wants one; push "
                "the model again, with index.kind auto, exact or scann"
            )
        should_have_one = (
            self.manifest.get("format", 0) >= native.FORMAT
            and self.manifest["index"]["kind"] in native.KINDS
        )
        if should_have_one and self._options.engine == "auto":
            raise UserError(
                f"{self.path} is not whole: its native engine is missing; push the "
                "model again"
            )

    @property
    def engine_name(self) -> str:
        """What answers most requests."""
        return "native" if self.native else "saved_model"

    def start(self, observe: Any = None) -> None:
        """Starts the threads that answer; within the event loop."""
        options = self._options
        bounds = {
            "max_rows": options.max_batch_rows,
            "wait_s": options.batch_wait_ms / 1e3,
            "max_wait_s": options.max_wait_ms / 1e3,
            **({"observe": observe} if observe else {}),
        }
        threads = options.answering_threads
        # Beside a native engine, little is left for the SavedModel.
        self._by_model = Batcher(
            self._model, threads=1 if self.native else threads, **bounds
        )
        self._natively = self.native and Batcher(
            self.native, threads=threads, is_quick=self.native.is_quick, **bounds
        )

    async def answer(
        self, call: Call, deadline: float, is_alone: bool | None = None
    ) -> Tensors:
        """Answers a call, see `Batcher.answer`."""
        if self._natively and call.signature.name in NATIVE_SIGNATURES:
            return await self._natively.answer(call, deadline, is_alone)
        return await self._by_model.answer(call, deadline)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._by_model.waiting + (
            self._natively.waiting if self._natively else 0
        )

    async def close(self) -> None:
        """Ends the threads, when nothing is under way any more."""
        await self._by_model.close()
        if self._natively:
            await self._natively.close()

    def _warm(self) -> None:
        """Answers the warm-up requests, and one of each kind that engines know."""
        answering: Engine = self.native or self._model
        if self.engine is not None and self.engine.query_id is not None:
            # By an id alone, which the requests below are not where there is more to
            # tell: ids are found by hashes that are made for the first one.
            self.engine.embed({self.engine.query_id: [""]})
        try:
            calls = self._warmup_calls()
        except Failure as failure:
            raise UserError(
                f"{self.path} has warm-up requests that are refused: {failure.message}"
            ) from None
        for count in _WARM_BATCHES:
            for call in calls:
                for answer in answer_each(answering, [call] * count):
                    if isinstance(answer, Failure):
                        raise UserError(
                            f"{self.path} fails on its own warm-up requests "
                            f"({answer.message}); push the model again"
                        )

    def _warmup_calls(self) -> list[Call]:
        """Returns the calls of the warm-up file, and the same with an exclusion.

        To exclude takes what plain requests do without, such as all ids by their rows.
        """
        found: list[Call] = []
        for request in self._warmup_requests():
            signature = self.signatures.find(request.model_spec.signature_name)
            if self.native and signature.name not in NATIVE_SIGNATURES:
                continue
            given = {
                name: proto_tensors.read(name, proto, signature.inputs[name])
                for name, proto in request.inputs.items()
            }
            found.append(make_call(signature, given, self.limits))
            if EXCLUDE in signature.inputs:
                given[EXCLUDE] = Tensor([""], (1, 1))
                found.append(make_call(signature, given, self.limits))
        return found

    def _warmup_requests(self) -> list[Any]:
        path = os.path.join((shard_paths(self.path) or [self.path])[0], _WARMUP)
        if not tf.io.gfile.exists(path):
            return []
        records = tf.data.TFRecordDataset(path).take(_MOST_WARMUPS).as_numpy_iterator()
        logs = [prediction_log_pb2.PredictionLog.FromString(one) for one in records]
        return [one.predict_log.request for one in logs if one.HasField("predict_log")]
