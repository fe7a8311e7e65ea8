"""Work that runs at once keeps its order, its bounds and nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import pytest
from fsspec.asyn import get_loop
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.aio.blocking import BlockingIterator, blocking
from fsspec_avroglob.aio.tasks import Budget, gather, on_io_loop, ordered
from fsspec_avroglob.s3.retry import with_retry


async def numbers(count: int, log: list[object]) -> AsyncGenerator[int, None]:
    try:
        for number in range(count):
            log.append(number)
            yield number
    finally:
        log.append("closed")


@given(delays=st.lists(st.integers(0, 3), max_size=12), ahead=st.integers(0, 5))
def test_results_keep_their_order(delays: list[int], ahead: int) -> None:
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(delays[number]):
            await asyncio.sleep(0)
        running -= 1
        return number * number

    async def main() -> list[tuple[int, int]]:
        async with aclosing(ordered(numbers(len(delays), []), work, lambda: ahead)) as results:
            return [pair async for pair in results]

    assert asyncio.run(main()) == [(n, n * n) for n in range(len(delays))]
    assert most <= ahead + 1


async def test_no_lookahead_reads_nothing_early() -> None:
    log: list[object] = []

    async def work(number: int) -> int:
        return number

    async with aclosing(ordered(numbers(9, log), work, lambda: 0)) as results:
        await anext(results)
        await anext(results)
        for _ in range(20):
            await asyncio.sleep(0)
        assert log == [0, 1]
    assert log == [0, 1, "closed"]


async def test_failure_keeps_its_place() -> None:
    log: list[object] = []
    seen = []

    async def results() -> None:
        async with aclosing(ordered(numbers(9, log), work, lambda: 9)) as found:
            async for number, _ in found:
                seen.append(number)

    async def work(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        if number > 2:
            await asyncio.Event().wait()
        return number

    with pytest.raises(ValueError, match="two"):
        await results()

    assert seen == [0, 1]
    assert log[-1] == "closed"
    assert len(asyncio.all_tasks()) == 1


async def test_failing_source_raises_in_order() -> None:
    async def source() -> AsyncGenerator[int, None]:
        yield 1
        raise OSError("gone")

    async def work(number: int) -> int:
        return number

    found = ordered(source(), work, lambda: 5)

    assert await anext(found) == (1, 1)
    with pytest.raises(OSError, match="gone"):
        await anext(found)


class Held:
    """What is of some size."""


async def failing(held: Held) -> None:
    await asyncio.sleep(0)
    raise ValueError


async def failing_in_order(held: Held) -> None:
    async with aclosing(ordered(numbers(9, []), lambda _: failing(held), lambda: 3)) as results:
        await anext(results)


@pytest.mark.parametrize(
    "function",
    [
        failing,
        failing_in_order,
        lambda held: gather([failing(held), failing(held)]),
        lambda held: on_io_loop(failing, held),
    ],
    ids=["blocking", "ordered", "gather", "loop"],
)
def test_dropped_failure_keeps_nothing(
    function: Callable[[Held], Coroutine[Any, Any, Any]],
) -> None:
    held = Held()
    gone = weakref.ref(held)
    gc.disable()
    try:
        with suppress(ValueError):
            blocking(function, held)
        del held
        assert gone() is None
    finally:
        gc.enable()


def test_kept_failure_keeps_nothing_else() -> None:
    held = Held()
    gone = weakref.ref(held)
    kept: list[Exception] = []  # as aiohttp keeps them

    async def attempt(held: Held) -> None:
        if not kept:
            kept.append(ValueError())
            raise kept[0]

    blocking(with_retry, partial(attempt, held), {"base_delay": 0}, classify=lambda error: "lost")

    del held
    assert gone() is None


async def test_budget_never_blocks_larger_items() -> None:
    budget = Budget(10)
    await budget.take(25)
    waiting = asyncio.create_task(budget.take(1))
    await asyncio.sleep(0)
    assert not waiting.done()

    budget.give_back(25)

    await waiting


def test_blocking_iterator_closes_source() -> None:
    log: list[object] = []

    with BlockingIterator(numbers(9, log)) as found:
        assert [next(found), next(found)] == [0, 1]

    assert log == [0, 1, "closed"]
    assert list(BlockingIterator(numbers(3, []))) == [0, 1, 2]


def test_dropped_iterator_closes_source() -> None:
    closed = threading.Event()

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            closed.set()

    found = BlockingIterator(source())
    next(found)
    del found
    gc.collect()

    assert closed.wait(10)


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelled_job_has_ended(begun: bool) -> None:
    here, waiting, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    log = []

    async def job() -> None:
        try:
            log.append("begun")
            here.call_soon_threadsafe(waiting.set)
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(may_end.wait)
            log.append("ended")

    async def let_it_end() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        may_end.set()

    task = asyncio.ensure_future(on_io_loop(job))
    await (waiting.wait() if begun else asyncio.sleep(0))
    task.cancel()
    letting = asyncio.ensure_future(let_it_end())
    with pytest.raises(asyncio.CancelledError):
        await task

    assert log in ([], ["begun", "ended"])
    await letting


async def test_io_loop_never_waits_for_itself() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def wait_for_itself() -> None:
        blocking(loop)

    assert await on_io_loop(loop) is get_loop()
    with pytest.raises(RuntimeError, match="running loop"):
        await on_io_loop(wait_for_itself)


async def test_cancelling_reaches_the_io_loop() -> None:
    cancelled, begun = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(on_io_loop(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 10)
