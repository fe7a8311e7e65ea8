"""One read-only, seekable file over stretches of many objects, read at once and in any order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fsspec.spec import AbstractBufferedFile

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.filesystem.objects import Version

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

# Longer stretches are read by several requests at once.
_REQUEST_BYTES = 8 << 20


class Source(NamedTuple):
    """An object as a listing has told of it. ``path`` is "bucket/key"."""

    path: str
    size_bytes: int
    etag: str | None

    async def read(self, fs: AvroGlobFileSystem, start: int, stop: int) -> bytes:
        """The bytes [start, stop). Raises FileExpired if the object is no longer the same."""
        bounds = [(at, min(at + _REQUEST_BYTES, stop)) for at in range(start, stop, _REQUEST_BYTES)]
        return b"".join(await gather(self._request(fs, *bound) for bound in bounds))

    async def _request(self, fs: AvroGlobFileSystem, start: int, stop: int) -> bytes:
        bucket, key, _ = fs.split_path(self.path)
        arguments = {"Bucket": bucket, "Key": key}
        part = f"bytes={start}-{stop - 1}"
        return await fs._read(fs._object_read(arguments, part, Version(self.etag)))


class HeldSource(NamedTuple):
    """An object that has been read whole."""

    source: Source
    data: bytes

    @property
    def path(self) -> str:
        """As of the source."""
        return self.source.path

    @property
    def size_bytes(self) -> int:
        """As of the source."""
        return len(self.data)

    async def read(self, fs: AvroGlobFileSystem, start: int, stop: int) -> bytes:
        """The bytes [start, stop), without a request."""
        return self.data[start:stop]


class Stretch(Protocol):
    """A part of a joined file, whose length is known before it is read. Can be pickled."""

    @property
    def size_bytes(self) -> int:
        """Its length in the joined file."""

    async def read(self, fs: AvroGlobFileSystem, start: int, stop: int) -> bytes:
        """The stretch's bytes [start, stop)."""


class Literal(NamedTuple):
    """Bytes that are in no object."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """As :class:`Stretch`."""
        return len(self.data)

    async def read(self, fs: AvroGlobFileSystem, start: int, stop: int) -> bytes:
        """As :class:`Stretch`."""
        return self.data[start:stop]


class ObjectPart(NamedTuple):
    """An object from its byte *start* on, as it is."""

    source: Source | HeldSource
    start: int = 0

    @property
    def size_bytes(self) -> int:
        """As :class:`Stretch`."""
        return self.source.size_bytes - self.start

    async def read(self, fs: AvroGlobFileSystem, start: int, stop: int) -> bytes:
        """As :class:`Stretch`."""
        return await self.source.read(fs, self.start + start, self.start + stop)


class JoinedFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """Stretches one after another as a file, buffered as fsspec's other files are.

    - ``path``: the pattern that was opened.
    - ``stretches``: what the file is made of.
    - ``block_size``, ``cache_type``, ``cache_options``: of fsspec's read caches.
    """

    def __init__(
        self,
        fs: AvroGlobFileSystem,
        path: str,
        stretches: Sequence[Stretch],
        *,
        block_size: int,
        cache_type: str,
        cache_options: dict[str, Any] | None = None,
    ) -> None:
        self._stretches = [stretch for stretch in stretches if stretch.size_bytes]
        sizes = (stretch.size_bytes for stretch in self._stretches)
        self._starts = list(accumulate(sizes, initial=0))
        self._cache_options = cache_options
        super().__init__(
            fs,
            path,
            "rb",
            block_size,
            cache_type=cache_type,
            cache_options=cache_options,
            size=self._starts[-1],
        )
        self.details = {"name": path, "size": self.size, "type": "file"}

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

    def __hash__(self) -> int:
        return hash((self.path, tuple(self._stretches)))

    def __reduce__(self) -> tuple[Any, ...]:
        name = self.cache.name if self.cache else "none"
        settings = (self.blocksize, name, self._cache_options, self.loc)
        return _reopened, (self.fs, self.path, self._stretches, *settings)


def _reopened(
    fs: AvroGlobFileSystem,
    path: str,
    stretches: Sequence[Stretch],
    block_size: int,
    cache_type: str,
    cache_options: dict[str, Any] | None,
    loc: int,
) -> JoinedFile:
    file = JoinedFile(
        fs,
        path,
        stretches,
        block_size=block_size,
        cache_type=cache_type,
        cache_options=cache_options,
    )
    file.seek(loc)
    return file
