"""Reading objects: a body that is cut short goes on at the byte where it stopped."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, IncompleteReadError
from fsspec.asyn import sync
from s3fs.core import S3File
from s3fs.utils import FileExpired

from fsspec_avroglob.errors import is_precondition

CHUNK_BYTES = 2**18
"""How much of a body is taken at a time."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass
class ObjectRead:
    """One GET of an object or of a range of it, in as many requests as it takes.

    get_object: sends one GET with its arguments and returns what botocore does.
    arguments: of the request, ``Bucket`` and ``Key`` among them, without range and condition.
    first: the range asked for as an HTTP header value ("bytes=0-99", "bytes=-10"), None for all.
    etag: the version that must be read; None takes the version that the first answer shows.
    max_bytes: a body that is longer is not read: :meth:`attempt` then leaves ``data`` empty.
    local_expiry_check: the version is compared here and not by the server.

    After :meth:`attempt` has returned, ``data`` holds the bytes, ``size`` how many there are.
    """

    get_object: Callable[..., Awaitable[Any]]
    arguments: Mapping[str, Any]
    first: str | None = None
    etag: str | None = None
    max_bytes: int | None = None
    local_expiry_check: bool = False
    data: bytearray = field(default_factory=bytearray)
    size: int | None = None
    start: int = 0

    def progress(self) -> int:
        """Bytes read so far."""
        return len(self.data)

    async def attempt(self) -> None:
        """Read on from where the last attempt stopped. Raises FileExpired for another version."""
        response = await self._request()
        body = response["Body"]
        try:
            if self.size is None:
                self._begin(response)
            if self.max_bytes is not None and (self.size or 0) > self.max_bytes:
                return
            while chunk := await body.read(CHUNK_BYTES):
                self.data += chunk
        finally:
            body.close()
        if self.size is not None and len(self.data) != self.size:
            raise IncompleteReadError(actual_bytes=len(self.data), expected_bytes=self.size)

    async def _request(self) -> Any:
        arguments = dict(self.arguments)
        if self.size is not None and self.data:
            last = self.start + self.size - 1
            arguments["Range"] = f"bytes={self.start + len(self.data)}-{last}"
        elif self.first is not None:
            arguments["Range"] = self.first
        if self.etag is not None and not self.local_expiry_check:
            arguments["IfMatch"] = self.etag
        try:
            response = await self.get_object(**arguments)
        except ClientError as error:
            if "IfMatch" in arguments and is_precondition(error):
                raise self._expired() from error
            raise
        if self.local_expiry_check and self.etag not in (None, response.get("ETag")):
            response["Body"].close()
            raise self._expired()
        return response

    def _begin(self, response: Mapping[str, Any]) -> None:
        self.size = response.get("ContentLength")
        self.etag = response.get("ETag") or self.etag
        part = _CONTENT_RANGE.match(response.get("ContentRange") or "")
        if part is not None:
            self.start = int(part[1])

    def _expired(self) -> FileExpired:
        path = f"{self.arguments['Bucket']}/{self.arguments['Key']}"
        return FileExpired(filename=path, e_tag=self.etag)


class AvroGlobFile(S3File):  # type: ignore[misc]  # s3fs has no types
    """An S3 object as a file, read through :class:`ObjectRead`.

    All that is read is of one version. A write that fails takes the upload back and closes the
    file, so that nothing is stored by closing it again.
    """

    read_kw: dict[str, Any]
    mpu: dict[str, Any] | None

    def _fetch_range(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        condition: dict[str, Any] = dict(self.read_kw)
        etag = condition.pop("IfMatch", None)
        if self.fs.local_expiry_check:
            etag = self.details.get("ETag")
        arguments = {"Bucket": self.bucket, "Key": self.key, **condition}
        if self.version_id:
            arguments["VersionId"] = self.version_id
        read = self.fs._object_read(arguments, f"bytes={start}-{end - 1}", etag)
        data: bytes = sync(self.fs.loop, self.fs._read, read)
        if etag is None and read.etag is not None:
            self.read_kw = {**self.read_kw, "IfMatch": read.etag}
        return data

    def _upload_chunk(self, final: bool = False) -> Any:
        with self._taken_back_on_failure():
            return super()._upload_chunk(final)

    def commit(self) -> None:
        """Store what was written. Raises FileExistsError for mode "xb" if there is an object."""
        with self._taken_back_on_failure():
            if "x" in self.mode and self.tell() == 0:
                # What s3fs does with an empty file overwrites.
                self.fs.pipe_file(self.path, b"", mode="create", **self.kwargs)
                self.buffer = None
            else:
                super().commit()

    @contextmanager
    def _taken_back_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.closed = True
            upload, self.mpu = self.mpu, None
            if upload is not None:
                withdraw = self.fs._withdraw
                sync(self.fs.loop, withdraw, self.bucket, self.key, upload["UploadId"], error)
            raise
