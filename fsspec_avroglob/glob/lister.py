"""Carries a :class:`~fsspec_avroglob.glob.plan.ListingPlan` out: pages in, matches out.

Two ways of listing take turns, each handing over where the other is cheaper:

* *walking* (``LevelListing``, ``Cover``):
  list a level with a delimiter, drop the subdirectories that cannot match, and visit the others,
  all at once;
* *scanning* (``Scan``): list keys in order without a delimiter and jump
  over stretches where the pattern allows no match. One page answers for as many directories as lie
  on it. A long scan divides itself among workers.

What a page brought is never asked for again: walking starts after the last key that was scanned.
A ``Ledger`` keeps either way from costing far more than the other.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from fsspec_avroglob.aio.tasks import for_each
from fsspec_avroglob.glob.cover import Cover, Target, places_of, targets_below
from fsspec_avroglob.glob.fetch import Area, FetchPage, Found, Harvest
from fsspec_avroglob.glob.level import LevelListing
from fsspec_avroglob.glob.plan import (
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
from fsspec_avroglob.glob.scan import Scan, handed_over
from fsspec_avroglob.glob.tokens import common_prefix

__all__ = ["FetchPage", "Found", "Lister"]


class Lister:
    """Runs one plan.

    fetch: gets a page. emit: receives the matches of a page; awaiting it may hold the listing back.
    concurrency: most requests in flight at once. busy: tells when more of them would be of no use;
    never, if not given.
    """

    def __init__(
        self,
        plan: ListingPlan,
        fetch: FetchPage,
        emit: Callable[[Found], Awaitable[None]],
        concurrency: int = 64,
        busy: Callable[[], bool] = bool,
    ) -> None:
        self.plan = plan
        self._harvest = Harvest(plan, fetch, emit, concurrency, busy)
        self.ledger = self._harvest.ledger

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
        return Scan(self._harvest, area, step, self._walk, pages).run()

    def _either(self, area: Area, step: type[Step]) -> Coroutine[Any, Any, None]:
        """List an area in the way that the account allows."""
        # A scan from the start is counted as a listing, which allows for it and for one in vain.
        requests = 0 if area.after is None else 1 + handed_over(area, step)
        scans = step is Flat or self.ledger.may_scan(requests)
        return self._scan(area, step) if scans else self._walk(area, step)

    def _walk(self, area: Area, step: type[Step]) -> Coroutine[Any, Any, None]:
        return self._delimited(area, step, may_scan=False)

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
        if ordered or not self.ledger.may_guess(len(pieces)):
            base = directory + common_prefix(pieces)
            area = Area(directory, state, base, after, until, level_only=final)
            await self._either(area, type(steps[-1]))
            return
        jobs: list[Callable[[], Awaitable[None]]] = []
        for step in steps:
            match step:
                case Descend(names):
                    targets = targets_below(self.plan, directory, state, names)
                    jobs += [partial(self._visit, target, after, until) for target in targets]
                case Exact(names):
                    jobs += [
                        partial(self._exact, state, directory + name, after, until)
                        for name in names
                        if (after is None or directory + name + "/" > after)
                        and (until is None or directory + name <= until)
                    ]
                case Match(stems) | OrderedRange(stems):
                    areas = self._areas(directory, state, stems, after, until, level_only=True)
                    jobs += [partial(self._delimited, area, type(step)) for area in areas]
                case Level(stems) | Flat(stems):
                    areas = self._areas(directory, state, stems, after, until)
                    jobs += [partial(self._either, area, type(step)) for area in areas]
        self.ledger.expects(len(jobs))
        await for_each(jobs, self._begin, len(jobs))

    async def _begin(self, job: Callable[[], Awaitable[None]]) -> None:
        self.ledger.expects(-1)
        await job()

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
        areas = [
            Area(directory, state, base, _inside(base, after), until, level_only=level_only)
            for base in bases
            if (after is None or base > after or after.startswith(base))
            and (until is None or base <= until)
        ]
        if after is not None and not any(area.after for area in areas):
            # The scan that came so far was counted as a listing; each area is counted as one, too.
            self.ledger.walked -= 1
        return areas

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
        self.ledger.walked += after is None
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
        # Where a scan has ended within a subdirectory, that is left to do.
        left = int(area.after is not None and not area.level_only)
        self.ledger.expects(left)
        await level.begin()
        self.ledger.expects(-left)
        if level.bound is not None and area.level_only and may_scan and not level.mixed:
            area.after = level.bound
            await self._scan(area, step, pages=1)
            return
        await level.finish()
        if not area.level_only:
            self.ledger.unanswered -= places_of(level.targets)
            visit = partial(self._enter_target, area.until)
            cover = Cover(self._harvest, area, visit)
            await cover.run(self._resumed(area, sorted(level.targets)))

    def _resumed(self, area: Area, targets: Sequence[Target]) -> list[Target]:
        """The targets that still need a visit, the one that *area.after* lies in starting there."""
        after = area.after
        if after is None:
            return list(targets)
        left = [t for t in targets if t.directory > after]
        rest = after[len(area.directory) :]
        name, slash, _ = rest.partition("/")
        if slash:
            for target in targets_below(self.plan, area.directory, area.state, [name]):
                if (bound := self.plan.seek(target.state, target.directory, after)) is not None:
                    left.insert(0, target._replace(start=bound, begun=True))
        return left

    async def _enter_target(self, until: str | None, target: Target) -> None:
        directory = target.directory
        after = target.start if target.begun else None
        await self._explore(
            directory, target.state, _inside(directory, after), _inside(directory, until)
        )


def _inside(base: str, bound: str | None) -> str | None:
    """A bound of a range as far as it concerns what starts with *base*: None where it does not."""
    return bound if bound is not None and bound.startswith(base) else None
