# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that train together, which the tests of distribution share."""

import contextlib
import json
import socket
import subprocess
import sys

from serving.process import child_environment


def tf_configs(count: int) -> list[str]:
    """TF_CONFIG of each worker of a cluster on free ports of this machine."""
    with contextlib.ExitStack() as sockets:
        ports = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for port in ports:
            port.bind(("127.0.0.1", 0))
        names = [f"127.0.0.1:{port.getsockname()[1]}" for port in ports]
    cluster = {"worker": names}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


def start(program: str, *arguments: str, **variables: str) -> subprocess.Popen:
    """Starts a Python program with environment variables beside those of a child."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**child_environment(), **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    """Waits until all have ended well."""
    try:
        for process in processes:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
