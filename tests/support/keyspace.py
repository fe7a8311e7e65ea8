"""A bucket in memory that answers ListObjectsV2 as S3 does, and counts requests."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fsspec_avroglob.glob.lister import Found, Lister
from fsspec_avroglob.glob.plan import Descend, Flat, ListingPlan, State, stems_of
from fsspec_avroglob.s3.page import Page, page_from_response


class Keyspace:
    """Sorted keys; ``requests`` counts the pages that were requested.

    slow_reader: whether the receiver of matches delays the listing, each time for a different time.
    busy: whether more concurrent requests are of no use now.
    """

    def __init__(
        self,
        keys: Iterable[str],
        page_size: int = 1000,
        slow_reader: bool = False,
        busy: Callable[[], bool] = bool,
    ) -> None:
        self.keys = sorted(set(keys))
        self.page_size = page_size
        self.slow_reader = slow_reader
        self.busy = busy
        self.requests = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.log: list[tuple[str, str, str | None, str | None]] = []

    async def fetch(
        self, prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        """One page; suspends once, so that all requests that are ready are sent together."""
        self.requests += 1
        self.log.append((prefix, delimiter, start_after, token))
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        return self.page(prefix, delimiter, start_after, token)

    def page(self, prefix: str, delimiter: str, start_after: str | None, token: str | None) -> Page:
        after = token if token is not None else start_after
        index = bisect_left(self.keys, prefix)
        if after is not None:
            index = max(index, bisect_right(self.keys, after))
            if delimiter and token is not None and delimiter in token[len(prefix) :]:
                index = max(index, bisect_left(self.keys, past(token)))
        keys: list[str] = []
        prefixes: list[str] = []
        last = ""
        while index < len(self.keys) and self.keys[index].startswith(prefix):
            if len(keys) + len(prefixes) == self.page_size:
                return _page(keys, prefixes, last)
            key = self.keys[index]
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end >= 0:
                last = key[: end + 1]
                prefixes.append(last)
                index = bisect_left(self.keys, past(last))
            else:
                last = key
                keys.append(key)
                index += 1
        return _page(keys, prefixes, None)

    def flat_pages(self, prefix: str) -> int:
        """Number of requests that a flat listing below *prefix* sends."""
        count = sum(key.startswith(prefix) for key in self.keys)
        return max(1, -(-count // self.page_size))

    def run(
        self,
        plan: ListingPlan,
        concurrency: int = 64,
        start: Callable[[Lister], Coroutine[Any, Any, None]] = Lister.run,
    ) -> tuple[list[str], list[str]]:
        """Carry *plan* out; the matching keys and directories, sorted, repeats included."""
        files: list[str] = []
        directories: list[str] = []

        async def emit(found: Found) -> None:
            if found.page is not None:
                keys = found.page.keys
                indices = range(len(keys)) if found.indices is None else found.indices
                files.extend(keys[i] for i in indices)
            directories.extend(found.directories)
            for _ in range(7 * len(files) % 11 if self.slow_reader else 0):
                await asyncio.sleep(0)

        asyncio.run(start(Lister(plan, self.fetch, emit, concurrency, self.busy)))
        return sorted(files), sorted(directories)


def past(directory: str) -> str:
    """The first string that sorts after all that starts with *directory*, which ends in "/"."""
    return directory[:-1] + chr(ord("/") + 1)


def directories_of(keys: Iterable[str]) -> set[str]:
    """Every directory (ending in "/") that some key lies in."""
    return {key[: i + 1] for key in keys for i, c in enumerate(key) if c == "/"}


def expected(plan: ListingPlan, keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """What a plan must find: it is asked about every key and every directory."""
    files = sorted(key for key in keys if plan.keeps_file(key))
    directories = sorted(path[:-1] for path in directories_of(keys) if plan.keeps_directory(path))
    return files, directories if plan.with_directories else []


def assert_finds_all(space: Keyspace, plan: ListingPlan, concurrency: int = 64) -> None:
    """Run the plan; it must find each match once, and nothing else."""
    files, directories = space.run(plan, concurrency)
    # With a depth limit, the bucket itself ("") is a match too, as in s3fs.
    assert (files, [path for path in directories if path]) == expected(plan, space.keys)


def walk_requests(space: Keyspace, plan: ListingPlan) -> int:
    """Fewest requests of a walk that lists level by level and enters only what can match.

    In each directory, names that the pattern states are requested without a listing of their level
    (a request for a missing name counts), or found by that listing, whichever is cheaper.
    """
    return _walk(space, plan, "", plan.root)


def _walk(space: Keyspace, plan: ListingPlan, directory: str, state: State) -> int:
    index = bisect_left(space.keys, directory)
    if not space.keys[index : index + 1] or not space.keys[index].startswith(directory):
        return 1
    steps = plan.steps(state)
    pages = sum(
        space.flat_pages(directory + stem)
        if isinstance(step, Flat)
        else _level_pages(space, directory + stem)
        for step in steps
        if not isinstance(step, Descend)
        for stem in stems_of(step)
    )
    if any(isinstance(step, Flat) for step in steps):
        return pages
    entered = 0
    seen = set()
    for name in _subdirectories(space, directory):
        if below := plan.enter(state, name, directory.count("/") + 1):
            entered += _walk(space, plan, f"{directory}{name}/", below)
            seen.add(name)
    absent = sum(
        name not in seen for step in steps if isinstance(step, Descend) for name in step.stems
    )
    return entered + min(pages + absent, _level_pages(space, directory))


def _level_pages(space: Keyspace, prefix: str) -> int:
    pages, token = 1, space.page(prefix, "/", None, None).next_token
    while token is not None:
        pages, token = pages + 1, space.page(prefix, "/", None, token).next_token
    return pages


def _subdirectories(space: Keyspace, directory: str) -> list[str]:
    names = []
    index = bisect_left(space.keys, directory)
    while index < len(space.keys) and space.keys[index].startswith(directory):
        name, slash, _ = space.keys[index][len(directory) :].partition("/")
        if slash:
            names.append(name)
            index = bisect_left(space.keys, past(f"{directory}{name}/"))
        else:
            index += 1
    return names


def _page(keys: list[str], prefixes: list[str], token: str | None) -> Page:
    return page_from_response(
        {
            "Contents": [{"Key": key, "Size": 1} for key in keys],
            "CommonPrefixes": [{"Prefix": prefix} for prefix in prefixes],
            "IsTruncated": token is not None,
            "NextContinuationToken": token,
        }
    )
