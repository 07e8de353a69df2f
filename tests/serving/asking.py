# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Server processes, and what tests ask them by REST and gRPC."""

import contextlib
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
import httpx
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.process import child_environment

PROGRAM = "import sys; from pipeline.cli.main import main; sys.exit(main())"
HOST = "127.0.0.1"
PATIENCE_S = 90
"""Until something that has to happen is given up; on a busy machine all takes time."""
_PAUSE_S = 0.02

T = TypeVar("T")


def until(what: str, condition: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """Waits until a condition is true, and returns what it is then."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"in vain: {what}"
        time.sleep(_PAUSE_S)
    return found


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine that nothing listens at."""
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in found]


class Endpoint:
    """A server that can be asked by both protocols."""

    def __init__(
        self, url: str, grpc_address: str, certificate: bytes = b"", token: str = ""
    ):
        """Takes its addresses, the certificate it shows, and the token it wants."""
        self.url, self.grpc_address, self.certificate = url, grpc_address, certificate
        context = ssl.create_default_context()
        if certificate:
            context.load_verify_locations(cadata=certificate.decode())
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(
            base_url=url, verify=context, headers=headers, timeout=PATIENCE_S
        )
        options = [("grpc.max_receive_message_length", -1)]
        self.channel = (
            grpc.secure_channel(
                grpc_address, grpc.ssl_channel_credentials(certificate), options
            )
            if certificate
            else grpc.insecure_channel(grpc_address, options)
        )
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self.channel
        )
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Gets a path."""
        return self.http.get(path, **options)

    def post(self, path: str, body: Any) -> httpx.Response:
        """Posts a body: bytes as they are, or anything that JSON can tell."""
        if isinstance(body, bytes):
            return self.http.post(path, content=body)
        return self.http.post(path, json=body)

    def states(self, model: str) -> dict[int, str]:
        """Returns the state of each version that is told of."""
        found = self.get(f"/v1/models/{model}").json()
        return {
            int(one["version"]): one["state"]
            for one in found.get("model_version_status", [])
        }

    def error_of(self, model: str, version: int) -> str:
        """Returns why a version could not be loaded, "" if there is nothing."""
        found = self.get(f"/v1/models/{model}").json()["model_version_status"]
        for one in found:
            if one["version"] == str(version):
                expected = "UNKNOWN" if one["status"]["error_message"] else "OK"
                assert one["status"]["error_code"] == expected
                return one["status"]["error_message"]
        return ""

    def answering(self, model: str, query: dict[str, Any]) -> int:
        """Returns the version that answers a query."""
        reply = self.post(f"/v1/models/{model}:recommend", {"query": query})
        assert reply.status_code == 200, reply.text
        return int(reply.json()["version"])

    def metric(self, name: str, **labels: str) -> float:
        """Returns a metric's value, 0 where there is none yet.

        The parser calls counters by OpenMetrics' names, which end in `_total`.
        """
        from prometheus_client.parser import text_string_to_metric_families

        text = self.get("/monitoring/prometheus/metrics").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def close(self) -> None:
        """Closes connections."""
        self.http.close()
        self.channel.close()


class Server(Endpoint):
    """A `shortlist serve` in a process of its own, at free ports."""

    def __init__(
        self,
        log: pathlib.Path,
        *arguments: str,
        certificate: bytes = b"",
        token: str = "",
        python: str = sys.executable,
    ):
        """Starts the process; what it says goes into the file `log`."""
        self.log = log
        rest_port, grpc_port = free_ports(2)
        scheme = "https" if certificate else "http"
        super().__init__(
            f"{scheme}://{HOST}:{rest_port}", f"{HOST}:{grpc_port}", certificate, token
        )
        ports = ["--rest-port", str(rest_port), "--grpc-port", str(grpc_port)]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [python, "-c", PROGRAM, "serve", *arguments, *ports],
                env=child_environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """All that the process has printed."""
        return self.log.read_text()

    def wait_until_ready(self, status: int = 200) -> "Server":
        """Waits until /readyz answers so."""

        def answers() -> bool:
            assert self.process.poll() is None, self.said
            try:
                return self.get("/readyz").status_code == status
            except httpx.TransportError:
                return False

        until(f"/readyz {status} from {self.url}", answers)
        return self

    def stop(self) -> int:
        """Ends the process as an orchestrator does, and returns its exit code."""
        self.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def serving(log: pathlib.Path, *arguments: str, **options: Any) -> Iterator[Server]:
    """Starts a server; that it ends well is part of each test that used it."""
    server = Server(log, *arguments, **options)
    try:
        yield server
        code = server.stop()
        assert code == 0, server.said
    finally:
        server.process.kill()
        server.process.wait()
