"""Fetch pages of one bucket's listing, check them, and emit the matches on them."""

from __future__ import annotations

import asyncio
import errno
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice, repeat
from operator import ge
from typing import NamedTuple, Protocol

from fsspec_avroglob.glob.plan import Cost, ListingPlan, State, Step, before
from fsspec_avroglob.glob.rights import ListingRights, directory_of, is_refusal
from fsspec_avroglob.s3.page import Page

MOST_EMPTY_PAGES = 1000
"""Empty pages in a row after which a listing is considered endless."""

REPEATED_TOKEN = "gives the same continuation token again"


class FetchPage(Protocol):
    """Fetches one page of a bucket's listing, with retries."""

    def __call__(
        self, prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Awaitable[Page]:
        """The page of keys with *prefix* that follows *token* or, without one, *start_after*."""
        ...


class Found(NamedTuple):
    """Matches on a page.

    Attributes
    ----------
    page : the page, or None if there are only directories.
    indices : indices of the page's keys that match, or None for all.
    directories : matching directories that were not found before, as paths in the bucket without a
        trailing slash. The bucket itself is "".
    """

    page: Page | None
    indices: Sequence[int] | None
    directories: Sequence[str]


@dataclass
class Area:
    """The keys with prefix *base* in (*after*, *until*], which one scan or walk lists.

    Attributes
    ----------
    directory, state : the directory that *base* starts in, and its state.
    level_only : whether keys in subdirectories are excluded.
    """

    directory: str
    state: State
    base: str
    after: str | None = None
    until: str | None = None
    level_only: bool = False

    def count(self, keys: Sequence[str]) -> int:
        """Return how many of the sorted *keys* are at most *until*."""
        return len(keys) if self.until is None else bisect_right(keys, self.until)

    def start(self, first: str) -> str | None:
        """The ``StartAfter`` to list from; *first*: one before the first possible match."""
        start = first if self.after is None else self.after
        return start if start and start >= self.base else None


class Fetcher:
    """Fetches pages and emits the matches on them.

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
        concurrency: int,
        rights: ListingRights,
    ) -> None:
        self.rights = rights
        self.plan = plan
        self.concurrency = concurrency
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
        """One page of keys with *prefix* after *start_after*; its cost is added to *step*.

        token: where the server continues; then *start_after* is only checked.

        A server sends an empty page and a token when it has passed many entries that it does not
        list (deleted keys in a versioned bucket, for example). Such pages are skipped. If a policy
        refuses a level from the start of a name on, the page is one of the whole directory, cut.

        Raises OSError for a page that would make the listing wrong or endless.
        """
        cost = self.plan.costs[state, step]
        tokens = {token}
        while True:
            page = await self._allowed_page(cost, prefix, delimiter, start_after, token)
            if page.key_count or page.next_token is None:
                return page
            if page.next_token in tokens:
                raise self.fault(prefix, REPEATED_TOKEN)
            if len(tokens) > MOST_EMPTY_PAGES:
                empty = f"gives more than {MOST_EMPTY_PAGES:,} empty pages in a row"
                raise self.fault(prefix, empty)
            token = page.next_token
            tokens.add(token)

    async def _allowed_page(
        self, cost: Cost, prefix: str, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        """The page, or the part of its directory's page that starts with *prefix*."""
        directory = directory_of(prefix)
        refusal = None
        if directory == prefix or not delimiter or self.rights.allows(prefix, delimiter):
            try:
                return await self._one_page(cost, prefix, delimiter, start_after, token)
            except PermissionError as error:
                if directory == prefix or not delimiter or not is_refusal(error):
                    raise
                if not self.rights.allows(directory, delimiter):
                    raise
                refusal = error
        start = max(start_after or "", before(prefix))
        try:
            page = await self._one_page(cost, directory, delimiter, start, token)
        except PermissionError as error:
            raise refusal or error from (refusal or error).__cause__
        return page.within(prefix)

    async def _one_page(
        self, cost: Cost, prefix: str, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        """Send one request. Remembers whether it was refused."""
        async with self._slots:
            cost.requests += 1
            try:
                page = await self._fetch(
                    prefix, delimiter=delimiter, start_after=start_after, token=token
                )
            except PermissionError as error:
                if is_refusal(error):
                    self.rights.refuse(prefix, delimiter)
                raise
        cost.keys_seen += len(page.keys)
        self.rights.grant(prefix, delimiter)
        if page.key_count or page.next_token is None:
            self._check(page, prefix, start_after, token)
        return page

    def _check(self, page: Page, prefix: str, start_after: str | None, token: str | None) -> None:
        """Raise for a page that would make the listing wrong or endless."""
        for entries in (page.keys, page.prefixes):
            if any(map(ge, entries, islice(entries, 1, None))):
                raise self.fault(prefix, "does not list keys in order, each once")
            # The entries are sorted: if the first and the last have the prefix, all have it.
            if not all(entry.startswith(prefix) for entry in (*entries[:1], *entries[-1:])):
                raise self.fault(prefix, "lists keys that do not start with the prefix")
        if start_after is None:
            return
        for entry in page.keys[:1] + page.prefixes[:1]:
            # Some servers list the directory that contains StartAfter; after a token, none does.
            within = token is None and entry in page.prefixes[:1] and start_after.startswith(entry)
            if entry <= start_after and not within:
                raise self.fault(prefix, "lists keys again that it listed or had to leave out")

    def fault(self, prefix: str, what: str) -> OSError:
        """Return the error for a server that violates the S3 API by *what* it does."""
        return OSError(
            errno.EIO,
            f"cannot list {self.plan.bucket}/{prefix}: the server {what}, against the S3 API",
        )

    async def emit_matches(
        self, step: type[Step], area: Area, page: Page, count: int, *, below_only: bool = False
    ) -> None:
        """Emit the matches among the first *count* keys of a page, and their directories.

        below_only: whether to leave out the keys directly in *area.directory*.
        """
        keys = page.keys[:count]
        indices = self._matching(keys, area)
        if below_only:
            start = len(area.directory)
            indices = [index for index in indices if "/" in keys[index][start:]]
        directories: list[str] = []
        if self.plan.with_directories and not area.level_only:
            directories = self._new_directories(directories_of(keys, area.directory))
        self.plan.costs[area.state, step].keys_kept += len(indices)
        if indices or directories:
            everything = len(indices) == len(page.keys)
            await self._emit(Found(page, None if everything else indices, directories))

    def _matching(self, keys: Sequence[str], area: Area) -> Sequence[int]:
        """Indices of the keys that match."""
        plan = self.plan
        level = area.level_only and plan.keeps_level(area.state)
        # The first key of a level may be the marker object of its directory, which is no match.
        if plan.keeps_all(area.state) or (level and keys and keys[0] > area.directory):
            return range(len(keys))
        matches = plan.keeps_file if plan.limited else plan.file_pattern.fullmatch
        if not plan.file_suffix:
            return list(compress(range(len(keys)), map(matches, keys)))
        # The pattern, which takes longer, is tried only on keys that end as it does.
        few = list(compress(range(len(keys)), map(str.endswith, keys, repeat(plan.file_suffix))))
        return list(compress(few, map(matches, map(keys.__getitem__, few))))

    def _new_directories(self, paths: Iterable[str]) -> list[str]:
        """Those of *paths* ("" or ending in "/") that match and were not found before."""
        new = []
        for path in paths:
            if path not in self._found_directories and self.plan.keeps_directory(path):
                self._found_directories.add(path)
                new.append(path[:-1])
        return new

    async def emit_directories(self, paths: Sequence[str]) -> None:
        """Emit those of *paths* ("" or ending in "/") that match and were not found before."""
        if self.plan.with_directories and (found := self._new_directories(paths)):
            await self._emit(Found(None, (), found))


def directories_of(keys: Sequence[str], top: str) -> Iterator[str]:
    """The directories (ending in "/") that contain *keys*, from directory *top* down, each once."""
    seen: set[str] = set()
    previous = None
    for key in keys:
        path = key[: key.rfind("/") + 1]
        if path == previous:
            continue
        previous = path
        while len(path) >= len(top) and path and path not in seen:
            seen.add(path)
            yield path
            path = path[: path.rfind("/", 0, -1) + 1]
