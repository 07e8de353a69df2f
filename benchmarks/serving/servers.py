# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Servers in processes of their own, and what they take of the machine."""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import serving.process
from benchmarks import record
from benchmarks.serving.load import Plan

HOST = "127.0.0.1"
_START_S = 120
_STOP_S = 60


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen, rest_port: int, grpc_port: int):
        """Takes the process and its ports."""
        self.process, self.rest_port, self.grpc_port = process, rest_port, grpc_port
        self.start_seconds = 0.0

    def get(self, path: str) -> tuple[int, bytes]:
        """Returns status and body of a GET; 0 where nobody listens."""
        try:
            with urllib.request.urlopen(
                f"http://{HOST}:{self.rest_port}{path}"
            ) as told:
                return told.status, told.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (urllib.error.URLError, ConnectionError):
            return 0, b""

    def wait(self, path: str) -> None:
        """Waits until a GET is answered with 200.

        Raises:
          SystemExit: The server has ended, or takes too long.
        """
        began = time.perf_counter()
        while self.get(path)[0] != 200:
            if self.process.poll() is not None:
                raise SystemExit(f"a server ended with code {self.process.returncode}")
            if time.perf_counter() - began > _START_S:
                raise SystemExit(f"a server did not answer {path} in {_START_S} s")
            time.sleep(0.05)

    def memory_mib(self) -> float:
        """Returns the resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(one for one in status.splitlines() if one.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Returns what the process has used of the processor so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / 100

    def status(self, model: str) -> dict[str, str]:
        """Returns the states of a model's versions, with their errors."""
        told = json.loads(self.get(f"/v1/models/{model}")[1])
        return {
            one["version"]: one["status"]["error_message"] or one["state"]
            for one in told["model_version_status"]
        }


@contextlib.contextmanager
def shortlist(base_path: str, model: str, *options: str) -> Iterator[Server]:
    """Runs `shortlist serve` over the versions below a base path."""
    with _serve("--model-base-path", base_path, "--name", model, *options) as server:
        yield server


@contextlib.contextmanager
def follower(address: str, registry: str, cache: str) -> Iterator[Server]:
    """Runs `shortlist serve` over what an alias of a registry stands for."""
    with _serve(
        "--model", address, "--registry", registry, "--cache-dir", cache,
        "--poll-s", "0.5",
    ) as server:  # fmt: skip
        yield server


@contextlib.contextmanager
def _serve(*options: str) -> Iterator[Server]:
    program = str(Path(sys.executable).with_name("shortlist"))
    ports = [_free_port(), _free_port()]
    command = [
        program, "serve", *options,
        "--rest-port", str(ports[0]), "--grpc-port", str(ports[1]),
    ]  # fmt: skip
    with _running(command, *ports, "/readyz") as server:
        yield server


@contextlib.contextmanager
def baseline(version: str) -> Iterator[Server]:
    """Runs the FastAPI server of benchmarks/serving/baseline.py over a version."""
    port = _free_port()
    command = [
        sys.executable, "-m", "benchmarks.serving.baseline", str(port), version,
    ]  # fmt: skip
    with _running(command, port, 0, "/openapi.json") as server:
        yield server


@contextlib.contextmanager
def _running(
    command: Sequence[str], rest_port: int, grpc_port: int, ready: str
) -> Iterator[Server]:
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=record.ROOT, env=serving.process.child_environment()
    )
    server = Server(process, rest_port, grpc_port)
    try:
        server.wait(ready)
        server.start_seconds = time.perf_counter() - began
        yield server
    finally:
        process.terminate()
        process.wait(_STOP_S)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


def send(plan: Plan) -> dict[str, Any]:
    """Carries out a load plan in a process of its own; returns what became of it."""
    return start(plan).wait()


class Load:
    """A load generator that runs."""

    def __init__(self, plan: Plan):
        """Starts it."""
        self._folder = tempfile.TemporaryDirectory(prefix="shortlist-")
        request, self._result = (
            Path(self._folder.name, name) for name in ("request.json", "result.json")
        )
        request.write_text(json.dumps(vars(plan)))
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.serving.load", str(request),
                str(self._result),
            ],
            cwd=record.ROOT,
            env=serving.process.child_environment(),
        )  # fmt: skip

    @property
    def is_running(self) -> bool:
        """Whether it still sends."""
        return self._process.poll() is None

    def wait(self) -> dict[str, Any]:
        """Returns what became of the requests, when all are over."""
        if self._process.wait():
            raise SystemExit("the load generator failed; the reason is above")
        found = json.loads(self._result.read_text())
        self._folder.cleanup()
        return found


def start(plan: Plan) -> Load:
    """Starts a load plan in a process of its own."""
    return Load(plan)
