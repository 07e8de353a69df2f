# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How a request is sent, and what follows when that fails."""

import contextlib
import json
import random
import ssl
import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from serving.client.requests import Request
from serving.errors import UserError

T = TypeVar("T")
_BUSY = frozenset({429, 503})
_FIRST_BACKOFF_S, _MOST_BACKOFF_S = 0.1, 2.0


class ServerError(Exception):
    """The server has refused a request, or its answer can't be understood."""

    def __init__(
        self, status: int | None, message: str, retry_after_s: float | None = None
    ):
        """Says what is wrong.

        Args:
          status: Of HTTP; None where there was no answer.
          message: One sentence, the server's own if it has said one.
          retry_after_s: When to come back, if the server has said so.
        """
        super().__init__(status, message, retry_after_s)
        self.status, self.message = status, message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class Unreachable(ServerError):
    """Nobody has answered: refused, broken off, or not in time."""


class Server:
    """Where requests go, and how patient we are."""

    def __init__(self, url: str, timeout_s: float, retries: int):
        """Checks what is given.

        Raises:
          UserError: It can't be meant.
        """
        if not _is_base_url(url):
            raise UserError(
                f"the server's URL must be like http://127.0.0.1:8501, got '{url}'"
            )
        if not timeout_s > 0 or retries < 0:
            raise UserError(
                "timeout_s must be above 0 and retries at least 0, got "
                f"{timeout_s} and {retries}"
            )
        self.url, self.timeout_s, self.retries = url.rstrip("/"), timeout_s, retries

    def only(self, models: dict[str, dict[int, str]]) -> str:
        """Returns the name of the one model that is served.

        Raises:
          UserError: There is more than one, or none.
        """
        if not models:
            raise UserError(f"{self.url} serves no model; give it one")
        if len(models) > 1:
            raise UserError(
                f"{self.url} serves the models {', '.join(sorted(models))}; name the "
                "one to ask"
            )
        return next(iter(models))

    def silence(self, error: httpx.RequestError) -> ServerError:
        """Says why there is no answer, and what may help."""
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(
                None,
                f"{self.url} has not answered within {self.timeout_s:g} s; see whether "
                "it is overloaded, or give it more time",
            )
        reason = str(error) or type(error).__name__
        if _is_about_tls(error):
            return ServerError(
                None,
                f"{self.url} can't be trusted ({reason}); check the URL, or name the "
                "file of the authority that has signed its certificate",
            )
        if isinstance(error, httpx.ConnectError):
            return Unreachable(
                None,
                f"{self.url} can't be reached ({reason}); start 'shortlist serve' "
                "there or name another URL",
            )
        kind = Unreachable if isinstance(error, httpx.TransportError) else ServerError
        return kind(
            None,
            f"{self.url} gave no whole answer ({reason}); try again, or see its log",
        )

    def refusal(self, status: int, headers: httpx.Headers, body: bytes) -> ServerError:
        """Says what the server says."""
        try:
            message = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            message = (
                f"{self.url} answers {status} and not as 'shortlist serve' does; check "
                "the URL and what stands between"
            )
        return ServerError(status, message, _seconds(headers.get("retry-after", "")))


def _is_base_url(url: str) -> bool:
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    is_more = read.userinfo or read.query or read.fragment
    return read.scheme in ("http", "https") and bool(read.host) and not is_more


def _is_about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _seconds(text: str) -> float | None:
    """Reads Retry-After; a date, which the server never sends, counts as nothing."""
    return float(text) if text.isascii() and text.isdigit() else None


class Remaining(dict[str, float]):
    """What is left of the time for a call, as the timeout of each step of it.

    httpx looks it up as each step begins: connecting, sending, reading.
    """

    def __init__(self, deadline: float):
        super().__init__()
        self._deadline = deadline

    def get(self, step: str, default: Any = None) -> float:
        """Returns the seconds that are left; 0 would mean not to wait at all."""
        return max(self._deadline - time.monotonic(), 0.001)


class Attempts(Generic[T]):
    """A request under way: how each attempt is made, and what follows it."""

    def __init__(
        self, server: Server, request: Request[T], model: str, deadline: float
    ):
        self._server, self._request, self._deadline = server, request, deadline
        self._failed, self._backoff_s = 0, _FIRST_BACKOFF_S
        prefix = f"/v1/models/{quote(model, safe='')}" if request.is_of_model else ""
        self._url = f"{server.url}{prefix}{request.path}"

    def arguments(self) -> dict[str, Any]:
        """Returns what httpx is to send."""
        body = self._request.body
        return {
            "method": "GET" if body is None else "POST",
            "url": self._url,
            "content": body,
            "headers": {"content-type": "application/json"} if body else {},
            "extensions": {"timeout": Remaining(self._deadline)},
        }

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Turns httpx's errors into ours."""
        try:
            yield
        except httpx.RequestError as error:
            raise self._server.silence(error) from error

    def in_time(self, part: bytes) -> bytes:
        """Passes on a part of an answer, unless it comes too late.

        Raises:
          httpx.ReadTimeout: Parts trickle in past the deadline.
        """
        if time.monotonic() >= self._deadline:
            raise httpx.ReadTimeout("the answer takes too long")
        return part

    def read(self, response: httpx.Response, body: bytes) -> T:
        """Reads an answer.

        Raises:
          ServerError: It is none that was asked for.
        """
        status = response.status_code
        if status not in self._request.answers:
            raise self._server.refusal(status, response.headers, body)
        try:
            return self._request.read(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"{self._url} does not answer as 'shortlist serve' does"
            raise ServerError(status, f"{message}; check the URL") from error

    def wait_s(self, error: ServerError) -> float:
        """Returns how long to wait until the next attempt.

        Waits are random from nothing to a bound that doubles (full jitter), so that
        clients who were refused together do not come back together.

        Raises:
          ServerError: The one that is given: another attempt can't help, or there is
            no time for it.
        """
        wait_s = (error.retry_after_s or 0) + random.uniform(0, self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, _MOST_BACKOFF_S)
        self._failed += 1
        if (
            self._failed > self._server.retries
            or not _may_pass(error)
            or time.monotonic() + wait_s >= self._deadline
        ):
            raise error
        return wait_s


def _may_pass(error: ServerError) -> bool:
    """Tells whether another attempt may help; each of our requests may be repeated."""
    if isinstance(error, Unreachable):
        broken = (httpx.NetworkError, httpx.RemoteProtocolError)
        return isinstance(error.__cause__, broken)
    return error.status in _BUSY
