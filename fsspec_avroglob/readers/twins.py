"""Coroutine twins of the blocking readers: the same parameters, made from the same preparation.

A reader prepares a job in the caller's thread, where creating a filesystem may block, and runs it
on fsspec's I/O loop. Its twin prepares the job in a thread and awaits it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar

from fsspec_avroglob.aio.tasks import on_io_loop
from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.sources import ResolvedSources

P = ParamSpec("P")
T = TypeVar("T")

Urls: TypeAlias = Sources | ResolvedSources
Job: TypeAlias = Callable[[], Coroutine[Any, Any, T]]
"""A reading, prepared; runs on fsspec's I/O loop."""

Prepare: TypeAlias = Callable[[Urls, StorageOptions, ReadOptions], Job[T]]


class _ListReading(Protocol[T]):
    @property
    def errors(self) -> list[Dropped]: ...

    def lists(self) -> AsyncGenerator[list[T], None]: ...


class AsyncItems(AsyncIterator[T], Generic[T]):
    """Batches or records for ``async for``. Close it unless it is exhausted.

    Attributes
    ----------
    errors : list of Dropped
        What ``ignore_errors`` has skipped so far.
    """

    def __init__(self, prepare: Callable[[], Job[_ListReading[T]]]) -> None:
        self.errors: list[Dropped] = []
        self._prepare = prepare
        self._lists: AsyncGenerator[list[T], None] | None = None
        self._ready: deque[T] = deque()
        self._turn = asyncio.Lock()
        self._closed = self._cancelled = False

    async def __anext__(self) -> T:
        while not self._ready:
            async with self._turn:
                if not self._ready:  # another task may have fetched some
                    self._ready.extend(await self._next())
        return self._ready.popleft()

    async def _next(self) -> list[T]:
        if self._closed:
            raise StopAsyncIteration
        if self._cancelled:
            raise RuntimeError("reading was cancelled while rows were awaited; start it again")
        if self._lists is None:
            reading = await on_io_loop(await asyncio.to_thread(self._prepare))
            self.errors, self._lists = reading.errors, reading.lists()
        try:
            found: list[T] | None = await on_io_loop(anext, self._lists, None)
        except asyncio.CancelledError:
            # It ends the generator, which must not look like the end of the rows.
            self._cancelled = True
            raise
        if found is None:
            raise StopAsyncIteration
        return found

    async def aclose(self) -> None:
        """End the reading and all that it has in flight."""
        async with self._turn:
            self._closed = True
            self._ready.clear()
            if self._lists is not None:
                await on_io_loop(self._lists.aclose)


def _arguments(
    reader: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Urls, StorageOptions, ReadOptions]:
    bound = inspect.signature(reader).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    return given["urlpath"], given["storage_options"], ReadOptions.of(given)


def coroutine_twin(
    reader: Callable[P, T], prepare: Prepare[T]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make the twin of *reader* that is a coroutine function with the same parameters."""

    @wraps(reader)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        job = await asyncio.to_thread(prepare, *_arguments(reader, args, kwargs))
        return await on_io_loop(job)

    twin.__name__ = twin.__qualname__ = f"{reader.__name__}_async"
    twin.__doc__ = f":func:`{reader.__name__}` as a coroutine."
    return twin


def async_items_twin(
    reader: Callable[P, Iterator[T]], prepare: Prepare[Any], check: Callable[[], object] = object
) -> Callable[P, AsyncItems[T]]:
    """Make the twin of *reader* for ``async for``. A call runs *check*, which may raise."""

    @wraps(reader)
    def twin(*args: P.args, **kwargs: P.kwargs) -> AsyncItems[T]:
        check()
        return AsyncItems(partial(prepare, *_arguments(reader, args, kwargs)))

    twin.__name__ = twin.__qualname__ = f"a{reader.__name__}"
    twin.__doc__ = f":func:`{reader.__name__}` for ``async for``; starts with the first item."
    return twin
