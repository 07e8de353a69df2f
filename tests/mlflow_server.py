# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A real MLflow server on this machine."""

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import httpx

from serving.process import child_environment
from tests.serving.asking import HOST, free_ports, until

_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Without the workers of MLflow's evaluations, eight processes that begin late."""


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[str]:
    """Runs a server with SQLite and a folder of artifacts.

    Args:
      folder: Where all of it goes.

    Yields:
      Its address.
    """
    (port,) = free_ports(1)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"), "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**child_environment(), **_QUIET}, stdout=log,
            stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return httpx.get(f"http://{HOST}:{port}/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until("MLflow answers", answers)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()
