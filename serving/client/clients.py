# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The two clients: one that blocks, and one for asyncio."""

import asyncio
import functools
import inspect
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args

import httpx

from serving.client import requests
from serving.client.attempts import Attempts, Server, ServerError, Unreachable
from serving.client.requests import Request
from serving.errors import UserError
from serving.tokens import check_token

T = TypeVar("T")
P = ParamSpec("P")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
_CONNECTIONS = httpx.Limits(
    max_connections=100,
    max_keepalive_connections=100,
    # Shorter than the server's, so that it rarely closes one that is about to be used.
    keepalive_expiry=60,
)


def _blocking(
    build: Callable[P, Request[T]],
) -> Callable[Concatenate["Client", P], T]:
    """Makes a method of `Client` of what builds a request."""

    def method(client: "Client", /, *arguments: P.args, **options: P.kwargs) -> T:
        return client._ask(build(*arguments, **options))

    _describe(method, build)
    return method


def _awaitable(
    build: Callable[P, Request[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """Makes a method of `AsyncClient` of what builds a request."""

    async def method(
        client: "AsyncClient", /, *arguments: P.args, **options: P.kwargs
    ) -> T:
        return await client._ask(build(*arguments, **options))

    _describe(method, build)
    return method


def _describe(method: Any, build: Callable) -> None:
    """Gives a method the documentation of what builds its request."""
    functools.update_wrapper(method, build)
    built = inspect.signature(build)
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (answer,) = get_args(built.return_annotation)
    method.__signature__ = built.replace(
        parameters=[me, *built.parameters.values()], return_annotation=answer
    )


class _Connected(Generic[H]):
    """What both clients are made of."""

    _carrier: type[H]

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 3,
    ):
        """Takes the server; connects when it is first asked.

        Args:
          url: Of its REST port, such as http://127.0.0.1:8501.
          model: Name of the model; by default the only one that is served.
          token: What the server wants to be shown, see its --token-file.
          ca_file: PEM file of the authority that has signed the server's certificate;
            by default those that certifi trusts.
          timeout_s: For a call as a whole, with all its attempts.
          retries: Attempts after the first one, made where the connection is refused
            or broken off and where the server is too busy (429, 503).

        Raises:
          UserError: One of them can't be meant.
        """
        self._server, self._model = Server(url, timeout_s, retries), model
        if token is not None:
            check_token(token)
        # Made now: threads that share this must not make one each.
        self._http: H = self._carrier(
            headers={"authorization": f"Bearer {token}"} if token else {},
            verify=_read_authority(ca_file) if ca_file else True,
            limits=_CONNECTIONS,
            # What a client does should not depend on whose shell has started it.
            trust_env=False,
        )


def _read_authority(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise UserError(
            f"{path} can't be read as the certificate of an authority ({error}); name "
            "a PEM file"
        ) from None


class Client(_Connected[httpx.Client]):
    """A client that blocks; threads may share it, and its connections."""

    _carrier = httpx.Client

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; the client can't be used any more."""
        self._http.close()

    recommend = _blocking(requests.recommend)
    predict = _blocking(requests.predict)
    status = _blocking(requests.status)
    metadata = _blocking(requests.metadata)
    queries = _blocking(requests.queries)
    models = _blocking(requests.models)

    def is_ready(self) -> bool:
        """Tells whether the server answers, for every model; False if none is there.

        Raises:
          ServerError: What answers is no such server, or can't be trusted.
        """
        try:
            return self._ask(requests.readiness())
        except Unreachable:
            return False

    def _ask(self, request: Request[T]) -> T:
        deadline = time.monotonic() + self._server.timeout_s
        if request.is_of_model and self._model is None:
            self._model = self._server.only(self._carry(requests.models(), deadline))
        return self._carry(request, deadline)

    def _carry(self, request: Request[T], deadline: float) -> T:
        attempts = Attempts(self._server, request, self._model or "", deadline)
        while True:
            try:
                with (
                    attempts.telling(),
                    self._http.stream(**attempts.arguments()) as response,
                ):
                    parts = [attempts.in_time(one) for one in response.iter_bytes()]
                return attempts.read(response, b"".join(parts))
            except ServerError as error:
                wait_s = attempts.wait_s(error)
            time.sleep(wait_s)


class AsyncClient(_Connected[httpx.AsyncClient]):
    """A client for asyncio, of one event loop, with the methods of `Client`."""

    _carrier = httpx.AsyncClient

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections; the client can't be used any more."""
        await self._http.aclose()

    recommend = _awaitable(requests.recommend)
    predict = _awaitable(requests.predict)
    status = _awaitable(requests.status)
    metadata = _awaitable(requests.metadata)
    queries = _awaitable(requests.queries)
    models = _awaitable(requests.models)

    async def is_ready(self) -> bool:
        """Tells whether the server answers, for every model; False if none is there.

        Raises:
          ServerError: What answers is no such server, or can't be trusted.
        """
        try:
            return await self._ask(requests.readiness())
        except Unreachable:
            return False

    async def _ask(self, request: Request[T]) -> T:
        deadline = time.monotonic() + self._server.timeout_s
        if request.is_of_model and self._model is None:
            self._model = self._server.only(
                await self._carry(requests.models(), deadline)
            )
        return await self._carry(request, deadline)

    async def _carry(self, request: Request[T], deadline: float) -> T:
        attempts = Attempts(self._server, request, self._model or "", deadline)
        while True:
            try:
                with attempts.telling():
                    async with self._http.stream(**attempts.arguments()) as response:
                        parts = [
                            attempts.in_time(one)
                            async for one in response.aiter_bytes()
                        ]
                return attempts.read(response, b"".join(parts))
            except ServerError as error:
                wait_s = attempts.wait_s(error)
            await asyncio.sleep(wait_s)
