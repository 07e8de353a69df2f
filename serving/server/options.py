# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What `shortlist serve` may be told; its --help shows these words and defaults."""

import dataclasses
import math
import os
from typing import Any

from serving.errors import UserError


def _option(default: Any, help: str, metavar: str = "N") -> Any:
    return dataclasses.field(
        default=default, metadata={"help": help, "metavar": metavar}
    )


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """Settings of a server but for its models, which may change while it runs."""

    host: str = _option(
        "127.0.0.1", "address to listen at; 0.0.0.0 for all of the machine's", "HOST"
    )
    rest_port: int = _option(8501, "port of REST and the page; 0: none", "PORT")
    grpc_port: int = _option(8500, "port of gRPC; 0: none", "PORT")
    engine: str = _option(
        "auto",
        "auto: native where a version has such an engine; native; saved_model",
        "NAME",
    )
    threads: int = _option(0, "batches answered at the same time; 0: a core each")
    tensorflow_threads: int = _option(
        1, "threads that TensorFlow uses within an operation, and between them"
    )
    max_batch_rows: int = _option(64, "queries that are answered together")
    batch_wait_ms: float = _option(
        0.0, "how long a free thread waits for a batch to fill", "MS"
    )
    max_wait_ms: float = _option(
        900.0,
        "how long a request may wait for a free thread; then it is refused (429)",
        "MS",
    )  # fmt: skip
    max_concurrent: int = _option(
        512, "requests under way by a protocol; more are refused at once (503)"
    )
    deadline_ms: float = _option(
        1000.0, "how long a request may wait to be answered (504)", "MS"
    )
    max_request_bytes: int = _option(4 << 20, "of a request's body (413)")
    max_rows: int = _option(1000, "queries of one request")
    max_k: int = _option(10_000, "results of one query")
    max_results: int = _option(1_000_000, "results of all queries of one request")
    max_excluded: int = _option(100_000, "candidates that one request leaves out")
    cached_queries: int = _option(
        10_000, "embedded queries to keep, of those that tell more than an id"
    )
    poll_s: float = _option(1.0, "how often base paths are looked at", "S")
    load_retries: int = _option(5, "times that a version that fails is tried again")
    load_retry_s: float = _option(60.0, "time between these", "S")
    drain_s: float = _option(
        10.0, "after SIGTERM, time for what is under way to end", "S"
    )
    tls_certificate: str = _option("", "PEM file; with --tls-key: TLS on", "FILE")
    tls_key: str = _option("", "PEM file of the certificate's key", "FILE")
    token_file: str = _option(
        "", "file with the token that a request has to bear (Authorization: Bearer)",
        "FILE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuses what can't be meant.

        Raises:
          UserError: A value is out of range.
        """
        if self.engine not in ("auto", "native", "saved_model"):
            raise UserError(
                f"--engine must be auto, native or saved_model, got {self.engine}"
            )
        if not self.rest_port and not self.grpc_port:
            raise UserError("--rest-port and --grpc-port are both 0; nothing is served")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise UserError("TLS needs both --tls-certificate and --tls-key")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float):
                _check_range(field.name, value)

    @property
    def answering_threads(self) -> int:
        """`threads`, or the number of cores."""
        return self.threads or len(os.sched_getaffinity(0))


_AT_LEAST_ONE = (
    "max_batch_rows", "max_concurrent", "max_request_bytes", "max_rows",
    "max_k", "max_results", "tensorflow_threads",
)  # fmt: skip
_ABOVE_ZERO = ("deadline_ms", "poll_s")
_MOST_PORT = 65_535


def _check_range(name: str, value: float) -> None:
    """Refuses a number that can't be meant.

    Raises:
      UserError: It is out of range.
    """
    option, least = f"--{name.replace('_', '-')}", int(name in _AT_LEAST_ONE)
    if not math.isfinite(value):
        raise UserError(f"{option} must be a finite number, got {value}")
    if name in _ABOVE_ZERO and value <= 0:
        raise UserError(f"{option} must be more than 0, got {value:g}")
    if value < least:
        raise UserError(f"{option} must be at least {least}, got {value:g}")
    if name.endswith("_port") and value > _MOST_PORT:
        raise UserError(f"{option} must be at most {_MOST_PORT}, got {value}")
