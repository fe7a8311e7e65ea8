"""Carries a :class:`~fsspec_avroglob.plan.ListingPlan` out: pages in, matches out.

Two ways of listing take turns, each handing over where the other is cheaper:

* *walking* (:meth:`Lister._delimited`, :meth:`Lister._cover`): list a level with a delimiter, drop
  the subdirectories that cannot match, and visit the others, all at once;
* *scanning* (:class:`_Scan`): list keys in order without a delimiter and jump over stretches where
  the pattern allows no match. One page answers for as many directories as lie on it. A long scan
  divides itself among workers.

What a page brought is never asked for again: walking starts after the last key that was scanned.
"""

from __future__ import annotations

import asyncio
import errno
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter, gt
from typing import Any, NamedTuple, Protocol, TypeVar

from fsspec_avroglob.page import Page
from fsspec_avroglob.plan import (
    LAST,
    Cost,
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
from fsspec_avroglob.split import KeySpace, divide, sample

T = TypeVar("T")

FEW = 4
"""So many directories are visited at once without asking whether a scan would be cheaper."""

SPLIT_SHARE = 0.12
"""Parts that a scan may divide itself into, per page read. A part costs at most one page more than
the scan would have read undivided, so this bounds what dividing can cost."""


class FetchPage(Protocol):
    """Fetches one page of a bucket's listing; every retry is its business."""

    def __call__(
        self, prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Awaitable[Page]:
        """The page of what starts with *prefix*, after *start_after* or from *token* on."""
        ...


class Found(NamedTuple):
    """Matches that a page brought.

    page: the page, None where only directories are told; indices: which of its keys match, None for
    all; directories: matching directories that had not been found before, as paths in the bucket
    without a trailing slash ("" is the bucket).
    """

    page: Page | None
    indices: Sequence[int] | None
    directories: Sequence[str]


class Target(NamedTuple):
    """A directory to visit, its state, and the place before its first possible match."""

    directory: str
    state: State
    start: str


@dataclass
class Area:
    """What one scan or walk is about: the keys below *base* in (*after*, *until*].

    directory: the directory in *state* that *base*, a prefix, belongs to. level_only: whether keys
    in subdirectories are somebody else's business.
    """

    directory: str
    state: State
    base: str
    after: str | None = None
    until: str | None = None
    level_only: bool = False

    def upto(self, keys: Sequence[str]) -> int:
        """How many of the sorted *keys* lie in the area."""
        return len(keys) if self.until is None else bisect_right(keys, self.until)


class Lister:
    """Runs one plan.

    fetch: gets a page. emit: receives the matches of a page; awaiting it may hold the listing back.
    concurrency: most requests in flight at once.
    """

    def __init__(
        self,
        plan: ListingPlan,
        fetch: FetchPage,
        emit: Callable[[Found], Awaitable[None]],
        concurrency: int = 64,
    ) -> None:
        self.plan = plan
        self._fetch = fetch
        self._emit = emit
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        # Visits that may be made without proof that they are cheaper than a scan.
        self._spare = max(map(len, plan.branches))
        self._found_directories: set[str] = set()

    async def run(self) -> None:
        """List until everything is found. Raises what the first request that failed raised."""
        if self.plan.limited:
            await self._tell_directories([""])
        await self._run(self._explore("", self.plan.branches))

    async def run_level(self, directory: str, prefix: str = "") -> None:
        """List one directory ("" or ending in "/"), of it only what starts with *prefix*."""
        area = Area(directory, self.plan.branches, directory + prefix, level_only=True)
        await self._run(self._delimited(area, Match))

    async def run_below(self, directory: str, prefix: str = "") -> None:
        """List everything below a directory that starts with *prefix*."""
        area = Area(directory, self.plan.branches, directory + prefix)
        await self._run(_Scan(self, area, Flat).run())

    async def _run(self, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except BaseExceptionGroup as group:
            raise _first_error(group) from None

    # -- requests --

    async def _page(
        self,
        step: type[Step],
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str | None = None,
        token: str | None = None,
    ) -> Page:
        async with self._slots:
            page = await self._fetch(
                prefix, delimiter=delimiter, start_after=start_after, token=token
            )
        self._check(page, prefix, start_after, token)
        cost = self.plan.costs.setdefault(step.kind, Cost())
        cost.requests += 1
        cost.keys_seen += len(page.keys)
        return page

    def _check(self, page: Page, prefix: str, start_after: str | None, token: str | None) -> None:
        """Refuse a page that would make the listing wrong or endless."""
        keys = page.keys
        if any(map(gt, keys, islice(keys, 1, None))):
            fault = "does not list keys in order"
        elif keys and start_after is not None and keys[0] <= start_after:
            fault = "lists keys before StartAfter"
        elif page.next_token is not None and page.next_token == token:
            fault = "gives the same continuation token again"
        else:
            return
        raise OSError(
            errno.EIO,
            f"cannot list {self.plan.bucket}/{prefix}: the server {fault}, against the S3 API",
        )

    # -- matches --

    async def _keep(
        self,
        step: type[Step],
        area: Area,
        page: Page,
        count: int,
        targets: Sequence[Target] | None = None,
    ) -> None:
        """Emit the matches among the first *count* keys of a page and their directories."""
        keys = page.keys if count == len(page.keys) else page.keys[:count]
        indices: Sequence[int] | None = self._matching(keys, area)
        if targets is not None and indices:
            indices = [i for i in indices if _within(keys[i], targets)]
        directories: list[str] = []
        if self.plan.with_directories and _spread(keys, area):
            directories = self._new_directories(_directories(keys, area))
        kept = count if indices is None else len(indices)
        self.plan.costs[step.kind].keys_kept += kept
        if indices is None and count < len(page.keys):
            indices = range(count)
        if kept or directories:
            await self._emit(Found(page, indices, directories))

    def _matching(self, keys: Sequence[str], area: Area) -> Sequence[int] | None:
        if self.plan.keeps_all(area.state):
            if not area.level_only:
                return None
            indices = list(range(len(keys)))
        elif self.plan.limited:
            indices = [i for i, key in enumerate(keys) if self.plan.keeps_file(key)]
        else:
            match = self.plan.file_pattern.fullmatch
            indices = [i for i, key in enumerate(keys) if match(key)]
        if area.level_only and _spread(keys, area):
            start = len(area.directory)
            indices = [i for i in indices if "/" not in keys[i][start:]]
        return indices

    def _new_directories(self, paths: Iterable[str]) -> list[str]:
        """Those of *paths* ("" or ending in "/") that match and were not found before."""
        new = []
        for path in paths:
            if path not in self._found_directories and self.plan.keeps_directory(path):
                self._found_directories.add(path)
                new.append(path[:-1])
        return new

    # -- walking --

    async def _explore(
        self, directory: str, state: State, after: str | None = None, until: str | None = None
    ) -> None:
        """Find what matches below *directory*, which is in *state*, in (*after*, *until*]."""
        steps = self.plan.steps(state, directory.count("/"))
        pieces = [piece for step in steps for piece in stems_of(step)]
        final = all(isinstance(step, Exact | Match | OrderedRange) for step in steps)
        ordered = len(steps) == 1 and isinstance(steps[0], OrderedRange)
        if ordered or not self._affordable(pieces):
            base = directory + _common_prefix(pieces)
            area = Area(directory, state, base, after, until, level_only=final)
            await _Scan(self, area, type(steps[-1])).run()
            return
        jobs: list[Coroutine[Any, Any, None]] = []
        for step in steps:
            match step:
                case Descend(names):
                    targets = self._targets(directory, state, names)
                    jobs += [self._visit(target, after, until) for target in targets]
                case Exact(names):
                    jobs += [
                        self._exact(directory + name, after, until)
                        for name in names
                        if (after is None or directory + name + "/" > after)
                        and (until is None or directory + name <= until)
                    ]
                case Match(stems) | OrderedRange(_, stems):
                    areas = self._areas(directory, state, stems, after, until, level_only=True)
                    jobs += [self._delimited(area, type(step)) for area in areas]
                case Level(stems) | Flat(stems):
                    areas = self._areas(directory, state, stems, after, until)
                    jobs += [_Scan(self, area, type(step)).run() for area in areas]
        await _together(jobs)

    def _affordable(self, requests: Sequence[object]) -> bool:
        """Whether so many requests may be sent where one scan might do; then accounts for them."""
        more = len(requests) - 1
        if more > self._spare:
            return False
        self._spare -= more
        return True

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
        return [
            Area(directory, state, base, after, until, level_only=level_only)
            for base in bases
            if (after is None or base > after or after.startswith(base))
            and (until is None or base <= until)
        ]

    async def _visit(self, target: Target, after: str | None, until: str | None) -> None:
        directory = target.directory
        if until is not None and until < directory:
            return
        if after is not None and after > directory and not after.startswith(directory):
            return
        start = after if after is not None and after.startswith(directory) else None
        stop = until if until is not None and until.startswith(directory) else None
        await self._explore(directory, target.state, start, stop)

    async def _exact(self, path: str, after: str | None, until: str | None) -> None:
        """Look for an object and a directory of just this name."""
        page = await self._page(Exact, path, delimiter="/")
        if page.keys[:1] == [path] and (after is None or path > after):
            await self._keep(Exact, Area("", (), path), page, 1)
        directory = path + "/"
        if not self.plan.with_directories or (until is not None and directory > until):
            return
        last = max(page.keys[-1:] + page.prefixes[-1:], default="")
        if page.next_token is not None and last < directory:
            page = await self._page(Exact, path, delimiter="/", start_after=before(directory))
        if directory in page.prefixes:
            await self._tell_directories([directory])

    async def _delimited(self, area: Area, step: type[Step], *, may_scan: bool = True) -> None:
        """List an area with a delimiter; visit the subdirectories in which matches can be."""
        position, token = area.after, None
        targets: list[Target] = []
        final = area.level_only
        while True:
            page = await self._page(
                step, area.base, delimiter="/", start_after=position, token=token
            )
            count = area.upto(page.keys)
            prefixes = page.prefixes[: area.upto(page.prefixes)]
            await self._keep(step, _level_of(area), page, count)
            await self._tell_directories(prefixes)
            if self.plan.limited and (page.keys or page.prefixes):
                await self._tell_directories([area.directory])
            if not final:
                names = [p[len(area.directory) : -1] for p in prefixes]
                targets += self._targets(area.directory, area.state, names)
            last = max(page.keys[-1:] + page.prefixes[-1:], default="")
            if page.next_token is None or (area.until is not None and last > area.until):
                break
            token, position = page.next_token, None
            if final:
                place = last + LAST if page.prefixes[-1:] == [last] else last
                bound = self.plan.seek(area.state, area.directory, place)
                if bound is None:
                    break
                if bound != place:
                    token, position = None, bound
                if may_scan and not page.prefixes:
                    area.after = bound
                    await _Scan(self, area, step, pages=1).run()
                    return
        await self._cover(area, self._resumed(area, targets))

    async def _tell_directories(self, paths: Sequence[str]) -> None:
        if self.plan.with_directories and (found := self._new_directories(paths)):
            await self._emit(Found(None, (), found))

    def _targets(self, directory: str, state: State, names: Iterable[str]) -> list[Target]:
        targets = []
        for name in names:
            inner = self.plan.enter(state, name)
            if inner:
                child = f"{directory}{name}/"
                targets.append(Target(child, inner, self.plan.first(inner, child)))
        return targets

    def _resumed(self, area: Area, targets: Sequence[Target]) -> list[Target]:
        """The targets that still need a visit, the one that *area.after* lies in starting there."""
        after = area.after
        if after is None:
            return list(targets)
        left = [t for t in targets if t.directory > after]
        rest = after[len(area.directory) :]
        name, slash, _ = rest.partition("/")
        if slash:
            current = self._targets(area.directory, area.state, [name])
            for target in current:
                if (bound := self.plan.seek(target.state, target.directory, after)) is not None:
                    left.insert(0, target._replace(start=bound))
        return left

    async def _cover(self, area: Area, targets: list[Target]) -> None:
        """Visit *targets*, sorted directories below *area.base*; by shared pages where it pays."""
        if len(targets) > FEW:
            targets, per_page = await self._probe(area, targets)
            if per_page >= 2 and len(targets) > 1:
                size = int(per_page)
                groups = [targets[i : i + size] for i in range(0, len(targets), size)]
                await self._each(groups, lambda group: self._run_group(area, group))
                return
        await self._each(targets, lambda target: self._enter_target(target, area.until))

    async def _enter_target(self, target: Target, until: str | None) -> None:
        after = target.start if target.start.startswith(target.directory) else None
        resumed = after if after != self.plan.first(target.state, target.directory) else None
        stop = until if until is not None and until.startswith(target.directory) else None
        await self._explore(target.directory, target.state, resumed, stop)

    async def _probe(self, area: Area, targets: list[Target]) -> tuple[list[Target], float]:
        """Scan a page at a few targets spread over all; the others, and how many a page answers."""
        starts = [i * len(targets) // FEW for i in range(FEW)]
        stops = [*starts[1:], len(targets)]
        ends = await gather(
            self._range_page(area, targets, i, j) for i, j in zip(starts, stops, strict=True)
        )
        left: list[Target] = []
        done = 0
        for start, stop, rest in zip(starts, stops, ends, strict=True):
            left += rest
            done += stop - start - len(rest)
        return left, done / FEW

    async def _run_group(self, area: Area, group: Sequence[Target]) -> None:
        """Scan neighbouring targets page by page; one that is larger than a page is visited."""
        left = list(group)
        while left:
            rest = await self._range_page(area, left, 0, len(left))
            if rest and rest[0].directory == left[0].directory:
                await self._enter_target(rest.pop(0), area.until)
            left = rest

    async def _range_page(
        self, area: Area, targets: Sequence[Target], start: int, stop: int
    ) -> list[Target]:
        """Read the page at targets[start]; the targets before *stop* that it leaves unanswered.

        The page counts up to where targets[stop] starts, so that neighbours never overlap.
        """
        until = targets[stop].start if stop < len(targets) else area.until
        own = Area(area.directory, area.state, area.base, targets[start].start, until)
        page = await self._page(Level, area.base, start_after=own.after)
        count = own.upto(page.keys)
        await self._keep(Level, own, page, count, targets[start:stop])
        if page.next_token is None or count < len(page.keys) or not count:
            return []
        last = page.keys[-1]
        left = []
        for target in targets[start:stop]:
            if last < target.directory:
                left.append(target)
            elif last.startswith(target.directory):
                bound = self.plan.seek(target.state, target.directory, last)
                if bound is not None:
                    left.append(target._replace(start=max(target.start, bound)))
        return left

    async def _each(self, items: Sequence[T], visit: Callable[[T], Awaitable[None]]) -> None:
        """Visit every item, at most as many at once as requests may be in flight."""
        left = iter(items)

        async def work() -> None:
            for item in left:
                await visit(item)

        await _together(work() for _ in range(min(len(items), self._concurrency)))

    def worth_scanning(self, area: Area, keys: Sequence[str]) -> bool:
        """Whether the page of *keys* answers for two or more directories that a walk would list."""
        states: dict[str, State] = {area.directory: area.state}
        worth = 0
        for path in _directories(keys, area):
            chain = [path]
            while chain[-1] not in states:
                chain.append(chain[-1][: chain[-1].rfind("/", 0, -1) + 1])
            for parent, child in zip(chain[:0:-1], chain[-2::-1], strict=True):
                states[child] = self.plan.enter(states[parent], child[len(parent) : -1])
            if path != area.directory and self.plan.lists(states[path], path.count("/")):
                worth += 1
                if worth == 2:
                    return True
        return False


@dataclass
class _Part:
    """A stretch (position, until] of a scan that one worker lists."""

    position: str | None
    until: str | None
    stride: int = 0
    gallop: int = 8


@dataclass
class _Scan:
    """Lists the keys of an area in order, dividing the work as the pages read allow.

    step: what the requests are counted as. pages: pages of the area that were read before.
    """

    lister: Lister
    area: Area
    step: type[Step]
    pages: int = 0
    parts: list[_Part] = field(default_factory=list)
    made: int = 0

    async def run(self) -> None:
        area = self.area
        start = area.after
        if start is None and self.step is not Flat:
            start = self.lister.plan.first(area.state, area.directory)
        if start is not None and start < area.base:
            start = None
        self.space = KeySpace(area.base)
        self.jumps = 0
        async with asyncio.TaskGroup() as group:
            self.group = group
            self._begin(_Part(start, area.until))

    def _begin(self, part: _Part) -> None:
        self.parts.append(part)
        self.group.create_task(self._work(part))

    async def _work(self, part: _Part) -> None:
        lister, area = self.lister, self.area
        while True:
            page = await lister._page(self.step, area.base, start_after=part.position)
            self.pages += 1
            own = Area(
                area.directory, area.state, area.base, part.position, part.until, area.level_only
            )
            count = own.upto(page.keys)
            await lister._keep(self.step, own, page, count)
            if page.next_token is None or count < len(page.keys) or not page.keys:
                break
            last = page.keys[-1]
            bound = lister.plan.seek(area.state, area.directory, last)
            if bound is None or (part.until is not None and bound >= part.until):
                break
            if self._gives_up(page.keys, last, bound):
                self.parts.remove(part)
                await self._walk(bound, part.until)
                return
            self._learn(part, page.keys)
            part.position = bound
            self._divide()
        self.parts.remove(part)
        self._divide()

    def _gives_up(self, keys: Sequence[str], last: str, bound: str) -> bool:
        """Whether walking the rest is cheaper than to scan on."""
        if self.step is Flat:
            return False
        if self.area.level_only:
            # The scan came upon a subdirectory and has to jump over it; a delimiter would not.
            self.jumps += "/" in last[len(self.area.directory) :]
            return self.jumps > 2
        return not self.lister.worth_scanning(self.area, keys)

    async def _walk(self, after: str, until: str | None) -> None:
        area = self.area
        rest = Area(area.directory, area.state, area.base, after, until, area.level_only)
        await self.lister._delimited(rest, self.step, may_scan=False)

    def _learn(self, part: _Part, keys: Sequence[str]) -> None:
        self.space.observe(sample(keys))
        start = keys[0] if part.position is None else max(part.position, self.area.base)
        part.stride = max(1, self.space.position(keys[-1]) - self.space.position(start))

    def _divide(self) -> None:
        """Hand half of the longest part, or what lies well ahead of it, to a new worker."""
        while self.made + 1 <= SPLIT_SHARE * self.pages and len(self.parts) < (
            self.lister._concurrency
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


def _level_of(area: Area) -> Area:
    return Area(area.directory, area.state, area.base, area.after, area.until, level_only=True)


def _spread(keys: Sequence[str], area: Area) -> bool:
    """Whether the keys tell of directories: at a level, of any below it."""
    if not area.level_only:
        return bool(keys)
    return "\n".join(keys).count("/") > len(keys) * area.directory.count("/")


def _directories(keys: Sequence[str], area: Area) -> Iterator[str]:
    """The directories (ending in "/") that *keys* lie in, from *area.directory* down, once each."""
    floor = len(area.directory)
    if area.level_only:
        # Only the level's own subdirectories are this listing's business.
        previous = None
        for key in keys:
            end = key.find("/", floor)
            if end >= 0 and key[: end + 1] != previous:
                previous = key[: end + 1]
                yield previous
        return
    seen: set[str] = set()
    previous = None
    for key in keys:
        path = key[: key.rfind("/") + 1]
        if path == previous:
            continue
        previous = path
        while len(path) >= floor and path and path not in seen:
            seen.add(path)
            yield path
            path = path[: path.rfind("/", 0, -1) + 1]


def _within(key: str, targets: Sequence[Target]) -> bool:
    """Whether *key* lies in one of the sorted targets, past its start."""
    index = bisect_right(targets, key, key=_directory) - 1
    return index >= 0 and key.startswith(targets[index].directory) and key > targets[index].start


_directory: Callable[[Target], str] = attrgetter("directory")


def _common_prefix(names: Sequence[str]) -> str:
    low, high = min(names), max(names)
    for index, character in enumerate(low):
        if character != high[index]:
            return low[:index]
    return low


async def _together(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first failure cancels the others."""
    waiting = list(jobs)
    if len(waiting) == 1:
        await waiting[0]
    else:
        await gather(waiting)


async def gather(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and return what each returned; the first failure cancels the others.

    Unlike asyncio.gather, nothing is left running, and unlike a TaskGroup, what is raised is the
    failure itself.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as failures:
        raise _first_error(failures) from None
    return [task.result() for task in tasks]


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
