"""Reading and writing one object. A body that is cut short is resumed at the byte it reached."""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, IncompleteReadError
from s3fs.utils import FileExpired

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.filesystem.written import WritableFile
from fsspec_avroglob.s3.translation import is_precondition

CHUNK_BYTES = 2**18
"""The size of one read from a response's body."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Version:
    """The version of an object that several reads share. The first response sets it."""

    etag: str | None = None

    def admits(self, etag: str | None) -> bool:
        """Whether a response with *etag* is of this version. Sets the version if it is not set."""
        if self.etag is None:
            self.etag = etag
        return etag is None or self.etag is None or etag.strip('"') == self.etag.strip('"')


class ObjectPart(NamedTuple):
    """Bytes of an object, with the size and the version of the whole object if they are known."""

    data: bytes
    size: int | None
    etag: str | None


@dataclass(eq=False, repr=False)
class ObjectRead:
    """One read of an object or of a range of it, in as many GETs as it takes."""

    get_object: Callable[..., Awaitable[Any]]  # sends one GET
    arguments: Mapping[str, Any]  # of GetObject, without range and condition
    part: str | None = None  # the range: "bytes=0-99" or "bytes=-10"
    version: Version = field(default_factory=Version)
    max_bytes: int | None = None  # a longer body is not read, and chunks stays empty
    local_expiry_check: bool = False  # the version is compared here only, not by the server
    chunks: list[bytes] = field(default_factory=list)
    received: int = 0  # the bytes in chunks
    size: int | None = None  # of the range, after the first response
    object_size: int | None = None  # of the whole object, if the server says so
    _start: int = 0

    @property
    def data(self) -> bytes:
        """The bytes read so far."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

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
                self.chunks.append(chunk)
                self.received += len(chunk)
        finally:
            body.close()
        if self.size is not None and self.received != self.size:
            raise IncompleteReadError(actual_bytes=self.received, expected_bytes=self.size)

    async def _request(self) -> Any:
        arguments = dict(self.arguments)
        part = self.part
        if self.size is not None and self.received:
            part = f"bytes={self._start + self.received}-{self._start + self.size - 1}"
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
        """Raise OSError if the response holds other bytes than the request asked for."""
        asked = _RANGE.fullmatch(part or "")
        if asked is None:
            return
        sent = _CONTENT_RANGE.match(response.get("ContentRange") or "")
        first, length = int(sent[1]) if sent else 0, response.get("ContentLength") or 0
        most = int(asked[2]) - int(asked[1]) + 1 if asked[2] else length
        if first != int(asked[1]) or length > most:
            message = f"the server sent {length} bytes from byte {first} on instead of {part}"
            raise OSError(errno.EIO, message, self._path)

    def _begin(self, response: Mapping[str, Any]) -> None:
        self.size = response.get("ContentLength")
        sent = _CONTENT_RANGE.match(response.get("ContentRange") or "")
        if sent is None:
            self.object_size = self.size
        else:
            self._start = int(sent[1])
            self.object_size = None if sent[3] == "*" else int(sent[3])

    @property
    def _path(self) -> str:
        return f"{self.arguments['Bucket']}/{self.arguments['Key']}"

    def _expired(self) -> FileExpired:
        return FileExpired(filename=self._path, e_tag=self.version.etag)


class AvroGlobFile(WritableFile):
    """An S3 object as a file. All reads return bytes of one version."""

    read_kw: dict[str, Any]

    def _fetch_range(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Key": self.key, **self.read_kw}
        etag = arguments.pop("IfMatch", None)
        if self.fs.local_expiry_check:
            etag = self.details.get("ETag")
        if self.version_id:
            arguments["VersionId"] = self.version_id
        version, part = Version(etag), f"bytes={start}-{end - 1}"
        read: ObjectRead = sync(self.fs.loop, self.fs._read, arguments, part, version)
        if version.etag is not None and not self.fs.local_expiry_check:
            self.read_kw = {**self.read_kw, "IfMatch": version.etag}
        return read.data
