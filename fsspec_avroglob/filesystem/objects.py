"""Reading objects: a body that is cut short goes on at the byte where it stopped."""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, IncompleteReadError
from s3fs.core import S3File
from s3fs.utils import FileExpired

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.s3.translation import is_precondition

CHUNK_BYTES = 2**18
"""How much of a body is taken at a time."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Version:
    """The version of an object that reads share: the first one whose answer arrives sets it."""

    etag: str | None = None

    def admits(self, etag: str | None) -> bool:
        """Whether an answer with *etag* is of this version, which it sets if nothing has yet."""
        if self.etag is None:
            self.etag = etag
        return etag is None or self.etag is None or etag.strip('"') == self.etag.strip('"')


class ObjectPart(NamedTuple):
    """Bytes of an object, and what the answer that brought them says of the whole object.

    - ``size``: of the object in bytes, ``etag``: of its version; None where not said.
    """

    data: bytes
    size: int | None
    etag: str | None


@dataclass(eq=False, repr=False)
class ObjectRead:
    """One GET of an object or of a range of it, in as many requests as it takes.

    get_object: sends one GET with its arguments and returns what botocore does.
    arguments: of the request, ``Bucket`` and ``Key`` among them, without range and condition.
    first: the range asked for as an HTTP header value ("bytes=0-99", "bytes=-10"), None for all.
    version: the version that must be read, the one of the first answer if it is not set.
    max_bytes: a body that is longer is not read: :meth:`attempt` then leaves ``data`` empty.
    local_expiry_check: the version is compared here alone, and not by the server too.

    After :meth:`attempt` has returned, ``data`` holds the bytes, ``size`` how many there are, and
    ``object_size`` how many the whole object has (None where the server does not say).
    """

    get_object: Callable[..., Awaitable[Any]]
    arguments: Mapping[str, Any]
    first: str | None = None
    version: Version = field(default_factory=Version)
    max_bytes: int | None = None
    local_expiry_check: bool = False
    data: bytearray = field(default_factory=bytearray)
    size: int | None = None
    object_size: int | None = None
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
        part = self.first
        if self.size is not None and self.data:
            part = f"bytes={self.start + len(self.data)}-{self.start + self.size - 1}"
        if part is not None:
            arguments["Range"] = part
        if self.version.etag is not None and not self.local_expiry_check:
            arguments["IfMatch"] = self.version.etag
        try:
            response = await self.get_object(**arguments)
        except ClientError as error:
            if "IfMatch" in arguments and is_precondition(error):
                raise self._expired() from error
            raise
        try:
            if not self.version.admits(response.get("ETag")):
                raise self._expired()
            self._check_range(part, response)
        except OSError:
            response["Body"].close()
            raise
        return response

    def _check_range(self, part: str | None, response: Mapping[str, Any]) -> None:
        """Raise OSError for an answer that holds other bytes than were asked for."""
        asked = _RANGE.fullmatch(part or "")
        if asked is None:
            return
        sent = _CONTENT_RANGE.match(response.get("ContentRange") or "")
        first, length = int(sent[1]) if sent else 0, response.get("ContentLength") or 0
        most = int(asked[2]) - int(asked[1]) + 1 if asked[2] else length
        if first != int(asked[1]) or length > most:
            raise OSError(
                errno.EIO,
                f"asked for {part} and was sent {length} bytes from {first} on",
                self._path,
            )

    def _begin(self, response: Mapping[str, Any]) -> None:
        self.size = response.get("ContentLength")
        sent = _CONTENT_RANGE.match(response.get("ContentRange") or "")
        if sent is None:
            self.object_size = self.size
        else:
            self.start = int(sent[1])
            self.object_size = None if sent[3] == "*" else int(sent[3])

    @property
    def _path(self) -> str:
        return f"{self.arguments['Bucket']}/{self.arguments['Key']}"

    def _expired(self) -> FileExpired:
        return FileExpired(filename=self._path, e_tag=self.version.etag)


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
        version = Version(etag)
        part = f"bytes={start}-{end - 1}"
        read: ObjectRead = sync(self.fs.loop, self.fs._read, arguments, part, version)
        if version.etag is not None and not self.fs.local_expiry_check:
            self.read_kw = {**self.read_kw, "IfMatch": version.etag}
        return bytes(read.data)

    def _initiate_upload(self) -> None:
        with self._taken_back_on_failure():
            super()._initiate_upload()

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
