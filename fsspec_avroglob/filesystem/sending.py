"""Storing bytes and local files, by one request or by parts."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from fsspec_avroglob.aio.tasks import for_each, in_scope
from fsspec_avroglob.filesystem.connection import S3Connection
from fsspec_avroglob.filesystem.local_file import LocalFile
from fsspec_avroglob.filesystem.parts import MAX_PUT_BYTES, part_entry, part_size, parts_at_once

T = TypeVar("T")


class ObjectUploads(S3Connection):
    """Uploads of a filesystem. One that fails or is cancelled is aborted."""

    async def _pipe_file(
        self,
        path: str,
        data: bytes,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> Any:
        """Store *data* as an object. Raises FileExistsError if it exists and mode is "create"."""
        view = memoryview(data).cast("B")

        async def read(start: int, stop: int) -> bytes:
            whole = isinstance(data, bytes) and stop - start == len(data)
            return data if whole else bytes(view[start:stop])

        return await self._store(path, len(view), read, chunksize, max_concurrency, mode, kwargs)

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
        """Store a local file as an object. A directory is left out.

        Raises OSError, and stores nothing, if the file changes or is replaced while it is sent.
        """
        if os.path.isdir(lpath):
            return
        if max_concurrency is not None and max_concurrency < 1:
            raise ValueError(f"max_concurrency={max_concurrency!r} must be at least 1")
        content_type, _ = mimetypes.guess_type(lpath)
        if content_type is not None:
            kwargs.setdefault("ContentType", content_type)
        with await LocalFile.open(lpath) as file:
            callback.set_size(file.size)
            await self._store(
                rpath,
                file.size,
                file.read,
                chunksize,
                max_concurrency,
                mode,
                kwargs,
                callback.relative_update,
                file.check,
            )

    async def _store(
        self,
        path: str,
        size: int,
        read: Callable[[int, int], Awaitable[bytes]],
        chunksize: int | None,
        concurrency: int | None,
        mode: str,
        arguments: Mapping[str, Any],
        sent: Callable[[int], object] = lambda size: None,
        check: Callable[[], object] = lambda: None,
    ) -> Any:
        """Store *size* bytes by one PutObject or, if they are many, by parts.

        ``read(start, stop)`` returns the bytes. ``sent(size)`` is called after each request, and
        ``check()`` before the last one. Returns the response of PutObject, if any.
        """
        bucket, key, _ = self.split_path(path)
        condition = {"IfNoneMatch": "*"} if mode == "create" else {}
        part_bytes = part_size(size, chunksize)
        answer = None
        if size < min(MAX_PUT_BYTES, 2 * part_bytes):
            body = await read(0, size)
            check()
            target = {"Bucket": bucket, "Key": key, "Body": body}
            answer = await self._call_s3("put_object", **target, **arguments, **condition)
            sent(size)
        else:

            async def send(part: Mapping[str, Any], start: int) -> Any:
                body = await read(start, min(start + part_bytes, size))
                answer = await self._call_s3("upload_part", **part, Body=body)
                sent(len(body))
                return answer

            starts = range(0, size, part_bytes)
            concurrency = concurrency or parts_at_once(part_bytes, self.max_concurrency)
            await self._upload(path, starts, send, concurrency, arguments, condition, check)
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
        check: Callable[[], object] = lambda: None,
    ) -> None:
        """Make an object of a part for each item, sent concurrently. A failure aborts the upload.

        ``send(arguments, item)`` adds its own arguments to those of the part's request, and returns
        the response. *create* and *complete* are more arguments of the first and last request.
        ``check()`` is called before the last request.
        """
        bucket, key, version = self.split_path(path)
        if version:
            raise ValueError(f"cannot write to {path}: it names a version that exists")
        target = {"Bucket": bucket, "Key": key}
        created = await self._call_s3("create_multipart_upload", create or {}, **target)
        upload = {**target, "UploadId": created["UploadId"]}
        parts: dict[int, Any] = {}
        algorithm = {**self.s3_additional_kwargs, **(create or {})}.get("ChecksumAlgorithm")

        async def send_part(number: int) -> None:
            answer = await send({**upload, "PartNumber": number}, items[number - 1])
            parts[number] = part_entry(number, answer, algorithm)

        with in_scope():
            try:
                numbers = range(1, len(items) + 1)
                await for_each(numbers, send_part, concurrency or self.max_concurrency)
                check()
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
