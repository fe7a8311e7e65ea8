"""Carries a :class:`~fsspec_avroglob.glob.plan.ListingPlan` out: pages in, matches out.

A directory is listed in one of two ways:

* :mod:`~fsspec_avroglob.glob.scan` lists keys in order without a delimiter and skips ranges in
  which the pattern allows no match. One page answers for every directory on it.
* :mod:`~fsspec_avroglob.glob.walk` lists a level with a delimiter, drops the subdirectories that
  cannot match, and lists the others concurrently.

A directory is scanned first, and walked once scanning does not pay. No range of keys is read again:
a walk starts after the last key that was scanned.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from functools import partial

from fsspec_avroglob.aio.tasks import for_each
from fsspec_avroglob.glob.fetch import Area, Fetcher, FetchPage, Found
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
from fsspec_avroglob.glob.scan import Allowance, Scan
from fsspec_avroglob.glob.tokens import common_prefix
from fsspec_avroglob.glob.walk import Walk, list_level, targets_below

__all__ = ["FetchPage", "Found", "Lister"]


class Lister:
    """Runs one plan.

    Parameters
    ----------
    fetch : gets a page.
    emit : receives the matches of a page. Awaiting it may delay the listing.
    concurrency : maximum number of requests in flight.
    busy : whether more concurrent requests are of no use now; never, by default.
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
        self._fetcher = Fetcher(plan, fetch, emit, concurrency, busy)
        self._allowance = Allowance(max(map(len, plan.branches)))

    async def run(self) -> None:
        """List until everything is found. Raises what the first request that failed raised.

        A FileNotFoundError names the bucket: only a bucket that does not exist causes one.
        """
        if self.plan.limited:
            await self._fetcher.emit_directories([""])
        try:
            await self._explore("", self.plan.root)
        except FileNotFoundError as error:
            bucket = self.plan.bucket
            missing = FileNotFoundError(errno.ENOENT, "the bucket does not exist", bucket)
            for note in getattr(error, "__notes__", ()):
                missing.add_note(note)
            raise missing from error.__cause__

    async def run_level(self, directory: str, prefix: str = "") -> None:
        """List one directory ("" or ending in "/"), only what starts with *prefix* in it."""
        area = Area(directory, self.plan.root, directory + prefix, level_only=True)
        await self._walk(Match, area)

    async def run_below(self, directory: str, prefix: str = "") -> None:
        """List everything below a directory that starts with *prefix*."""
        await self._scan(Flat, Area(directory, self.plan.root, directory + prefix))

    async def _explore(
        self,
        directory: str,
        state: State,
        after: str | None = None,
        until: str | None = None,
    ) -> None:
        """Find what matches below *directory*, which is in *state*, in (*after*, *until*]."""
        steps = self.plan.steps(state)
        if not steps or _outside(directory, after, until):
            return
        after, until = _inside(directory, after), _inside(directory, until)
        pieces = [piece for step in steps for piece in stems_of(step)]
        final = all(isinstance(step, Exact | Match | OrderedRange) for step in steps)
        ordered = isinstance(steps[0], OrderedRange)
        if ordered or not self._allowance.guess(len(pieces)):
            base = directory + common_prefix(pieces)
            area = Area(directory, state, base, after, until, level_only=final)
            await (self._walk if final else self._scan)(type(steps[-1]), area)
            return
        jobs: list[Callable[[], Awaitable[None]]] = []
        for step in steps:
            kind = type(step)
            for piece in stems_of(step):
                base = directory + piece
                if _outside(base, after, until):
                    continue
                area = Area(directory, state, base, _inside(base, after), until)
                match step:
                    case Descend():
                        for child, inner, _ in targets_below(self.plan, directory, state, [piece]):
                            jobs.append(partial(self._explore, child, inner, after, until))
                    case Exact():
                        jobs.append(partial(self._exact, state, base, after, until))
                    case Match() | OrderedRange():
                        area.level_only = True
                        jobs.append(partial(self._walk, kind, area))
                    case Level() | Flat():
                        jobs.append(partial(self._scan, kind, area))
        await for_each(jobs, lambda job: job(), len(jobs))

    async def _exact(self, state: State, path: str, after: str | None, until: str | None) -> None:
        """Look for an object and a directory with exactly this name."""
        page = await self._fetcher.page(Exact, state, path, delimiter="/")
        if page.keys[:1] == [path] and (after is None or path > after):
            await self._fetcher.emit_matches(Exact, Area("", state, path), page, 1)
        directory = path + "/"
        if not self.plan.with_directories or (until is not None and directory > until):
            return
        last = max(page.keys[-1:] + page.prefixes[-1:], default="")
        if page.next_token is not None and last < directory:
            page = await self._fetcher.page(
                Exact, state, path, delimiter="/", start_after=before(directory)
            )
        if directory in page.prefixes:
            await self._fetcher.emit_directories([directory])

    async def _scan(self, step: type[Step], area: Area) -> None:
        """List an area without a delimiter as long as that pays, the rest with one."""
        walk = partial(self._walk, step)
        await Scan(self._fetcher, self._allowance, area, step, walk).run()

    async def _walk(self, step: type[Step], area: Area) -> None:
        """List an area with a delimiter, then the subdirectories in which matches may be."""
        targets = await list_level(self._fetcher, self._allowance, area, step)
        if targets:
            await Walk(self._fetcher, self._allowance, area, targets, self._explore).run()


def _outside(base: str, after: str | None, until: str | None) -> bool:
    """Whether no key that starts with *base* lies in (*after*, *until*]."""
    passed = after is not None and base <= after and not after.startswith(base)
    return passed or (until is not None and base > until)


def _inside(base: str, bound: str | None) -> str | None:
    """The bound, or None if it does not lie among the keys that start with *base*."""
    return bound if bound is not None and bound.startswith(base) else None
