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
from dataclasses import replace
from functools import partial

from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.glob.fetch import Area, Fetcher, FetchPage, Found
from fsspec_avroglob.glob.plan import (
    Descend,
    Exact,
    Flat,
    Level,
    ListingPlan,
    Match,
    Range,
    State,
    Step,
    before,
)
from fsspec_avroglob.glob.rights import ListingRights
from fsspec_avroglob.glob.scan import Allowance, Scan
from fsspec_avroglob.glob.tokens import common_prefix
from fsspec_avroglob.glob.walk import LevelListing, Walk, targets_below

__all__ = ["FetchPage", "Found", "Lister"]


class Lister:
    """Runs one plan.

    Parameters
    ----------
    fetch : gets a page.
    emit : receives the matches of a page. Awaiting it may delay the listing.
    concurrency : maximum number of requests in flight.
    rights : what is known about the bucket's policy.
    """

    def __init__(
        self,
        plan: ListingPlan,
        fetch: FetchPage,
        emit: Callable[[Found], Awaitable[None]],
        concurrency: int = 64,
        rights: ListingRights | None = None,
    ) -> None:
        self.plan = plan
        self._rights = rights or ListingRights()
        self._fetcher = Fetcher(plan, fetch, emit, concurrency, self._rights)
        self._allowance = Allowance(max(map(len, plan.branches)))

    async def run(self) -> None:
        """List until everything is found. Raises the first failure.

        A FileNotFoundError names the bucket: only a bucket that does not exist causes one.
        """
        if self.plan.limited:
            await self._fetcher.emit_directories([""])
        try:
            await self._explore("", self.plan.root, self.plan.after)
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
        """List all keys that start with *directory* followed by *prefix*."""
        await self._scan(Flat, Area(directory, self.plan.root, directory + prefix))

    async def _explore(
        self, directory: str, state: State, after: str | None = None, until: str | None = None
    ) -> None:
        """Find what matches below *directory*, which is in *state*, in (*after*, *until*]."""
        steps = self.plan.steps(state)
        if not steps or _outside(directory, after, until):
            return
        after, until = _inside(directory, after), _inside(directory, until)
        pieces = [piece for step in steps for piece in step.stems]
        final = all(isinstance(step, Exact | Match | Range) for step in steps)
        ordered = isinstance(steps[0], Range)
        if ordered or not self._allowance.guess(len(pieces)):
            base = directory + common_prefix(pieces)
            area = Area(directory, state, base, after, until, level_only=final)
            if len(pieces) == 1 or self._rights.allows_level(base):
                try:
                    await (self._walk if final else self._scan)(type(steps[-1]), area)
                    return
                except PermissionError:
                    # A refusal of the shared prefix itself comes before anything is found.
                    if len(pieces) == 1 or self._rights.allows_level(base):
                        raise
        parts = [
            (step, piece, Area(directory, state, base, _inside(base, after), until))
            for step in steps
            for piece in step.stems
            if not _outside(base := directory + piece, after, until)
        ]
        if not self._rights.allows(directory, "/"):
            # Where no listing at all is allowed, the first one tells.
            for part in parts[:1]:
                await self._carry_out(*part)
            parts = parts[1:]
        await gather(self._carry_out(*part) for part in parts)

    async def _carry_out(self, step: Step, piece: str, area: Area) -> None:
        """Carry out a step for one of the names or prefixes that it states."""
        match step:
            case Descend():
                for target in targets_below(self.plan, area.directory, area.state, [piece]):
                    await self._explore(*target[:2], area.after, area.until)
            case Exact():
                await self._exact(area)
            case Match() | Range():
                await self._walk(type(step), replace(area, level_only=True))
            case Level() | Flat():
                await self._scan(type(step), area)

    async def _exact(self, area: Area) -> None:
        """Look for an object and a directory whose path is *area.base*."""
        path, directory = area.base, area.base + "/"
        page = await self._fetcher.page(Exact, area.state, path, delimiter="/")
        if page.keys[:1] == [path] and (area.after is None or path > area.after):
            await self._fetcher.emit_matches(Exact, Area("", area.state, path), page, 1)
        if not self.plan.with_directories or (area.until is not None and directory > area.until):
            return
        last = max(page.keys[-1:] + page.prefixes[-1:], default="")
        if page.next_token is not None and last < directory:
            page = await self._fetcher.page(
                Exact, area.state, path, delimiter="/", start_after=before(directory)
            )
        if directory in page.prefixes:
            await self._fetcher.emit_directories([directory])

    async def _scan(self, step: type[Step], area: Area) -> None:
        """List an area without a delimiter as long as that pays, the rest with one."""
        walk = partial(self._walk, step)
        await Scan(self._fetcher, self._allowance, area, step, walk).run()

    async def _walk(self, step: type[Step], area: Area) -> None:
        """List an area with a delimiter, then the subdirectories in which matches may be."""
        targets = await LevelListing(self._fetcher, self._allowance, area, step).run()
        if targets:
            await Walk(self._fetcher, self._allowance, area, targets, self._explore).run()


def _outside(base: str, after: str | None, until: str | None) -> bool:
    """Whether no key that starts with *base* lies in (*after*, *until*]."""
    passed = after is not None and base <= after and not after.startswith(base)
    return passed or (until is not None and base > until)


def _inside(base: str, bound: str | None) -> str | None:
    """The bound, or None if it does not lie among the keys that start with *base*."""
    return bound if bound is not None and bound.startswith(base) else None
