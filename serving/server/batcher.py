# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Gathers calls into batches for threads that answer them, within bounds.

A batch is whatever waits when a thread is free, so that a lone call waits for nothing
and a busy server answers many at a time. A lone call that takes less than to wake a
thread and to be woken by it is answered at once, within the event loop, while there is
little to do. How long calls may wait is bounded: what is not begun by then is refused.

First come is first served as long as everybody is, now and then. When more is asked
than can be answered, calls wait all the time, and all would be late that way. Then the
last comes first, and is in time, while the first ones are refused (adaptive LIFO:
Maurer, Fail at Scale, ACM Queue 13(8), 2015). A short stall, such as of a version that
is being loaded, leaves a queue that is soon at an end, and the order as it is.
"""

import asyncio
import logging
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from serving.errors import UserError
from serving.server.calls import Call
from serving.server.engines import Answer, Engine
from serving.server.failure import HTTP_STATUS, Code, Failure, invalid
from serving.server.tensors import Tensors

_log = logging.getLogger(__name__)

_PLACE = re.compile(r"\{\{.*?\}\}|\[Op:\w+\]")
_ABOUT_GRAPHS = ("Graph execution error", "Detected at node", "<stack traces", "[[")
"""How lines of TensorFlow's errors begin that tell of its graphs."""
_QUICK_S = 0.0005
"""What a call may keep the event loop from its work for."""
_QUICK_WEIGHT = 0.1
"""Of the last call in the mean of such calls' times."""
_SWEEP_S = 0.02
"""How often deadlines are looked after."""
_OVERLOAD_S = 0.5
"""How long the queue must not have been empty for the last to come first."""


class _Waiting(NamedTuple):
    """A call whose answer somebody waits for."""

    call: Call
    since: float
    """On the event loop's clock, seconds."""
    deadline: float
    """On the same clock."""
    future: asyncio.Future
    may_be_alone: bool
    """Whether no other one is known to be under way."""


class Batcher:
    """Answers calls by an engine in threads of its own."""

    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 1,
        max_rows: int = 64,
        wait_s: float = 0.0,
        max_wait_s: float = 0.5,
        is_quick: Callable[[Call], bool] = lambda call: False,
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
    ):
        """Starts the threads. To be made, and used, within the event loop.

        Args:
          engine: Answers the calls.
          threads: Batches that are answered at the same time.
          max_rows: Queries of a batch, but for a call that has more by itself.
          wait_s: How long to wait for more of them while a thread is free.
          max_wait_s: How long a call may wait.
          is_quick: Tells calls that all take about as long, and maybe very short.
          observe: Told the rows and the seconds of each batch, on a thread.
        """
        self._engine, self._observe = engine, observe
        self._max_rows, self._wait_s, self._max_wait_s = max_rows, wait_s, max_wait_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_since = 0.0
        """When a call came that found none waiting, on the event loop's clock."""
        self._is_quick, self._quick_s = is_quick, 0.0
        self._free = threads
        self._wakeup: asyncio.Handle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._batches: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"answers-{at}", daemon=True)
            for at in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    async def answer(
        self, call: Call, deadline: float, is_alone: bool | None = None
    ) -> Tensors:
        """Answers a call.

        Args:
          call: A checked one.
          deadline: Until when, on the event loop's clock.
          is_alone: Whether no other one is under way; None: that is not known, and
            what else the event loop has to deal with comes first.

        Raises:
          Failure: It has waited too long, the deadline is over, or the call can't be
            answered.
        """
        if is_alone and self._is_idle and self._may_answer_here(call):
            [answer] = self._answer([call])
            if isinstance(answer, Failure):
                raise answer
            return answer
        future = self._loop.create_future()
        now = self._loop.time()
        if not self._waiting:
            self._waiting_since = now
        self._waiting.append(
            _Waiting(call, now, deadline, future, is_alone is not False)
        )
        if self._free and self._wait_s and self._is_full():
            self._dispatch()
        elif self._free and self._wakeup is None:
            # What else has come in by now is dealt with first, and joins the batch.
            self._wakeup = (
                self._loop.call_later(self._wait_s, self._dispatch)
                if self._wait_s
                else self._loop.call_soon(self._dispatch)
            )
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        return await future

    def _is_full(self) -> bool:
        """Tells whether as much waits as one batch may have."""
        return sum(one.call.rows for one in self._waiting) >= self._max_rows

    def _dispatch(self) -> None:
        """Hands what waits to free threads."""
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        if self._is_one_alone() and (batch := self._next_batch()):
            self._resolve(batch, self._answer([one.call for one in batch]))
        while self._waiting and self._free:
            batch = self._next_batch()
            if batch:
                self._free -= 1
                self._batches.put(batch)

    @property
    def _is_idle(self) -> bool:
        """Whether nothing waits, nor is to wait for more."""
        return not self._waiting and not self._wait_s

    def _is_one_alone(self) -> bool:
        """Tells whether what waits is one call that may be answered here.

        Under load several come in one turn of the event loop.
        """
        return (
            len(self._waiting) == 1
            and self._waiting[0].may_be_alone
            and self._may_answer_here(self._waiting[0].call)
        )

    def _may_answer_here(self, call: Call) -> bool:
        """Tells whether a lone call is better answered without a thread.

        That is a quick one while no thread has work: to wake a thread and be woken
        takes longer.
        """
        return (
            self._quick_s < _QUICK_S
            and self._free == len(self._threads)
            and self._is_quick(call)
        )

    def _next_batch(self) -> list[_Waiting]:
        """Takes the next calls, without those that nobody waits for any more."""
        batch: list[_Waiting] = []
        rows, waiting = 0, self._waiting
        is_overload = self._loop.time() - self._waiting_since > _OVERLOAD_S
        at, take = (-1, waiting.pop) if is_overload else (0, waiting.popleft)
        while waiting:
            one = waiting[at]
            if not one.future.done():
                rows += one.call.rows
                if batch and rows > self._max_rows:
                    break
                batch.append(one)
            take()
        return batch

    def _work(self) -> None:
        """Answers batches on a thread until there are no more."""
        while (batch := self._batches.get()) is not None:
            answers = self._answer([one.call for one in batch])
            try:
                self._loop.call_soon_threadsafe(self._finish, batch, answers)
            except RuntimeError:
                return  # the event loop is gone, and all who waited with it

    def _answer(self, calls: Sequence[Call]) -> list[Answer]:
        started = time.perf_counter()
        answers = answer_each(self._engine, calls)
        seconds = time.perf_counter() - started
        self._observe(sum(one.rows for one in calls), seconds)
        if len(calls) == 1 and self._is_quick(calls[0]):
            self._quick_s += _QUICK_WEIGHT * (seconds - self._quick_s)
        return answers

    def _finish(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        self._free += 1
        self._resolve(batch, answers)
        self._dispatch()

    def _resolve(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        for one, answer in zip(batch, answers, strict=True):
            if one.future.done():
                continue
            if isinstance(answer, Failure):
                one.future.set_exception(answer)
            else:
                one.future.set_result(answer)

    def _sweep(self) -> None:
        """Fails what has waited for too long, until nothing waits."""
        now, self._sweeping = self._loop.time(), None
        for one in self._waiting:
            if one.future.done():
                continue
            if one.deadline <= now:
                one.future.set_exception(_late())
            elif one.since + self._max_wait_s <= now:
                one.future.set_exception(self._too_many())
        self._waiting = deque(one for one in self._waiting if not one.future.done())
        if self._waiting:
            self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)

    def _too_many(self) -> Failure:
        return Failure(
            Code.RESOURCE_EXHAUSTED,
            "more is asked than can be answered: the request has waited "
            f"{self._max_wait_s * 1e3:g} ms in vain; try again later",
            retry_after_s=1,
        )

    async def close(self) -> None:
        """Ends the threads after what runs; nothing may wait any more."""
        for _ in self._threads:
            self._batches.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)


def _late() -> Failure:
    return Failure(
        Code.DEADLINE_EXCEEDED, "the request was not answered before its deadline"
    )


def answer_each(engine: Engine, calls: Sequence[Call]) -> list[Answer]:
    """Answers calls, so that what is wrong with one is that one's failure alone."""
    try:
        return engine.answer(calls)
    # Nobody but the one who has sent it may be harmed by a request that no check has
    # foreseen: it is told, with its trace, and the server goes on.
    except Exception as error:  # noqa: BLE001
        if len(calls) > 1:
            return [answer for one in calls for answer in answer_each(engine, [one])]
        return [_as_failure(error)]


def _as_failure(error: Exception) -> Failure:
    """Returns what an engine's exception means to who has asked."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, UserError):
        return Failure(Code.INTERNAL, str(error))
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow quotes what it can't parse, and fails to hand on its own words.
        return invalid(_core(error.object.decode(errors="replace")))
    if isinstance(error, tf.errors.OpError):
        code = next(one for one in HTTP_STATUS if one.value[0] == error.error_code)
        return Failure(code, _core(error.message))
    _log.error("a request failed", exc_info=error)
    return Failure(Code.INTERNAL, f"{type(error).__name__}: {error}".splitlines()[0])


def _core(text: str) -> str:
    """Returns the line of TensorFlow's words that says what is wrong."""
    lines = [_PLACE.sub("", line).strip() for line in text.splitlines()]
    said = [line for line in lines if line and not line.startswith(_ABOUT_GRAPHS)]
    return (said or lines or [text])[0]
