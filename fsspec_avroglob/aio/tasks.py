"""Run coroutines concurrently. After a failure or a cancellation, none is left running."""

from __future__ import annotations

import asyncio
import functools
import os
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from fsspec.asyn import get_loop

T = TypeVar("T")
U = TypeVar("U")
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])


async def gather(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all jobs concurrently and return their results. The first failure cancels the others.

    Unlike asyncio.gather, it leaves no job running. Unlike a TaskGroup, it raises the first failure
    itself.
    """
    tasks: list[asyncio.Task[T]] = []
    try:
        async with task_group() as group:
            tasks += [group.create_task(job) for job in jobs]
        return [task.result() for task in tasks]
    finally:
        # A failed task refers to its error, and the error's traceback refers to this frame.
        del tasks


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """An asyncio.TaskGroup that raises the first failure itself.

    The failure is in no reference cycle, so that pages and tables in the frames of its traceback
    are freed with it.
    """
    error: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        error = failures
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        failures.__traceback__ = None
    if error is not None:
        try:
            raise error
        finally:
            del error


async def for_each(
    items: Sequence[T], visit: Callable[[T], Awaitable[None]], concurrency: int
) -> None:
    """Await ``visit(item)`` for every item, in order, at most *concurrency* at the same time."""
    remaining = iter(items)

    async def work() -> None:
        for item in remaining:
            await visit(item)

    await gather(work() for _ in range(min(len(items), concurrency)))


async def collect(
    items: Sequence[T], function: Callable[[T], Awaitable[U]], concurrency: int
) -> list[U]:
    """Return ``function(item)`` for every item, in order, with :func:`for_each`."""
    results: dict[int, U] = {}

    async def one(index: int) -> None:
        results[index] = await function(items[index])

    await for_each(range(len(items)), one, concurrency)
    return [results[index] for index in range(len(items))]


class Budget:
    """A limit on the bytes that several tasks hold together.

    Only one task may call :meth:`take` at a time. An amount above the whole limit is granted when
    nothing else is held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._released = asyncio.Event()

    async def take(self, amount: int) -> None:
        """Wait until *amount* bytes are free, and hold them."""
        while self._held and self._held + amount > self._limit:
            self._released.clear()
            await self._released.wait()
        self._held += amount

    def give_back(self, amount: int) -> None:
        """Release *amount* bytes."""
        self._held -= amount
        self._released.set()


async def ordered(
    items: AsyncGenerator[T, None],
    work: Callable[[T], Awaitable[U]],
    ahead: Callable[[], int],
) -> AsyncGenerator[tuple[T, U], None]:
    """Yield each item with the result of ``work(item)``, in the order of the items.

    *work* runs concurrently for several items, and a failure is raised when its item is due.
    ``ahead()`` returns how many items to begin beyond the one that the caller waits for; it is
    called before each item is begun. With 0, nothing begins before the caller asks for it. *items*
    is closed when this generator ends.
    """
    begun: deque[tuple[T, asyncio.Future[U]]] = deque()
    changed = asyncio.Event()
    waiting = False

    async def begin() -> None:
        try:
            async with aclosing(items) as source:
                while True:
                    while len(begun) >= waiting + ahead():
                        changed.clear()
                        await changed.wait()
                    try:
                        item = await anext(source)
                    except StopAsyncIteration:
                        return
                    begun.append((item, asyncio.ensure_future(work(item))))
                    changed.set()
        finally:
            changed.set()

    producer = asyncio.create_task(begin())
    try:
        while True:
            waiting = True
            changed.set()
            while not begun and not producer.done():
                changed.clear()
                await changed.wait()
            if not begun:
                await producer
                return
            item, result = begun[0][0], await begun[0][1]
            begun.popleft()
            waiting = False
            changed.set()
            yield item, result
    finally:
        unfinished: list[asyncio.Future[Any]] = [producer, *(future for _, future in begun)]
        for i in range(len(unfinished)):
            unfinished[i].cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        # A failed task refers to its error, and the error's traceback refers to this frame.
        begun.clear()
        del unfinished, producer


async def on_io_loop(
    function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
) -> T:
    """Await ``function(...)`` on fsspec's I/O loop, from any running loop.

    The blocking functions use the same loop, so filesystem instances and their caches are shared.
    A cancellation cancels the function and is raised when the function has ended.
    """
    loop = get_loop()
    running: list[asyncio.Task[Any] | None] = []
    cancelled = False

    async def run() -> T:
        running.append(asyncio.current_task())
        if cancelled:
            raise asyncio.CancelledError
        return await function(*args, **kwargs)

    def cancel() -> None:
        nonlocal cancelled
        cancelled = True
        for task in filter(None, running):
            task.cancel()

    result = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))
    try:
        return await asyncio.shield(result)
    except asyncio.CancelledError:
        loop.call_soon_threadsafe(cancel)
        await asyncio.gather(result, return_exceptions=True)
        raise
    finally:
        running.clear()  # for the same reason as in gather
        del result


def usable_cpus() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Scope(set[asyncio.Task[Any]]):
    """The tasks that work for one call and are :func:`in_scope`."""

    cancelled = False


_scope: ContextVar[_Scope | None] = ContextVar("scope", default=None)


def cancels_its_tasks(method: F) -> F:
    """Decorate a coroutine method: if it is cancelled, it cancels the tasks that it started.

    Some methods of fsspec start tasks and do not wait for them when they are cancelled. Only tasks
    that are :func:`in_scope` are cancelled. A task that enters the scope later is cancelled then.
    """

    @functools.wraps(method)
    async def run(*args: Any, **kwargs: Any) -> Any:
        scope = _Scope()
        token = _scope.set(scope)
        try:
            return await method(*args, **kwargs)
        except asyncio.CancelledError:
            scope.cancelled = True
            tasks = scope - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            raise
        finally:
            _scope.reset(token)

    return run  # type: ignore[return-value]  # functools.wraps keeps the signature


@contextmanager
def in_scope() -> Iterator[None]:
    """Inside this block, cancelling the call also cancels the current task.

    See :func:`cancels_its_tasks`. The call waits until the task has left the block, so the block
    may clean up.
    """
    scope, task = _scope.get(), asyncio.current_task()
    if scope is None or task is None or task in scope:
        yield
        return
    if scope.cancelled:
        raise asyncio.CancelledError
    scope.add(task)
    try:
        yield
    finally:
        scope.discard(task)
