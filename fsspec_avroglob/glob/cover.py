"""Goes through the subdirectories of a level: visits each, or reads pages that neighbours share."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from fsspec_avroglob.aio.tasks import for_each, task_group
from fsspec_avroglob.glob.fetch import Area, Harvest, directories_of
from fsspec_avroglob.glob.plan import LAST, Level, ListingPlan, State
from fsspec_avroglob.glob.scan import saved_by

SAMPLES = 4
"""Pages read to learn how many directories a page answers for."""

SHARED = 1.5
"""From so many directories a page on, neighbours share pages. Below 2 they do so three at a time,
so that few pages end between two groups."""


class Target(NamedTuple):
    """A directory to visit, its state, and the place from which it is to be listed.

    begun: whether some of it was read before; else *start* is before its first possible match.
    places: entries from it to the next target, on the page that named it, which a page that
    neighbours share reads again.
    """

    directory: str
    state: State
    start: str
    begun: bool = False
    places: int = 1


def targets_below(
    plan: ListingPlan, directory: str, state: State, names: Iterable[str]
) -> Iterator[Target]:
    """The subdirectories of *names* in which matches can be."""
    depth = directory.count("/") + 1
    for name in names:
        if inner := plan.enter(state, name, depth):
            child = f"{directory}{name}/"
            yield Target(child, inner, plan.first(inner, child))


def places_of(targets: Iterable[Target]) -> int:
    """The places of all."""
    return sum(target.places for target in targets)


@dataclass
class _Stretch:
    """Neighbouring targets that wait, and the place up to which pages are theirs."""

    targets: deque[Target]
    until: str | None

    @property
    def end_of_taken(self) -> str | None:
        """The place up to which pages belong to the targets that were taken from its left."""
        return self.targets[0].start if self.targets else self.until


@dataclass
class Cover:
    """Finds what matches in targets, sorted directories below *area.base*.

    visit: lists one target. per_page: how many targets a page answers for, as far as is known.
    """

    harvest: Harvest
    area: Area
    visit: Callable[[Target], Awaitable[None]]
    per_page: float = 0.0
    _pages: int = 0
    _workers: int = 0
    _waiting: deque[_Stretch] = field(default_factory=deque)

    async def run(self, targets: Sequence[Target]) -> None:
        """Go through all. Raises what the first request that failed raised."""
        ledger = self.harvest.ledger
        unknown = not ledger.may_walk(len(targets))
        ledger.unanswered += places_of(targets)
        samples = min(SAMPLES, len(targets)) if unknown else 1
        while samples > 1 and not ledger.may_walk(samples):
            samples -= 1
        starts = [i * len(targets) // samples for i in range(samples + 1)] if targets else []
        for start, stop in pairwise(starts):
            until = targets[stop].start if stop < len(targets) else self.area.until
            self._waiting.append(_Stretch(deque(targets[start:stop]), until))
        # Of each page that is read, one more may be left to read.
        if unknown and ledger.may_scan(2 * samples):
            stretches, self._waiting = self._waiting, deque()
            ledger.expects(len(stretches))
            await for_each(stretches, self._sample, len(stretches))
        async with task_group() as self._group:
            self._begin()

    async def _sample(self, stretch: _Stretch) -> None:
        self.harvest.ledger.expects(-1)
        await self._share(stretch, len(stretch.targets))

    def _begin(self) -> None:
        """Have a worker for each target that waits, as far as there may be so many."""
        waiting = sum(len(stretch.targets) for stretch in self._waiting)
        for _ in range(min(waiting, self.harvest.concurrency - self._workers)):
            self._workers += 1
            self._group.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            stretch = self._waiting[0]
            if self._walks():
                target = stretch.targets.popleft()
                if not stretch.targets:
                    self._waiting.popleft()
                await self._visit(target)
            else:
                size = self._size(len(stretch.targets))
                if size >= len(stretch.targets):
                    self._waiting.popleft()
                await self._share(stretch, size)
                self._begin()
        self._workers -= 1

    def _size(self, waiting: int) -> int:
        """How many of so many neighbours that wait share a page.

        As many as it answers for, so that others can have pages too; all of them where that costs
        too much: the page of each worker may end early, where the next group begins.
        """
        ledger = self.harvest.ledger
        large = self._pages and self.per_page < SHARED
        if not ledger.may_walk(1 if large else 1 + self._workers):
            return waiting
        if large and self.per_page <= 1:
            return 1
        return int(self.per_page) if self.per_page >= 2 else 3

    def _walks(self) -> bool:
        """Whether the next target is visited; else it shares a page."""
        ledger = self.harvest.ledger
        return not ledger.may_scan() if self.per_page >= SHARED else ledger.may_walk()

    async def _visit(self, target: Target) -> None:
        # Its first key, of which its name told, is counted with the others.
        self.harvest.ledger.keys -= 1
        self.harvest.ledger.unanswered -= target.places
        await self.visit(target)

    async def _share(self, stretch: _Stretch, size: int) -> None:
        """Read a page at the stretch's first targets; those that it leaves unanswered wait again.

        One that is larger than a page is visited.
        """
        taken = [stretch.targets.popleft() for _ in range(min(size, len(stretch.targets)))]
        until = stretch.end_of_taken
        left = await self._page(taken, until)
        self.harvest.ledger.unanswered -= places_of(taken) - places_of(left)
        large = None
        if left and left[0].directory == taken[0].directory and self.harvest.ledger.may_walk():
            large = left.pop(0)
        if left:
            if stretch.targets and stretch.end_of_taken == until:
                stretch.targets.extendleft(reversed(left))
            else:
                self._waiting.appendleft(_Stretch(deque(left), until))
        if large is not None:
            await self._visit(large)

    async def _page(self, targets: Sequence[Target], until: str | None) -> list[Target]:
        """Read the page at targets[0]; the targets that it leaves unanswered.

        The page counts up to *until*, where others go on, so that neighbours never overlap.
        """
        harvest, area = self.harvest, self.area
        own = Area(area.directory, area.state, area.base, targets[0].start, until)
        page = await harvest.page(Level, area.state, area.base, start_after=own.after)
        count = own.upto(page.keys)
        self._account(page.keys[:count], targets)
        await harvest.keep(Level, own, page, count, partial(_within, targets))
        if page.next_token is None or count < len(page.keys) or not count:
            self._learn(len(targets) * len(page.keys) / max(1, count))
            return []
        last = page.keys[-1]
        left = []
        for target in targets:
            if last < target.directory:
                left.append(target)
            elif last.startswith(target.directory):
                bound = harvest.plan.seek(target.state, target.directory, last)
                if bound is not None:
                    left.append(target._replace(start=max(target.start, bound), begun=True))
        ends_within = bool(left) and last.startswith(left[0].directory)
        self._learn(len(targets) - len(left) + ends_within / 2)
        return left

    def _account(self, keys: Sequence[str], targets: Sequence[Target]) -> None:
        """Enter the keys of a page, which starts at targets[0], in the ledger."""
        ledger, plan, area = self.harvest.ledger, self.harvest.plan, self.area
        level = Area(area.directory, area.state, area.base, level_only=True)
        # The level's own keys were counted when it was listed, and of each subdirectory one.
        below = sum(key.find("/", len(area.directory)) >= 0 for key in keys)
        ledger.keys += below - sum(1 for _ in directories_of(keys, level))
        # Keys before the start of the target that follows are of a directory others account for.
        own = keys[: bisect_right(keys, targets[-1].directory + LAST)]
        if own:
            saved = saved_by(plan, area, own, targets[0].start if targets[0].begun else "")
            ledger.walked += saved.directories

    def _learn(self, answered: float) -> None:
        """Take in how many targets a page answered for: the last few pages count."""
        self._pages += 1
        self.per_page += (answered - self.per_page) / min(self._pages, SAMPLES)


def _within(targets: Sequence[Target], key: str) -> bool:
    """Whether *key* lies in one of the sorted targets, past its start."""
    index = bisect_right(targets, key, key=_directory) - 1
    return index >= 0 and key.startswith(targets[index].directory) and key > targets[index].start


_directory: Callable[[Target], str] = attrgetter("directory")
