"""List one level with a delimiter, then the subdirectories in which matches may be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from fsspec_avroglob.aio.tasks import task_group
from fsspec_avroglob.glob.fetch import REPEATED_TOKEN, Area, Fetcher
from fsspec_avroglob.glob.partition import Part, RangePartition
from fsspec_avroglob.glob.plan import LAST, Flat, Level, ListingPlan, State, Step, before
from fsspec_avroglob.glob.rights import REFUSALS_TO_PRESUME, ListingRights, is_refusal
from fsspec_avroglob.glob.scan import Allowance
from fsspec_avroglob.s3.page import Page

AFTER_SLASH = chr(ord("/") + 1)
"""A name with this appended sorts after everything in the directory of that name."""

SHARED_FROM = 1.5
"""Share pages once one covers at least this many targets on average."""


Explore: TypeAlias = Callable[[str, State, str | None, str | None], Awaitable[None]]


class Target(NamedTuple):
    """A directory to list, and its state; *after*: what was read of it before ends here."""

    directory: str
    state: State
    after: str | None = None


def targets_below(
    plan: ListingPlan, directory: str, state: State, names: Iterable[str]
) -> Iterator[Target]:
    """The subdirectories of *names* in which matches may be."""
    depth = directory.count("/") + 1
    for name in names:
        if inner := plan.enter(state, name, depth):
            yield Target(f"{directory}{name}/", inner)


@dataclass
class LevelListing:
    """Lists one level in (*area.after*, *area.until*]."""

    fetcher: Fetcher
    allowance: Allowance
    area: Area
    step: type[Step]
    _targets: list[Target] = field(default_factory=list)

    async def run(self) -> list[Target]:
        """Emit the matches of the level; the targets in it, sorted, none if *area.level_only*.

        The target that contains *area.after* starts there. Several workers share a long level.
        """
        area, fetcher, after = self.area, self.fetcher, self.area.after
        # A file or a subdirectory of the level matches the first segment of a tail.
        self._heads = tuple(tail[:1] for tail in area.state)
        start = area.start(fetcher.plan.first(self._heads, area.directory))
        partition = RangePartition(area.base, fetcher.concurrency, self._work, self._between_names)
        await partition.run(start, area.until)
        if after is None or area.level_only:
            return sorted(self._targets)
        left = sorted(target for target in self._targets if target.directory > after)
        name, slash, _ = after[len(area.directory) :].partition("/")
        begun = [name] if slash else []
        for target in targets_below(fetcher.plan, area.directory, area.state, begun):
            if (bound := fetcher.plan.seek(target.state, target.directory, after)) is not None:
                left.insert(0, target._replace(after=bound))
        return left

    async def _work(self, partition: RangePartition, part: Part) -> None:
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
            self._targets += targets_below(fetcher.plan, area.directory, area.state, names)
        await fetcher.emit_matches(self.step, own, page, count)
        await fetcher.emit_directories(prefixes)
        # "**" and a depth limit let the directory itself match, which has not been listed.
        if (fetcher.plan.limited or self.step is Flat) and (page.keys or page.prefixes):
            await fetcher.emit_directories([area.directory])

    def _between_names(self, key: str) -> str:
        """*key*, or the first key after the subdirectory that contains it.

        Servers disagree on whether a subdirectory that contains ``StartAfter`` is listed.
        """
        end = key.find("/", len(self.area.directory))
        return key if end < 0 else key[:end] + AFTER_SLASH


@dataclass(eq=False)
class _Run:
    """Neighbouring targets, from index *start* to before *stop*, that one worker lists."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass
class Walk:
    """Finds what matches in *targets*, sorted subdirectories of *area.directory*.

    Each target is visited, or neighbours share pages that are listed without a delimiter. They
    share if a page answers for several of them on average, or if the allowance is used up.

    explore: lists what matches below a directory in a state, in a range of keys.
    """

    fetcher: Fetcher
    allowance: Allowance
    area: Area
    targets: list[Target]
    explore: Explore
    _runs: list[_Run] = field(default_factory=list)
    _pages: int = 0
    _answered: float = 0.0

    async def run(self) -> None:
        """List all targets. Raises what the first request that failed raised."""
        run = _Run(0, len(self.targets))
        # Otherwise all the first visits would try a listing that the policy refuses.
        for _ in range(REFUSALS_TO_PRESUME):
            if run and not self._may_share() and self._rights.unknown_below(self.area.directory):
                await self._visit(run)
        async with task_group() as self._group:
            self._start(run)
            self._divide()

    @property
    def _rights(self) -> ListingRights:
        return self.fetcher.rights

    def _may_share(self) -> bool:
        """Whether the policy may allow pages that neighbours share."""
        return self._rights.allows(self.area.base, "")

    async def _visit(self, run: _Run) -> None:
        run.start += 1
        await self.explore(*self.targets[run.start - 1], self.area.until)

    def _start(self, run: _Run) -> None:
        self._runs.append(run)
        self._group.create_task(self._work(run))

    async def _work(self, run: _Run) -> None:
        while run:
            if len(run) == 1 or not self._may_share() or self._visits():
                await self._visit(run)
            else:
                await self._share(run)
            self._divide()
        self._runs.remove(run)
        self._divide()

    @property
    def _per_page(self) -> float:
        """Targets that a page answers for, on average."""
        return self._answered / self._pages if self._pages else 1.0

    def _visits(self) -> bool:
        """Whether to visit the next target of a run, as the allowance suffices for all targets."""
        waiting = sum(map(len, self._runs))
        return (
            self._per_page < SHARED_FROM
            and self.allowance.affords(waiting)
            and self.allowance.visit()
        )

    def _divide(self) -> None:
        """Start workers on halves of the longest runs, as far as the allowance permits."""
        while len(self._runs) < self.fetcher.concurrency:
            longest = max(self._runs, key=len, default=None)
            if longest is None or len(longest) < max(2.0, 2 * self._per_page):
                return
            if self._may_share() and not self.allowance.visit():
                return
            middle = (longest.start + longest.stop + 1) // 2
            self._start(_Run(middle, longest.stop))
            longest.stop = middle

    async def _share(self, run: _Run) -> None:
        """Read a page from the first target on; visit that target if it is larger than the page."""
        plan, area, first = self.fetcher.plan, self.area, run.start
        target = self.targets[first]
        start = target.after or plan.first(target.state, target.directory)
        try:
            page = await self.fetcher.page(Level, area.state, area.base, start_after=start)
        except PermissionError as error:
            if not is_refusal(error):
                raise
            return  # each target is visited
        until = area.until
        if run.stop < len(self.targets):
            until = before(self.targets[run.stop].directory)
        own = replace(area, until=until)
        count = own.count(page.keys)
        self.allowance.earn(page, count)
        self._skip_answered(run, page, count)
        large = None
        if run and run.start == first and page.keys[-1].startswith(target.directory):
            large = self.targets[first]
            run.start += 1
        # Files of the level itself were emitted when it was listed.
        await self.fetcher.emit_matches(Level, own, page, count, below_only=True)
        if large is not None:
            await self.explore(*large, area.until)

    def _skip_answered(self, run: _Run, page: Page, count: int) -> None:
        """Skip the targets that a page answers for; the one that it ends in starts there."""
        first, part = run.start, 0.0
        if page.next_token is None or count < len(page.keys):
            run.start = run.stop
        else:
            last = page.keys[-1]
            run.start = bisect_right(self.targets, last, first, run.stop, key=itemgetter(0))
            index = max(run.start - 1, first)
            target, bound = self.targets[index], None
            if last < target.directory:
                bound = last
            elif last.startswith(target.directory):
                bound = self.fetcher.plan.seek(target.state, target.directory, last)
            if bound is not None:
                run.start, part = index, 0.5
                self.targets[index] = target._replace(after=bound)
        self._pages += 1
        self._answered += run.start - first + part
