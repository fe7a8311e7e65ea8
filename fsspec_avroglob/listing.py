"""Carries a :class:`~fsspec_avroglob.plan.ListingPlan` out: pages in, matches out.

Two ways of listing take turns, each handing over where the other is cheaper:

* *walking* (:class:`~fsspec_avroglob.level.LevelListing`, :meth:`Lister._cover`): list a level with
  a delimiter, drop the subdirectories that cannot match, and visit the others, all at once;
* *scanning* (:class:`~fsspec_avroglob.scan.Scan`): list keys in order without a delimiter and jump
  over stretches where the pattern allows no match. One page answers for as many directories as lie
  on it. A long scan divides itself among workers.

What a page brought is never asked for again: walking starts after the last key that was scanned.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from fsspec_avroglob.harvest import Area, FetchPage, Found, Harvest
from fsspec_avroglob.level import LevelListing
from fsspec_avroglob.plan import (
    Descend,
    Exact,
    Flat,
    Level,
    ListingPlan,
    Match,
    OrderedRange,
    State,
    Step,
    before,
    stems_of,
)
from fsspec_avroglob.scan import Scan
from fsspec_avroglob.tasks import for_each, gather
from fsspec_avroglob.tokens import common_prefix

__all__ = ["FetchPage", "Found", "Lister"]

FEW = 5
"""So many directories are visited at once without asking whether a scan would be cheaper."""

SAMPLES = 4
"""Pages read to learn how many directories a page answers for."""

SHARED = 1.5
"""From so many directories a page on, neighbours share pages. Below 2 they do so three at a time,
so that few pages end between two groups."""


class Target(NamedTuple):
    """A directory to visit, its state, and the place before its first possible match."""

    directory: str
    state: State
    start: str


class Lister:
    """Runs one plan.

    fetch: gets a page. emit: receives the matches of a page; awaiting it may hold the listing back.
    concurrency: most requests in flight at once.
    """

    def __init__(
        self,
        plan: ListingPlan,
        fetch: FetchPage,
        emit: Callable[[Found], Awaitable[None]],
        concurrency: int = 64,
    ) -> None:
        self.plan = plan
        self._harvest = Harvest(plan, fetch, emit, concurrency)
        # Visits that may be made without proof that they are cheaper than a scan.
        self._spare = max(map(len, plan.branches))

    async def run(self) -> None:
        """List until everything is found. Raises what the first request that failed raised.

        A FileNotFoundError, which only a bucket that does not exist can cause, names the bucket.
        """
        if self.plan.limited:
            await self._harvest.tell_directories([""])
        try:
            await self._explore("", self.plan.root)
        except FileNotFoundError as error:
            bucket = self.plan.bucket
            missing = FileNotFoundError(errno.ENOENT, "the bucket does not exist", bucket)
            for note in getattr(error, "__notes__", ()):
                missing.add_note(note)
            raise missing from error.__cause__

    async def run_level(self, directory: str, prefix: str = "") -> None:
        """List one directory ("" or ending in "/"), of it only what starts with *prefix*."""
        area = Area(directory, self.plan.root, directory + prefix, level_only=True)
        await self._delimited(area, Match)

    async def run_below(self, directory: str, prefix: str = "") -> None:
        """List everything below a directory that starts with *prefix*."""
        await self._scan(Area(directory, self.plan.root, directory + prefix), Flat)

    def _scan(self, area: Area, step: type[Step], pages: int = 0) -> Coroutine[Any, Any, None]:
        walk = partial(self._delimited, may_scan=False)
        return Scan(self._harvest, area, step, walk, pages).run()

    async def _explore(
        self, directory: str, state: State, after: str | None = None, until: str | None = None
    ) -> None:
        """Find what matches below *directory*, which is in *state*, in (*after*, *until*]."""
        steps = self.plan.steps(state)
        if not steps:
            return
        pieces = [piece for step in steps for piece in stems_of(step)]
        final = all(isinstance(step, Exact | Match | OrderedRange) for step in steps)
        ordered = len(steps) == 1 and isinstance(steps[0], OrderedRange)
        if ordered or not self._affordable(pieces):
            base = directory + common_prefix(pieces)
            area = Area(directory, state, base, after, until, level_only=final)
            await self._scan(area, type(steps[-1]))
            return
        jobs: list[Coroutine[Any, Any, None]] = []
        for step in steps:
            match step:
                case Descend(names):
                    targets = self._targets(directory, state, names)
                    jobs += [self._visit(target, after, until) for target in targets]
                case Exact(names):
                    jobs += [
                        self._exact(state, directory + name, after, until)
                        for name in names
                        if (after is None or directory + name + "/" > after)
                        and (until is None or directory + name <= until)
                    ]
                case Match(stems) | OrderedRange(_, stems):
                    areas = self._areas(directory, state, stems, after, until, level_only=True)
                    jobs += [self._delimited(area, type(step)) for area in areas]
                case Level(stems) | Flat(stems):
                    areas = self._areas(directory, state, stems, after, until)
                    jobs += [self._scan(area, type(step)) for area in areas]
        await gather(jobs)

    def _affordable(self, requests: Sequence[object]) -> bool:
        """Whether so many requests may be sent where one scan might do; then accounts for them."""
        more = len(requests) - 1
        if more > self._spare:
            return False
        self._spare -= more
        return True

    def _areas(
        self,
        directory: str,
        state: State,
        stems: Sequence[str],
        after: str | None,
        until: str | None,
        *,
        level_only: bool = False,
    ) -> list[Area]:
        """The areas below each stem that do not lie outside (*after*, *until*] entirely."""
        bases = (directory + stem for stem in stems)
        return [
            Area(directory, state, base, after, until, level_only=level_only)
            for base in bases
            if (after is None or base > after or after.startswith(base))
            and (until is None or base <= until)
        ]

    async def _visit(self, target: Target, after: str | None, until: str | None) -> None:
        directory = target.directory
        if until is not None and until < directory:
            return
        if after is not None and after > directory and not after.startswith(directory):
            return
        start, stop = _inside(directory, after), _inside(directory, until)
        await self._explore(directory, target.state, start, stop)

    async def _exact(self, state: State, path: str, after: str | None, until: str | None) -> None:
        """Look for an object and a directory of just this name."""
        page = await self._harvest.page(Exact, state, path, delimiter="/")
        if page.keys[:1] == [path] and (after is None or path > after):
            await self._harvest.keep(Exact, Area("", state, path), page, 1)
        directory = path + "/"
        if not self.plan.with_directories or (until is not None and directory > until):
            return
        last = max(page.keys[-1:] + page.prefixes[-1:], default="")
        if page.next_token is not None and last < directory:
            page = await self._harvest.page(
                Exact, state, path, delimiter="/", start_after=before(directory)
            )
        if directory in page.prefixes:
            await self._harvest.tell_directories([directory])

    async def _delimited(self, area: Area, step: type[Step], *, may_scan: bool = True) -> None:
        """List an area with a delimiter; visit the subdirectories in which matches can be."""
        level = LevelListing(self._harvest, area, step)
        await level.begin()
        if level.bound is not None and area.level_only and may_scan and not level.names:
            area.after = level.bound
            await self._scan(area, step, pages=1)
            return
        await level.finish()
        if not area.level_only:
            # By path, not by name: "a.b/" comes before "a/".
            names = sorted(level.names, key=lambda name: name + "/")
            targets = self._targets(area.directory, area.state, names)
            await self._cover(area, self._resumed(area, targets))

    def _targets(self, directory: str, state: State, names: Iterable[str]) -> list[Target]:
        targets = []
        depth = directory.count("/") + 1
        for name in names:
            inner = self.plan.enter(state, name, depth)
            if inner:
                child = f"{directory}{name}/"
                targets.append(Target(child, inner, self.plan.first(inner, child)))
        return targets

    def _resumed(self, area: Area, targets: Sequence[Target]) -> list[Target]:
        """The targets that still need a visit, the one that *area.after* lies in starting there."""
        after = area.after
        if after is None:
            return list(targets)
        left = [t for t in targets if t.directory > after]
        rest = after[len(area.directory) :]
        name, slash, _ = rest.partition("/")
        if slash:
            current = self._targets(area.directory, area.state, [name])
            for target in current:
                if (bound := self.plan.seek(target.state, target.directory, after)) is not None:
                    left.insert(0, target._replace(start=bound))
        return left

    async def _cover(self, area: Area, targets: list[Target]) -> None:
        """Visit *targets*, sorted directories below *area.base*; by shared pages where it pays."""
        more = len(targets) - FEW
        if 0 < more <= self._spare:
            self._spare -= more
        elif more > 0:
            targets, per_page = await self._probe(area, targets)
            if per_page >= SHARED and len(targets) > 1:
                size = int(per_page) if per_page >= 2 else 3
                groups = [targets[i : i + size] for i in range(0, len(targets), size)]
                await for_each(groups, partial(self._run_group, area), self._harvest.concurrency)
                return
        visit = partial(self._enter_target, area.until)
        await for_each(targets, visit, self._harvest.concurrency)

    async def _enter_target(self, until: str | None, target: Target) -> None:
        directory, state, start = target
        after = None if start == self.plan.first(state, directory) else start
        await self._explore(directory, state, _inside(directory, after), _inside(directory, until))

    async def _probe(self, area: Area, targets: list[Target]) -> tuple[list[Target], float]:
        """Scan a page at a few targets spread over all; the others, and how many a page answers."""
        starts = [i * len(targets) // SAMPLES for i in range(SAMPLES)]
        stops = [*starts[1:], len(targets)]
        ends = await gather(
            self._range_page(area, targets, i, j) for i, j in zip(starts, stops, strict=True)
        )
        left: list[Target] = []
        done = 0.0
        for start, stop, rest in zip(starts, stops, ends, strict=True):
            left += rest
            done += stop - start - len(rest)
            if rest and rest[0] is not targets[stop - len(rest)]:
                # The page ends somewhere in it.
                done += 0.5
        return left, done / SAMPLES

    async def _run_group(self, area: Area, group: Sequence[Target]) -> None:
        """Scan neighbouring targets page by page; one that is larger than a page is visited."""
        left = list(group)
        while left:
            rest = await self._range_page(area, left, 0, len(left))
            if rest and rest[0].directory == left[0].directory:
                await self._enter_target(area.until, rest.pop(0))
            left = rest

    async def _range_page(
        self, area: Area, targets: Sequence[Target], start: int, stop: int
    ) -> list[Target]:
        """Read the page at targets[start]; the targets before *stop* that it leaves unanswered.

        The page counts up to where targets[stop] starts, so that neighbours never overlap.
        """
        until = targets[stop].start if stop < len(targets) else area.until
        own = Area(area.directory, area.state, area.base, targets[start].start, until)
        page = await self._harvest.page(Level, area.state, area.base, start_after=own.after)
        count = own.upto(page.keys)
        await self._harvest.keep(Level, own, page, count, partial(_within, targets[start:stop]))
        if page.next_token is None or count < len(page.keys) or not count:
            return []
        last = page.keys[-1]
        left = []
        for target in targets[start:stop]:
            if last < target.directory:
                left.append(target)
            elif last.startswith(target.directory):
                bound = self.plan.seek(target.state, target.directory, last)
                if bound is not None:
                    left.append(target._replace(start=max(target.start, bound)))
        return left


def _inside(directory: str, bound: str | None) -> str | None:
    """A bound of a range as far as it concerns *directory*: None where it lies outside."""
    return bound if bound is not None and bound.startswith(directory) else None


def _within(targets: Sequence[Target], key: str) -> bool:
    """Whether *key* lies in one of the sorted targets, past its start."""
    index = bisect_right(targets, key, key=_directory) - 1
    return index >= 0 and key.startswith(targets[index].directory) and key > targets[index].start


_directory: Callable[[Target], str] = attrgetter("directory")
