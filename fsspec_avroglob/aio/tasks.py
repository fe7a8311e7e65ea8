"""Running coroutines at once so that none outlives a failure."""

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
    """Run all at once and return what each returned; the first failure cancels the others.

    Unlike asyncio.gather, nothing is left running, and unlike a TaskGroup, what is raised is the
    failure itself.
    """
    waiting = list(jobs)
    if len(waiting) == 1:
        return [await waiting[0]]
    tasks: list[asyncio.Task[T]] = []
    try:
        async with task_group() as group:
            tasks += [group.create_task(job) for job in waiting]
        return [task.result() for task in tasks]
    finally:
        # A failure knows this frame by its traceback, and its task knows it: a cycle otherwise.
        del tasks


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """An asyncio.TaskGroup that raises the first failure itself, and leaves no cycle with it.

    What the frames of its traceback hold, pages or tables, is free when the failure is.
    """
    error: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        error = _first_error(failures)
        failures.__traceback__ = None
    if error is not None:
        try:
            raise error
        finally:
            del error


async def for_each(
    items: Sequence[T], visit: Callable[[T], Awaitable[None]], concurrency: int
) -> None:
    """Await ``visit(item)`` for every item, at most *concurrency* at once, in the items' order."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await visit(item)

    await gather(work() for _ in range(min(len(items), concurrency)))


async def collect(
    items: Sequence[T], function: Callable[[T], Awaitable[U]], concurrency: int
) -> list[U]:
    """The results of ``function(item)`` for every item, at most *concurrency* at once, in order."""
    results: dict[int, U] = {}

    async def one(index: int) -> None:
        results[index] = await function(items[index])

    await for_each(range(len(items)), one, concurrency)
    return [results[index] for index in range(len(items))]


class Budget:
    """A number of bytes, of which users may hold so many at once; one who takes at a time.

    What is more than the whole budget is granted when nothing else is held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._given_back = asyncio.Event()

    async def take(self, amount: int) -> None:
        """Wait until *amount* is left, and hold it."""
        while self._held and self._held + amount > self._limit:
            self._given_back.clear()
            await self._given_back.wait()
        self._held += amount

    def give_back(self, amount: int) -> None:
        """Hold *amount* no longer."""
        self._held -= amount
        self._given_back.set()


async def ordered(
    items: AsyncGenerator[T, None],
    work: Callable[[T], Awaitable[U]],
    ahead: Callable[[], int],
) -> AsyncGenerator[tuple[T, U], None]:
    """Each item with the result of ``work(item)``, in the items' order, whatever is done first.

    ahead: how many items to begin beyond the one that is waited for; asked before each is begun.
    With 0, nothing happens that was not asked for.

    A failure is raised at its place. Closing the generator ends all work and closes *items*.
    """
    begun: deque[tuple[T, asyncio.Future[U]]] = deque()
    changed, asked = asyncio.Event(), asyncio.Event()
    waiting = 0

    async def begin() -> None:
        try:
            async with aclosing(items) as source:
                while True:
                    while len(begun) >= waiting + ahead():
                        asked.clear()
                        await asked.wait()
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
            waiting = 1
            asked.set()
            while not begun and not producer.done():
                changed.clear()
                await changed.wait()
            if not begun:
                await producer
                return
            item, result = begun[0][0], await begun[0][1]
            begun.popleft()
            waiting = 0
            asked.set()
            yield item, result
    finally:
        left: list[asyncio.Future[Any]] = [producer, *(future for _, future in begun)]
        for number in range(len(left)):
            left[number].cancel()
        await asyncio.gather(*left, return_exceptions=True)
        # One that failed knows its error, whose traceback knows this frame.
        begun.clear()
        del left, producer


async def on_io_loop(
    function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
) -> T:
    """Await ``function(...)`` on fsspec's I/O loop, whichever loop is running.

    There, instances of filesystems and what they remember are those of the blocking functions.
    Cancelled, it goes on when the function has ended there.
    """
    loop = get_loop()
    running: list[asyncio.Task[Any] | None] = []
    given_up = False

    async def run() -> T:
        running.append(asyncio.current_task())
        if given_up:
            raise asyncio.CancelledError
        return await function(*args, **kwargs)

    def give_up() -> None:
        nonlocal given_up
        given_up = True
        for task in filter(None, running):
            task.cancel()

    result = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))
    try:
        return await asyncio.shield(result)
    except asyncio.CancelledError:
        loop.call_soon_threadsafe(give_up)
        await asyncio.gather(result, return_exceptions=True)
        raise
    finally:
        running.clear()  # as in gather
        del result


def usable_cpus() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Family:
    """Tasks that work for one call, those of them that :func:`in_family` has seen."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ended = False


_family: ContextVar[_Family | None] = ContextVar("family", default=None)


def ends_its_tasks(method: F) -> F:
    """Have a coroutine function end the tasks that it has made when it is cancelled itself.

    For those of fsspec that start tasks and leave them behind. Only tasks that are
    :func:`in_family` can be found; a task that is later finds itself cancelled.
    """

    @functools.wraps(method)
    async def run(*args: Any, **kwargs: Any) -> Any:
        family = _Family()
        before = _family.set(family)
        try:
            return await method(*args, **kwargs)
        except asyncio.CancelledError:
            family.ended = True
            tasks = family.tasks - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            raise
        finally:
            _family.reset(before)

    return run  # type: ignore[return-value]  # functools.wraps keeps the signature


def end_tasks_of(*names: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: :func:`ends_its_tasks` for the coroutine methods of these *names*."""

    def decorate(cls: type[T]) -> type[T]:
        for name in names:
            setattr(cls, name, ends_its_tasks(getattr(cls, name)))
        return cls

    return decorate


@contextmanager
def in_family() -> Iterator[None]:
    """Within it, the task ends with the call that it works for (:func:`ends_its_tasks`).

    The call waits until the task has left: what is begun within may be taken back there.
    """
    family, task = _family.get(), asyncio.current_task()
    if family is None or task is None or task in family.tasks:
        yield
        return
    if family.ended:
        raise asyncio.CancelledError
    family.tasks.add(task)
    try:
        yield
    finally:
        family.tasks.discard(task)
