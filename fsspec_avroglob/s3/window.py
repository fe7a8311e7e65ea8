"""The request window: how many requests of an instance are in flight, and which one is next.

:class:`Congestion` sets the limit from accepted and refused requests; it is pure.
:class:`RequestWindow` holds the requests that wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeAlias

START = 32
"""The limit before anything is known: enough for most globs. A server that accepts fewer requests
refuses the rest once."""

GROWTH = 1 / 8
"""How fast the limit grows after a refusal: by ``GROWTH / 2 * n**2`` in n round trips."""

LONGEST_APART_S = 0.5
"""Most that counts of the time between two accepted requests; the rest is the caller's own pause,
in seconds."""


MOST_REFUSALS = 3
"""Refusals of one operation that count; more do not make its retry wait longer."""


class Slot(NamedTuple):
    """Permission to send one request: its time, and how often its operation was throttled."""

    started: float
    refusals: int


_Queue: TypeAlias = "OrderedDict[asyncio.Future[Slot], int]"


class Congestion:
    """How many requests may be in flight, learned from which ones the server refuses.

    Until the first refusal the limit doubles in each round trip in which requests wait. Each
    refusal lowers it by one: if the server refuses a share of the requests in flight, the limit
    falls by that share in one round trip. Then it grows, slowly at first and faster with each
    round trip without a refusal.

    limit: most requests in flight.
    """

    def __init__(self, ceiling: int) -> None:
        self.limit = float(min(START, ceiling))
        self._ceiling = ceiling
        self._calm_rounds: float | None = None  # round trips since the last refusal, if any
        self._apart_s = self._last_accepted = 0.0

    @property
    def slots(self) -> int:
        """Most requests in flight, as a whole number."""
        return int(self.limit)

    def pause_s(self, refusals: int) -> float:
        """Seconds without a start before the retry of an operation refused *refusals* times.

        A multiple of the mean time between accepted requests. A server that limits requests a
        second accepts another one after that time, however many it has refused.
        """
        return self._apart_s * (1 << refusals) if refusals else 0.0

    def succeeded(self, now: float, refusals: int, *, full: bool) -> None:
        """Note an accepted request of an operation refused *refusals* times before.

        full: whether the limit makes other requests wait.
        """
        apart_s = min(now - self._last_accepted, LONGEST_APART_S) / (1 << refusals)
        self._apart_s += (apart_s - self._apart_s) / 16
        self._last_accepted = now
        if not full:
            return
        if self._calm_rounds is None:
            self.limit += 1
        else:
            self._calm_rounds += 1 / self.limit
            self.limit += GROWTH * self._calm_rounds / self.limit
        self.limit = min(self.limit, self._ceiling)

    def refused(self) -> None:
        """Note a throttled request."""
        self._calm_rounds = 0.0
        self.limit = max(1.0, self.limit - 1)


class RequestWindow:
    """Limits the requests in flight of one instance, fairly, to what the server accepts.

    Requests wait in one queue per *group*, first come, first served, and the groups take turns: a
    single HEAD waits for one LIST, not for ten thousand. Retries of throttled requests come first.
    A first retry starts once less than half of the limit is in flight, a second one at a quarter.

    ceiling: most requests ever in flight. clock: returns seconds; only differences matter.
    """

    def __init__(self, ceiling: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.congestion = Congestion(ceiling)
        self.in_flight = 0
        self._clock = clock
        self._last_start = -math.inf
        self._retries: _Queue = OrderedDict()
        self._groups: OrderedDict[Hashable, _Queue] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a slot."""
        return len(self._retries) + sum(map(len, self._groups.values()))

    async def acquire(self, group: Hashable, refusals: int = 0) -> Slot:
        """Wait until one request may be sent. Pass the slot to :meth:`release` after its answer.

        group: requests that are served in order. refusals: how often the operation was throttled.
        """
        refusals = min(refusals, MOST_REFUSALS)
        if not self._groups and not self._retries and self._delay_s(refusals) == 0:
            return self._start(refusals)
        granted: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        queue = self._retries if refusals else self._groups.setdefault(group, OrderedDict())
        queue[granted] = refusals
        self._admit()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(granted.result())
            else:
                self._forget(group, granted)
                self._admit()
            raise

    def release(self, slot: Slot, *, accepted: bool = False, throttled: bool = False) -> None:
        """Free the slot. accepted: the server carried out the request; throttled: it refused."""
        if throttled:
            self.congestion.refused()
        elif accepted:
            full = bool(self._groups) or self.in_flight >= self.congestion.slots
            self.congestion.succeeded(self._clock(), slot.refusals, full=full)
        self.in_flight -= 1
        self._admit()

    def _start(self, refusals: int) -> Slot:
        self.in_flight += 1
        self._last_start = self._clock()
        return Slot(self._last_start, refusals)

    def _delay_s(self, refusals: int) -> float:
        """Seconds until a request may start; infinite if another request must end first."""
        if self.in_flight >= max(1, self.congestion.slots >> refusals):
            return math.inf
        pause_s = self.congestion.pause_s(refusals)
        return max(0.0, self._last_start + pause_s - self._clock()) if pause_s else 0.0

    def _admit(self) -> None:
        """Start the requests that are next, up to the limit."""
        while self._retries or self._groups:
            group = None if self._retries else next(iter(self._groups))
            queue = self._retries or self._groups[group]
            granted, refusals = next(iter(queue.items()))
            delay_s = self._delay_s(refusals)
            if delay_s == math.inf:
                return
            if delay_s > 0:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = asyncio.get_running_loop().call_later(delay_s, self._admit)
                return
            if queue is not self._retries:
                self._groups.move_to_end(group)
            self._forget(group, granted)
            if not granted.done():
                granted.set_result(self._start(refusals))

    def _forget(self, group: Hashable, granted: asyncio.Future[Slot]) -> None:
        """Take a request out of its queue, and an empty queue out of the groups."""
        self._retries.pop(granted, None)
        queue = self._groups.get(group)
        if queue is not None:
            queue.pop(granted, None)
            if not queue:
                del self._groups[group]
