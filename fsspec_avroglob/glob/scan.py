"""List the keys of an area in order, without a delimiter, and decide when a walk is cheaper.

The rule: a page that answers for two or more directories that a walk would list pays for reading
the next two pages. Where no page pays, the rest of the area is walked. :class:`Allowance` limits
the requests that this rule does not cover. An area that a policy refuses to list without a
delimiter is walked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from fsspec_avroglob.glob.fetch import Area, Fetcher, directories_of
from fsspec_avroglob.glob.partition import Part, RangePartition
from fsspec_avroglob.glob.plan import Descend, Flat, ListingPlan, State, Step
from fsspec_avroglob.glob.rights import is_refusal
from fsspec_avroglob.s3.page import Page

SLACK = 4
"""Requests that may be speculative, in addition to one for each segment of the pattern."""


class Allowance:
    """Limits the requests that may turn out useless, for one run of a pattern of *depth* segments.

    A visit of a directory is speculative: a page shared with its neighbours may answer for all of
    them. A request for a name that the pattern states is speculative, as the name may not exist.
    """

    def __init__(self, depth: int) -> None:
        self._visits = float(depth + SLACK)
        self._names = depth
        self._page_size = 1

    def earn(self, page: Page, count: int) -> None:
        """Allow one more visit for each full page of new keys; *page* has *count* of them."""
        if page.next_token is not None:
            self._page_size = max(self._page_size, page.key_count)
        self._visits += count / max(self._page_size, page.key_count)

    def affords(self, visits: int) -> bool:
        """Whether *visits* more directories may be visited."""
        return visits <= self._visits

    def visit(self) -> bool:
        """Use up one visit; False if there is none."""
        affordable = self.affords(1)
        self._visits -= affordable
        return affordable

    def guess(self, names: int) -> bool:
        """Use up requests for *names* of which one is sure to be useful; False if too many."""
        if names - 1 > self._names:
            return False
        self._names -= max(0, names - 1)
        return True


@dataclass
class Scan:
    """Lists the keys of an area in order; several workers share a long area.

    step: the step that the requests are charged to. walk: lists an area with a delimiter.
    """

    fetcher: Fetcher
    allowance: Allowance
    area: Area
    step: type[Step]
    walk: Callable[[Area], Awaitable[None]]

    async def run(self) -> None:
        """Find every match in the area. Raises the first failure."""
        area, fetcher = self.area, self.fetcher
        if not fetcher.rights.allows(area.base, ""):
            await self.walk(area)
            return
        start = area.start(fetcher.plan.first(area.state, area.directory))
        partition = RangePartition(area.base, fetcher.concurrency, self._work)
        await partition.run(start, area.until)

    async def _work(self, partition: RangePartition, part: Part) -> None:
        fetcher, area = self.fetcher, self.area
        read = paid = False
        previous = (part.position if part.fresh else area.after) or ""
        while True:
            try:
                page = await fetcher.page(
                    self.step, area.state, area.base, start_after=part.position
                )
            except PermissionError as error:
                if not is_refusal(error):
                    raise
                part.stride = 0
                after = part.position if read or part.fresh else area.after
                await self.walk(replace(area, after=after, until=part.until))
                return
            read = True
            own = replace(area, after=part.position, until=part.until)
            count = own.count(page.keys)
            self.allowance.earn(page, count)
            bound = self._bound(page, own, count)
            scans_on = False
            if bound is not None:
                paid_before, paid = paid, pays(fetcher.plan, area, page.keys, previous)
                scans_on = paid or paid_before or self.step is Flat
                previous = page.keys[-1]
            # Emitting may take long. Until it ends, other workers divide what is left of the part.
            if bound is None:
                partition.end(part, count)
            elif scans_on:
                partition.advance(part, page.keys, bound)
            else:
                part.stride = 0
            await fetcher.emit_matches(self.step, own, page, count)
            if bound is not None and not scans_on:
                await self.walk(replace(own, after=bound))
            if not scans_on:
                return

    def _bound(self, page: Page, own: Area, count: int) -> str | None:
        """Where to continue after a page with *count* keys in *own*, or None if it is the last."""
        if page.next_token is None or count < len(page.keys) or not page.keys:
            return None
        bound = self.fetcher.plan.seek(own.state, own.directory, page.keys[-1])
        return None if bound is None or (own.until is not None and bound >= own.until) else bound


def pays(plan: ListingPlan, area: Area, keys: Sequence[str], previous: str) -> bool:
    """Whether a page of *keys* answers for two or more directories that a walk would list.

    previous: the last key before the page. The directories that contain it count for the pages
    before.
    """
    # None: below "**", where a walk lists no directory on its own.
    states: dict[str, State | None] = {area.directory: area.state}
    listed = 0
    # Directories of which the pattern states the subdirectories: a walk asks for one at least.
    stated: set[str] = set()
    for path in directories_of(keys, area.directory):
        chain = [path]
        while chain[-1] not in states:
            chain.append(chain[-1][: chain[-1].rfind("/", 0, -1) + 1])
        for parent, child in zip(chain[:0:-1], chain[-2::-1], strict=True):
            state = states[parent]
            if state is None or plan.lists_flat(state):
                states[child] = None
                continue
            states[child] = inner = plan.enter(state, child[len(parent) : -1], child.count("/"))
            if not inner or previous.startswith(child):
                continue
            stated.discard(parent)
            if any(not isinstance(step, Descend) for step in plan.steps(inner)):
                listed += 1
            else:
                stated.add(child)
        if listed >= 2:
            return True
    return listed + len(stated) >= 2
