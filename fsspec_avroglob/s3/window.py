"""The request window: how many requests of an instance are in flight, and which one is next.

:class:`Congestion` sets the limit from accepted and refused requests; it is pure.
:class:`RequestWindow` holds the requests that wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

START = 32
"""The limit before anything is known: enough for most globs. A server that accepts fewer requests
refuses the rest once."""

GROWTH = 1 / 8
"""How fast the limit grows after a refusal: by ``GROWTH / 2 * n**2`` in n round trips."""

MOST_BY_CHANCE = 1 / 6
"""Largest share of refusals that may be due to chance."""

LONGEST_APART_S = 0.5
"""Longest time between two accepted requests that counts, in seconds; the caller pauses for the
rest."""

MOST_REFUSALS = 3
"""Refusals of one operation that count; more do not make its retry wait longer."""


class Slot(NamedTuple):
    """Permission to send one request: its time, and how often its operation was throttled."""

    started: float
    refusals: int


class Congestion:
    """How many requests may be in flight, learned from which ones the server refuses.

    Until the first refusal the limit doubles in each round trip in which requests wait. Each
    refusal lowers it by one: if the server refuses a share of the requests in flight, the limit
    falls by that share in one round trip. Then it grows, slowly at first and faster with each
    round trip without a refusal.

    A server that refuses requests at random must not lower the limit. Only such a server refuses
    many retries, because they are sent while few requests are in flight. So an accepted request
    adds 1.5 times the share of retries that are refused, which is more than chance takes away.

    limit: most requests in flight.
    """

    def __init__(self, ceiling: int) -> None:
        self.limit = float(min(START, ceiling))
        self._ceiling = ceiling
        self._calm_rounds: float | None = None  # round trips since the last refusal, if any
        self._by_chance = 0.0  # share of refused retries, over about the last 16
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
        if refusals:
            self._by_chance -= self._by_chance / 16
        if not full:
            return
        if self._calm_rounds is None:
            self.limit += 1
        else:
            self._calm_rounds += 1 / self.limit
            self.limit += GROWTH * self._calm_rounds / self.limit
            self.limit += 1.5 * min(self._by_chance, MOST_BY_CHANCE)
        self.limit = min(self.limit, self._ceiling)

    def refused(self, refusals: int) -> None:
        """Note a throttled request of an operation refused *refusals* times before."""
        if refusals:
            self._by_chance += (1 - self._by_chance) / 16
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
        # Queues of requests with their refusals. Cancelled requests stay until they are next.
        self._retries: deque[tuple[asyncio.Future[Slot], int]] = deque()
        self._groups: OrderedDict[Hashable, deque[tuple[asyncio.Future[Slot], int]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a slot."""
        queues = (self._retries, *self._groups.values())
        return sum(not granted.done() for queue in queues for granted, _ in queue)

    async def acquire(self, group: Hashable, refusals: int = 0) -> Slot:
        """Wait until one request may be sent. Pass the slot to :meth:`release` after its answer.

        group: requests that are served in order. refusals: how often the operation was throttled.
        """
        refusals = min(refusals, MOST_REFUSALS)
        granted: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        queue = self._retries if refusals else self._groups.setdefault(group, deque())
        queue.append((granted, refusals))
        self._admit()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._admit()  # it may have been the next one
            else:
                self.release(granted.result())
            raise

    def release(self, slot: Slot, *, accepted: bool = False, throttled: bool = False) -> None:
        """Free the slot. accepted: the server carried out the request; throttled: it refused."""
        if throttled:
            self.congestion.refused(slot.refusals)
        elif accepted:
            full = bool(self._groups) or self.in_flight >= self.congestion.slots
            self.congestion.succeeded(self._clock(), slot.refusals, full=full)
        self.in_flight -= 1
        self._admit()

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
            granted, refusals = queue[0]
            if not granted.done():
                delay_s = self._delay_s(refusals)
                if delay_s == math.inf:
                    return
                if delay_s > 0:
                    if self._timer is not None:
                        self._timer.cancel()
                    self._timer = asyncio.get_running_loop().call_later(delay_s, self._admit)
                    return
                self.in_flight += 1
                self._last_start = self._clock()
                granted.set_result(Slot(self._last_start, refusals))
                if queue is not self._retries:
                    self._groups.move_to_end(group)
            queue.popleft()
            if not queue and queue is not self._retries:
                del self._groups[group]
