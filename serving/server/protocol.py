# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP connections that refuse what is too much before it becomes work.

Nearly all of a request's time is that of the one event loop, and most of it goes into
what every request needs, refused or not: a task, ASGI's messages, a header at a time.
So requests beyond a bound are refused here, where only their headers are parsed, at a
fraction of that.

They are told a little later. A client that asks again at once would else keep the
event loop busy with refusals; so each connection has only a few of them a second.
"""

import functools
import http
from typing import Any

from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.server.failure import HTTP_STATUS, Code
from serving.server.json_tensors import dumps

_BOUNDED = b"/v1/"
"""How paths begin that are refused; health and metrics are told all the more then."""
_TELL_AFTER_S = 0.25


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound for requests under way on all connections."""

    max_concurrent: int
    refused: Counter

    # uvicorn has no public method where the headers are known and no task is there;
    # test_limits.py knows if this one is not called any more.
    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Has a request answered whose headers are there, or refuses it."""
        if (
            len(self.tasks) < self.max_concurrent
            or cycle.scope["raw_path"][: len(_BOUNDED)].lower() != _BOUNDED
            or cycle.scope["method"] == "HEAD"  # whose answers have no body
        ):
            super()._start_asgi_task(cycle, app)
        else:
            self.loop.call_later(_TELL_AFTER_S, self._refuse, cycle)

    def _refuse(self, cycle: Any) -> None:
        self.refused.inc()
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True  # its body is skipped
        self.transport.write(_refusal(self.max_concurrent, cycle.keep_alive))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


def bounded(max_concurrent: int, refused: Counter) -> type[Protocol]:
    """Returns the protocol of a server.

    Args:
      max_concurrent: Requests that may be under way.
      refused: Counts those that were refused.
    """
    return type(
        "BoundedProtocol",
        (Protocol,),
        {"max_concurrent": max_concurrent, "refused": refused},
    )


@functools.cache
def _refusal(max_concurrent: int, keep_alive: bool) -> bytes:
    """Returns the answer to a request that is too much."""
    content = dumps(
        {"error": f"{max_concurrent} requests are under way already; try again later"}
    )
    status = http.HTTPStatus(HTTP_STATUS[Code.UNAVAILABLE])
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nretry-after: 1\r\n"
        + ("" if keep_alive else "connection: close\r\n")
    )
    return f"{head}\r\n".encode() + content
