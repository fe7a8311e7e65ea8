"""Writing, copying and removing objects."""

from __future__ import annotations

import errno
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from s3fs.core import MANAGED_COPY_THRESHOLD, buck_acls

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.aio.tasks import cancels_its_tasks, for_each, gather
from fsspec_avroglob.filesystem.buckets import location_constraint
from fsspec_avroglob.filesystem.deletion import delete_singly, refuses_bulk_deletion
from fsspec_avroglob.filesystem.parts import MAX_PARTS, MAX_PUT_BYTES
from fsspec_avroglob.filesystem.selection import ObjectSelection, Selection
from fsspec_avroglob.filesystem.sending import ObjectUploads

_log = logging.getLogger("fsspec_avroglob")

MAX_DELETE_KEYS = 1_000
"""The most keys of one DeleteObjects."""

# Characters that XML cannot hold, or that XML parsers change.
_NOT_IN_XML = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")

_makes_buckets: ContextVar[bool] = ContextVar("makes_buckets", default=True)

_CONCURRENT_DELETES = 3
_CONCURRENT_COPIES = 128
_COPY_BLOCK_BYTES = 50 * 2**20

# CopyObject copies these from its source. A copy by parts must state them.
_COPIED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "Metadata",
)


class _Parent(str):
    """A path that ``_parent`` returned: ``fsspec.open`` passes the parent of a file to makedirs."""

    __slots__ = ()


class ObjectWrites(ObjectUploads, ObjectSelection):
    """The writes of a filesystem. An upload that fails or is cancelled is aborted."""

    def __init__(self, *args: Any, **storage_options: Any) -> None:
        super().__init__(*args, **storage_options)
        self._without_bulk_deletion: set[str] = set()  # buckets that refuse DeleteObjects

    _pipe = cancels_its_tasks(ObjectUploads._pipe)

    @cancels_its_tasks
    async def _put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """As fsspec's. A local name that exists is no pattern. Makes no bucket."""
        if not (isinstance(lpath, list) and isinstance(rpath, list)):
            lpath, rpath = await self._upload_pairs(lpath, rpath, recursive, maxdepth)
        token = _makes_buckets.set(False)
        try:
            return await super()._put(lpath, rpath, False, callback, batch_size, **kwargs)
        finally:
            _makes_buckets.reset(token)

    @classmethod
    def _parent(cls, path: str) -> str:
        return _Parent(super()._parent(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a bucket, as s3fs does, unless *path* is only the parent of a file to write."""
        if not isinstance(path, _Parent):
            sync(self.loop, self._makedirs, path, exist_ok)

    async def _mkdir(
        self, path: str, acl: str | bool = False, create_parents: bool = True, **kwargs: Any
    ) -> None:
        """Make the bucket *path*, as s3fs does. S3 has no directories, so others are not made."""
        bucket, key, _ = self.split_path(self._strip_protocol(path).rstrip("/"))
        if not _makes_buckets.get() or (key and create_parents):
            return
        if key or not bucket or (acl and acl not in buck_acls):
            await super()._mkdir(path, acl, create_parents, **kwargs)
            return
        with suppress(PermissionError):  # the right to make a bucket is no right to look at it
            if await self._exists(bucket):
                raise FileExistsError(errno.EEXIST, "the bucket exists", bucket)
        arguments: dict[str, Any] = {"ACL": acl} if acl else {}
        client = await self.set_session()
        if location := location_constraint(client, kwargs.get("region_name")):
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": location}
        await self._call_s3("create_bucket", Bucket=bucket, **arguments)
        self.invalidate_cache("")
        self.invalidate_cache(bucket)

    # -- copies --

    @cancels_its_tasks
    async def _copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        on_error: str | None = None,
        maxdepth: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """As fsspec's. A name that exists is no pattern. Folder markers are copied, too.

        The option *callback* receives the number of objects, and each one that is done.
        """
        on_error = on_error or ("ignore" if recursive else "raise")
        callback = kwargs.pop("callback", DEFAULT_CALLBACK)
        named = False
        if not (isinstance(path1, list) and isinstance(path2, list)):
            pairs, selection = await self._copy_pairs(path1, path2, recursive, maxdepth)
            named = isinstance(path1, str) and bool(selection.named)
            if kwargs.get("moved") is not None:
                _report_literals("mv", selection)
            path1, path2 = list(pairs), list(pairs.values())
        callback.set_size(len(path1))
        failures: dict[int, Exception] = {}  # the first one, by the order of the paths

        async def copy(index: int) -> None:
            try:
                await self._cp_file(path1[index], path2[index], **kwargs)
            except Exception as error:
                ignored = on_error == "ignore" and isinstance(error, FileNotFoundError)
                if not ignored and index < min(failures, default=len(path1)):
                    failures.clear()
                    failures[index] = error
            callback.relative_update(1)

        concurrency = batch_size or self.batch_size or _CONCURRENT_COPIES
        await for_each(range(min(len(path1), len(path2))), copy, concurrency)
        for error in failures.values():
            # As in fsspec, a directory is not copied unless the call is recursive.
            absent = isinstance(error, FileNotFoundError)
            if not (absent and named and await self._isdir(path1[0])):
                raise error

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Move objects. Only what was copied to another name is removed.

        A path that names an object is that object, also if it has magic characters. That is logged.
        The option *callback* receives the number of objects, and each one that is copied.
        """
        moved: list[str] = []
        callback = kwargs.get("callback", DEFAULT_CALLBACK)
        options = {"maxdepth": maxdepth, "on_error": "raise", "callback": callback}
        self.copy(path1, path2, recursive, moved=moved, **options)
        if moved:
            sync(self.loop, self._remove, moved)

    async def _mv_file(self, path1: str, path2: str) -> None:
        moved: list[str] = []
        await self._cp_file(path1, path2, moved=moved)
        for path in moved:
            await self._rm_file(path)

    async def _cp_file(
        self,
        path1: str,
        path2: str,
        preserve_etag: bool | None = None,
        moved: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy an object on the server, a large one by parts with its metadata but no tags.

        With *preserve_etag*, the parts are those of the source, and the ETag is the same. With
        *moved*, the copied path is added to it, and a copy onto itself does nothing.
        """
        bucket, key, version = self.split_path(path1)
        if moved is not None and self.split_path(path2)[:2] == (bucket, key):
            return
        info = await self._info(path1, bucket, key, version_id=version)
        size = info["size"]
        _, _, parts = info.get("ETag", "").strip('"').partition("-")
        if preserve_etag and parts:
            await self._copy_etag_preserved(path1, path2, size, total_parts=int(parts), **kwargs)
        elif size <= MANAGED_COPY_THRESHOLD:
            await self._copy_basic(path1, path2, **kwargs)
        else:
            await self._copy_managed(path1, path2, size, **kwargs)
        if moved is not None:
            moved.append(f"{bucket}/{key}")

    async def _copy_managed(
        self, path1: str, path2: str, size: int, block: int = _COPY_BLOCK_BYTES, **kwargs: Any
    ) -> None:
        """Copy an object of *size* bytes by parts of *block* bytes (5 MB to 5 GB)."""
        if not 5 * 2**20 <= block <= MAX_PUT_BYTES:
            raise ValueError(f"block={block!r} must be between 5 MB and 5 GB")
        block = max(block, -(-size // MAX_PARTS))
        ranges = [(at, min(at + block, size) - 1) for at in range(0, size, block)]
        await self._copy_ranges(path1, path2, ranges, kwargs)

    async def _copy_etag_preserved(
        self, path1: str, path2: str, size: int, total_parts: int, **kwargs: Any
    ) -> None:
        """Copy an object by the parts that it was made of."""
        source = self._copy_source(path1)
        heads = await gather(
            self._call_s3("head_object", **source, PartNumber=number)
            for number in range(1, total_parts + 1)
        )
        ranges, start = [], 0
        for head in heads:
            ranges.append((start, min(start + head["ContentLength"], size) - 1))
            start += head["ContentLength"]
        await self._copy_ranges(path1, path2, ranges, kwargs)

    async def _copy_ranges(
        self,
        path1: str,
        path2: str,
        ranges: Sequence[tuple[int, int]],
        create: Mapping[str, Any],
    ) -> None:
        """Copy the byte ranges (first, last) of one version of *path1* as the parts of *path2*."""
        source = self._copy_source(path1)
        head = await self._call_s3("head_object", self.kwargs, **source)
        if create.get("MetadataDirective") != "REPLACE":
            create = {**{name: head[name] for name in _COPIED if name in head}, **create}

        async def send(part: Mapping[str, Any], span: tuple[int, int]) -> Any:
            return await self._call_s3(
                "upload_part_copy",
                **part,
                CopySource=source,
                CopySourceIfMatch=head["ETag"],
                CopySourceRange=f"bytes={span[0]}-{span[1]}",
            )

        await self._upload(path2, ranges, send, create=create)

    async def _merge(self, path: str, filelist: Sequence[str], **kwargs: Any) -> None:
        """Make one object of several, on the server (all but the last of at least 5 MB)."""

        async def send(part: Mapping[str, Any], file: str) -> Any:
            source = self._copy_source(file)
            return await self._call_s3("upload_part_copy", kwargs, **part, CopySource=source)

        await self._upload(path, filelist, send, create=kwargs)

    def _copy_source(self, path: str) -> dict[str, str]:
        bucket, key, version = self.split_path(path)
        source = {"Bucket": bucket, "Key": key}
        return {**source, "VersionId": version} if version else source

    # -- removal --

    @cancels_its_tasks
    async def _rm(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> list[str]:
        """Remove objects and buckets; with *recursive*, also what is below. Returns removed paths.

        A path that names an object is that object, also if it has magic characters. That is logged.
        If keys remain, raises the error of the first one, with all of them named, after the other
        keys are removed. The option *callback* receives the number of keys, and how many are done.
        """
        if recursive and isinstance(path, str):
            bucket, key, _ = self.split_path(path)
            if not key and await self._is_bucket_versioned(bucket):
                await self._rm_versioned_bucket_contents(bucket)
        selection = await self._selected(path, recursive, maxdepth, markers=True)
        _report_literals("rm", selection)
        # An object may have the name of a directory.
        callback = kwargs.get("callback", DEFAULT_CALLBACK)
        return await self._remove(sorted(selection.objects | selection.roots), callback)

    async def _remove(
        self, paths: Sequence[str], callback: Callback = DEFAULT_CALLBACK
    ) -> list[str]:
        """Remove objects and buckets of exactly these names. Returns removed objects."""
        callback.set_size(len(paths))
        by_bucket: defaultdict[str, list[str]] = defaultdict(list)
        buckets: list[str] = []
        for found in paths:
            bucket, key, _ = self.split_path(found)
            (by_bucket[bucket] if key else buckets).append(found)
        batches = [
            files[start : start + MAX_DELETE_KEYS]
            for files in by_bucket.values()
            for start in range(0, len(files), MAX_DELETE_KEYS)
        ]
        removed: list[str] = []
        failures: list[Exception] = []

        async def remove(batch: list[str]) -> None:
            try:
                removed.extend(await self._bulk_delete(batch))
            except OSError as error:
                failures.append(error)
            callback.relative_update(len(batch))

        await for_each(batches, remove, _CONCURRENT_DELETES)
        if failures:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]
        await gather(self._rmdir(found) for found in buckets)
        callback.relative_update(len(buckets))
        for found in paths:
            self.invalidate_cache(found)
        return removed

    async def _bulk_delete(self, pathlist: Sequence[str], **kwargs: Any) -> list[str]:
        """Remove at most 1,000 objects of one bucket. Raises an error that names what remains."""
        alone = [path for path in pathlist if _NOT_IN_XML.search(path)]
        await for_each(alone, self._rm_file, self.max_concurrency)
        together = [path for path in pathlist if not _NOT_IN_XML.search(path)]
        removed: list[str] = []
        refusal = None
        bucket = self.split_path(together[0])[0] if together else ""
        if bucket not in self._without_bulk_deletion:
            try:
                removed = await super()._bulk_delete(together, **kwargs)
                return removed
            except OSError as error:
                if not refuses_bulk_deletion(error):
                    raise
                refusal = error
        removed = await delete_singly(together, self._rm_file, self.max_concurrency, refusal)
        self._without_bulk_deletion.add(bucket)
        return removed

    async def _rmdir(self, path: str) -> None:
        """Remove an empty bucket. s3fs's method takes no URL."""
        await super()._rmdir(self._strip_protocol(path))


def _report_literals(call: str, selection: Selection) -> None:
    for path in sorted(selection.literals):
        _log.warning(
            "%s: %r names what exists, so it is not expanded as a pattern; put [ ] around a magic "
            "character for a pattern that does not match this name",
            call,
            path,
        )
