# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sends requests to a server of this machine and times the answers.

Open loop: requests are due at a constant rate, whether the ones before are answered or
not, and the time of each counts from when it was due. So a server that stalls is seen
to stall. Closed loop: each connection sends its next request when the last is answered.

Run as `python -m benchmarks.serving.load REQUEST.json RESULT.json`.
"""

import asyncio
import dataclasses
import itertools
import json
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

_TICK_S = 0.0005
_NOT_SENT = "not sent: no connection was free"
_HOST = "127.0.0.1"
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}


@dataclasses.dataclass
class Plan:
    """What is sent, and how."""

    protocol: str
    """rest, grpc (asyncio), or stub: a blocking client's, one call after
    the other."""
    port: int
    path: str
    """Of a POST, or the full name of a gRPC method."""
    bodies: list[str]
    """Sent in turn: JSON, or hexadecimal serialized messages."""
    seconds: float
    rate: float = 0.0
    """Requests a second; 0: closed loop."""
    connections: int = 32
    warm_seconds: float = 1.0
    """At the beginning, of which nothing counts."""
    limit: float = 10.0
    """Seconds after which an answer is not waited for any more."""
    drop_after: float = 0.0
    """Open loop: seconds after which a request is given up that finds no connection
    free; times count from when it was sent then. 0: never, and from when it was due."""


class Result:
    """Gathers what becomes of requests."""

    def __init__(self, began: float):
        """Takes the time at which requests begin to count."""
        self._began = began
        self.statuses: Counter[str] = Counter()
        # Half an hour of requests are millions.
        self._seconds, self._due = array("d"), array("d")
        self._accepted = array("b")

    def add(self, due: float, status: str) -> None:
        """Adds an answer, or what came instead."""
        if due < self._began:
            return
        self.statuses[status] += 1
        self._seconds.append(time.perf_counter() - due)
        self._accepted.append(status == "200")
        self._due.append(due - self._began)

    def as_values(self, seconds: float) -> dict[str, Any]:
        """Returns counts, and milliseconds of what was accepted."""
        accepted = np.array(self._accepted).astype(bool)
        taken = np.array(self._seconds) * 1e3
        return {
            "statuses": dict(self.statuses),
            "per_second": float(accepted.sum() / seconds),
            "ms": _summary(taken[accepted]),
            "refused_ms": _summary(taken[~accepted]),
            "by_second": _by_second(np.array(self._due), taken, accepted, seconds),
        }


def _summary(ms: np.ndarray) -> dict[str, float] | None:
    if not len(ms):
        return None
    found = {name: float(np.percentile(ms, p)) for name, p in _PERCENTILES.items()}
    return {**found, "max": float(ms.max()), "mean": float(ms.mean())}


def _by_second(
    due: np.ndarray, taken: np.ndarray, accepted: np.ndarray, seconds: float
) -> list[tuple[int, int, float]]:
    """Returns accepted and refused requests of each second, and the p99 of these."""
    found = []
    for second in range(int(seconds)):
        at = (due >= second) & (due < second + 1)
        inside = taken[at & accepted]
        p99 = float(np.percentile(inside, 99)) if len(inside) else 0.0
        found.append((int(len(inside)), int((at & ~accepted).sum()), p99))
    return found


class _Connection(asyncio.Protocol):
    """A connection that sends one request at a time."""

    def __init__(self, idle: Callable[["_Connection"], None], result: Result):
        self._idle, self._result = idle, result
        self._transport: Any = None
        self._buffer = b""
        self.due = 0.0
        self.is_busy = False

    def connection_made(self, transport: Any) -> None:
        """Takes the transport."""
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        """Sends a request that was due at a time."""
        self.due, self.is_busy = due, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Takes a part of an answer."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < head + 4 + length:
            return
        status = self._buffer[9:12].decode()
        self._buffer = self._buffer[head + 4 + length :]
        self.is_busy = False
        self._result.add(self.due, status)
        self._idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Counts a request that was not answered."""
        if self.is_busy:
            self.is_busy = False
            self._result.add(self.due, "connection lost")

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed it."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Closes it."""
        if self._transport:
            self._transport.close()


class _Rest:
    """Sends the requests of a plan over HTTP connections that are kept."""

    def __init__(self, plan: Plan, started: float):
        self._plan, self._end = plan, started + plan.warm_seconds + plan.seconds
        self.result = Result(started + plan.warm_seconds)
        bodies = [_http(plan, body.encode()) for body in plan.bodies]
        self._requests = itertools.cycle(bodies)
        self._idle: deque[_Connection] = deque()
        self._all: list[_Connection] = []
        self.reopened = 0

    async def connect(self) -> _Connection:
        """Opens a connection."""
        _, made = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._on_idle, self.result), _HOST, self._plan.port
        )
        self._all.append(made)
        return made

    def _on_idle(self, connection: _Connection) -> None:
        now = time.perf_counter()
        if self._plan.rate or connection.is_closed:
            self._idle.append(connection)
        elif now < self._end:
            connection.send(next(self._requests), now)

    async def run_closed(self) -> None:
        """Lets each connection send its next request when the last is answered."""
        for connection in [await self.connect() for _ in range(self._plan.connections)]:
            connection.send(next(self._requests), time.perf_counter())
        while time.perf_counter() < self._end:
            await asyncio.sleep(_TICK_S * 20)
            for _ in range(len(self._idle)):
                self._idle.popleft()
                self.reopened += 1
                fresh = await self.connect()
                fresh.send(next(self._requests), time.perf_counter())

    async def run_open(self, dues: Iterator[float]) -> None:
        """Sends requests when they are due, late where no connection is free."""
        self._idle.extend([await self.connect() for _ in range(self._plan.connections)])
        waiting: deque[float] = deque()
        upcoming = next(dues)
        while (now := time.perf_counter()) < self._end:
            while upcoming <= now:
                waiting.append(upcoming)
                upcoming = next(dues)
            while waiting and self._plan.drop_after:
                if now - waiting[0] < self._plan.drop_after:
                    break
                self.result.add(waiting.popleft(), _NOT_SENT)
            while self._idle and waiting:
                connection = self._idle.popleft()
                if connection.is_closed:
                    connection = await self.connect()
                    self.reopened += 1
                due = waiting.popleft()
                counted = time.perf_counter() if self._plan.drop_after else due
                connection.send(next(self._requests), counted)
            await asyncio.sleep(_TICK_S)
        for due in waiting:
            self.result.add(due, _NOT_SENT)

    async def finish(self) -> None:
        """Waits for the last answers, counts what has none, and closes."""
        last = time.perf_counter() + self._plan.limit
        while any(one.is_busy for one in self._all) and time.perf_counter() < last:
            await asyncio.sleep(0.01)
        for one in self._all:
            if one.is_busy:
                one.is_busy = False
                self.result.add(one.due, "no answer")
            one.close()


async def _run_rest(plan: Plan) -> dict[str, Any]:
    started = time.perf_counter() + 0.1
    rest = _Rest(plan, started)
    await (rest.run_open(_dues(started, plan.rate)) if plan.rate else rest.run_closed())
    await rest.finish()
    return {**rest.result.as_values(plan.seconds), "reopened": rest.reopened}


def _http(plan: Plan, body: bytes) -> bytes:
    return (
        f"POST {plan.path} HTTP/1.1\r\nHost: {_HOST}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _dues(started: float, rate: float) -> Iterator[float]:
    """Yields when requests are due: a Poisson process, as independent users make."""
    rng = np.random.default_rng(7)
    at = started
    while True:
        for gap in rng.exponential(1 / rate, 4096).tolist():
            at += gap
            yield at


async def _run_grpc(plan: Plan) -> dict[str, Any]:
    started = time.perf_counter() + 0.1
    result = Result(started + plan.warm_seconds)
    channels = [
        grpc.aio.insecure_channel(
            f"{_HOST}:{plan.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        for _ in range(min(plan.connections, 4))
    ]
    calls = itertools.cycle([one.unary_unary(plan.path) for one in channels])
    bodies = itertools.cycle([bytes.fromhex(one) for one in plan.bodies])
    end = started + plan.warm_seconds + plan.seconds

    async def ask(due: float) -> None:
        try:
            await next(calls)(next(bodies), timeout=plan.limit)
            result.add(due, "200")
        except grpc.aio.AioRpcError as error:
            result.add(due, error.code().name)

    async def ask_again_and_again() -> None:
        while (now := time.perf_counter()) < end:
            await ask(now)

    if plan.rate:
        tasks: set[asyncio.Task] = set()
        dues = _dues(started, plan.rate)
        upcoming = next(dues)
        while (now := time.perf_counter()) < end:
            while upcoming <= now:
                task = asyncio.create_task(ask(upcoming))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                upcoming = next(dues)
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*tasks)
    else:
        await asyncio.gather(*(ask_again_and_again() for _ in range(plan.connections)))
    for one in channels:
        await one.close()
    return result.as_values(plan.seconds)


def _run_stub(plan: Plan) -> dict[str, Any]:
    started = time.perf_counter()
    result = Result(started + plan.warm_seconds)
    end = started + plan.warm_seconds + plan.seconds
    bodies = itertools.cycle([bytes.fromhex(one) for one in plan.bodies])
    with grpc.insecure_channel(f"{_HOST}:{plan.port}") as channel:
        call = channel.unary_unary(plan.path)
        while (now := time.perf_counter()) < end:
            try:
                call(next(bodies), timeout=plan.limit)
                result.add(now, "200")
            except grpc.RpcError as error:
                result.add(now, error.code().name)
    return result.as_values(plan.seconds)


def main(arguments: Sequence[str]) -> None:
    """Carries out a plan."""
    plan = Plan(**json.loads(Path(arguments[0]).read_text()))
    uvloop.install()
    if plan.protocol == "stub":
        found = _run_stub(plan)
    else:
        run = {"rest": _run_rest, "grpc": _run_grpc}[plan.protocol]
        found = asyncio.run(run(plan))
    Path(arguments[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
