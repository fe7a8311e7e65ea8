"""Reading objects whole, by ranges and into local files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from s3fs import S3FileSystem
from s3fs.core import version_id_kw

from fsspec_avroglob.objects import ObjectRead
from fsspec_avroglob.requests import S3Request
from fsspec_avroglob.tasks import for_each


class ObjectReads(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """The reads of a filesystem: each body goes on where it was cut, none mixes two versions.

    A part of :class:`~fsspec_avroglob.filesystem.AvroGlobFileSystem`, which sends the requests.
    """

    def _object_read(
        self,
        arguments: Mapping[str, Any],
        first: str | None = None,
        etag: str | None = None,
        max_bytes: int | None = None,
    ) -> ObjectRead:
        """A GET that is yet to be carried out (see :class:`ObjectRead` for the arguments)."""
        get_object = partial(self._request, "get_object")
        return ObjectRead(
            get_object, arguments, first, etag, max_bytes, bool(self.local_expiry_check)
        )

    async def _read(self, read: ObjectRead) -> bytes:
        """Carry *read* out; a body that is cut short goes on where it stopped."""
        request = S3Request.of("get_object", read.arguments)
        await self._retried(read.attempt, request, read.progress)
        self.stats.bytes_read += len(read.data)
        return bytes(read.data)

    async def _cat_file(
        self,
        path: str,
        version_id: str | None = None,
        start: int | None = None,
        end: int | None = None,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
    ) -> bytes:
        """The bytes [*start*, *end*) of an object, by one GET (large objects: concurrent ones)."""
        bucket, key, version = self.split_path(path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        if start is not None or end is not None:
            if end is not None and (start or 0) * end >= 0 and (start or 0) >= end:
                return b""
            part = await self._process_limits(path, start, end)
            return await self._read(self._object_read(arguments, part))
        pieces: dict[int, bytes] = {}
        await self._read_whole(arguments, chunksize, max_concurrency, pieces.__setitem__)
        return b"".join(pieces[offset] for offset in sorted(pieces))

    async def _read_whole(
        self,
        arguments: Mapping[str, Any],
        chunksize: int | None,
        max_concurrency: int | None,
        take: Callable[[int, bytes], object],
        sized: Callable[[int], object] = lambda size: None,
    ) -> None:
        """Read an object, a large one by ranges at once; ``take(offset, data)`` gets its bytes.

        sized: told the object's size before its bytes come.
        """
        chunksize = chunksize or self.default_block_size
        concurrency = max_concurrency or self.max_concurrency
        whole = self._object_read(arguments, max_bytes=chunksize)
        data = await self._read(whole)
        size = len(data) if whole.size is None else whole.size
        sized(size)
        if size <= chunksize:
            take(0, data)
            return

        async def read_part(start: int) -> None:
            part = f"bytes={start}-{min(start + chunksize, size) - 1}"
            take(start, await self._read(self._object_read(arguments, part, whole.etag)))

        await for_each(range(0, size, chunksize), read_part, concurrency)

    async def _get_file(
        self,
        rpath: str,
        lpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        version_id: str | None = None,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy an object to a local file, which appears when it is complete."""
        if os.path.isdir(lpath):
            return
        bucket, key, version = self.split_path(rpath)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        special = os.path.exists(lpath) and not os.path.isfile(lpath)
        target = lpath if special else f"{lpath}.{uuid.uuid4().hex}.part"
        try:
            with open(target, "wb") as file:

                def take(offset: int, data: bytes) -> None:
                    if not special:
                        file.seek(offset)
                    file.write(data)
                    callback.relative_update(len(data))

                concurrency = 1 if special else max_concurrency
                await self._read_whole(arguments, chunksize, concurrency, take, callback.set_size)
            if not special:
                os.replace(target, lpath)
        except BaseException:
            if not special and os.path.exists(target):
                os.remove(target)
            raise
