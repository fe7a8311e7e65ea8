"""Lists one level of a bucket with a delimiter, a long one by several workers."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise

from fsspec_avroglob.glob.cover import Target, places_of, targets_below
from fsspec_avroglob.glob.division import Division, Part
from fsspec_avroglob.glob.fetch import TOKEN_AGAIN, Area, Harvest
from fsspec_avroglob.glob.plan import LAST, Step
from fsspec_avroglob.glob.scan import walk_reads
from fsspec_avroglob.s3.page import Page


class LevelListing:
    """Finds the files and subdirectories of one level in (*area.after*, *area.until*].

    targets: the subdirectories found so far in which matches can be, in no particular order; none
    if *area.level_only*. bound: the place from which more is to come, None when nothing is. mixed:
    whether there are subdirectories at all.
    """

    def __init__(self, harvest: Harvest, area: Area, step: type[Step]) -> None:
        self.harvest = harvest
        self.area = area
        self.step = step
        self.targets: list[Target] = []
        self.mixed = False
        self.bound: str | None = None
        self._token: str | None = None
        # What stands right in the directory, a file or a subdirectory, goes by the first segment.
        self._heads = tuple(tail[:1] for tail in area.state)

    async def begin(self) -> None:
        """Read the first page."""
        page = await self._page(self.area.after, None)
        place = self._place(page, self.area.until)
        if place is not None:
            self.bound, self._token = place
        await self._keep(page, self.area.until)

    async def finish(self) -> None:
        """Read the others, if there are more."""
        if self.bound is None:
            return
        area, harvest = self.area, self.harvest
        division = Division(
            area.base,
            harvest.concurrency,
            self._may_divide,
            self._work,
            pages=1,
            bound=self._between_names,
        )
        await division.run(self.bound, area.until)

    def _may_divide(self, waiting: int) -> bool:
        # The last page of each part may end early, and that of the part it is divided from.
        ledger, pages = self.harvest.ledger, waiting + 2
        affordable = self.area.level_only or ledger.may_walk(pages)
        return affordable and ledger.may_scan(pages) and not self.harvest.busy()

    async def _work(self, division: Division, part: Part) -> None:
        # The first part goes on where the first page ended.
        token, self._token = self._token, None
        tokens = {token}
        while True:
            page = await self._page(part.position, token)
            division.pages += 1
            until, place = part.until, self._place(page, part.until)
            # As in a scan, others may divide the part while the matches are told.
            if place is None:
                own = replace(self.area, until=until)
                division.end(part, own.upto(page.keys) + own.upto(page.prefixes))
            else:
                bound, token = place
                # Where a walk reads from other places on, it reads as many full pages at least.
                entries = sorted(page.keys + page.prefixes)
                walks = walk_reads(self.harvest.plan, self.area, entries[0], entries[-1])
                self.harvest.ledger.walked += walks
                if token is not None:
                    if token in tokens:
                        raise self.harvest.fault(self.area.base, TOKEN_AGAIN)
                    tokens.add(token)
                division.learn(part, entries, bound)
            left = int(place is not None)
            self.harvest.ledger.expects(left)
            await self._keep(page, until)
            self.harvest.ledger.expects(-left)
            if place is None:
                return

    async def _page(self, start_after: str | None, token: str | None) -> Page:
        area, ledger = self.area, self.harvest.ledger
        ledger.walked += start_after is None
        return await self.harvest.page(
            self.step, area.state, area.base, delimiter="/", start_after=start_after, token=token
        )

    def _place(self, page: Page, until: str | None) -> tuple[str, str | None] | None:
        """Where to go on behind a page, None for nowhere.

        That is a place, and a token if this is where the server would go on too.
        """
        last = max(page.keys[-1:] + page.prefixes[-1:], default="")
        if page.next_token is None or (until is not None and last > until):
            return None
        place = last + LAST if page.prefixes[-1:] == [last] else last
        bound = self.harvest.plan.seek(self._heads, self.area.directory, place)
        if bound is None or (until is not None and bound >= until):
            return None
        return bound, page.next_token if bound == place else None

    async def _keep(self, page: Page, until: str | None) -> None:
        """Keep what a page brought up to *until*."""
        harvest, area = self.harvest, replace(self.area, level_only=True, until=until)
        prefixes = page.prefixes[: area.upto(page.prefixes)]
        count = area.upto(page.keys)
        harvest.ledger.keys += count + len(prefixes)
        self.mixed = self.mixed or bool(prefixes)
        if not self.area.level_only:
            names = (prefix[len(area.directory) : -1] for prefix in prefixes)
            targets = list(targets_below(harvest.plan, area.directory, area.state, names))
            targets = _with_places(targets, page.keys[:count] + prefixes)
            harvest.ledger.unanswered += places_of(targets)
            self.targets += targets
        await harvest.keep(self.step, area, page, count)
        await harvest.tell_directories(prefixes)
        if harvest.plan.limited and (page.keys or page.prefixes):
            await harvest.tell_directories([area.directory])

    def _between_names(self, key: str) -> str:
        """A place to divide at that lies in no subdirectory.

        Servers disagree whether a subdirectory that ``StartAfter`` lies in is listed.
        """
        start = len(self.area.directory)
        return self.area.directory + key[start:].partition("/")[0] + LAST


def _with_places(targets: list[Target], entries: list[str]) -> list[Target]:
    """The sorted targets with their places, as these are among the *entries* of a page.

    What comes before the first is put down to it.
    """
    if len(targets) == len(entries):
        return targets
    entries.sort()
    starts = [0, *(bisect_left(entries, target.directory) for target in targets[1:]), len(entries)]
    return [
        target._replace(places=stop - start)
        for target, (start, stop) in zip(targets, pairwise(starts), strict=False)
    ]
