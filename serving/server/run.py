# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Starts a server, and stops it when it is told to, without dropping a request."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator

import grpc
import tensorflow as tf
import uvicorn
import uvloop
from threadpoolctl import threadpool_limits

from serving.errors import UserError
from serving.server.access import Access
from serving.server.failure import Failure
from serving.server.follower import Follower
from serving.server.grpc_api import add_services
from serving.server.metrics import Metrics
from serving.server.model_config import ModelSettings, read_config
from serving.server.models import Models
from serving.server.options import ServerOptions
from serving.server.protocol import bounded
from serving.server.rest import Rest
from serving.server.service import Service

_log = logging.getLogger(__name__)

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
"""Longer than load balancers keep connections, so that they never find one closed."""
_SWITCH_S = 0.0005


def run(
    settings: Iterable[ModelSettings],
    options: ServerOptions,
    config: str = "",
    follower: Follower | None = None,
) -> None:
    """Serves models until SIGTERM or SIGINT.

    Args:
      settings: What to serve at first.
      options: Of the server.
      config: A model config file that is read again when it changes.
      follower: Of a model registry, which says what is served later.

    Raises:
      UserError: A port is taken, or a file of the options can't be read.
    """
    tf.config.threading.set_intra_op_parallelism_threads(options.tensorflow_threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.tensorflow_threads)
    # Python that loads a version in a thread shall not hold up each request for 5 ms.
    sys.setswitchinterval(_SWITCH_S)
    # Threads answer batches side by side; none of them may take all cores.
    with threadpool_limits(1, "blas"):
        uvloop.install()
        asyncio.run(Server(list(settings), options, config, follower).serve())


class Server:
    """A server with its two protocols."""

    def __init__(
        self,
        settings: list[ModelSettings],
        options: ServerOptions,
        config: str = "",
        follower: Follower | None = None,
    ):
        """Takes what to serve and how."""
        self._options, self._config, self._follower = options, config, follower
        self._metrics = Metrics()
        self._models = Models(settings, options, self._metrics)
        self._metrics.watch(self._models)
        self._service = Service(self._models, options, self._metrics)
        self._access = Access.read(options.token_file)
        if options.tls_certificate:
            _check_pair(options.tls_certificate, options.tls_key)

    async def serve(self) -> None:
        """Serves until it is told to stop, then ends what is under way.

        Raises:
          UserError: A port is taken, or a file of the options can't be read.
        """
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        rest, by_grpc = self._make_rest(), await self._start_grpc()
        working = [
            self._models.watch(),
            *([self._watch_config()] if self._config else []),
            *([self._follower.watch(self._models)] if self._follower else []),
        ]
        tasks = [asyncio.create_task(one) for one in working]
        if rest:
            tasks.append(asyncio.create_task(rest.serve()))
        self._tell()
        stopping = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait(
            [*tasks, stopping], return_when=asyncio.FIRST_COMPLETED
        )
        self._stopping.set()
        _log.info("stopping: what is under way has %g s to end", self._options.drain_s)
        await self._drain(rest, by_grpc)
        for one in tasks:
            one.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await self._models.close()
        for result in ended:
            # Cancelled is how they should end; all else has stopped the server.
            if isinstance(result, Exception):
                raise result

    async def _drain(
        self, rest: "_Uvicorn | None", by_grpc: grpc.aio.Server | None
    ) -> None:
        """Takes no more requests, and waits for those that are under way."""
        waiting = []
        if rest:
            rest.should_exit = True
            waiting.append(rest.ended.wait())
        if by_grpc:
            waiting.append(by_grpc.stop(self._options.drain_s))
        await asyncio.gather(*waiting)

    def _make_rest(self) -> "_Uvicorn | None":
        options = self._options
        if not options.rest_port:
            return None
        app = Rest(self._service, self._access, self._stopping.is_set)
        config = uvicorn.Config(
            app,
            http=bounded(options.max_concurrent, self._metrics.refused),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nothing is asked of where a client is
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(options.drain_s)),
            ssl_certfile=options.tls_certificate or None,
            ssl_keyfile=options.tls_key or None,
        )
        return _Uvicorn(config, _bind(options.host, options.rest_port))

    async def _start_grpc(self) -> grpc.aio.Server | None:
        options = self._options
        if not options.grpc_port:
            return None
        server = grpc.aio.server(
            maximum_concurrent_rpcs=options.max_concurrent,
            options=[
                # Else two servers share a port, and each answers some requests.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", options.max_request_bytes),
                ("grpc.max_send_message_length", -1),
            ],
        )
        add_services(server, self._service, self._access)
        address = f"{_bracketed(options.host)}:{options.grpc_port}"
        try:
            if options.tls_certificate:
                server.add_secure_port(address, self._grpc_credentials())
            else:
                server.add_insecure_port(address)
        except RuntimeError:
            raise _taken(options.host, options.grpc_port, "--grpc-port") from None
        await server.start()
        return server

    def _grpc_credentials(self) -> grpc.ServerCredentials:
        pair = [
            _read(path)
            for path in (self._options.tls_key, self._options.tls_certificate)
        ]
        return grpc.ssl_server_credentials([tuple(pair)])

    def _tell(self) -> None:
        options = self._options
        scheme = "https" if options.tls_certificate else "http"
        host = _bracketed(options.host)
        if options.rest_port:
            _log.info("REST and a page: %s://%s:%d/", scheme, host, options.rest_port)
        if options.grpc_port:
            _log.info("gRPC: %s:%d", host, options.grpc_port)

    async def _watch_config(self) -> None:
        """Reads the model config file again whenever it has changed."""
        before, said = read_config(self._config), ""
        while True:
            await asyncio.sleep(self._options.poll_s)
            try:
                settings = await asyncio.to_thread(read_config, self._config)
                if settings != before:
                    before = settings
                    _log.info("%s has changed", self._config)
                    await self._models.configure(settings)
            except (UserError, Failure) as error:
                # What was served before goes on until the file is mended.
                if str(error) != said:
                    said = str(error)
                    _log.warning("%s", said)


class _Uvicorn(uvicorn.Server):
    """uvicorn, without signal handlers of its own, over a socket that is bound."""

    def __init__(self, config: uvicorn.Config, bound: socket.socket):
        super().__init__(config)
        self._bound, self.ended = bound, asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until `should_exit`."""
        try:
            await super().serve([self._bound])
        finally:
            self.ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the server that this is a part of."""
        yield


def _check_pair(certificate: str, key: str) -> None:
    """Refuses files that TLS can't work with.

    Raises:
      UserError: One can't be read, or they do not belong together.
    """
    for path in (certificate, key):
        _read(path)
    try:
        # An encrypted key would be asked for at the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            certificate, key, password=""
        )
    except (ssl.SSLError, ValueError) as error:
        raise UserError(
            f"--tls-certificate {certificate} and --tls-key {key} are no pair of PEM "
            f"files ({error})"
        ) from None


def _bind(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address.

    Raises:
      UserError: It is taken, or none of this machine.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError:
        raise _taken(host, port, "--rest-port") from None
    return bound


def _taken(host: str, port: int, option: str) -> UserError:
    return UserError(
        f"can't listen at {host} port {port}: it is in use or not of this machine; "
        f"name another {option} or --host"
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error})") from None
