"""Waiting that takes no time: in an event loop whose time passes at once, or only noted down."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Passes the time that it is asked to wait, instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that will never happen")
        self.now += max(0.0, timeout)
        return super().select(0)


def run_in_virtual_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, as asyncio.run does.

    The loop's own ``time()`` tells seconds since the start, which pass only while all tasks wait.
    """
    selector = _Selector()

    def make() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now  # type: ignore[method-assign]
        return loop

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(main())


class Waits(list[float]):
    """Stands in for sleeping: keeps the seconds that were asked for."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
