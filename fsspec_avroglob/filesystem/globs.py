"""Globs, through the planned lister.

The lister is a large part of the package, so it is imported when something is first listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path

from fsspec_avroglob.aio.blocking import BlockingIterator, sync
from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.filesystem.info import ObjectInfo
from fsspec_avroglob.filesystem.keywords import CONDITIONS, check_keywords
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.s3.client import list_page
from fsspec_avroglob.s3.requests import S3Request

if TYPE_CHECKING:
    from fsspec_avroglob.glob.conditions import FileConditions
    from fsspec_avroglob.glob.lister import Found, Lister
    from fsspec_avroglob.glob.plan import ListingPlan
    from fsspec_avroglob.glob.results import Matches
    from fsspec_avroglob.glob.rights import ListingRights
    from fsspec_avroglob.glob.svg import GlobPlan
    from fsspec_avroglob.s3.page import Page


class ObjectGlobs(ObjectInfo):
    """The globs of a filesystem."""

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
        start_after : str, optional
            Only files whose paths sort after this path, and no directories; what sorts before it is
            not listed.
        modified_after, modified_before : datetime, date, timedelta or str, optional
            Only files modified in this time, and no directories: a time (ISO text, UTC without a
            zone), or how long ago ("12h", "2d").
        min_size, max_size : int, optional
            Only files of this size in bytes, and no directories.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of matches as pages arrive.
        refresh : bool, optional
            Has no effect: every glob lists anew.

        Raises
        ------
        ValueError
            For an invalid pattern, and for one without a bucket.
        TypeError
            For an unknown keyword.
        """
        check_keywords("glob", kwargs)
        if conditions := taken_conditions(kwargs):
            detail = kwargs.pop("detail", False)
            kwargs["withdirs"] = False
            found = await self._glob(path, maxdepth=maxdepth, detail=True, **kwargs)
            return fulfilling(found, conditions, detail)
        path = stringify_path(path)
        detail, withdirs = kwargs.pop("detail", False), kwargs.pop("withdirs", True)
        callback = kwargs.pop("callback", DEFAULT_CALLBACK)
        start_after = kwargs.pop("start_after", None)
        planned = self._is_pattern(path) and not (detail and self.version_aware)
        if start_after is not None and not planned:
            found = await self._glob(path, maxdepth=maxdepth, detail=True, withdirs=False, **kwargs)
            start = self._strip_protocol(start_after)
            later = {p: i for p, i in found.items() if p > start and i["type"] != "directory"}
            return later if detail else list(later)
        if not self._is_pattern(path):
            return await super()._glob(path, maxdepth=maxdepth, detail=detail, **kwargs)
        plans = self._plans(path, maxdepth, withdirs, start_after)
        if not (detail and self.version_aware):
            return await self._carry_out(plans, detail, callback)
        from fsspec_avroglob.glob.pattern import GlobPattern

        # Only s3fs's listing of versions has the VersionId of each file.
        infos: dict[str, Any] = {}
        for form in GlobPattern.parse(path).brace_free:
            infos |= await super()._glob(form, maxdepth=maxdepth, detail=True, withdirs=withdirs)
        return dict(sorted(infos.items()))

    def explain(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = True,
        *,
        start_after: str | None = None,
        run: bool = False,
    ) -> GlobPlan:
        """Return the plan of :meth:`glob` for a pattern, which prints as a tree of steps.

        With *run*, the plan is also carried out and shows what each step cost. Otherwise no request
        is sent. Raises ValueError as :meth:`glob` does.
        """
        from fsspec_avroglob.glob.svg import GlobPlan

        path = stringify_path(path)
        plan = GlobPlan(path, tuple(self._plans(path, maxdepth, withdirs, start_after)))
        if run:
            sync(self.loop, self._carry_out, plan.plans, False, DEFAULT_CALLBACK)
        return plan

    async def _carry_out(
        self, plans: Sequence[ListingPlan], detail: bool, callback: Callback
    ) -> Any:
        from fsspec_avroglob.glob.results import merged

        return merged(await self._matches_of(plans, detail, callback), detail)

    async def _matches_of(
        self,
        plans: Sequence[ListingPlan],
        detail: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
    ) -> list[Matches]:
        """Carry out all *plans*."""
        found = [self._matches(plan, detail, callback) for plan in plans]
        await gather(
            self._lister(plan, matches.add, detail).run()
            for plan, matches in zip(plans, found, strict=True)
        )
        for matches in found:
            matches.remember_complete()
        return found

    async def _iglob(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = True,
        detail: bool = False,
        start_after: str | None = None,
        **conditions: Any,
    ) -> AsyncGenerator[Any, None]:
        """Yield matches as pages arrive, in any order and in bounded memory.

        Yields paths, or info dicts with ``detail=True``. Other keywords are as in :meth:`_glob`.
        """
        found = self._iglob_batches(path, maxdepth, withdirs, detail, start_after, **conditions)
        async with aclosing(found) as batches:
            async for batch in batches:
                for match in batch:
                    yield match

    def iglob(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = True,
        detail: bool = False,
        start_after: str | None = None,
        **conditions: Any,
    ) -> Iterator[Any]:
        """As :meth:`_iglob`, for synchronous code. Closing the iterator ends the listing."""
        batches = self._iglob_batches(path, maxdepth, withdirs, detail, start_after, **conditions)
        with BlockingIterator(batches, self.loop) as found:
            for batch in found:
                yield from batch

    async def _iglob_batches(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = True,
        detail: bool = False,
        start_after: str | None = None,
        **keywords: Any,
    ) -> AsyncGenerator[Sequence[Any], None]:
        check_keywords("iglob", keywords)
        if conditions := taken_conditions(keywords):
            batches = self._iglob_batches(path, maxdepth, False, True, start_after)
            async with aclosing(batches):
                async for batch in batches:
                    infos = [info for info in batch if conditions.holds(info)]
                    if infos:
                        yield infos if detail else [info["name"] for info in infos]
            return
        path = stringify_path(path)
        if not self._is_pattern(path) or (detail and self.version_aware):
            found = await self._glob(
                path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, start_after=start_after
            )
            yield list(found.values()) if detail else found
            return
        for plan in self._plans(path, maxdepth, withdirs, start_after):
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

    def _is_pattern(self, path: str) -> bool:
        """Whether *path* has magic characters, apart from those of ``?versionId=``."""
        return is_glob_pattern(path) and self.split_path(path)[2] is None

    def _plans(
        self, path: str, maxdepth: int | None, withdirs: bool, start_after: str | None = None
    ) -> list[ListingPlan]:
        from fsspec_avroglob.glob.pattern import GlobPattern
        from fsspec_avroglob.glob.plan import ListingPlan

        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        stripped = self._strip_protocol(path)
        bucket, _, _ = self.split_path(stripped)
        # A slash in the ARN of an access point, which is a bucket, is no directory.
        text = bucket.replace("/", ":") + stripped[len(bucket) :]
        pattern = GlobPattern.parse(text + ("/" if path.endswith("/") else ""))
        withdirs = withdirs and start_after is None
        plans = ListingPlan.for_pattern(pattern, maxdepth=maxdepth, with_directories=withdirs)
        if "/" in bucket:
            plans = [replace(plan, bucket=bucket, pattern=path) for plan in plans]
        if start_after is None:
            return plans
        bucket, key, _ = self.split_path(self._strip_protocol(start_after))
        return [
            replace(plan, after=key if plan.bucket == bucket else None)
            for plan in plans
            if plan.bucket >= bucket
        ]

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


def taken_conditions(keywords: dict[str, Any]) -> FileConditions | None:
    """Remove the conditions on files from the keywords of a listing."""
    if not keywords.keys() & CONDITIONS:
        return None
    from fsspec_avroglob.glob.conditions import FileConditions

    return FileConditions.taken_from(keywords)


def fulfilling(infos: dict[str, Any], conditions: FileConditions, detail: bool) -> Any:
    """The files of a listing that fulfil the conditions, in the form that the caller wants."""
    found = {path: info for path, info in infos.items() if conditions.holds(info)}
    return found if detail else list(found)


async def _list_into(queue: asyncio.Queue[Found | None], lister: Lister) -> None:
    try:
        await lister.run()
    except Exception:
        await queue.put(None)
        raise
    await queue.put(None)
