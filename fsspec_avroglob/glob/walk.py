"""List one level with a delimiter, then the subdirectories in which matches may be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from fsspec_avroglob.aio.tasks import task_group
from fsspec_avroglob.glob.fetch import REPEATED_TOKEN, Area, Fetcher
from fsspec_avroglob.glob.partition import Part, Partition
from fsspec_avroglob.glob.plan import LAST, Level, ListingPlan, State, Step, before
from fsspec_avroglob.glob.scan import Allowance
from fsspec_avroglob.s3.page import Page


class Target(NamedTuple):
    """A directory to list, and its state.

    start: the ``StartAfter`` to list it from. begun: whether keys in it up to *start* were read
    before; if not, *start* is before its first possible match.
    """

    directory: str
    state: State
    start: str
    begun: bool = False


def targets_below(
    plan: ListingPlan, directory: str, state: State, names: Iterable[str]
) -> Iterator[Target]:
    """The subdirectories of *names* in which matches may be."""
    depth = directory.count("/") + 1
    for name in names:
        if inner := plan.enter(state, name, depth):
            child = f"{directory}{name}/"
            yield Target(child, inner, plan.first(inner, child))


class LevelListing:
    """Finds the files and subdirectories of one level in (*area.after*, *area.until*].

    targets: the subdirectories found so far in which matches may be, in no particular order; none
    if *area.level_only*.
    """

    def __init__(
        self, fetcher: Fetcher, allowance: Allowance, area: Area, step: type[Step]
    ) -> None:
        self.fetcher = fetcher
        self.allowance = allowance
        self.area = area
        self.step = step
        self.targets: list[Target] = []
        # A file or a subdirectory of the level matches the first segment of a tail.
        self._heads = tuple(tail[:1] for tail in area.state)

    async def run(self) -> None:
        """List the level; several workers share a long one."""
        area, fetcher = self.area, self.fetcher
        partition = Partition(
            area.base, fetcher.concurrency, fetcher.busy, self._work, self._between_names
        )
        await partition.run(area.after, area.until)

    async def _work(self, partition: Partition, part: Part) -> None:
        area, fetcher = self.area, self.fetcher
        token: str | None = None
        tokens: set[str] = set()
        while True:
            page = await fetcher.page(
                self.step,
                area.state,
                area.base,
                delimiter="/",
                start_after=part.position,
                token=token,
            )
            own = replace(area, level_only=True, until=part.until)
            bound, token = self._next(page, own)
            # As in a scan, other workers may divide the part while its matches are emitted.
            if bound is None:
                partition.end(part, own.count(page.keys) + own.count(page.prefixes))
            else:
                if token in tokens:
                    raise fetcher.fault(area.base, REPEATED_TOKEN)
                if token is not None:
                    tokens.add(token)
                partition.advance(part, sorted(page.keys + page.prefixes), bound)
            await self._emit(page, own)
            if bound is None:
                return

    def _next(self, page: Page, own: Area) -> tuple[str | None, str | None]:
        """Where to continue after a page, None if it is the last; and the token for it, if any."""
        last = max(page.keys[-1:] + page.prefixes[-1:], default="")
        if page.next_token is None or (own.until is not None and last > own.until):
            return None, None
        place = last + LAST if page.prefixes[-1:] == [last] else last
        bound = self.fetcher.plan.seek(self._heads, own.directory, place)
        if bound is None or (own.until is not None and bound >= own.until):
            return None, None
        return bound, page.next_token if bound == place else None

    async def _emit(self, page: Page, own: Area) -> None:
        """Emit the matches of a page, and collect its targets."""
        fetcher, area = self.fetcher, self.area
        prefixes = page.prefixes[: own.count(page.prefixes)]
        count = own.count(page.keys)
        self.allowance.earn(page, count)
        if not area.level_only:
            names = (prefix[len(area.directory) : -1] for prefix in prefixes)
            self.targets += targets_below(fetcher.plan, area.directory, area.state, names)
        await fetcher.emit_matches(self.step, own, page, count)
        await fetcher.emit_directories(prefixes)
        if fetcher.plan.limited and (page.keys or page.prefixes):
            await fetcher.emit_directories([area.directory])

    def _between_names(self, key: str) -> str:
        """A key near *key* that lies in no subdirectory.

        Servers disagree on whether a subdirectory that contains ``StartAfter`` is listed.
        """
        start = len(self.area.directory)
        return self.area.directory + key[start:].partition("/")[0] + LAST


@dataclass
class _Run:
    """Neighbouring targets from index *start* to *stop* that one worker lists."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Walk:
    """Finds what matches in sorted targets, the subdirectories of *area.directory*.

    A target is visited, or a page without a delimiter is shared by neighbours. Pages are shared if
    they answer for two or more targets on average, or if the allowance has too few visits.

    visit: lists one target; its second argument says whether a page of it was read and did not pay.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        allowance: Allowance,
        area: Area,
        targets: list[Target],
        visit: Callable[[Target, bool], Awaitable[None]],
    ) -> None:
        self.fetcher = fetcher
        self.allowance = allowance
        self.area = area
        self.targets = targets
        self._visit = visit
        self._runs: list[_Run] = []
        self._pages = 0
        self._answered = 0.0

    async def run(self) -> None:
        """List all targets. Raises what the first request that failed raised."""
        if not self.targets:
            return
        async with task_group() as self._group:
            self._start(_Run(0, len(self.targets)))
            self._divide()

    def _start(self, run: _Run) -> None:
        self._runs.append(run)
        self._group.create_task(self._work(run))

    @property
    def _per_page(self) -> float:
        """Targets that a page answers for, on average."""
        return self._answered / self._pages if self._pages else 1.0

    def _divide(self) -> None:
        """Start workers on halves of the longest runs, as far as the allowance permits."""
        while len(self._runs) < self.fetcher.concurrency and not self.fetcher.busy():
            longest = max(self._runs, key=len, default=None)
            if longest is None or len(longest) < max(2.0, 2 * self._per_page):
                return
            if not self.allowance.visit():
                return
            middle = (longest.start + longest.stop + 1) // 2
            self._start(_Run(middle, longest.stop))
            longest.stop = middle

    async def _work(self, run: _Run) -> None:
        while run:
            if len(run) == 1 or self._visits():
                run.start += 1
                await self._visit(self.targets[run.start - 1], False)
            else:
                await self._share(run)
            self._divide()
        self._runs.remove(run)
        self._divide()

    def _visits(self) -> bool:
        """Whether to visit the next target of a run; else it shares a page with neighbours."""
        waiting = sum(map(len, self._runs))
        return self._per_page < 1.5 and self.allowance.affords(waiting) and self.allowance.visit()

    async def _share(self, run: _Run) -> None:
        """Read a page from the first target on; visit that target if it is larger than the page."""
        fetcher, area, first = self.fetcher, self.area, run.start
        start = self.targets[first].start
        page = await fetcher.page(Level, area.state, area.base, start_after=start)
        until = area.until
        if run.stop < len(self.targets):
            until = before(self.targets[run.stop].directory)
        own = Area(area.directory, area.state, area.base, start, until)
        count = own.count(page.keys)
        self.allowance.earn(page, count)
        rest = self._skip_answered(run, page, count)
        large = None
        if rest is not None and run.start == first:
            run.start += 1
            large = rest
        # Files of the level itself were emitted when it was listed.
        floor = len(area.directory)
        await fetcher.emit_matches(
            Level, own, page, count, lambda key: "/" in key[floor:] and key > start
        )
        if large is not None:
            await self._visit(large, True)

    def _skip_answered(self, run: _Run, page: Page, count: int) -> Target | None:
        """Drop the targets that a page answers for; the rest of the target that it ends in."""
        first, rest = run.start, None
        if page.next_token is None or count < len(page.keys):
            run.start = run.stop
        else:
            last = page.keys[-1]
            run.start = bisect_right(self.targets, last, first, run.stop, key=_directory)
            target = self.targets[run.start - 1]
            if run.start > first and last.startswith(target.directory):
                bound = self.fetcher.plan.seek(target.state, target.directory, last)
                if bound is not None:
                    run.start -= 1
                    rest = target._replace(start=max(target.start, bound), begun=True)
                    self.targets[run.start] = rest
        self._pages += 1
        self._answered += run.start - first + (rest is not None) / 2
        return rest


def _directory(target: Target) -> str:
    return target.directory
