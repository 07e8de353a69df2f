# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sends a server whatever it might not expect, and counts what it says.

What its OpenAPI document allows and what it forbids (schemathesis), bodies that are
nearly requests of TensorFlow Serving, and damaged protobufs. No answer may be a 5xx
but those that refuse (501, 503, 504), no gRPC status UNKNOWN or INTERNAL, and a good
request must be answered in the end.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from benchmarks import record
from benchmarks.serving import servers

_ALLOWED_5XX = frozenset({501, 503, 504})
_BAD_CODES = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL})
_TIMEOUT_S = 20
_METHODS = (
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
)
Counts = Counter[str]


class Unexpected(AssertionError):
    """The server has failed where it should have refused."""


def _generated(examples: int) -> Callable:
    """Settings of a search that only generates."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def by_document(url: str, examples: int) -> Counts:
    """Calls each operation of the OpenAPI document, validly and not.

    Args:
      url: Of REST.
      examples: Of each operation and kind.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    counts: Counts = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @_generated(examples)
            @given(operation.as_strategy(generation_mode=mode))
            def call(case: schemathesis.Case) -> None:
                response = case.call(base_url=url, timeout=_TIMEOUT_S)
                _count(counts, response.status_code, case.as_curl_command())

            try:
                call()
            except Unsatisfiable:
                counts["nothing to forbid"] += 1  # an operation without parameters
    return counts


def _json_values() -> st.SearchStrategy:
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(width=32)
        | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=6), inner, max_size=4)
        ),
        max_leaves=12,
    )


def bodies(names: list[str]) -> st.SearchStrategy:
    """Returns bodies that are nearly those of predict requests.

    Args:
      names: Of inputs.
    """
    value = _json_values() | st.lists(st.text(max_size=5), max_size=3)
    row = st.dictionaries(
        st.sampled_from(names) | st.text(max_size=5), value, max_size=5
    )
    signature = st.sampled_from(
        ["", "serving_default", "nearest", "exact", "embed_query", "embed_candidate",
         "serving_examples", "query_segment", "x", "__saved_model_init_op"]
    )  # fmt: skip
    content = st.fixed_dictionaries(
        {},
        optional={
            "signature_name": signature | value,
            "instances": st.lists(row | value, max_size=4) | value,
            "inputs": row | value,
        },
    )
    whole = content.map(lambda one: json.dumps(one).encode())
    cut = st.builds(
        lambda body, at: body[: at % (len(body) + 1)], whole, st.integers(0)
    )
    return whole | cut | st.binary(max_size=40)


def by_body(url: str, model: str, examples: int) -> Counts:
    """Posts bodies that are nearly requests."""
    counts: Counts = Counter()
    path = f"{url}/v1/models/{model}"
    names = ["user_id", "movie_id", "k", "exclude", "embedding", "examples", "reorder"]
    with httpx.Client(timeout=_TIMEOUT_S) as client:

        @_generated(examples)
        @given(bodies(names), st.sampled_from([":predict", ":recommend"]))
        def post(body: bytes, verb: str) -> None:
            response = client.post(path + verb, content=body)
            _count(counts, response.status_code, f"{verb} {body!r}")
            assert response.status_code == 200 or "error" in response.json()

        post()
    return counts


def by_message(address: str, good: bytes, examples: int) -> Counts:
    """Calls gRPC methods with damaged messages.

    Args:
      address: Of gRPC.
      good: A serialized PredictRequest that can be answered.
      examples: How many.
    """
    counts: Counts = Counter()
    changes = st.lists(
        st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), max_size=3
    )
    length = st.just(len(good)) | st.integers(0, len(good))
    damaged = st.builds(_changed, st.just(good), changes, length)
    with grpc.insecure_channel(address) as channel:
        calls = {one: channel.unary_unary(one) for one in _METHODS}

        @_generated(examples)
        @given(damaged | st.binary(max_size=60), st.sampled_from(_METHODS))
        def call(message: bytes, method: str) -> None:
            try:
                calls[method](message, timeout=_TIMEOUT_S)
                counts["OK"] += 1
            except grpc.RpcError as error:
                counts[error.code().name] += 1
                if error.code() in _BAD_CODES:
                    raise Unexpected(f"{method} {message.hex()}: {error}") from error

        call()
    return counts


def _changed(good: bytes, changes: list[tuple[int, int]], length: int) -> bytes:
    message = bytearray(good)
    for at, byte in changes:
        message[at] = byte
    return bytes(message[:length])


def _count(counts: Counts, status: int, what: str) -> None:
    counts[str(status)] += 1
    if status >= 500 and status not in _ALLOWED_5XX:
        raise Unexpected(f"{status} for {what}")


def fuzz(
    url: str, address: str, model: str, good: bytes, examples: int
) -> dict[str, Counts]:
    """Sends all kinds of input.

    Args:
      url: Of REST.
      address: Of gRPC.
      model: A name that is served.
      good: A serialized PredictRequest, which must be answered in the end.
      examples: Of bodies and of messages; of each operation a fiftieth.

    Raises:
      Unexpected: The server has failed.
    """
    found = {
        "OpenAPI": by_document(url, max(examples // 50, 5)),
        "bodies": by_body(url, model, examples),
        "messages": by_message(address, good, examples),
    }
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(_METHODS[0])(good, timeout=_TIMEOUT_S)
    return found


def main() -> None:
    """Fuzzes a server over a version, and writes what it said."""
    from benchmarks.serving.__main__ import MODEL, message_of, served

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.fuzz",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--version", metavar="DIR", help="folder of a pushed version")
    parser.add_argument("--examples", type=int, default=6000, metavar="N")
    record.add_arguments(parser, "serving-fuzz")
    options = parser.parse_args()
    if not options.show:
        with served(options.version) as server:
            good = bytes.fromhex(message_of("user_id", "1"))
            found: dict[str, Any] = fuzz(
                f"http://{servers.HOST}:{server.rest_port}",
                f"{servers.HOST}:{server.grpc_port}",
                MODEL,
                good,
                options.examples,
            )
        content = {**record.about("serving.fuzz"), "results": found}
        record.write(options.out, content)
    for kind, counts in record.read(options.out)["results"].items():
        total = sum(counts.values())
        told = ", ".join(f"{count:,} × {status}" for status, count in counts.items())
        print(f"{kind}: {total:,} ({told})")


if __name__ == "__main__":
    main()
