"""Listing keys in order, jumping over what cannot match, and dividing long ranges among workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from fsspec_avroglob.division import Division, Part
from fsspec_avroglob.harvest import Area, Harvest, directories_of
from fsspec_avroglob.page import Page
from fsspec_avroglob.plan import Descend, Exact, Flat, ListingPlan, State, Step, stems_of

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
        division = Division(area.base, self.harvest.concurrency, self._work, self.pages)
        await division.run(start, area.until)

    async def _work(self, division: Division, part: Part) -> None:
        harvest, area = self.harvest, self.area
        while True:
            page = await harvest.page(self.step, area.state, area.base, start_after=part.position)
            division.pages += 1
            own = replace(area, after=part.position, until=part.until)
            count = own.upto(page.keys)
            bound = self._bound(page, own, count)
            left = bound is not None and self._gives_up(page.keys, part.last)
            # To tell of matches may take long, so it comes after: others divide what the part says
            # is left, and the page is no more.
            if bound is None or left:
                part.close()
            else:
                division.learn(part, page.keys, bound)
            await harvest.keep(self.step, own, page, count)
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

    def _gives_up(self, keys: Sequence[str], previous: str) -> bool:
        """Whether walking the rest is cheaper than to scan on."""
        if self.step is Flat:
            return False
        if self.area.level_only:
            # The scan came upon a subdirectory and has to jump over it; a delimiter would not.
            self.jumps += "/" in keys[-1][len(self.area.directory) :]
            return self.jumps > PATIENCE
        return not worth_scanning(self.harvest.plan, self.area, keys, previous)


def worth_scanning(plan: ListingPlan, area: Area, keys: Sequence[str], previous: str = "") -> bool:
    """Whether the page of *keys* answers for two or more directories that a walk would list.

    previous: the last key before the page. The directories that both lie in were answered for
    already; they count again only where a walk would read this page too, as its keys stand right in
    one directory and start as the pattern wants.
    """
    states: dict[str, State] = {area.directory: area.state}
    first, last = (key[: key.rfind("/") + 1] for key in (keys[0], keys[-1]))
    worth = again = 0
    # Where only stated names are entered, a walk asks for these in vain if none is there.
    stated: set[str] = set()
    entered: set[str] = set()
    for path in directories_of(keys, area):
        chain = [path]
        while chain[-1] not in states:
            chain.append(chain[-1][: chain[-1].rfind("/", 0, -1) + 1])
        for parent, child in zip(chain[:0:-1], chain[-2::-1], strict=True):
            name = child[len(parent) : -1]
            states[child] = plan.enter(states[parent], name, child.count("/"))
            if states[child]:
                entered.add(parent)
        if path == area.directory or not states[path]:
            continue
        if not plan.lists(states[path]):
            if not previous.startswith(path):
                stated.add(path)
        elif not previous.startswith(path):
            worth += 1
        elif path != first:
            again += 1
        else:
            worth += _walk_reads(plan, states[path], path, keys)
        if worth == 2:
            return True
    if worth + len(stated - entered) >= 2:
        return True
    if first != last or not worth or worth + again < 2:
        return False
    return _walk_reads(plan, states[first], first, keys)


def _walk_reads(plan: ListingPlan, state: State, directory: str, keys: Sequence[str]) -> bool:
    """Whether a walk, too, reads those of the *keys* that stand right in *directory*."""
    own = [key[len(directory) :] for key in keys if key.startswith(directory)]
    own = [rest for rest in own if "/" not in rest]
    stems = [
        stem
        for step in plan.steps(state)
        if not isinstance(step, Descend | Exact)
        for stem in stems_of(step)
    ]
    return bool(own) and any(own[0].startswith(stem) and own[-1].startswith(stem) for stem in stems)
