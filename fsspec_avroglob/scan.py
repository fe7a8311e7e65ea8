"""Listing keys in order, jumping over what cannot match, and dividing long ranges among workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from fsspec_avroglob.harvest import Area, Harvest, directories_of
from fsspec_avroglob.plan import Descend, Exact, Flat, ListingPlan, State, Step, stems_of
from fsspec_avroglob.split import KeySpace, divide, sample
from fsspec_avroglob.tasks import first_error

SPLIT_SHARE = 0.12
"""Parts that a scan may divide itself into, per page read. A part costs at most one page more than
the scan would have read undivided, so this bounds what dividing can cost."""

PATIENCE = 2
"""Jumps over subdirectories after which a listing with a delimiter is the better way."""


@dataclass
class _Part:
    """A stretch (position, until] of a scan that one worker lists.

    last: the last key that was read of it.
    """

    position: str | None
    until: str | None
    last: str = ""
    stride: int = 0
    gallop: int = 8


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
    parts: list[_Part] = field(default_factory=list)
    made: int = 0

    async def run(self) -> None:
        """Find every match in the area. Raises what the first request that failed raised."""
        area = self.area
        start = area.after
        if start is None and self.step is not Flat:
            start = self.harvest.plan.first(area.state, area.directory)
        if start is not None and start < area.base:
            start = None
        self.space = KeySpace(area.base)
        self.jumps = 0
        try:
            async with asyncio.TaskGroup() as group:
                self.group = group
                self._begin(_Part(start, area.until))
        except BaseExceptionGroup as failures:
            error = first_error(failures)
            raise error from error.__cause__

    def _begin(self, part: _Part) -> None:
        self.parts.append(part)
        self.group.create_task(self._work(part))

    async def _work(self, part: _Part) -> None:
        harvest, area = self.harvest, self.area
        while True:
            page = await harvest.page(self.step, area.state, area.base, start_after=part.position)
            self.pages += 1
            own = replace(area, after=part.position, until=part.until)
            count = own.upto(page.keys)
            await harvest.keep(self.step, own, page, count)
            if page.next_token is None or count < len(page.keys) or not page.keys:
                break
            last = page.keys[-1]
            bound = harvest.plan.seek(area.state, area.directory, last)
            if bound is None or (part.until is not None and bound >= part.until):
                break
            if self._gives_up(page.keys, part.last):
                self.parts.remove(part)
                await self.walk(replace(area, after=bound, until=part.until), self.step)
                return
            self._learn(part, page.keys)
            part.position, part.last = bound, last
            self._divide()
        self.parts.remove(part)
        self._divide()

    def _gives_up(self, keys: Sequence[str], previous: str) -> bool:
        """Whether walking the rest is cheaper than to scan on."""
        if self.step is Flat:
            return False
        if self.area.level_only:
            # The scan came upon a subdirectory and has to jump over it; a delimiter would not.
            self.jumps += "/" in keys[-1][len(self.area.directory) :]
            return self.jumps > PATIENCE
        return not worth_scanning(self.harvest.plan, self.area, keys, previous)

    def _learn(self, part: _Part, keys: Sequence[str]) -> None:
        self.space.observe(sample(keys))
        start = keys[0] if part.position is None else max(part.position, self.area.base)
        part.stride = max(1, self.space.position(keys[-1]) - self.space.position(start))

    def _divide(self) -> None:
        """Hand half of the longest part, or what lies well ahead of it, to a new worker."""
        while self.made + 1 <= SPLIT_SHARE * self.pages and len(self.parts) < (
            self.harvest.concurrency
        ):
            candidates = [part for part in self.parts if part.stride and part.position]
            if not candidates:
                return
            part = max(candidates, key=self._left)
            key = divide(
                self.space, part.position or "", part.until, part.stride, pages=part.gallop
            )
            if key is None:
                part.stride = 0
                continue
            self.made += 1
            gallop = part.gallop * 8 if part.until is None else part.gallop
            new = _Part(key, part.until, gallop=gallop)
            part.until = key
            self._begin(new)

    def _left(self, part: _Part) -> float:
        """Pages that the part has left, estimated."""
        if part.until is None:
            return float(2 * part.gallop)
        ahead = self.space.position(part.until) - self.space.position(part.position or "")
        return ahead / part.stride


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
