# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A few hundred inputs that nobody would send; benchmarks/serving/fuzz.py has more."""

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from benchmarks.serving.fuzz import fuzz
from tests.serving.asking import Server

EXAMPLES = 150


def good_message() -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "main"
    request.inputs["user_id"].CopyFrom(tf.make_tensor_proto(["1"]))
    return request.SerializeToString()


def test_whatever_is_sent_is_refused_and_breaks_nothing(shared: Server) -> None:
    found = fuzz(shared.url, shared.grpc_address, "main", good_message(), EXAMPLES)
    assert shared.process.poll() is None
    assert sum(found["bodies"].values()) >= EXAMPLES
    assert sum(found["messages"].values()) >= EXAMPLES
    # Not only refusals: some of it is right by chance, and is answered.
    assert found["OpenAPI"]["200"] and found["bodies"]["200"]
