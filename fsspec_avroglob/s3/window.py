"""The request window: how many requests an instance has in flight, and which waits next.

:class:`Congestion` decides how many; it is pure. :class:`RequestWindow` keeps those that wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable

from fsspec_avroglob.s3.refusals import Refusals

START = 32
"""Requests in flight before anything is known. Most globs need fewer at once, so they never notice
the window; a server that takes less refuses these few, and each of them is sent again once."""

PROBE_ROUNDS = 8
"""Rounds that a higher level must hold without a refusal before it counts as one that fits."""

PLATEAU_ROUNDS = 8
"""Rounds at the level that fits before more is tried; doubled each time that more is refused."""

LONGEST_PLATEAU_ROUNDS = 1024

OFTEN = 0.15
"""The share of requests refused one by one from which on there are pauses between them."""

STREAK = 3
"""As many refusals without a success between them are not by chance."""

MEMORY = 32
"""So many answers make up the share of them that were refused."""

LONGEST_PAUSE_S = 0.1
"""Most seconds from one request's answer to the next request's start."""

MOST_PAUSES = 7
"""Most pauses more that a refused operation waits for its next request."""

LONGEST_APART_S = 0.5
"""What counts of the seconds between two accepted requests: the rest is the caller's own pause."""

TIMER_S = 0.002
"""How late a timer may be. Starts that are late by less are made up for."""


class Slot:
    """Leave for one request: when it was given, in which round and window, as which in flight.

    refusals: how often its operation had been refused before.
    """

    __slots__ = ("level", "refusals", "round", "since", "window")

    def __init__(self, round_: int, window: float, level: int, since: float, refusals: int) -> None:
        self.round = round_
        self.window = window
        self.level = level
        self.since = since
        self.refusals = refusals


class Congestion:
    """How many requests may be in flight, learned from which ones the server refused.

    Until the first refusal the limit doubles with each round trip that it holds something back. A
    refusal halves it, once for all requests that were in flight. It is then known what fits: of
    the requests in flight, those that were not refused. Up to there the limit doubles, then it
    stays, and tries more only now and then (the plateau of TCP's CUBIC, counted in rounds). From
    then on requests are spaced out evenly too, as servers that count requests a second ask for;
    where even single requests are refused, pauses between them make a window below 1.

    Refusals that lower levels do not avoid (see :class:`Refusals`) neither lower it nor keep it
    low.

    limit: the window; below 1 it stands for pauses between single requests.
    fits: the level that is known to be accepted; infinite as long as nothing was refused.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = float(ceiling)
        self.limit = min(float(START), self.ceiling)
        self.fits = math.inf
        self.round = 0
        self.refusals = Refusals()
        self._round_trip_s = 0.0
        self._apart_s = self._last_accepted = self._last_answer = 0.0
        self._refused_share = 0.0
        self._in_a_row = 0
        self._plateau = PLATEAU_ROUNDS
        self._before = self.limit
        self._refusals = self._crowd = 0
        self._forget_probing()

    def _forget_probing(self) -> None:
        self._held = 0.0
        self._step = 0

    @property
    def paced(self) -> bool:
        """Whether requests are spaced out."""
        return self.fits < math.inf

    @property
    def places(self) -> int:
        """Most requests in flight at once."""
        return max(1, math.ceil(self.limit) if self.paced else int(self.limit))

    @property
    def gap_s(self) -> float:
        """Least seconds between the beginnings of two requests."""
        return min(self._round_trip_s / self.limit, LONGEST_PAUSE_S) if self.paced else 0.0

    def quiet_s(self, refusals: int) -> float:
        """Seconds without a request before one whose operation was refused *refusals* times.

        Where a server takes so many requests a second, these are as far apart as the accepted ones
        are, however many are sent: so the pause is long enough whatever else is believed of it.
        """
        return max(self.gap_s, self._apart_s) * _pauses(refusals)

    def succeeded(self, slot: Slot, now: float, *, full: bool) -> None:
        """Note that a request was accepted. full: whether the window held others back."""
        took_s = now - slot.since
        self._answered(slot, now, refused=False)
        self._refused_share -= self._refused_share / MEMORY
        self._in_a_row = 0
        self._round_trip_s += (took_s - self._round_trip_s) / (8 if self._round_trip_s else 1)
        apart_s = min(now - self._last_accepted, LONGEST_APART_S) / max(1, _pauses(slot.refusals))
        self._apart_s += (apart_s - self._apart_s) / 16
        self._last_accepted = now
        if not full or slot.round != self.round:
            return
        if self.limit < min(self.fits, self.ceiling):
            self.limit = min(self.limit + min(1.0, self.limit), self.fits, self.ceiling)
        elif self.fits < math.inf:
            self._hold()

    def _answered(self, slot: Slot, now: float, *, refused: bool) -> None:
        self.refusals.note(slot.window, now - self._last_answer, refused=refused)
        self._last_answer = now

    def _hold(self) -> None:
        """A request more went well on the plateau, or on a level that is being tried."""
        self._held += 1 / max(1.0, self.limit)
        if self._held < (PROBE_ROUNDS if self._step else self._plateau):
            return
        if self._step:
            self._plateau = PLATEAU_ROUNDS
        self._held = 0.0
        self._step += 1
        self.fits = self.limit
        if self.limit >= self.ceiling:
            self.fits = math.inf
            self._forget_probing()
        else:
            self.limit = min(self.limit * (1 + self._step / 8), self.ceiling)

    def refused(self, slot: Slot, now: float) -> None:
        """Note that a request was throttled."""
        self._refused_share += (1 - self._refused_share) / MEMORY
        self._in_a_row += 1
        self._answered(slot, now, refused=True)
        if slot.round == self.round:
            if not self.refusals.ask_for_less(slot.window, self.fits):
                self._tolerate()
                return
            self._begin_round()
            self.refusals.cut(slot.window)
        elif slot.round != self.round - 1:
            return
        self._refusals += 1
        self._crowd = max(self._crowd, slot.level)
        accepted = (self._crowd - self._refusals) / (1 - self.refusals.background)
        if accepted > 0:
            self.fits = min(self._before, accepted)
        else:
            self.fits = self._with_pauses()
        self.limit = max(self.fits / 2, min(self.fits, 1.0))

    def _tolerate(self) -> None:
        """A refusal that fewer requests would not have avoided: what was given up is taken back."""
        if self.refusals.background:
            self.fits = max(self.fits, self.refusals.limit_above(self.limit))
            self.limit = max(1.0, self.limit)

    def _with_pauses(self) -> float:
        """What fits where a request was refused though it was alone: 1 unless that is frequent."""
        fits = min(self._before, 1.0)
        least = min(fits, self._round_trip_s / LONGEST_PAUSE_S)
        if self._in_a_row >= STREAK:
            return max(fits / 2, least)
        if self._refused_share > OFTEN:
            fits *= 1 - self._refused_share
            self._refused_share = 0.0
        return max(fits, least)

    def _begin_round(self) -> None:
        """The first refusal among the requests in flight."""
        if self.limit > self.fits and self._step:
            self._before = self.fits
            self._plateau = min(2 * self._plateau, LONGEST_PLATEAU_ROUNDS)
        else:
            self._before = self.limit
            self._plateau = PLATEAU_ROUNDS
        self.round += 1
        self._refusals = self._crowd = 0
        self._forget_probing()


def _pauses(refusals: int) -> int:
    return min((1 << refusals) - 1, MOST_PAUSES)


class _Waiter:
    """A request that waits, and how often its operation has been refused already."""

    __slots__ = ("granted", "refusals")

    def __init__(self, granted: asyncio.Future[Slot], refusals: int) -> None:
        self.granted = granted
        self.refusals = refusals


class RequestWindow:
    """Bounds the requests in flight of one instance, fairly, and narrows when it is throttled.

    Requests wait in one queue per *group*, first come first served, and the groups take turns: a
    single HEAD waits for one LIST, not for the ten thousand that wait already. What was throttled
    goes ahead of all others, and each time an operation was refused, it asks for half the crowd, so
    that its last attempt is not lost to requests of its own instance.

    An instance belongs to one event loop at a time, and so does its window.

    ceiling: most requests ever in flight. clock: seconds, only differences matter.
    """

    def __init__(self, ceiling: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.congestion = Congestion(ceiling)
        self.in_flight = 0
        self._clock = clock
        self._retries: deque[_Waiter] = deque()
        self._groups: dict[Hashable, deque[_Waiter]] = {}
        self._next_start = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for leave."""
        queues = [self._retries, *self._groups.values()]
        return sum(not waiter.granted.done() for queue in queues for waiter in queue)

    async def acquire(self, group: Hashable, refusals: int = 0) -> Slot:
        """Wait for leave to send one request; to be given back with :meth:`release`.

        group: requests that are served in their order. refusals: how often this operation has been
        throttled.
        """
        if not self._groups and not self._retries and self._delay_s(refusals) == 0:
            return self._grant(refusals)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), refusals)
        if refusals:
            self._retries.append(waiter)
        else:
            self._groups.setdefault(group, deque()).append(waiter)
        self._admit()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(waiter.granted.result())
            else:
                self._admit()
            raise

    def release(self, slot: Slot, *, accepted: bool = False, throttled: bool = False) -> None:
        """Give leave back. accepted: the server did what it was asked; throttled: it refused."""
        if throttled:
            self.congestion.refused(slot, self._clock())
        elif accepted:
            full = bool(self._groups) or self.in_flight >= self.congestion.places
            self.congestion.succeeded(slot, self._clock(), full=full)
        self.in_flight -= 1
        if self._groups or self._retries:
            self._admit()

    def _grant(self, refusals: int = 0) -> Slot:
        self.in_flight += 1
        now = self._clock()
        self._next_start = max(self._next_start, now - TIMER_S) + self.congestion.gap_s
        congestion = self.congestion
        return Slot(congestion.round, congestion.limit, self.in_flight, now, refusals)

    def _delay_s(self, refusals: int) -> float:
        """Seconds until a request may start; infinite if others must end before."""
        places, crowd = self.congestion.places, 0.5
        quiet_s = self.congestion.quiet_s(refusals)
        if refusals and self.congestion.refusals.background:
            # Its first refusal was most likely by chance, and the others may have been.
            refusals, crowd = refusals - 1, 0.75
        if refusals:
            places = max(1, int(places * crowd**refusals))
        if self.in_flight >= places:
            return math.inf
        if not (quiet_s or self.congestion.paced):
            return 0.0
        return max(0.0, self._next_start + quiet_s - self._clock())

    def _admit(self) -> None:
        """Give leave to whoever is next, as long as there is room."""
        while (queue := self._next_queue()) is not None:
            waiter = queue[0]
            delay_s = self._delay_s(waiter.refusals)
            if delay_s > 0:
                if delay_s < math.inf:
                    self._admit_in(delay_s)
                return
            queue.popleft()
            if queue is not self._retries:
                # To the back of the round, or out of it.
                group = next(iter(self._groups))
                del self._groups[group]
                if queue:
                    self._groups[group] = queue
            waiter.granted.set_result(self._grant(waiter.refusals))

    def _next_queue(self) -> deque[_Waiter] | None:
        """The queue whose head is next, without those at its head that no longer wait."""
        _drop_done(self._retries)
        if self._retries:
            return self._retries
        while self._groups:
            group = next(iter(self._groups))
            queue = self._groups[group]
            _drop_done(queue)
            if queue:
                return queue
            del self._groups[group]
        return None

    def _admit_in(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._admit)


def _drop_done(queue: deque[_Waiter]) -> None:
    while queue and queue[0].granted.done():
        queue.popleft()
