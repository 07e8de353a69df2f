# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The batcher on a real event loop, over an engine that tests can hold up."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import tensorflow as tf

from serving.errors import UserError
from serving.server.batcher import Batcher, answer_each
from serving.server.calls import Call
from serving.server.engines import Answer
from serving.server.failure import Code, Failure
from serving.server.tensors import Input, Signature, Tensor

SIGNATURE = Signature("s", {"x": Input("x", tf.string, (None,))}, ("y",))
LONG_S = 60.0


def call(*texts: str) -> Call:
    return Call(SIGNATURE, {"x": Tensor(list(texts), (len(texts),))}, len(texts))


class Upper:
    """Answers in capitals, batch by batch, when it is let."""

    def __init__(self, is_held: bool = False):
        self.go = threading.Event()
        if not is_held:
            self.go.set()
        self.batches: list[list[str]] = []
        self.names: list[str] = []
        """Of the threads of all batches."""

    @property
    def threads(self) -> set[str]:
        return set(self.names)

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        self.names.append(threading.current_thread().name)
        self.batches.append([one.inputs["x"].values[0] for one in calls])
        assert self.go.wait(LONG_S)
        for one in calls:
            if "bad" in one.inputs["x"].values:
                raise ValueError("no such text\nand more of it")
        return [
            {"y": Tensor([v.upper() for v in one.inputs["x"].values], (one.rows,))}
            for one in calls
        ]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's own delays change nobody's turn."""
    monkeypatch.setattr("serving.server.batcher._OVERLOAD_S", LONG_S)


def run(test: Callable[[], Awaitable[Any]]) -> None:
    """Runs a coroutine; it ends in time, or fails."""
    asyncio.run(asyncio.wait_for(test(), LONG_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def later(seconds: float = LONG_S) -> float:
    return asyncio.get_running_loop().time() + seconds


def ask(
    batcher: Batcher,
    one: Call,
    seconds: float = LONG_S,
    is_alone: bool | None = None,
) -> asyncio.Task:
    return asyncio.create_task(batcher.answer(one, later(seconds), is_alone))


def texts(answer: Any) -> list[str]:
    return answer["y"].values


def test_a_call_is_answered():
    async def test() -> None:
        batcher = Batcher(Upper())
        assert texts(await batcher.answer(call("a", "b"), later())) == ["A", "B"]
        await batcher.close()

    run(test)


def test_what_waits_while_threads_are_busy_is_one_batch():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1)
        first = ask(batcher, call("a"))
        await until(lambda: engine.batches == [["a"]])
        others = [ask(batcher, call(f"b{at}")) for at in range(20)]
        await until(lambda: batcher.waiting == 20)
        engine.go.set()
        assert texts(await first) == ["A"]
        found = [texts(await one) for one in others]
        assert found == [[f"B{at}"] for at in range(20)]
        assert engine.batches == [["a"], [f"b{at}" for at in range(20)]]
        await batcher.close()

    run(test)


def test_what_comes_in_at_the_same_time_is_one_batch():
    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, threads=1)
        found = await asyncio.gather(*(ask(batcher, call(f"a{n}")) for n in range(5)))
        assert [texts(one) for one in found] == [[f"A{n}"] for n in range(5)]
        assert engine.batches == [[f"a{n}" for n in range(5)]]
        await batcher.close()

    run(test)


def test_a_batch_has_at_most_so_many_rows_but_for_one_call():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1, max_rows=4)
        asked = [ask(batcher, call("hold"))]
        await until(lambda: len(engine.batches) == 1)
        sizes = [2, 2, 1, 9, 3, 2]
        asked += [
            ask(batcher, call(*(f"{at}.{row}" for row in range(size))))
            for at, size in enumerate(sizes)
        ]
        await until(lambda: batcher.waiting == len(sizes))
        engine.go.set()
        found = [texts(await one) for one in asked][1:]
        assert [len(one) for one in found] == sizes
        assert all(
            one == [f"{at}.{row}" for row in range(len(one))]
            for at, one in enumerate(found)
        )
        assert engine.batches[1:] == [
            ["0.0", "1.0"],
            ["2.0"],
            ["3.0"],
            ["4.0"],
            ["5.0"],
        ]
        await batcher.close()

    run(test)


def test_what_waits_too_long_is_refused_and_told_when_to_come_back():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1, max_wait_s=0.01)
        first = ask(batcher, call("a"))
        await until(lambda: len(engine.batches) == 1)
        with pytest.raises(Failure) as caught:
            await batcher.answer(call("b"), later())
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        assert caught.value.retry_after_s == 1
        assert caught.value.message == (
            "more is asked than can be answered: the request has waited 10 ms in vain; "
            "try again later"
        )
        assert batcher.waiting == 0
        engine.go.set()
        assert texts(await first) == ["A"]  # being answered is no waiting
        await batcher.close()

    run(test)


def test_the_last_comes_first_when_some_have_waited_all_the_time(monkeypatch):
    monkeypatch.setattr("serving.server.batcher._OVERLOAD_S", 0.0)

    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1, max_rows=1, max_wait_s=LONG_S)
        asked = [ask(batcher, call("hold"))]
        await until(lambda: len(engine.batches) == 1)
        asked += [ask(batcher, call("first")), ask(batcher, call("second"))]
        await until(lambda: batcher.waiting == 2)
        asked.append(ask(batcher, call("last")))
        await until(lambda: batcher.waiting == 3)
        engine.go.set()
        await asyncio.gather(*asked)
        assert engine.batches == [["hold"], ["last"], ["second"], ["first"]]
        await batcher.close()

    run(test)


def test_a_lone_quick_call_is_answered_without_a_thread():
    async def test() -> None:
        engine = Upper()
        seen: list[int] = []
        batcher = Batcher(
            engine,
            is_quick=lambda one: one.rows == 1,
            observe=lambda n, s: seen.append(n),
        )
        here = threading.current_thread().name
        for asked in (call("one"), call("one", "two")):
            await asyncio.sleep(0.001)
            assert texts(await ask(batcher, asked))[0] == "ONE"
        await until(lambda: seen == [1, 2])
        assert [name == here for name in engine.names] == [True, False]
        with pytest.raises(Failure, match="no such text"):
            await asyncio.sleep(0.001)
            await ask(batcher, call("bad"))
        assert engine.names[-1] == here
        await batcher.close()

    run(test)


def test_a_quick_call_known_to_be_alone_is_answered_at_once():
    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, is_quick=lambda one: True)
        for is_alone, is_at_once in ((True, True), (None, False), (False, False)):
            turns: list[None] = []
            asyncio.get_running_loop().call_soon(turns.append, None)
            answer = await batcher.answer(call("a"), later(), is_alone)
            assert texts(answer) == ["A"]
            assert (not turns) is is_at_once
            await asyncio.sleep(0.001)
        here = threading.current_thread().name
        assert [name == here for name in engine.names] == [True, True, False]
        with pytest.raises(Failure, match="no such text"):
            await batcher.answer(call("bad"), later(), is_alone=True)
        await batcher.close()

    run(test)


@pytest.mark.parametrize("wait_s", [0.0, 0.01])
def test_a_quick_call_known_to_be_alone_overtakes_none(wait_s):
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, is_quick=lambda one: True, wait_s=wait_s)
        first = ask(batcher, call("a"), is_alone=False)
        await until(lambda: len(engine.batches) == 1)
        second = ask(batcher, call("b"), is_alone=True)
        await until(lambda: batcher.waiting == 1)
        engine.go.set()
        await asyncio.gather(first, second)
        assert threading.current_thread().name != engine.names[0]
        assert engine.batches == [["a"], ["b"]]
        await batcher.close()

    run(test)


def test_quick_calls_that_come_together_are_a_batch_of_a_thread():
    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, is_quick=lambda one: True)
        await asyncio.sleep(0.001)
        await asyncio.gather(ask(batcher, call("a")), ask(batcher, call("b")))
        assert engine.batches == [["a", "b"]]
        assert threading.current_thread().name not in engine.names
        await batcher.close()

    run(test)


def test_calls_that_turn_out_slow_are_left_to_threads(monkeypatch):
    monkeypatch.setattr("serving.server.batcher._QUICK_S", 1e-9)

    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, is_quick=lambda one: True)
        for _ in range(3):
            await asyncio.sleep(0.001)
            await ask(batcher, call("a"))
        here = threading.current_thread().name
        assert [name == here for name in engine.names] == [True, False, False]
        await batcher.close()

    run(test)


def test_a_queue_that_was_empty_since_is_no_overload(monkeypatch):
    monkeypatch.setattr("serving.server.batcher._OVERLOAD_S", 0.2)

    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, threads=1, max_rows=1, max_wait_s=LONG_S)
        ends = asyncio.get_running_loop().time() + 0.4
        while asyncio.get_running_loop().time() < ends:
            await ask(batcher, call("alone"))
        engine.go.clear()
        engine.batches.clear()
        asked = [ask(batcher, call("hold"))]
        await until(lambda: len(engine.batches) == 1)
        asked += [ask(batcher, call("first")), ask(batcher, call("second"))]
        await until(lambda: batcher.waiting == 2)
        engine.go.set()
        await asyncio.gather(*asked)
        assert engine.batches == [["hold"], ["first"], ["second"]]
        await batcher.close()

    run(test)


def test_what_waits_past_its_deadline_fails_and_is_not_answered():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1)
        first = ask(batcher, call("a"))
        await until(lambda: len(engine.batches) == 1)
        late, patient = ask(batcher, call("b"), 0.01), ask(batcher, call("c"))
        with pytest.raises(Failure) as caught:
            await late
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        engine.go.set()
        assert texts(await first) == ["A"] and texts(await patient) == ["C"]
        assert engine.batches == [["a"], ["c"]]
        await batcher.close()

    run(test)


def test_who_is_not_waited_for_is_not_answered_and_takes_no_place():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1)
        first = ask(batcher, call("a"))
        await until(lambda: len(engine.batches) == 1)
        gone = [ask(batcher, call("b"), 0.01), ask(batcher, call("c"))]
        await until(lambda: batcher.waiting == 2)
        gone[1].cancel()
        await until(lambda: batcher.waiting == 0)
        after = ask(batcher, call("d"))
        engine.go.set()
        assert texts(await first) == ["A"] and texts(await after) == ["D"]
        assert engine.batches == [["a"], ["d"]]
        ended = await asyncio.gather(*gone, return_exceptions=True)
        assert isinstance(ended[0], Failure)
        assert isinstance(ended[1], asyncio.CancelledError)
        await batcher.close()

    run(test)


def test_who_goes_while_being_answered_harms_nobody():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1)
        gone, stays = ask(batcher, call("a")), ask(batcher, call("b"))
        await until(lambda: engine.batches == [["a", "b"]])
        gone.cancel()
        engine.go.set()
        assert texts(await stays) == ["B"]
        assert texts(await batcher.answer(call("c"), later())) == ["C"]
        await batcher.close()

    run(test)


def test_threads_answer_side_by_side():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=2, max_rows=1)
        asked = [ask(batcher, call(text)) for text in ("a", "b", "c")]
        await until(lambda: len(engine.batches) == 2)
        assert len(engine.threads) == 2 and batcher.waiting == 1
        engine.go.set()
        assert [texts(await one) for one in asked] == [["A"], ["B"], ["C"]]
        await batcher.close()

    run(test)


def test_a_free_thread_waits_for_a_batch_to_fill_and_no_longer():
    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, threads=1, max_rows=3, wait_s=LONG_S / 2)
        first = ask(batcher, call("a"))
        await until(lambda: batcher.waiting == 1)
        others = [ask(batcher, call("b")), ask(batcher, call("c"))]
        await asyncio.gather(first, *others)
        assert engine.batches == [["a", "b", "c"]]
        await batcher.close()

    run(test)


def test_a_batch_that_does_not_fill_goes_when_its_time_is_over():
    async def test() -> None:
        engine = Upper()
        batcher = Batcher(engine, threads=1, max_rows=100, wait_s=0.01)
        assert texts(await batcher.answer(call("a"), later())) == ["A"]
        assert texts(await batcher.answer(call("b"), later())) == ["B"]
        await batcher.close()

    run(test)


def test_closing_ends_the_threads():
    async def test() -> None:
        before = threading.active_count()
        batcher = Batcher(Upper(), threads=3)
        assert threading.active_count() == before + 3
        await batcher.answer(call("a"), later())
        await batcher.close()
        names = [one.name for one in threading.enumerate()]
        assert not any(name.startswith("answers-") for name in names)

    run(test)


def test_closing_waits_for_what_runs():
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1)
        asked = ask(batcher, call("a"))
        await until(lambda: len(engine.batches) == 1)
        closing = asyncio.create_task(batcher.close())
        done, _ = await asyncio.wait([closing], timeout=0.05)
        assert not done
        engine.go.set()
        await closing
        assert texts(await asked) == ["A"]

    run(test)


def test_batches_are_observed():
    async def test() -> None:
        seen: list[tuple[int, float]] = []
        batcher = Batcher(
            Upper(), observe=lambda rows, seconds: seen.append((rows, seconds))
        )
        await batcher.answer(call("a", "b"), later())
        await batcher.close()
        ((rows, seconds),) = seen
        assert rows == 2 and 0 <= seconds < LONG_S

    run(test)


def test_one_bad_call_of_a_batch_fails_alone(caplog):
    async def test() -> None:
        engine = Upper(is_held=True)
        batcher = Batcher(engine, threads=1)
        first = ask(batcher, call("hold"))
        await until(lambda: len(engine.batches) == 1)
        asked = [ask(batcher, call(text)) for text in ("a", "bad", "b")]
        await until(lambda: batcher.waiting == 3)
        engine.go.set()
        await first
        a, bad, b = await asyncio.gather(*asked, return_exceptions=True)
        assert texts(a) == ["A"] and texts(b) == ["B"]
        assert isinstance(bad, Failure) and bad.code is Code.INTERNAL
        assert bad.message == "ValueError: no such text"
        assert "a request failed" in caplog.text
        await batcher.close()

    run(test)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Failure(Code.NOT_FOUND, "gone"), Code.NOT_FOUND, "gone"),
        (UserError("the model is damaged"), Code.INTERNAL, "the model is damaged"),
        (
            tf.errors.InvalidArgumentError(
                None, None, "{{function_node f}} k must be so [Op:Search]\nand more"
            ),
            Code.INVALID_ARGUMENT,
            "k must be so",
        ),
        (
            tf.errors.InvalidArgumentError(
                None,
                None,
                "Graph execution error:\n\nDetected at node Assert defined at:\n"
                "<stack traces unavailable>\nassertion failed: [k]\n\t [[{{node a}}]]",
            ),
            Code.INVALID_ARGUMENT,
            "assertion failed: [k]",
        ),
        (
            UnicodeDecodeError("utf-8", b"no example: \xff", 12, 13, "invalid"),
            Code.INVALID_ARGUMENT,
            "no example: \ufffd",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "too large"),
            Code.RESOURCE_EXHAUSTED,
            "too large",
        ),
    ],
)
def test_what_an_engine_raises_is_told_by_its_code(error, code, message):
    class Raises:
        def answer(self, calls: Sequence[Call]) -> list[Answer]:
            raise error

    (found,) = answer_each(Raises(), [call("a")])
    assert isinstance(found, Failure)
    assert (found.code, found.message) == (code, message)
