"""Coroutines and async generators for code without them; interrupts end what is under way."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Self, TypeVar, cast

import fsspec.asyn

STOP_S = 5.0
"""Seconds that an interrupted coroutine has for cleaning up before the interrupt goes on alone."""

C = TypeVar("C", bound=type)
T = TypeVar("T")


def sync(
    loop: asyncio.AbstractEventLoop,
    func: Callable[..., Any],
    *args: Any,
    timeout: float | None = None,
    **kwargs: Any,
) -> Any:
    """Run ``func(*args, **kwargs)`` in *loop*, which runs in another thread, and return its result.

    What interrupts the waiting, KeyboardInterrupt say, cancels the coroutine and goes on when that
    has ended. Raises as fsspec.asyn.sync does, and RuntimeError when the interpreter is going down:
    the loop's thread has stopped then, and waiting for it would never end.
    """
    if sys.is_finalizing():
        raise RuntimeError("the interpreter is shutting down; close files before, to store them")
    running: list[asyncio.Task[Any]] = []
    given_up, ended = threading.Event(), threading.Event()

    failure: Exception | None = None

    async def run() -> Any:
        nonlocal failure
        task = asyncio.current_task()
        assert task is not None
        running.append(task)
        try:
            return None if given_up.is_set() else await func(*args, **kwargs)
        except TimeoutError:
            raise  # fsspec has an error of its own for it
        except Exception as error:
            failure = error
        finally:
            ended.set()

    try:
        # What this raises is in a cycle with its frame, and keeps all that its traceback holds.
        result = fsspec.asyn.sync(loop, run, timeout=timeout)
        if failure is not None:
            raise failure
        return result
    except BaseException:
        given_up.set()
        if running and not ended.is_set():
            loop.call_soon_threadsafe(running[0].cancel)
            ended.wait(STOP_S)
        raise
    finally:
        running.clear()
        del failure


def blocking(function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
    """The result of ``function(...)`` on fsspec's I/O loop; an interrupt here cancels it there."""
    result: T = sync(fsspec.asyn.get_loop(), function, *args, **kwargs)
    return result


class BlockingIterator(Iterator[T]):
    """An async generator on *loop*, by default fsspec's I/O loop, for code without coroutines.

    To be closed where it is not exhausted; a context manager. Dropped, it closes itself.
    """

    def __init__(
        self, source: AsyncGenerator[T, None], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._source = source
        self._loop = loop or fsspec.asyn.get_loop()
        self._close_later = weakref.finalize(self, _close_soon, source, self._loop)

    def __next__(self) -> T:
        async def step() -> T | object:
            return await anext(self._source, _END)

        item = sync(self._loop, step)
        if item is _END:
            self._close_later.detach()
            raise StopIteration
        return cast(T, item)

    def close(self) -> None:
        """End what is under way; returns when it has ended."""
        if self._close_later.detach():
            sync(self._loop, self._source.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_END = object()


def _close_soon(source: AsyncGenerator[Any, None], loop: asyncio.AbstractEventLoop) -> None:
    async def close() -> None:
        await source.aclose()

    # Waiting could deadlock: this may run wherever garbage is collected.
    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)


def sync_wrapper(coroutine_method: Callable[..., Any]) -> Callable[..., Any]:
    """The method for code without coroutines that stands beside a coroutine method.

    Unlike fsspec's, it calls what a subclass has put in that one's place.
    """
    name = coroutine_method.__name__

    @functools.wraps(coroutine_method)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return sync(self.loop, getattr(self, name), *args, **kwargs)

    return method


def _iterating(generator_method: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`sync_wrapper`, for an asynchronous generator."""
    name = generator_method.__name__

    @functools.wraps(generator_method)
    def method(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return BlockingIterator(getattr(self, name)(*args, **kwargs), self.loop)

    return method


def with_sync_methods(cls: C) -> C:
    """Class decorator: every method that fsspec or s3fs make of a coroutine method is ours."""
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        wrapped = getattr(method, "__wrapped__", None)
        if inspect.iscoroutinefunction(method):
            _make_twin(cls, name, sync_wrapper(method))
        elif inspect.isasyncgenfunction(method):
            _make_twin(cls, name, _iterating(method))
        elif wrapped is not None and inspect.iscoroutinefunction(wrapped):
            setattr(cls, name, sync_wrapper(getattr(cls, wrapped.__name__)))
    return cls


def _make_twin(cls: type, name: str, method: Callable[..., Any]) -> None:
    """Put *method* where fsspec has only a default for the twin of a coroutine method."""
    twin = name.removeprefix("_")
    default = getattr(fsspec.AbstractFileSystem, twin, None)
    if default is not None and inspect.getattr_static(cls, twin) is default:
        setattr(cls, twin, method)
