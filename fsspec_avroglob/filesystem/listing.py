"""Globs and listings of directories, through the planned lister.

The lister is a large part of the package, so it is imported when something is first listed.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from glob import has_magic
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path

from fsspec_avroglob.aio.blocking import BlockingIterator, sync
from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.filesystem.info import ObjectInfo
from fsspec_avroglob.filesystem.joined import Source
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.s3.client import list_page
from fsspec_avroglob.s3.requests import S3Request

if TYPE_CHECKING:
    from fsspec_avroglob.glob.lister import Found, Lister
    from fsspec_avroglob.glob.plan import ListingPlan
    from fsspec_avroglob.glob.results import Matches
    from fsspec_avroglob.glob.rights import ListingRights
    from fsspec_avroglob.glob.svg import GlobPlan
    from fsspec_avroglob.s3.page import Page


class ObjectLists(ObjectInfo):
    """The listings of a filesystem: globs, directories, and what listings returned about paths."""

    def __init__(self, *args: Any, **storage_options: Any) -> None:
        super().__init__(*args, **storage_options)
        self._rights: dict[str, ListingRights] = {}  # by bucket

    # -- globs --

    async def _glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Return the paths that match a pattern, sorted. The result may be empty.

        Parameters
        ----------
        path : str
            See ``pattern`` for the grammar.
        maxdepth : int, optional
            The most levels that ``**`` spans.
        withdirs : bool, default True
            Directories match too.
        detail : bool, default False
            Return a dict of path to info.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of matches as pages arrive.

        Raises
        ------
        ValueError
            For an invalid pattern, and for one without a bucket.
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
        """Return the plan of :meth:`glob` for a pattern, which prints as a tree of steps.

        With *run*, the plan is also carried out and shows what each step cost. Otherwise no request
        is sent. Raises ValueError as :meth:`glob` does.
        """
        from fsspec_avroglob.glob.svg import GlobPlan

        path = stringify_path(path)
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
        for matches in found:
            matches.remember_complete()
        return merged(found, detail)

    async def _iglob(
        self, path: str, maxdepth: int | None = None, withdirs: bool = True, detail: bool = False
    ) -> AsyncGenerator[Any, None]:
        """Yield matches as pages arrive, in any order and in bounded memory.

        Yields paths, or info dicts with ``detail=True``.
        """
        async with aclosing(self._iglob_batches(path, maxdepth, withdirs, detail)) as batches:
            async for batch in batches:
                for match in batch:
                    yield match

    def iglob(
        self, path: str, maxdepth: int | None = None, withdirs: bool = True, detail: bool = False
    ) -> Iterator[Any]:
        """As :meth:`_iglob`, for synchronous code. Closing the iterator ends the listing."""
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
            listing = self._matches(plan, detail, DEFAULT_CALLBACK)
            task = asyncio.create_task(_list_into(queue, self._lister(plan, queue.put, detail)))
            try:
                while (found := await queue.get()) is not None:
                    matches = self._matches(plan, detail, DEFAULT_CALLBACK, remembered=False)
                    await matches.add(found)
                    yield list(matches.infos()) if detail else matches.names()
                await task
                listing.remember_complete()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                del task  # it refers to the failure, and the failure's traceback to this frame

    async def _sources(self, pattern: str) -> list[Source] | None:
        """Return the files that match *pattern*, sorted. None if an object has exactly that name.

        Raises FileNotFoundError if nothing matches.
        """
        from fsspec_avroglob.glob.pattern import GlobPattern

        try:
            matches_itself = GlobPattern.parse(pattern).matches(pattern)
        except ValueError:
            if await self._object_exists(pattern):
                return None
            raise
        if matches_itself:
            found = await self._glob(pattern, detail=True)
            exists = pattern in found
        else:
            # A listing for braces or sets does not show the object of that name.
            found, exists = await gather(
                [self._glob(pattern, detail=True), self._object_exists(pattern)]
            )
        if exists:
            return None
        sources = [
            Source(path, info["size"], info.get("ETag"))
            for path, info in sorted(found.items())
            if info["type"] == "file"
        ]
        if not sources:
            raise FileNotFoundError(errno.ENOENT, "No file matches the pattern", pattern)
        return sources

    async def _object_exists(self, path: str) -> bool:
        bucket, key, _ = self.split_path(path)
        try:
            await self._call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    # -- directories --

    async def _ls(
        self, path: str, detail: bool = False, refresh: bool = False, versions: bool = False
    ) -> list[Any]:
        """As s3fs's. The listing of an object's directory, which shows the object, must not fail.

        Only if it is refused does the listing of *path* decide alone.
        """
        stripped = self._strip_protocol(path).rstrip("/")
        if versions or not self.split_path(stripped)[1]:
            listed: list[Any] = await super()._ls(path, detail, refresh, versions)
            return listed
        infos = await self._lsdir(stripped, refresh)
        if not infos:
            with suppress(PermissionError):
                infos = [
                    info
                    for info in await self._lsdir(self._parent(stripped), refresh)
                    if info["name"] == stripped and info["type"] != "directory"
                ]
            if not infos:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", stripped)
        return infos if detail else sorted(info["name"] for info in infos)

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
        if delimiter and not prefix and not refresh:
            cached = self.listings.level(path)
            if cached is not None:
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
        matches = self._matches(plan, True, DEFAULT_CALLBACK)
        lister = self._lister(plan, matches.add, detail=True)
        if delimiter:
            await lister.run_level(directory, prefix)
        else:
            await lister.run_below(directory, prefix)
        if delimiter and not prefix:
            matches.remember_level(path)
        elif not delimiter:
            matches.remember_complete(directory + prefix)
        return matches.sorted_infos()

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool | None = None,
        detail: bool = False,
        prefix: str | None = "",
        **kwargs: Any,
    ) -> Any:
        """Return all files below *path*, sorted, as s3fs does, through the planned lister."""
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
            matches.remember_complete()
        else:
            plan = ListingPlan(
                bucket, EVERYTHING, path, with_directories=bool(withdirs), unfiltered=True
            )
            matches = matches_of(plan)
            await self._lister(plan, matches.add, detail).run_below(directory, prefix)
            matches.remember_complete(directory + prefix)
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
        """Return the bytes below *path*: their sum, or a dict by path with ``total=False``."""
        found = await self._find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def walk(self, path: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As fsspec's. Closing the iterator ends the listing."""
        return BlockingIterator(self._walk(path, *args, **kwargs), self.loop)

    async def _walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], object] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[tuple[str, Any, Any], None]:
        """As fsspec's, but only a missing directory is empty, unless *on_error* is given.

        fsspec uses *on_error* for the first directory alone. Here it holds for all.
        """
        level = super()._walk(path, 1, on_error=on_error or _raise_unless_missing, **kwargs)
        [(path, dirs, files)] = [listed async for listed in level]
        if topdown:
            yield path, dirs, files
        if maxdepth != 1:
            depth = None if maxdepth is None else maxdepth - 1
            for name in list(dirs):
                below = self._walk(f"{path}/{name}", depth, topdown, on_error, **kwargs)
                async with aclosing(below):
                    async for listed in below:
                        yield listed
        if not topdown:
            yield path, dirs, files

    async def _expand_path(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> list[str]:
        """As fsspec's. Braces alone make a pattern too, unless an object has exactly that name."""
        stripped = self._strip_protocol(path) if isinstance(path, str) else ""
        if is_glob_pattern(stripped) and not has_magic(stripped):
            literal = await self._exists(stripped)
            path = path if literal else await self._glob(path) or path
        expanded: list[str] = await super()._expand_path(path, recursive, maxdepth, **kwargs)
        return expanded

    # -- plans, listers and pages --

    def _lister(
        self, plan: ListingPlan, emit: Callable[[Found], Awaitable[None]], detail: bool
    ) -> Lister:
        from fsspec_avroglob.glob.lister import Lister
        from fsspec_avroglob.glob.rights import ListingRights

        fetch = partial(self._fetch_page, plan.bucket, detail=detail)
        rights = self._rights.setdefault(plan.bucket, ListingRights())
        return Lister(plan, fetch, emit, self.config.listing_concurrency, rights)

    def _matches(
        self, plan: ListingPlan, detail: bool, callback: Callback, *, remembered: bool = True
    ) -> Matches:
        from fsspec_avroglob.glob.results import Matches

        return Matches(plan, self.listings if remembered else None, detail, callback)

    def _plans(self, path: str, maxdepth: int | None, withdirs: bool) -> list[ListingPlan]:
        from fsspec_avroglob.glob.pattern import GlobPattern
        from fsspec_avroglob.glob.plan import ListingPlan

        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        stripped = self._strip_protocol(path)
        pattern = GlobPattern.parse(stripped + ("/" if path.endswith("/") else ""))
        return ListingPlan.for_pattern(pattern, maxdepth=maxdepth, with_directories=withdirs)

    async def _fetch_page(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str,
        start_after: str | None,
        token: str | None,
        detail: bool = False,
    ) -> Page:
        """Fetch one page of ListObjectsV2."""
        arguments: dict[str, str] = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        if token is not None:
            arguments["ContinuationToken"] = token
        elif start_after is not None:
            arguments["StartAfter"] = start_after

        async def attempt() -> Page:
            client, complete = await self._client_for("list_objects_v2", **arguments)
            return await list_page(client, complete, detail=detail)

        page: Page = await self._retried(attempt, S3Request.of("list_objects_v2", arguments))
        self.stats.keys += len(page.keys)
        return page


async def _list_into(queue: asyncio.Queue[Found | None], lister: Lister) -> None:
    try:
        await lister.run()
    except Exception:
        await queue.put(None)
        raise
    await queue.put(None)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
