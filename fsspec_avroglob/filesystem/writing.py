"""Writing, copying and removing objects."""

from __future__ import annotations

import logging
import mimetypes
import os
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from s3fs.core import MANAGED_COPY_THRESHOLD, MAX_UPLOAD_PARTS, calculate_chunksize

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.aio.tasks import cancels_its_tasks, for_each, gather, in_scope
from fsspec_avroglob.filesystem.selection import ObjectSelection, Selection

T = TypeVar("T")

_log = logging.getLogger("fsspec_avroglob")

MAX_PUT_BYTES = 5 * 2**30
"""The most bytes of one PutObject."""

MAX_DELETE_KEYS = 1_000
"""The most keys of one DeleteObjects."""

# Characters that XML cannot hold, or that XML parsers change.
_NOT_IN_XML = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")

_makes_buckets: ContextVar[bool] = ContextVar("makes_buckets", default=True)

_CONCURRENT_DELETES = 3
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


class ObjectWrites(ObjectSelection):
    """The writes of a filesystem. An upload that fails or is cancelled is aborted."""

    _pipe = cancels_its_tasks(ObjectSelection._pipe)

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
        _, key, _ = self.split_path(path)
        if _makes_buckets.get() and not (key and create_parents):
            await super()._mkdir(path, acl, create_parents, **kwargs)

    async def _pipe_file(
        self,
        path: str,
        data: bytes,
        chunksize: int = 50 * 2**20,
        max_concurrency: int | None = None,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> Any:
        """Store *data* as an object. Raises FileExistsError if it exists and mode is "create"."""

        def read(start: int, stop: int) -> bytes:
            return data[start:stop]

        return await self._store(path, len(data), read, chunksize, max_concurrency, mode, kwargs)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Store a local file as an object. A directory is left out."""
        if os.path.isdir(lpath):
            return
        if max_concurrency is not None and max_concurrency < 1:
            raise ValueError(f"max_concurrency={max_concurrency!r} must be at least 1")
        content_type, _ = mimetypes.guess_type(lpath)
        if content_type is not None:
            kwargs.setdefault("ContentType", content_type)
        size = os.path.getsize(lpath)
        callback.set_size(size)
        chunksize = calculate_chunksize(size, chunksize=chunksize)
        with open(lpath, "rb") as file:

            def read(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            sent = callback.relative_update
            await self._store(rpath, size, read, chunksize, max_concurrency, mode, kwargs, sent)

    async def _store(
        self,
        path: str,
        size: int,
        read: Callable[[int, int], bytes],
        chunksize: int,
        concurrency: int | None,
        mode: str,
        arguments: Mapping[str, Any],
        sent: Callable[[int], object] = lambda size: None,
    ) -> Any:
        """Store *size* bytes by one PutObject or, if they are many, by parts.

        ``read(start, stop)`` returns the bytes. ``sent(size)`` is called after each request.
        Returns the response of PutObject, if any.
        """
        bucket, key, _ = self.split_path(path)
        condition = {"IfNoneMatch": "*"} if mode == "create" else {}
        answer = None
        if size < min(MAX_PUT_BYTES, 2 * chunksize):
            target = {"Bucket": bucket, "Key": key, "Body": read(0, size)}
            answer = await self._call_s3("put_object", **target, **arguments, **condition)
            sent(size)
        else:

            async def send(part: Mapping[str, Any], start: int) -> Any:
                body = read(start, min(start + chunksize, size))
                answer = await self._call_s3("upload_part", **part, Body=body)
                sent(len(body))
                return answer

            starts = range(0, size, chunksize)
            await self._upload(path, starts, send, concurrency, arguments, condition)
        self.invalidate_cache(path)
        return answer

    async def _upload(
        self,
        path: str,
        items: Sequence[T],
        send: Callable[[Mapping[str, Any], T], Awaitable[Any]],
        concurrency: int | None = None,
        create: Mapping[str, Any] | None = None,
        complete: Mapping[str, Any] | None = None,
    ) -> None:
        """Make an object of a part for each item, sent concurrently. A failure aborts the upload.

        ``send(arguments, item)`` adds its own arguments to those of the part's request, and returns
        the response. *create* and *complete* are more arguments of the first and last request.
        """
        bucket, key, version = self.split_path(path)
        if version:
            raise ValueError(f"cannot write to {path}: it names a version that exists")
        target = {"Bucket": bucket, "Key": key}
        created = await self._call_s3("create_multipart_upload", create or {}, **target)
        upload = {**target, "UploadId": created["UploadId"]}
        parts: dict[int, Any] = {}

        async def send_part(number: int) -> None:
            answer = await send({**upload, "PartNumber": number}, items[number - 1])
            etag = answer.get("CopyPartResult", answer)["ETag"]
            parts[number] = {"PartNumber": number, "ETag": etag}

        with in_scope():
            try:
                numbers = range(1, len(items) + 1)
                await for_each(numbers, send_part, concurrency or self.max_concurrency)
                await self._call_s3(
                    "complete_multipart_upload",
                    **upload,
                    MultipartUpload={"Parts": [parts[number] for number in numbers]},
                    **(complete or {}),
                )
            except BaseException as error:
                await self._abort(bucket, key, upload["UploadId"], error)
                raise
        self.invalidate_cache(path)

    async def _abort(self, bucket: str, key: str, upload: str, error: BaseException) -> None:
        """Abort an upload that failed with *error*. Adds a note to *error* if that fails too."""
        try:
            await self._abort_mpu(bucket, key, upload)
        except FileNotFoundError:
            pass  # the upload does not exist any more
        except Exception as failure:
            error.add_note(f"the parts of upload {upload} of {bucket}/{key} remain: {failure}")

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
        """As fsspec's. A name that exists is no pattern. Folder markers are copied, too."""
        on_error = on_error or ("ignore" if recursive else "raise")
        named = False
        if not (isinstance(path1, list) and isinstance(path2, list)):
            pairs, selection = await self._copy_pairs(path1, path2, recursive, maxdepth)
            named = isinstance(path1, str) and bool(selection.named)
            if kwargs.get("moved") is not None:
                _report_literals("mv", selection)
            path1, path2 = list(pairs), list(pairs.values())
        try:
            await super()._copy(path1, path2, on_error=on_error, batch_size=batch_size, **kwargs)
        except FileNotFoundError:
            # As in fsspec, a directory is not copied unless the call is recursive.
            if not (named and await self._isdir(path1[0])):
                raise

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
        """
        moved: list[str] = []
        self.copy(path1, path2, recursive, maxdepth=maxdepth, on_error="raise", moved=moved)
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
        block = max(block, -(-size // MAX_UPLOAD_PARTS))
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
        keys are removed.
        """
        if recursive and isinstance(path, str):
            bucket, key, _ = self.split_path(path)
            if not key and await self._is_bucket_versioned(bucket):
                await self._rm_versioned_bucket_contents(bucket)
        selection = await self._selected(path, recursive, maxdepth, markers=True)
        _report_literals("rm", selection)
        # An object may have the name of a directory.
        return await self._remove(sorted(selection.objects | selection.roots))

    async def _remove(self, paths: Sequence[str]) -> list[str]:
        """Remove objects and buckets of exactly these names. Returns removed objects."""
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

        await for_each(batches, remove, _CONCURRENT_DELETES)
        if failures:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]
        await gather(self._rmdir(found) for found in buckets)
        for found in paths:
            self.invalidate_cache(found)
        return removed

    async def _bulk_delete(self, pathlist: Sequence[str], **kwargs: Any) -> list[str]:
        """Remove at most 1,000 objects of one bucket. Raises an error that names what remains."""
        alone = [path for path in pathlist if _NOT_IN_XML.search(path)]
        await for_each(alone, self._rm_file, self.max_concurrency)
        together = [path for path in pathlist if not _NOT_IN_XML.search(path)]
        removed: list[str] = await super()._bulk_delete(together, **kwargs)
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
