"""The bodies of objects: one range of an object, read exactly, in as many GETs as it takes.

A body that is cut short is resumed at the byte it reached. All answers must be of one version, and
hold the range that was asked for; nothing else passes.

>>> memory = Memory()
>>> memory.begin(3)
>>> memory.write(2, b"c")
>>> memory.write(0, b"ab")
>>> memory.take()
b'abc'
"""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError
from s3fs.utils import FileExpired

from fsspec_avroglob.s3.translation import error_code, is_precondition
from fsspec_avroglob.s3.transport import MinimumSpeed

READ_BYTES = 1 << 19
"""The most bytes of one read from a response's body. aiohttp buffers up to twice as many."""

FIRST_BYTES = 1 << 18
"""What opening a file, or its first read, brings. A file up to this size is read whole."""

PART_BYTES = 8 << 20
"""A longer range is read by concurrent GETs of this size: S3 sends about 80 MB/s on a connection,
so a part takes several round trips' time."""

PARTS_IN_FLIGHT = 16
"""The GETs in flight for one range, unless the user sets ``max_concurrency``."""

CUT_SHORT = (ClientPayloadError, IncompleteReadError, ResponseStreamingError)
"""What a body that is cut short raises."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class Version:
    """The version of an object that several reads share. The first answer sets it.

    Attributes
    ----------
    etag, modified : str or None
        The ETag, and the header Last-Modified.
    size : int or None
        Bytes of the whole object.
    """

    etag: str | None = None
    modified: str | None = None
    size: int | None = None

    def admits(self, other: Version) -> bool:
        """Whether *other* may be the same version. Takes over what was not known."""
        if None not in (self.etag, other.etag) and self._bare != other._bare:
            return False
        for name in ("modified", "size"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if None not in (mine, theirs) and mine != theirs:
                return False
        self.etag = self.etag or other.etag
        self.modified = self.modified or other.modified
        self.size = other.size if self.size is None else self.size
        return True

    @property
    def _bare(self) -> str:
        return (self.etag or "").strip('"')


class ObjectPart(NamedTuple):
    """Bytes of an object, with the size and the version of the whole object if they are known."""

    data: bytes
    size: int | None
    etag: str | None


class Memory:
    """Bytes that arrive in any order, in memory that is allocated once.

    start: the offset of the first byte in the object.
    """

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._buffer = BytesIO()

    def begin(self, size: int) -> None:
        """Allocate *size* bytes."""
        # BytesIO takes over a bytes object that nobody else refers to, and gives it back.
        self._buffer = BytesIO(bytes(size))

    def write(self, offset: int, chunk: bytes) -> None:
        """Store *chunk*, which is at *offset* in the object."""
        self._buffer.seek(offset - self._start)
        self._buffer.write(chunk)

    def take(self) -> bytes:
        """Return all bytes."""
        return self._buffer.getvalue()


class _Extent(NamedTuple):
    """The bytes [start, stop) that an answer holds, and what it says about the object."""

    start: int
    stop: int
    version: Version
    whole: bool  # the server sent the object and not a range

    @classmethod
    def of(cls, response: Mapping[str, Any]) -> _Extent:
        """Read the headers. Raises ValueError if they contradict each other."""
        header, length = response.get("ContentRange"), response.get("ContentLength")
        etag, metadata = response.get("ETag"), response.get("ResponseMetadata", {})
        modified = metadata.get("HTTPHeaders", {}).get("x-last-modified")
        if header is None:
            if metadata.get("HTTPStatusCode") == 206:
                raise ValueError("does not say which part of the object it holds")
            if length is None:
                raise ValueError("does not say how long the object is")
            return cls(0, length, Version(etag, modified, length), True)
        sent = _CONTENT_RANGE.fullmatch(header)
        if sent is None:
            raise ValueError(f"has the Content-Range {header!r}")
        start, stop = int(sent[1]), int(sent[2]) + 1
        size = None if sent[3] == "*" else int(sent[3])
        if start >= stop or (size is not None and stop > size):
            raise ValueError(f"has the impossible Content-Range {header!r}")
        if length not in (None, stop - start):
            raise ValueError(f"has {length} bytes and the Content-Range {header!r}")
        return cls(start, stop, Version(etag, modified, size), False)

    def wanted(self, part: str | None, *, whole: bool) -> int:
        """Return where the bytes end that *part* asks for, which may be after ``self.stop``.

        whole: whether the whole object may come instead. Raises ValueError if the answer holds
        other bytes.
        """
        asked = _RANGE.fullmatch(part or "bytes=0-")
        assert asked is not None
        first, last, size = asked[1], asked[2], self.version.size
        other = f"has {self.stop - self.start} bytes from byte {self.start} on instead of {part}"
        if not first:  # the last bytes
            if size is None:
                raise ValueError("does not say how long the object is")
            if self.start != max(0, size - int(last)):
                raise ValueError(other)
            return size
        limit = int(last) + 1 if last and not (whole and self.whole) else None
        if self.start != int(first) or (limit is not None and self.stop > limit):
            raise ValueError(other)
        if size is not None:
            return size if limit is None else min(limit, size)
        if whole or self.stop != limit:
            raise ValueError("does not say how long the object is")
        return limit


@dataclass(eq=False, repr=False)
class ObjectRead:
    """One read of an object or of a range of it, in as many GETs as it takes.

    Attributes
    ----------
    get_object : callable
        Sends one GET.
    arguments : mapping
        Those of GetObject, without range and condition.
    part : str or None
        The range: "bytes=0-99" or "bytes=-10".
    version : Version
        What all answers must be of.
    whole : bool
        Whether a server that ignores the range may send the whole object.
    begun : callable
        Receives this read when the first answer has come, before its body is read.
    write : callable or None
        Receives each chunk with its offset in the object, in order. Without it, chunks keeps them.
    local_expiry_check : bool
        Whether the version is compared here only, not by the server.
    start, stop : int
        The bytes that will be read, known after the first answer.
    received : int
        The number of bytes read so far.
    """

    get_object: Callable[..., Awaitable[Any]]
    arguments: Mapping[str, Any]
    part: str | None = None
    version: Version = field(default_factory=Version)
    whole: bool = False
    begun: Callable[[ObjectRead], object] | None = None
    write: Callable[[int, bytes], object] | None = None
    local_expiry_check: bool = False
    chunks: list[bytes] = field(default_factory=list)
    start: int = 0
    stop: int | None = None
    received: int = 0

    @property
    def data(self) -> bytes:
        """The chunks read so far, joined."""
        return b"".join(self.chunks)

    async def attempt(self) -> None:
        """Read on from where the last attempt stopped. Raises FileExpired for another version."""
        response = await self._request()
        body = response["Body"]
        try:
            self._check(response)
            await self._receive(body)
        finally:
            body.close()

    def too_short(self, error: Exception) -> OSError:
        """Return the error of a body that stays too short, with the notes of *error*."""
        assert self.stop is not None
        what = f"the {self.stop - self.start} bytes of the GET of {self.part or 'the object'}"
        message = f"the server sends only {self.received} of {what}"
        named = OSError(errno.EIO, message, self._path)
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        return named

    async def _request(self) -> Any:
        arguments = dict(self.arguments)
        if (part := self._remaining) is not None:
            arguments["Range"] = part
        if self.version.etag is not None and not self.local_expiry_check:
            arguments["IfMatch"] = self.version.etag
        try:
            return await self.get_object(**arguments)
        except ClientError as error:
            if "IfMatch" in arguments and is_precondition(error):
                raise self._expired() from error
            raise

    @property
    def _remaining(self) -> str | None:
        """The range that is still to be read."""
        if self.stop is None or not self.received:
            return self.part
        return f"bytes={self.start + self.received}-{self.stop - 1}"

    def _check(self, response: Mapping[str, Any]) -> None:
        """Raise OSError unless the answer is of this version and holds what was asked for."""
        try:
            extent = _Extent.of(response)
            if not self.version.admits(extent.version):
                raise self._expired()
            stop = extent.wanted(self._remaining, whole=self.whole and not self.received)
        except ValueError as error:
            asked = "" if self.part is None else f" of {self.part}"
            message = f"the server's answer to the GET{asked} {error}"
            raise OSError(errno.EIO, message, self._path) from None
        if self.stop is None:
            self.start, self.stop = extent.start, stop
            if self.begun is not None:
                self.begun(self)

    async def _receive(self, body: Any) -> None:
        assert self.stop is not None
        size, write, speed = self.stop - self.start, self.write, MinimumSpeed()
        while chunk := await speed.read(body.read(READ_BYTES)):
            if self.received + len(chunk) > size:
                message = f"the server sends more than the {size} bytes that were asked for"
                raise OSError(errno.EIO, message, self._path)
            if write is None:
                self.chunks.append(chunk)
            else:
                write(self.start + self.received, chunk)
            self.received += len(chunk)
        if self.received != size:
            raise IncompleteReadError(actual_bytes=self.received, expected_bytes=size)

    @property
    def _path(self) -> str:
        return f"{self.arguments['Bucket']}/{self.arguments['Key']}"

    def _expired(self) -> FileExpired:
        return FileExpired(filename=self._path, e_tag=self.version.etag)


def is_beyond_end(error: OSError) -> bool:
    """Whether a GET failed because its range begins at or after the end of the object."""
    return error_code(error.__cause__ or error.__context__) in ("InvalidRange", "416")
