"""From pages to matches: asks for pages of one bucket and keeps what the plan is after."""

from __future__ import annotations

import asyncio
import errno
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from operator import ge
from typing import NamedTuple, Protocol

from fsspec_avroglob.glob.ledger import Ledger
from fsspec_avroglob.glob.plan import ListingPlan, State, Step
from fsspec_avroglob.s3.page import Page

FEW = 8
"""One key in so many, or fewer, are found through their common end."""

MOST_EMPTY_PAGES = 1000
"""More pages without an entry, one after another, are taken for an endless listing."""

TOKEN_AGAIN = "gives the same continuation token again"


class FetchPage(Protocol):
    """Fetches one page of a bucket's listing; every retry is its business."""

    def __call__(
        self, prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Awaitable[Page]:
        """The page of what starts with *prefix*, from *token* on or else after *start_after*."""
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


class Harvest:
    """Fetches pages and emits the matches on them.

    fetch: gets a page. emit: receives the matches of a page; awaiting it may hold the listing back.
    concurrency: most requests in flight at once. busy: tells when more of them would be of no use.
    """

    def __init__(
        self,
        plan: ListingPlan,
        fetch: FetchPage,
        emit: Callable[[Found], Awaitable[None]],
        concurrency: int,
        busy: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self.concurrency = concurrency
        self.busy = busy
        self.ledger = Ledger(max(map(len, plan.branches)))
        self._fetch = fetch
        self._emit = emit
        self._slots = asyncio.Semaphore(concurrency)
        self._found_directories: set[str] = set()

    async def page(
        self,
        step: type[Step],
        state: State,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str | None = None,
        token: str | None = None,
    ) -> Page:
        """One page below *prefix*, its cost put down to *step* in *state*.

        start_after: what is listed must lie behind it. token: where the server is to go on, if it
        has told.

        Where the server has looked at much that it does not list (keys deleted in a bucket with
        versions, another tenant's shards), it sends a page without an entry and says that more
        follow: this is the first page that has one, or the last.

        Raises OSError for a page that would make the listing wrong or endless.
        """
        cost = self.plan.cost(step, state)
        tokens = {token}
        self.ledger.sends()
        while True:
            async with self._slots:
                page = await self._fetch(
                    prefix, delimiter=delimiter, start_after=start_after, token=token
                )
            cost.requests += 1
            cost.keys_seen += len(page.keys)
            if page.key_count or page.next_token is None:
                self._check(page, prefix, start_after, token)
                self.ledger.receives(page)
                return page
            if page.next_token in tokens:
                raise self.fault(prefix, TOKEN_AGAIN)
            if len(tokens) > MOST_EMPTY_PAGES:
                empty = f"gives more than {MOST_EMPTY_PAGES:,} empty pages in a row"
                raise self.fault(prefix, empty)
            token = page.next_token
            tokens.add(token)

    def _check(self, page: Page, prefix: str, start_after: str | None, token: str | None) -> None:
        """Refuse a page that would make the listing wrong or endless."""
        for entries in (page.keys, page.prefixes):
            if any(map(ge, entries, islice(entries, 1, None))):
                raise self.fault(prefix, "does not list keys in order, each once")
        if start_after is None:
            return
        for entry in page.keys[:1] + page.prefixes[:1]:
            # Some servers list the directory that StartAfter lies in; none does so behind a token.
            within = token is None and entry in page.prefixes[:1] and start_after.startswith(entry)
            if entry <= start_after and not within:
                raise self.fault(prefix, "lists again what it has listed, or was to leave out")

    def fault(self, prefix: str, what: str) -> OSError:
        """The error for a server that does *what* the S3 API rules out."""
        return OSError(
            errno.EIO,
            f"cannot list {self.plan.bucket}/{prefix}: the server {what}, against the S3 API",
        )

    async def keep(
        self,
        step: type[Step],
        area: Area,
        page: Page,
        count: int,
        within: Callable[[str], bool] | None = None,
    ) -> None:
        """Emit the matches among the first *count* keys of a page, and their directories.

        within: if given, says of a matching key whether it is to be kept.
        """
        keys = page.keys if count == len(page.keys) else page.keys[:count]
        spread = any_below(keys, area)
        indices: Sequence[int] | None = self._matching(keys, area, spread)
        if within is not None and indices:
            indices = [i for i in indices if within(keys[i])]
        directories: list[str] = []
        if self.plan.with_directories and spread:
            directories = self._new_directories(directories_of(keys, area))
        kept = count if indices is None else len(indices)
        self.plan.cost(step, area.state).keys_kept += kept
        if indices is None and count < len(page.keys):
            indices = range(count)
        if kept or directories:
            await self._emit(Found(page, indices, directories))

    def _matching(self, keys: Sequence[str], area: Area, spread: bool) -> Sequence[int] | None:
        own = not (area.level_only and spread)
        if own and self._keeps_every(keys, area):
            return None
        if self.plan.keeps_all(area.state):
            indices = list(range(len(keys)))
        else:
            keeps = self.plan.keeps_file if self.plan.limited else self.plan.file_pattern.fullmatch
            few = _ending_in(self.plan.file_suffix, keys)
            if few is None:
                indices = list(compress(range(len(keys)), map(keeps, keys)))
            else:
                indices = [i for i in few if keeps(keys[i])]
        if not own:
            start = len(area.directory)
            indices = [i for i in indices if "/" not in keys[i][start:]]
        return indices

    def _keeps_every(self, keys: Sequence[str], area: Area) -> bool:
        """Whether all *keys* match, as is plain without a look at each."""
        if self.plan.keeps_all(area.state):
            return True
        level = area.level_only and self.plan.keeps_level(area.state)
        return level and bool(keys) and keys[0] > area.directory

    def _new_directories(self, paths: Iterable[str]) -> list[str]:
        """Those of *paths* ("" or ending in "/") that match and were not found before."""
        new = []
        for path in paths:
            if path not in self._found_directories and self.plan.keeps_directory(path):
                self._found_directories.add(path)
                new.append(path[:-1])
        return new

    async def tell_directories(self, paths: Sequence[str]) -> None:
        """Emit those of *paths*, "" or ending in "/", that match and were not found before."""
        if self.plan.with_directories and (found := self._new_directories(paths)):
            await self._emit(Found(None, (), found))


def _ending_in(suffix: str, keys: Sequence[str]) -> list[int] | None:
    """Which keys end in *suffix*, when they are few; None otherwise.

    All keys are searched as one text, in a fraction of the time that a look at each takes.
    """
    text, wanted = "\n".join(keys) + "\n", suffix + "\n"
    if not suffix or text.count("\n") > len(keys) or text.count(wanted) * FEW > len(keys):
        return None
    indices = []
    index = position = 0
    while (found := text.find(wanted, position)) >= 0:
        index += text.count("\n", position, found)
        indices.append(index)
        position = found + len(suffix)
    return indices


def any_below(keys: Sequence[str], area: Area) -> bool:
    """Whether the keys tell of directories: at a level, of any below it."""
    if not area.level_only:
        return bool(keys)
    return "\n".join(keys).count("/") > len(keys) * area.directory.count("/")


def directories_of(keys: Sequence[str], area: Area) -> Iterator[str]:
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
