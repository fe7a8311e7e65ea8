"""Listings of directories, through the planned lister.

The lister is a large part of the package, so it is imported when something is first listed.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from fsspec_avroglob.filesystem.globs import ObjectGlobs, fulfilling, taken_conditions
from fsspec_avroglob.filesystem.keywords import check_keywords
from fsspec_avroglob.s3.markers import without_markers

if TYPE_CHECKING:
    from fsspec_avroglob.glob.plan import ListingPlan
    from fsspec_avroglob.glob.results import Matches


class ObjectLists(ObjectGlobs):
    """The listings of a filesystem, and what they returned about paths."""

    async def _ls(
        self, path: str, detail: bool = False, refresh: bool = False, versions: bool = False
    ) -> list[Any]:
        """As s3fs's. A directory of which only the marker exists is empty.

        A path that ends in ``//`` is the directory of keys with two slashes there. The listing of
        an object's directory, which shows the object, must not fail. Only if it is refused does
        the listing of *path* decide alone.
        """
        stripped = self._strip_protocol(path).rstrip("/")
        if stripped and path.endswith("//"):
            stripped += path[len(path.rstrip("/")) : -1]
        if versions or not stripped:
            listed: list[Any] = await super()._ls(path, detail, refresh, versions)
            return listed
        infos = await self._entries(stripped, refresh)
        if infos is None and "/" not in stripped:
            infos = []  # a bucket
        elif infos is None:
            with suppress(PermissionError):
                infos = [
                    info
                    for info in await self._lsdir(self._parent(stripped), refresh)
                    if info["name"] == stripped and info["type"] != "directory"
                ]
            if not infos:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", stripped)
        for info in infos:
            if info["name"] == stripped and info["type"] == "directory":  # of keys that begin so
                info["name"] = info["Key"] = f"{stripped}/"
        return infos if detail else sorted(info["name"] for info in infos)

    async def _lsdir(self, path: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return await self._entries(path.rstrip("/"), *args, **kwargs) or []

    async def _entries(
        self,
        path: str,
        refresh: bool = False,
        max_items: int | None = None,
        delimiter: str = "/",
        prefix: str | None = "",
        versions: bool = False,
    ) -> list[dict[str, Any]] | None:
        """Return the infos of a directory's entries, sorted; None if there is no such directory."""
        if versions or self.version_aware or max_items is not None:
            listed: list[dict[str, Any]] = await super()._lsdir(
                path, refresh, max_items, delimiter, prefix, versions
            )
            if not listed:
                return None
            return without_markers(listed) if delimiter and not versions else listed
        if delimiter and not prefix and not refresh:
            cached = self.listings.level(path)
            if cached is not None:
                return cached
        from fsspec_avroglob.glob.plan import EVERYTHING, ONE_LEVEL, ListingPlan

        bucket, _, _ = self.split_path(path)
        directory = path[len(bucket) + 1 :] + "/" if len(path) > len(bucket) else ""
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
        infos = matches.sorted_infos()
        return infos if infos or plan.saw_keys else None

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool | None = None,
        detail: bool = False,
        prefix: str | None = "",
        **kwargs: Any,
    ) -> Any:
        """Return all files below *path*, sorted, as s3fs does, through the planned lister.

        The conditions on files of :meth:`_glob` hold here, too. Raises TypeError for an unknown
        keyword.
        """
        check_keywords("find", kwargs)
        if conditions := taken_conditions(kwargs):
            found = await self._find(path, maxdepth, False, True, prefix, **kwargs)
            return fulfilling(found, conditions, detail)
        path = self._strip_protocol(path)
        bucket, key, _ = self.split_path(path)
        if not bucket:
            raise ValueError("Cannot traverse all of S3")
        if self.version_aware or (maxdepth and prefix) or kwargs.get("versions"):
            infos = await super()._find(path, maxdepth, withdirs, True, prefix, **kwargs)
            found = {i["name"]: i for i in without_markers(infos.values())}
            return found if detail else list(found)
        from fsspec_avroglob.glob.results import merged

        callback = kwargs.pop("callback", DEFAULT_CALLBACK)
        matches, plan = await self._below(
            path, maxdepth, bool(withdirs), detail, prefix or "", callback=callback
        )
        found = merged([matches], detail)
        if not found and key and not prefix and not plan.saw_keys:
            try:
                info = await self._info(path)
            except FileNotFoundError:
                return found
            if info["type"] != "directory":
                return {path: {**info, "Key": path}} if detail else [path]
        return found

    async def _below(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = True,
        detail: bool = False,
        prefix: str = "",
        *,
        markers: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
    ) -> tuple[Matches, ListingPlan]:
        """List what is below the directory *path*, with *markers* as files if they are wanted."""
        from fsspec_avroglob.glob.plan import EVERYTHING, ListingPlan, below

        bucket, key, _ = self.split_path(path)
        directory = key.rstrip("/") + "/" if key else ""
        plan = ListingPlan(
            bucket,
            below(directory) if maxdepth else EVERYTHING,
            path,
            maxdepth or None,
            withdirs,
            unfiltered=not maxdepth,
            with_markers=markers,
        )
        matches = self._matches(plan, detail, callback)
        lister = self._lister(plan, matches.add, detail)
        if maxdepth:
            await lister.run()
            matches.remember_complete()
        else:
            await lister.run_below(directory, prefix)
            matches.remember_complete(directory + prefix)
        return matches, plan
