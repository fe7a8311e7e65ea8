"""One read-only, seekable file made of stretches of many objects.

Stretches are read concurrently and in any order. Objects are read through :class:`RangeReader`,
which the filesystem implements.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from fsspec.spec import AbstractBufferedFile

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.aio.tasks import gather


class RangeReader(Protocol):
    """Reads ranges of objects. Must be picklable."""

    @property
    def loop(self) -> AbstractEventLoop:
        """The event loop that runs the reads, in another thread."""

    async def _read_range(self, path: str, start: int, stop: int, etag: str | None) -> bytes:
        """Return the bytes [start, stop) of the object "bucket/key", many by concurrent requests.

        Raises FileExpired if the object's ETag is not *etag*. With None, any version is read.
        """


class Source(NamedTuple):
    """An object ("bucket/key") as a listing describes it, with its data if it has been read."""

    path: str
    size_bytes: int
    etag: str | None
    data: bytes | None = None

    async def read(self, reader: RangeReader, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop). Raises FileExpired if the object has changed."""
        if self.data is not None:
            return self.data[start:stop]
        return await reader._read_range(self.path, start, stop, self.etag)


class Stretch(Protocol):
    """A part of a joined file. Its size is known before it is read. Must be picklable."""

    @property
    def size_bytes(self) -> int:
        """Its size in the joined file."""

    async def read(self, reader: RangeReader, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop) of the stretch."""


class Tail(NamedTuple):
    """A stretch that is an object from its byte *start* to its end."""

    source: Source
    start: int = 0

    @property
    def size_bytes(self) -> int:
        """The number of bytes from *start* on."""
        return self.source.size_bytes - self.start

    async def read(self, reader: RangeReader, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop) of the stretch."""
        return await self.source.read(reader, self.start + start, self.start + stop)


class JoinedFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """Stretches, one after another, as one file with fsspec's buffering.

    *path* is the pattern that was opened. Reading starts at the byte *position*.
    """

    def __init__(
        self,
        reader: RangeReader,
        path: str,
        stretches: Sequence[Stretch],
        block_size: int,
        cache_type: str,
        cache_options: dict[str, Any] | None = None,
        position: int = 0,
    ) -> None:
        self._stretches = [stretch for stretch in stretches if stretch.size_bytes]
        sizes = (stretch.size_bytes for stretch in self._stretches)
        self._starts = list(accumulate(sizes, initial=0))
        self._cache = cache_type, cache_options
        super().__init__(
            reader,
            path,
            "rb",
            block_size,
            cache_type=cache_type,
            cache_options=cache_options,
            size=self._starts[-1],
        )
        self.details = {"name": path, "size": self.size, "type": "file"}
        self.loc = position

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = sync(self.fs.loop, self._read, start, min(end, self.size))
        return data

    async def _read(self, start: int, stop: int) -> bytes:
        reads = []
        for i in range(bisect_right(self._starts, start) - 1, len(self._stretches)):
            first = self._starts[i]
            if first >= stop:
                break
            stretch = self._stretches[i]
            last = min(stop - first, stretch.size_bytes)
            reads.append(stretch.read(self.fs, max(start - first, 0), last))
        return b"".join(await gather(reads))

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.blocksize, *self._cache, self.loc)
        return JoinedFile, (self.fs, self.path, self._stretches, *settings)
