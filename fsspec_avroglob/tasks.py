"""Running coroutines at once so that none outlives a failure."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Sequence,
)
from typing import Any, TypeVar

from fsspec.asyn import sync

T = TypeVar("T")


async def gather(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and return what each returned; the first failure cancels the others.

    Unlike asyncio.gather, nothing is left running, and unlike a TaskGroup, what is raised is the
    failure itself.
    """
    waiting = list(jobs)
    if len(waiting) == 1:
        return [await waiting[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in waiting]
    except BaseExceptionGroup as failures:
        error = first_error(failures)
        raise error from error.__cause__
    return [task.result() for task in tasks]


async def for_each(
    items: Sequence[T], visit: Callable[[T], Awaitable[None]], concurrency: int
) -> None:
    """Await ``visit(item)`` for every item, at most *concurrency* at once, in the items' order."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await visit(item)

    await gather(work() for _ in range(min(len(items), concurrency)))


def iterate(
    loop: asyncio.AbstractEventLoop, items: AsyncGenerator[T, None]
) -> Generator[T, None, None]:
    """Iterate over what a generator yields on another thread's loop.

    Closing the iterator closes the generator, also while it is running: an interrupted caller
    leaves it in the middle of a step.
    """
    steps: list[asyncio.Task[Any] | None] = []

    async def step() -> T:
        steps[:] = [asyncio.current_task()]
        return await anext(items)

    async def close() -> None:
        running = [task for task in steps if task is not None and not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await items.aclose()

    try:
        while True:
            try:
                item = sync(loop, step)
            except StopAsyncIteration:
                return
            yield item
    finally:
        sync(loop, close)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
