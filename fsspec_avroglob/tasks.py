"""Running coroutines at once so that none outlives a failure."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])


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


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
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
    """Within it, the task ends with the call that it works for (:func:`ends_its_tasks`)."""
    family, task = _family.get(), asyncio.current_task()
    if family is None or task is None:
        yield
        return
    if family.ended:
        raise asyncio.CancelledError
    family.tasks.add(task)
    try:
        yield
    finally:
        family.tasks.discard(task)
