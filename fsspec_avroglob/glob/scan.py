"""Listing keys in order, jumping over what cannot match, and dividing long ranges among workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fsspec_avroglob.glob.division import Division, Part
from fsspec_avroglob.glob.fetch import Area, Harvest, any_below, directories_of
from fsspec_avroglob.glob.plan import Descend, Exact, Flat, ListingPlan, State, Step, stems_of
from fsspec_avroglob.s3.page import Page

ENOUGH = 4
"""Directories on a page that are counted; what more there are makes no difference."""

PATIENCE = 2
"""Jumps over subdirectories after which a listing with a delimiter is the better way."""


@dataclass
class Scan:
    """Lists the keys of an area in order, dividing the work as the pages read allow.

    step: what the requests are counted as. walk: lists an area in the other way, where scanning on
    would cost more. pages: pages of the area that were read before.
    """

    harvest: Harvest
    area: Area
    step: type[Step]
    walk: Callable[[Area, type[Step]], Awaitable[None]]
    pages: int = 0

    async def run(self) -> None:
        """Find every match in the area. Raises what the first request that failed raised."""
        area = self.area
        start = area.after
        if start is None and self.step is not Flat:
            start = self.harvest.plan.first(area.state, area.directory)
        if start is not None and start < area.base:
            start = None
        self.jumps = 0
        # A walk, too, lists the directory once; or if names are stated, asks for one at least.
        harvest = self.harvest
        harvest.ledger.walked += area.after is None
        self.presumed = area.after is None and not harvest.plan.lists(area.state)
        self.rest = handed_over(area, self.step)
        limit = harvest.concurrency
        division = Division(area.base, limit, self._may_divide, self._work, self.pages)
        await division.run(start, area.until)

    def _may_divide(self, waiting: int) -> bool:
        affordable = self.harvest.ledger.may_scan((waiting + 1) * (1 + self.rest))
        return (self.step is Flat or affordable) and not self.harvest.busy()

    async def _work(self, division: Division, part: Part) -> None:
        harvest, area = self.harvest, self.area
        first = area.after is None and not part.fresh
        owed = handed_over(area, self.step, first=first)
        harvest.ledger.owed += owed
        while True:
            page = await harvest.page(self.step, area.state, area.base, start_after=part.position)
            harvest.ledger.owed -= owed
            division.pages += 1
            own = replace(area, after=part.position, until=part.until)
            count = own.upto(page.keys)
            bound = self._bound(page, own, count)
            worth = self._account(page.keys[:count], part.last, bound)
            left = bound is not None and self._gives_up(worth)
            # To tell of matches may take long, so it comes after: others divide what the part says
            # is left, and the page is no more.
            if left:
                part.close()
            elif bound is None:
                division.end(part, count)
            else:
                division.learn(part, page.keys, bound)
            requests = left + (bound is not None)
            harvest.ledger.expects(requests)
            owed = self.rest if bound is not None and not left else 0
            harvest.ledger.owed += owed
            await harvest.keep(self.step, own, page, count)
            harvest.ledger.expects(-requests)
            if left:
                await self.walk(replace(own, after=bound), self.step)
            if bound is None or left:
                return

    def _bound(self, page: Page, own: Area, count: int) -> str | None:
        """Where to go on behind a page, of which *count* keys are *own*; None for nowhere."""
        if page.next_token is None or count < len(page.keys) or not page.keys:
            return None
        bound = self.harvest.plan.seek(own.state, own.directory, page.keys[-1])
        return None if bound is None or (own.until is not None and bound >= own.until) else bound

    def _account(self, keys: Sequence[str], previous: str, bound: str | None) -> bool:
        """Enter the keys of a page in the ledger; whether it was worth a walk's requests."""
        ledger, area = self.harvest.ledger, self.area
        ledger.keys += len(keys)
        saved = Saved(0, False, True)
        if self.step is Flat:
            saved = Saved(0, True, True)
        elif area.level_only:
            # The scan came upon a subdirectory and has to jump over it; a delimiter would not.
            self.jumps += bound is not None and "/" in keys[-1][len(area.directory) :]
            own = not any_below(keys, area) and bool(keys)
            whole = own and walk_reads(self.harvest.plan, area, keys[0], keys[-1])
            saved = Saved(0, whole, self.jumps <= PATIENCE)
        elif keys:
            saved = saved_by(self.harvest.plan, area, keys, previous or area.after or "")
        ledger.walked += saved.directories
        if self.presumed and saved.directories:
            self.presumed = False
            ledger.walked -= 1
        if saved.whole and (previous or area.after is not None):
            # Of a page that is not full, the directory may have had no more than was counted.
            ledger.walked += bound is not None
        return saved.worth

    def _gives_up(self, worth: bool) -> bool:
        """Whether walking the rest is cheaper than to scan on."""
        ledger = self.harvest.ledger
        if self.step is Flat:
            return False
        # What is left takes a listing and a request below at least.
        if worth or not ledger.may_walk(2):
            return not ledger.may_scan(1 + self.rest)
        return True


def handed_over(area: Area, step: type[Step], *, first: bool = False) -> int:
    """Requests that are left at least where a page of an area was scanned in vain.

    first: whether it is the area's first one, which was counted as a listing; another follows.
    """
    if step is Flat:
        return 0
    return 1 if area.level_only or first else 2


class Saved(NamedTuple):
    """What a page of a scan saves a walk.

    directories: that a walk would have listed, at least. whole: whether it would have read this
    very page, too. worth: whether it pays to scan on.
    """

    directories: int
    whole: bool
    worth: bool


def saved_by(plan: ListingPlan, area: Area, keys: Sequence[str], previous: str = "") -> Saved:
    """What the page of *keys* saves: it is worth two or more directories that a walk would list.

    previous: the last key before the page. The directories that both lie in were answered for
    already; they count again only where a walk would read this page too, as its keys stand right in
    one directory and start as the pattern wants.
    """
    states: dict[str, State] = {area.directory: area.state}
    # Below "**" a walk lists all at once: the directory where it begins stands for what is below.
    tops: dict[str, str] = {}
    first, last = (key[: key.rfind("/") + 1] for key in (keys[0], keys[-1]))
    new = again = 0
    read = False
    # Where only stated names are entered, a walk asks for these in vain if none is there.
    stated: set[str] = set()
    entered: set[str] = set()
    for path in directories_of(keys, area):
        chain = [path]
        while chain[-1] not in states:
            chain.append(chain[-1][: chain[-1].rfind("/", 0, -1) + 1])
        for parent, child in zip(chain[:0:-1], chain[-2::-1], strict=True):
            if parent in tops or plan.lists_flat(states[parent]):
                tops[child] = tops.get(parent, parent)
                states[child] = states[parent]
                continue
            name = child[len(parent) : -1]
            states[child] = plan.enter(states[parent], name, child.count("/"))
            if states[child]:
                entered.add(parent)
        first = tops.get(first, first)
        if path in tops or path == area.directory or not states[path]:
            continue
        if not plan.lists(states[path]):
            if not previous.startswith(path):
                stated.add(path)
        elif not previous.startswith(path):
            new += 1
        elif path != first:
            again += 1
        else:
            read = _reads_own(plan, states[path], path, keys)
        if new == ENOUGH:
            return Saved(new, False, True)
    last = tops.get(last, last)
    in_vain = stated - entered
    worth = new + len(in_vain) + read >= 2
    if not worth and first == last and new + read and new + read + again >= 2:
        worth = read or _reads_own(plan, states[first], first, keys)
    new += sum(not keys[-1].startswith(path) for path in in_vain)
    return Saved(new, read and first == last, worth)


def walk_reads(plan: ListingPlan, area: Area, first: str, last: str) -> bool:
    """Whether a walk, too, reads a page right in *area.directory* from entry *first* to *last*."""
    stems = (
        area.directory + stem
        for step in plan.steps(area.state)
        if not isinstance(step, Descend | Exact)
        for stem in stems_of(step)
    )
    return any(first.startswith(stem) and last.startswith(stem) for stem in stems)


def _reads_own(plan: ListingPlan, state: State, directory: str, keys: Sequence[str]) -> bool:
    """Whether a walk, too, reads those of the *keys* that stand right in *directory*."""
    if plan.lists_flat(state):
        return True
    floor = len(directory)
    own = [key for key in keys if key.startswith(directory) and "/" not in key[floor:]]
    return bool(own) and walk_reads(plan, Area(directory, state, directory), own[0], own[-1])
