"""Globs and listings of directories, each through the planned lister.

The lister, and all that it is made of, is imported when something is first listed: it is a large
part of the package, and many who import the filesystem only read and write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path
from s3fs import S3FileSystem

from fsspec_avroglob.aio.blocking import BlockingIterator, sync
from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.glob.magic import is_glob_pattern

if TYPE_CHECKING:
    from fsspec_avroglob.glob.lister import Found, Lister
    from fsspec_avroglob.glob.plan import ListingPlan
    from fsspec_avroglob.glob.results import Matches
    from fsspec_avroglob.glob.svg import GlobPlan


class ObjectLists(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """The listings of a filesystem: globs and directories.

    A part of :class:`~fsspec_avroglob.filesystem.core.AvroGlobFileSystem`, which fetches the pages.
    """

    def _lister(
        self, plan: ListingPlan, emit: Callable[[Found], Awaitable[None]], detail: bool
    ) -> Lister:
        from fsspec_avroglob.glob.fetch import ThreadLoad
        from fsspec_avroglob.glob.lister import Lister

        fetch = partial(self._fetch_page, plan.bucket, detail=detail)
        return Lister(plan, fetch, emit, self.config.listing_concurrency, ThreadLoad().busy)

    def _matches(
        self, plan: ListingPlan, detail: bool, callback: Callback, *, remembered: bool = True
    ) -> Matches:
        from fsspec_avroglob.glob.results import Matches

        return Matches(plan, self.memory if remembered else None, detail, callback)

    def _plans(self, path: str, maxdepth: int | None, withdirs: bool) -> list[ListingPlan]:
        from fsspec_avroglob.glob.pattern import GlobPattern
        from fsspec_avroglob.glob.plan import ListingPlan

        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        stripped = self._strip_protocol(path)
        pattern = GlobPattern.parse(stripped + ("/" if path.endswith("/") else ""))
        return ListingPlan.for_pattern(pattern, maxdepth=maxdepth, with_directories=withdirs)

    async def _glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Paths that match a pattern, sorted; with ``detail=True`` a dict of path to info.

        See ``pattern`` for the grammar. maxdepth: levels that ``**`` may span.
        withdirs: whether directories match too (True). callback: told the number of matches as
        pages arrive.

        Raises ValueError for an invalid pattern and one that names no bucket. What matches nothing
        gives an empty result.
        """
        path = stringify_path(path)
        if self.version_aware or not is_glob_pattern(self._strip_protocol(path)):
            kwargs.pop("callback", None)
            return await super()._glob(path, maxdepth=maxdepth, **kwargs)
        detail = kwargs.pop("detail", False)
        plans = self._plans(path, maxdepth, kwargs.pop("withdirs", True))
        return await self._carry_out(plans, detail, kwargs.pop("callback", DEFAULT_CALLBACK))

    def explain(
        self, path: str, maxdepth: int | None = None, withdirs: bool = True, *, run: bool = False
    ) -> GlobPlan:
        """What :meth:`glob` would list for a pattern; printed, a tree of steps.

        run: carry it out as well; the plan then tells what each step has cost. Without it no
        request is sent. Raises ValueError as :meth:`glob` does.
        """
        path = stringify_path(path)
        from fsspec_avroglob.glob.svg import GlobPlan  # seldom needed

        plan = GlobPlan(path, tuple(self._plans(path, maxdepth, withdirs)))
        if run:
            sync(self.loop, self._carry_out, plan.plans, False, DEFAULT_CALLBACK)
        return plan

    async def _carry_out(
        self, plans: Sequence[ListingPlan], detail: bool, callback: Callback
    ) -> Any:
        from fsspec_avroglob.glob.results import merged

        found = [self._matches(plan, detail, callback) for plan in plans]
        await gather(
            self._lister(plan, matches.add, detail).run()
            for plan, matches in zip(plans, found, strict=True)
        )
        return merged(found, detail)

    async def _iglob(
        self, path: str, maxdepth: int | None = None, withdirs: bool = True, detail: bool = False
    ) -> AsyncGenerator[Any, None]:
        """Matches as pages arrive, in no particular order and in bounded memory.

        Yields paths, or info dicts with ``detail=True``.
        """
        async with aclosing(self._iglob_batches(path, maxdepth, withdirs, detail)) as batches:
            async for batch in batches:
                for match in batch:
                    yield match

    def iglob(
        self, path: str, maxdepth: int | None = None, withdirs: bool = True, detail: bool = False
    ) -> Iterator[Any]:
        """As :meth:`_iglob`, for code without coroutines. Closing the iterator ends the listing."""
        batches = self._iglob_batches(path, maxdepth, withdirs, detail)
        with BlockingIterator(batches, self.loop) as found:
            for batch in found:
                yield from batch

    async def _iglob_batches(
        self, path: str, maxdepth: int | None, withdirs: bool, detail: bool
    ) -> AsyncGenerator[Sequence[Any], None]:
        path = stringify_path(path)
        if self.version_aware or not is_glob_pattern(self._strip_protocol(path)):
            found = await self._glob(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail)
            yield list(found.values()) if detail else found
            return
        for plan in self._plans(path, maxdepth, withdirs):
            queue: asyncio.Queue[Found | None] = asyncio.Queue(maxsize=8)
            task = asyncio.create_task(_list_into(queue, self._lister(plan, queue.put, detail)))
            try:
                while (found := await queue.get()) is not None:
                    matches = self._matches(plan, detail, DEFAULT_CALLBACK, remembered=False)
                    await matches.add(found)
                    yield list(matches.infos()) if detail else matches.names()
                await task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                del task  # it knows the failure, whose traceback knows this frame

    async def _lsdir(
        self,
        path: str,
        refresh: bool = False,
        max_items: int | None = None,
        delimiter: str = "/",
        prefix: str | None = "",
        versions: bool = False,
    ) -> list[dict[str, Any]]:
        if versions or self.version_aware or max_items is not None:
            listing: list[dict[str, Any]] = await super()._lsdir(
                path, refresh, max_items, delimiter, prefix, versions
            )
            return listing
        if delimiter and not refresh and path in self.dircache:
            cached: list[dict[str, Any]] = self.dircache[path]
            return cached
        from fsspec_avroglob.glob.plan import EVERYTHING, ONE_LEVEL, ListingPlan

        bucket, key, _ = self.split_path(path)
        directory = key.lstrip("/") + "/" if key else ""
        prefix = prefix or ""
        plan = ListingPlan(
            bucket,
            ONE_LEVEL if delimiter else EVERYTHING,
            path,
            with_directories=bool(delimiter),
            unfiltered=True,
        )
        since = self.memory.forgotten
        matches = self._matches(plan, True, DEFAULT_CALLBACK)
        lister = self._lister(plan, matches.add, detail=True)
        if delimiter:
            await lister.run_level(directory, prefix)
        else:
            await lister.run_below(directory, prefix)
        infos = sorted(matches.infos(), key=_name)
        if delimiter and infos and not prefix and self.memory.forgotten == since:
            self.dircache[path] = infos
        return infos

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool | None = None,
        detail: bool = False,
        prefix: str | None = "",
        **kwargs: Any,
    ) -> Any:
        """All files below *path*, sorted; as s3fs's, through the planned lister."""
        path = self._strip_protocol(path)
        bucket, key, _ = self.split_path(path)
        if not bucket:
            raise ValueError("Cannot traverse all of S3")
        if self.version_aware or (maxdepth and prefix) or kwargs.get("versions"):
            return await super()._find(path, maxdepth, withdirs, detail, prefix, **kwargs)
        from fsspec_avroglob.glob.plan import EVERYTHING, ListingPlan, below
        from fsspec_avroglob.glob.results import merged

        matches_of = partial(
            self._matches,
            detail=detail,
            callback=kwargs.pop("callback", DEFAULT_CALLBACK),
        )
        directory = key.rstrip("/") + "/" if key else ""
        prefix = prefix or ""
        if maxdepth:
            plan = ListingPlan(bucket, below(directory), path, maxdepth, bool(withdirs))
            matches = matches_of(plan)
            await self._lister(plan, matches.add, detail).run()
        else:
            plan = ListingPlan(
                bucket, EVERYTHING, path, with_directories=bool(withdirs), unfiltered=True
            )
            matches = matches_of(plan)
            await self._lister(plan, matches.add, detail).run_below(directory, prefix)
        found = merged([matches], detail)
        if not found and key and not prefix:
            try:
                info = await self._info(path)
            except FileNotFoundError:
                return found
            if info["type"] != "directory":
                return {path: {**info, "Key": path}} if detail else [path]
        return found

    async def _du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> int | dict[str, int]:
        """Bytes below *path*: their sum, or with ``total=False`` a dict of path to size."""
        found = await self._find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _expand_path(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> list[str]:
        """As fsspec's; braces alone make a pattern too, unless an object has just that name."""
        if isinstance(path, str) and _only_braces(self._strip_protocol(path)):
            literal = await self._exists(self._strip_protocol(path))
            path = path if literal else await self._glob(path) or path
        expanded: list[str] = await super()._expand_path(path, recursive, maxdepth, **kwargs)
        return expanded


async def _list_into(queue: asyncio.Queue[Found | None], lister: Lister) -> None:
    try:
        await lister.run()
    except Exception:
        await queue.put(None)
        raise
    await queue.put(None)


def _only_braces(path: str) -> bool:
    return "{" in path and not any(character in path for character in "*?[")


def _name(info: dict[str, Any]) -> str:
    name: str = info["name"]
    return name
