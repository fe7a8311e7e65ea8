"""How busy the thread of an event loop is."""

from __future__ import annotations

import time
from collections.abc import Callable

BUSY = 0.9
"""From this share of its time at work on, a thread has none left for more requests."""

INTERVAL_S = 0.05
"""Seconds over which that is measured."""


class ThreadLoad:
    """Measures the thread that asks, which is to be always the same.

    wall, cpu: tell seconds, and those of them that the thread was at work.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._wall, self._cpu = wall, cpu
        self._since = wall(), cpu()
        self._busy = False

    def busy(self) -> bool:
        """Whether the thread had no time left of late."""
        now = self._wall(), self._cpu()
        wall_s, cpu_s = (end - start for end, start in zip(now, self._since, strict=True))
        if wall_s >= INTERVAL_S:
            self._busy = cpu_s >= BUSY * wall_s
            self._since = now
        return self._busy
