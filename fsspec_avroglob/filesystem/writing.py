"""Writing, copying and removing objects: whole or not at all."""

from __future__ import annotations

import mimetypes
import os
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from s3fs.core import MANAGED_COPY_THRESHOLD, MAX_UPLOAD_PARTS, calculate_chunksize

from fsspec_avroglob.aio.tasks import for_each, gather, in_family
from fsspec_avroglob.filesystem.connection import S3Connection
from fsspec_avroglob.s3.translation import translated_error

MAX_PUT_BYTES = 5 * 2**30
"""Most bytes that S3 takes in one PutObject."""

MAX_DELETE_KEYS = 1_000
"""Most keys that S3 takes in one DeleteObjects."""

_NOT_IN_XML = "[\x00-\x1f\x7f-\x9f\ufffe\uffff]"
"""Characters that XML cannot hold, or does not hand on as they are."""

_DELETES_AT_ONCE = 3
_COPY_BLOCK_BYTES = 50 * 2**20

_COPIED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "Metadata",
)
"""What CopyObject takes over from its source; a copy by parts must be told."""

SendPart = Callable[[str, int], Awaitable[str]]
"""Sends a part, given the upload's id and the part's number from 1; returns the part's ETag."""


class ObjectWrites(S3Connection):
    """The writes of a filesystem. An upload that fails or is cancelled is aborted."""

    async def _pipe_file(
        self,
        path: str,
        data: bytes,
        chunksize: int = 50 * 2**20,
        max_concurrency: int | None = None,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> Any:
        """Store *data* as an object; ``mode="create"`` raises FileExistsError if there is one."""
        bucket, key, _ = self.split_path(path)
        size = len(data)
        if size < min(MAX_PUT_BYTES, 2 * chunksize):
            answer = await self._call_s3(
                "put_object", Bucket=bucket, Key=key, Body=data, **kwargs, **_condition(mode)
            )
            self.invalidate_cache(path)
            return answer

        async def send(upload: str, number: int) -> str:
            start = (number - 1) * chunksize
            return await self._send_part(path, upload, number, data[start : start + chunksize])

        parts = -(-size // chunksize)
        await self._upload(path, parts, send, max_concurrency, kwargs, _condition(mode))
        return None

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
        """Store a local file as an object; a directory as nothing, or as the bucket *rpath*."""
        bucket, key, _ = self.split_path(rpath)
        if os.path.isdir(lpath):
            if not key:
                await self._makedirs(bucket, exist_ok=True)
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
            if size < min(MAX_PUT_BYTES, 2 * chunksize):
                await self._call_s3(
                    "put_object",
                    Bucket=bucket,
                    Key=key,
                    Body=file.read(),
                    **kwargs,
                    **_condition(mode),
                )
                callback.relative_update(size)
            else:

                async def send(upload: str, number: int) -> str:
                    file.seek((number - 1) * chunksize)
                    chunk = file.read(chunksize)
                    etag = await self._send_part(rpath, upload, number, chunk)
                    callback.relative_update(len(chunk))
                    return etag

                parts = -(-size // chunksize)
                await self._upload(rpath, parts, send, max_concurrency, kwargs, _condition(mode))
        self._invalidate_upward(rpath)

    # -- uploads by parts --

    async def _upload(
        self,
        path: str,
        count: int,
        send_part: SendPart,
        concurrency: int | None = None,
        create: Mapping[str, Any] | None = None,
        complete: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the object *path* of *count* parts, sent at once; what fails leaves nothing behind.

        create, complete: further arguments of CreateMultipartUpload, CompleteMultipartUpload.
        """
        bucket, key, version = self.split_path(path)
        if version:
            raise ValueError(f"{path}: a version that exists cannot be written")
        created = await self._call_s3(
            "create_multipart_upload", create or {}, Bucket=bucket, Key=key
        )
        upload = created["UploadId"]
        etags: dict[int, str] = {}

        async def send(number: int) -> None:
            etags[number] = await send_part(upload, number)

        with in_family():
            try:
                await for_each(range(1, count + 1), send, concurrency or self.max_concurrency)
                parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
                await self._call_s3(
                    "complete_multipart_upload",
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    **(complete or {}),
                )
            except BaseException as error:
                await self._withdraw(bucket, key, upload, error)
                raise
        self.invalidate_cache(path)

    async def _withdraw(self, bucket: str, key: str, upload: str, error: BaseException) -> None:
        """Abort an upload that failed with *error*, which stays the one that is raised."""
        try:
            await self._abort_mpu(bucket, key, upload)
        except FileNotFoundError:
            pass  # it is gone
        except Exception as left:
            error.add_note(f"the parts of upload {upload} of {bucket}/{key} are left: {left}")

    async def _send_part(self, path: str, upload: str, number: int, data: bytes) -> str:
        bucket, key, _ = self.split_path(path)
        answer = await self._call_s3(
            "upload_part", Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data
        )
        etag: str = answer["ETag"]
        return etag

    # -- copies --

    async def _cp_file(
        self, path1: str, path2: str, preserve_etag: bool | None = None, **kwargs: Any
    ) -> None:
        """Copy an object on the server; a large one by parts, with its metadata but no tags.

        preserve_etag: copy by the parts that the source was made of, which give the same ETag.
        """
        path1 = self._strip_protocol(path1)
        bucket, key, version = self.split_path(path1)
        info = await self._info(path1, bucket, key, version_id=version)
        size = info["size"]
        _, _, parts = info.get("ETag", "").strip('"').partition("-")
        if preserve_etag and parts:
            await self._copy_etag_preserved(path1, path2, size, total_parts=int(parts), **kwargs)
        elif size <= MANAGED_COPY_THRESHOLD:
            await self._copy_basic(path1, path2, **kwargs)
        else:
            await self._copy_managed(path1, path2, size, **kwargs)

    async def _copy_managed(
        self, path1: str, path2: str, size: int, block: int = _COPY_BLOCK_BYTES, **kwargs: Any
    ) -> None:
        """Copy an object of *size* bytes by parts of *block* bytes (5 MB to 5 GB)."""
        if not 5 * 2**20 <= block <= MAX_PUT_BYTES:
            raise ValueError(f"block={block!r} must lie between 5 MB and 5 GB")
        block = max(block, -(-size // MAX_UPLOAD_PARTS))
        starts = range(0, size, block)
        ranges = [(start, min(start + block, size) - 1) for start in starts]
        await self._copy_ranges(path1, path2, ranges, kwargs)

    async def _copy_etag_preserved(
        self, path1: str, path2: str, size: int, total_parts: int, **kwargs: Any
    ) -> None:
        """Copy an object by the parts that it was made of."""
        bucket, key, version = self.split_path(path1)
        source = _source(bucket, key, version)
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
        bucket, key, _ = self.split_path(path2)
        source = _source(*self.split_path(self._strip_protocol(path1)))
        head = await self._call_s3("head_object", self.kwargs, **source)
        if create.get("MetadataDirective") != "REPLACE":
            create = {**{name: head[name] for name in _COPIED if name in head}, **create}

        async def send(upload: str, number: int) -> str:
            first, last = ranges[number - 1]
            answer = await self._call_s3(
                "upload_part_copy",
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource=source,
                CopySourceIfMatch=head["ETag"],
                CopySourceRange=f"bytes={first}-{last}",
            )
            etag: str = answer["CopyPartResult"]["ETag"]
            return etag

        await self._upload(path2, len(ranges), send, create=create)

    async def _merge(self, path: str, filelist: Sequence[str], **kwargs: Any) -> None:
        """Make one object of several, on the server (all but the last of at least 5 MB)."""
        bucket, key, _ = self.split_path(path)
        sources = [_source(*self.split_path(self._strip_protocol(file))) for file in filelist]

        async def send(upload: str, number: int) -> str:
            answer = await self._call_s3(
                "upload_part_copy",
                kwargs,
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource=sources[number - 1],
            )
            etag: str = answer["CopyPartResult"]["ETag"]
            return etag

        await self._upload(path, len(sources), send, create=kwargs)

    # -- removal --

    async def _rm(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> list[str]:
        """Remove objects and, with *recursive*, what is below; buckets too. Returns what S3 tells.

        Raises what the first of the keys that remain failed with, naming them all, after the
        others have been removed.
        """
        if recursive and isinstance(path, str):
            bucket, key, _ = self.split_path(path)
            if not key and await self._is_bucket_versioned(bucket):
                await self._rm_versioned_bucket_contents(bucket)
        paths = await self._expand_path(path, recursive=recursive, maxdepth=maxdepth)
        by_bucket: defaultdict[str, list[str]] = defaultdict(list)
        buckets = []
        for found in paths:
            bucket, key, _ = self.split_path(found)
            if key:
                by_bucket[bucket].append(found)
            else:
                buckets.append(found)
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

        await for_each(batches, remove, _DELETES_AT_ONCE)
        if failures:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]
        await gather(self._rmdir(found) for found in buckets)
        for found in paths:
            self.invalidate_cache(found)
            self.invalidate_cache(self._parent(found))
        return removed

    async def _bulk_delete(self, pathlist: Sequence[str], **kwargs: Any) -> list[str]:
        """Remove at most 1,000 objects of one bucket. Raises an error that names what stays."""
        if not pathlist:
            return []
        located = [self.split_path(path) for path in pathlist]
        buckets = {bucket for bucket, _, _ in located}
        if len(buckets) > 1:
            raise ValueError("Bulk delete files should refer to only one bucket")
        if len(pathlist) > MAX_DELETE_KEYS:
            raise ValueError(f"Max number of files to delete in one call is {MAX_DELETE_KEYS}")
        for path in pathlist:
            self.invalidate_cache(self._parent(path))
        bucket = buckets.pop()
        keys = [key for _, key, _ in located]
        odd = [f"{bucket}/{key}" for key in keys if re.search(_NOT_IN_XML, key)]
        await for_each(odd, self._rm_file, self.max_concurrency)
        plain = [{"Key": key} for key in keys if not re.search(_NOT_IN_XML, key)]
        return await self._delete(bucket, plain, kwargs) if plain else []

    async def _delete(
        self, bucket: str, objects: Sequence[Mapping[str, str]], extra: Mapping[str, Any]
    ) -> list[str]:
        answer = await self._call_s3(
            "delete_objects", extra, Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
        )
        if failed := answer.get("Errors"):
            from fsspec_avroglob.filesystem.recovery import deletion_error  # see filesystem

            error = deletion_error(bucket, failed)
            raise translated_error(error) from error
        return [f"{bucket}/{item['Key']}" for item in answer.get("Deleted", ())]

    async def _rmdir(self, path: str) -> None:
        """Remove an empty bucket. s3fs's method takes no URL."""
        await super()._rmdir(self._strip_protocol(path))

    async def _rm_versioned_bucket_contents(self, bucket: str) -> None:
        """Remove all versions of all objects of a bucket."""
        async for page in self._list_pages("list_object_versions", Bucket=bucket, **self.req_kw):
            items = page.get("Versions", []) + page.get("DeleteMarkers", [])
            objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
            if objects:
                await self._delete(bucket, objects, {})

    def _invalidate_upward(self, path: str) -> None:
        while path:
            self.invalidate_cache(path)
            path = self._parent(path)


def _condition(mode: str) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if mode == "create" else {}


def _source(bucket: str, key: str, version: str | None) -> dict[str, str]:
    source = {"Bucket": bucket, "Key": key}
    return {**source, "VersionId": version} if version else source
