# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Google Cloud Storage on this machine, for TensorFlow's own gs:// file system.

TensorFlow asks Google's hosts by HTTPS and nothing tells it others. It goes through a
proxy, though, and takes certificates that the environment names: so what answers here
is a proxy that answers in place of the hosts, by an emulator of their API.
"""

import contextlib
import functools
import json
import os
import pathlib
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage

from tests.serving.asking import HOST
from tests.serving.certificates import make_certificate

READ_ONLY = "read-only"
"""Buckets whose names begin so may not be changed by those who ask."""
HOSTS = ("www.googleapis.com", "storage.googleapis.com")

_METADATA: dict[str, Any] = {
    "token": {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"},
    "default": {
        "aliases": ["default"],
        "email": "tests@shop.iam.gserviceaccount.com",
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
    },
    "project-id": "shop",
    "universe-domain": "googleapis.com",
}
"""By the last part of a path."""


class _Request(server.Request):
    """A request whose file may be empty, which the emulator takes for none at all."""

    @property
    def data(self) -> Any:
        is_file = "upload_id" in self.query or self.query.get("uploadType") == ["media"]
        return super().data or (b"" if is_file else None)


server.Request = _Request


class _Handler(server.RequestHandler):
    """Answers Google's requests, each of which may have a connection of its own."""

    # So that "Expect: 100-continue" is answered; curl would wait a second.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def __init__(self, storage: Storage, tls: ssl.SSLContext, *args: Any):
        self._tls = tls
        super().__init__(storage, *args)

    def parse_request(self) -> bool:
        """Takes also what is asked of a proxy: whole URLs."""
        if not BaseHTTPRequestHandler.parse_request(self):
            return False
        if self.path.startswith("http://"):
            url = urlsplit(self.path)
            self.path = f"{url.path}?{url.query}" if url.query else url.path
        if "Transfer-Encoding" in self.headers:
            del self.headers["Content-Length"]  # RFC 9112, 6.3; TensorFlow sends both
        return True

    def do_CONNECT(self) -> None:
        """Answers for a host within the connection to it."""
        if self.path.partition(":")[0] not in HOSTS:
            self.send_error(502, f"{self.path} is not served here")
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True  # once the one within is closed
        connection = self._tls.wrap_socket(self.request, server_side=True)
        with contextlib.closing(connection):
            given = (connection, self.client_address, self.server)
            type(self)(self.storage, self._tls, *given)

    def do_GET(self) -> None:
        if self.headers.get("Metadata-Flavor"):
            self._tell_who_asks()
            return
        with self.server.lock:
            super().do_GET()

    def _tell_who_asks(self) -> None:
        """Answers as the metadata server of Google's machines."""
        path = urlsplit(self.path).path.rstrip("/").rpartition("/")[2]
        value = _METADATA.get(path, "")
        if isinstance(value, str):
            self._answer(200, "application/text", value)
        else:
            self._answer(200, "application/json", json.dumps(value))

    def _answer(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _change(self) -> None:
        if f"/b/{READ_ONLY}" in self.path:
            self.close_connection = True  # whatever comes with it is not read
            told = {"error": {"code": 403, "message": "no storage.objects.create"}}
            self._answer(403, "application/json", json.dumps(told))
            return
        with self.server.lock:
            getattr(super(), f"do_{self.command}")()

    do_POST = do_PUT = do_DELETE = _change  # noqa: N815  (the library's names)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, handler: Any):
        self.lock = threading.Lock()  # the emulator knows of no threads
        super().__init__((HOST, 0), handler)


@contextlib.contextmanager
def served(folder: pathlib.Path, *names: str) -> Iterator[dict[str, str]]:
    """Serves empty buckets, in a process of its own.

    TensorFlow keeps Python's lock while it closes a file that it has to send first.

    Args:
      folder: For files.
      *names: Of the buckets.

    Yields:
      The environment of a process whose gs:// leads here.
    """
    certificate, key = make_certificate(folder, *HOSTS)
    command = [sys.executable, "-m", __name__, str(certificate), str(key), *names]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout
    try:
        port = process.stdout.readline().strip()
        assert port, (folder / "log").read_text()
        url = f"http://{HOST}:{port}"
        yield {
            "https_proxy": url,
            "http_proxy": url,
            "no_proxy": f"{HOST},localhost",
            "CURL_CA_BUNDLE": str(certificate),
            "GCE_METADATA_HOST": f"{HOST}:{port}",
            "GCE_METADATA_IP": f"{HOST}:{port}",
            # Google's own clients, which Beam uses.
            "STORAGE_EMULATOR_HOST": url,
        }
    finally:
        process.kill()
        process.communicate()


def main(certificate: str, key: str, *names: str) -> None:
    """Serves buckets until it is killed, and prints its port first."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    storage = Storage(use_memory_fs=True)
    for name in names:
        buckets.create_bucket(name, storage)
    with _Server(functools.partial(_Handler, storage, tls)) as running:
        print(running.server_address[1], flush=True)
        running.serve_forever()


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Gives this process an environment for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main(*sys.argv[1:])
