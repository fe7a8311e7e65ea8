"""Run coroutines and async generators from synchronous code.

An interrupt, KeyboardInterrupt for example, cancels the coroutine that it interrupts.
"""

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
from fsspec.exceptions import FSTimeoutError

STOP_S = 5.0
"""How long an interrupt waits for the coroutine to clean up, in seconds."""

C = TypeVar("C", bound=type)
T = TypeVar("T")


def sync(
    loop: asyncio.AbstractEventLoop,
    func: Callable[..., Any],
    *args: Any,
    timeout: float | None = None,
    **kwargs: Any,
) -> Any:
    """Run ``func(*args, **kwargs)`` in *loop*, which runs in another thread. Return its result.

    An interrupt cancels the coroutine and is raised when the coroutine has ended. Raises what
    fsspec.asyn.sync raises. Raises RuntimeError while the interpreter shuts down, because the
    loop's thread has stopped and waiting for it would never end.
    """
    if sys.is_finalizing():
        raise RuntimeError("the interpreter is shutting down; close files before, to store them")
    running: list[asyncio.Task[Any]] = []
    interrupted, ended = threading.Event(), threading.Event()
    failure: Exception | None = None

    async def run() -> Any:
        nonlocal failure
        task = asyncio.current_task()
        assert task is not None
        running.append(task)
        try:
            return None if interrupted.is_set() else await func(*args, **kwargs)
        except TimeoutError as error:
            failure = _timed_out(error)
        except Exception as error:
            failure = error
        finally:
            ended.set()

    try:
        # An error that fsspec's sync raises is in a reference cycle with its frame. Ours is not.
        result = fsspec.asyn.sync(loop, run, timeout=timeout)
        if failure is not None:
            raise failure
        return result
    except BaseException:
        interrupted.set()
        if running and not ended.is_set():
            loop.call_soon_threadsafe(running[0].cancel)
            ended.wait(STOP_S)
        raise
    finally:
        running.clear()
        del failure


def _timed_out(error: TimeoutError) -> FSTimeoutError:
    """What fsspec makes of a TimeoutError, with the text and the notes that fsspec leaves out."""
    same = FSTimeoutError(str(error) or "timed out")
    same.__cause__ = error
    for note in getattr(error, "__notes__", ()):
        same.add_note(note)
    return same


def blocking(function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
    """Run ``function(...)`` on fsspec's I/O loop, as :func:`sync` does."""
    result: T = sync(fsspec.asyn.get_loop(), function, *args, **kwargs)
    return result


class BlockingIterator(Iterator[T]):
    """An async generator as an iterator. It runs on *loop*, by default fsspec's I/O loop.

    Close it, or use it as a context manager, if it may not be exhausted. When the garbage collector
    finds it, it closes the generator without waiting.
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
        """Close the generator, and wait until it has ended."""
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

    # The garbage collector runs in any thread, so waiting could deadlock.
    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)


def sync_wrapper(coroutine_method: Callable[..., Any]) -> Callable[..., Any]:
    """Make the synchronous twin of a coroutine method.

    Unlike fsspec's twin, it calls the override of a subclass.
    """
    name = coroutine_method.__name__

    @functools.wraps(coroutine_method)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return sync(self.loop, getattr(self, name), *args, **kwargs)

    return method


def with_sync_methods(cls: C) -> C:
    """Class decorator: replace the twins that fsspec or s3fs make of coroutine methods by ours."""
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        wrapped = getattr(method, "__wrapped__", None)
        if inspect.iscoroutinefunction(method):
            twin = name.removeprefix("_")
            default = getattr(fsspec.AbstractFileSystem, twin, None)
            if default is not None and inspect.getattr_static(cls, twin) is default:
                setattr(cls, twin, sync_wrapper(method))
        elif inspect.iscoroutinefunction(wrapped):
            setattr(cls, name, sync_wrapper(getattr(cls, wrapped.__name__)))
    return cls
