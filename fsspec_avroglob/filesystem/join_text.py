"""Join many files of lines: a newline between files, and one header for tables.

Files that are not compressed are joined where they are. Compressed files are decompressed and
joined as one compressed stream while it is read.
"""

from __future__ import annotations

import errno
import gzip
import io
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from fsspec_avroglob.aio.blocking import BlockingIterator
from fsspec_avroglob.aio.tasks import gather, ordered
from fsspec_avroglob.avro.codecs import zstandard
from fsspec_avroglob.filesystem.header_lines import Head, HeaderRule
from fsspec_avroglob.filesystem.joined import RangeReader, Source, Stretch, Tail

# The first request for a header line reads this much. Files of at most this size are read whole,
# and kept, up to _KEPT_BYTES for all files.
_HEAD_BYTES = 64 << 10
_KEPT_BYTES = 8 << 20
_MAX_HEAD_BYTES = 16 << 20

_NEWLINE = Tail(Source("", 1, None, b"\n"))

# Compressed files: the size of a request, and the number of requests in flight ahead of the reader.
_REQUEST_BYTES = 4 << 20
_REQUESTS_AHEAD = 8

# The size of a decompressed piece.
_PIECE_BYTES = 1 << 20


# --- files that are not compressed ----------------------------------------------------------------


async def line_stretches(
    reader: RangeReader, sources: Sequence[Source], rule: HeaderRule
) -> list[Stretch]:
    """Return the stretches of the joined file of *sources*, which are not compressed.

    A file without a last newline gets one if another file follows. Only the first file keeps header
    lines.

    Costs one GET a file for its last byte and, where there may be header lines, one for its
    beginning. Small files are read whole instead, up to 8 MiB in all. Raises HeaderLinesDifferError
    and UncertainHeaderError.
    """
    sources = await _read_small(reader, [source for source in sources if source.size_bytes])
    tails = [Tail(source) for source in sources]
    if rule.looks:
        heads = await gather(_head(reader, source, rule) for source in sources)
        for i in range(1, len(sources)):
            tails[i] = Tail(sources[i], rule.repeated(heads[0], heads[i]))
    tails = [tail for tail in tails if tail.size_bytes]
    ends = await gather(_last_byte(reader, tail) for tail in tails[:-1])
    stretches: list[Stretch] = []
    for tail, end in zip(tails, [*ends, b"\n"], strict=False):
        stretches += [tail] if end == b"\n" else [tail, _NEWLINE]
    return stretches


async def _read_small(reader: RangeReader, sources: Sequence[Source]) -> list[Source]:
    """Return the sources, the small ones with their data."""
    room = _KEPT_BYTES

    async def read(source: Source) -> Source:
        return source._replace(data=await source.read(reader, 0, source.size_bytes))

    result, small = list(sources), []
    for i, source in enumerate(sources):
        if source.size_bytes <= min(_HEAD_BYTES, room):
            room -= source.size_bytes
            small.append(i)
    for i, source in zip(small, await gather(read(sources[i]) for i in small), strict=True):
        result[i] = source
    return result


async def _last_byte(reader: RangeReader, tail: Tail) -> bytes:
    return await tail.read(reader, tail.size_bytes - 1, tail.size_bytes)


async def _head(reader: RangeReader, source: Source, rule: HeaderRule) -> Head:
    wanted = _HEAD_BYTES
    while True:
        data = await source.read(reader, 0, min(wanted, source.size_bytes))
        parts = rule.split(data, whole=len(data) == source.size_bytes or wanted > _MAX_HEAD_BYTES)
        if parts is not None:
            return Head(source.path, *parts)
        wanted *= 16


# --- compressed files -----------------------------------------------------------------------------


class CompressedLines(io.BufferedReader):
    """Compressed files of lines as one file of the same codec, made while it is read.

    The lines are stored in one stream, without compression. Its layout depends on the decompressed
    data, so reading goes forward: a seek back starts again, and a seek from the end reads the file
    to find its size. *path* is the pattern that was opened, *codec* "gzip" or "zstd".
    """

    def __init__(
        self,
        reader: RangeReader,
        path: str,
        sources: Sequence[Source],
        codec: str,
        rule: HeaderRule,
        position: int = 0,
    ) -> None:
        self.path = path
        self._settings = (reader, path, sources, codec, rule)
        stream = _ChunkFile(partial(_recompressed, reader, sources, codec, rule))
        super().__init__(stream, _PIECE_BYTES)
        self.seek(position)

    def __reduce__(self) -> tuple[Any, ...]:
        return CompressedLines, (*self._settings, self.tell())


class _ChunkFile(io.RawIOBase):
    """The chunks that a generator yields as a file. ``begin()`` makes the generator."""

    def __init__(self, begin: Callable[[], Generator[bytes, None, None]]) -> None:
        self._begin = begin
        self._restart()

    def _restart(self) -> None:
        self._chunks = self._begin()
        self._rest = memoryview(b"")
        self._position = 0
        self._failed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._failed:
            raise OSError(errno.EIO, "an earlier read failed; seek to where to go on")
        if not self._rest:
            # A generator that raises has ended. That is not the end of the file.
            self._failed = True
            self._rest = memoryview(next(self._chunks, b""))
            self._failed = False
        taken = min(len(buffer), len(self._rest))
        buffer[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        self._position += taken
        return taken

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        if self._failed:
            self._restart()
        if whence == io.SEEK_END:
            while self._skip(_PIECE_BYTES):
                pass
            offset += self._position
        if offset < 0:
            raise ValueError("seek before the start of the file")
        if offset < self._position:
            self._chunks.close()
            self._restart()
        while self._position < offset and self._skip(offset - self._position):
            pass
        return self._position

    def _skip(self, count: int) -> int:
        return self.readinto(memoryview(bytearray(min(count, _PIECE_BYTES))))

    def close(self) -> None:
        self._chunks.close()
        super().close()


def _recompressed(
    reader: RangeReader, sources: Sequence[Source], codec: str, rule: HeaderRule
) -> Generator[bytes, None, None]:
    """Yield one compressed stream with the lines of all files."""
    if codec == "gzip":
        stream: Any = zlib.compressobj(level=0, wbits=zlib.MAX_WBITS | 16)
    else:
        stream = zstandard().ZstdCompressor(level=1)

    async def read(part: tuple[Source, int, int]) -> bytes:
        return await part[0].read(reader, *part[1:])

    reads = ordered(_ranges(sources), read, lambda: _REQUESTS_AHEAD)
    # Nothing closes the iterator by hand, because a file may be collected in the loop's own thread.
    for piece in _joined_lines(BlockingIterator(reads, reader.loop), codec, rule):
        if data := stream.compress(piece):
            yield data
    yield stream.flush()


async def _ranges(sources: Sequence[Source]) -> AsyncGenerator[tuple[Source, int, int], None]:
    for source in sources:
        for at in range(0, source.size_bytes, _REQUEST_BYTES):
            yield source, at, min(at + _REQUEST_BYTES, source.size_bytes)


def _joined_lines(
    stored: Iterator[tuple[tuple[Source, int, int], bytes]], codec: str, rule: HeaderRule
) -> Iterator[bytes]:
    """Yield the lines of all files, decompressed, in pieces of any length."""
    first: Head | None = None
    last = b"\n"
    for source, group in groupby(stored, key=lambda read: read[0][0]):
        pieces = _decompressed(source, codec, map(itemgetter(1), group))
        if rule.looks:
            head, rest = _split_head(source, pieces, rule)
            first = first or head
            begin = 0 if first is head else rule.repeated(first, head)
            pieces = chain([head.lines[begin:], head.rows], rest)
        begun = False
        for piece in filter(None, pieces):
            if not begun and not last.endswith(b"\n"):
                yield b"\n"
            yield piece
            begun, last = True, piece


def _split_head(
    source: Source, pieces: Iterator[bytes], rule: HeaderRule
) -> tuple[Head, Iterator[bytes]]:
    """Return the beginning of a file, and the pieces that follow it."""
    data, parts = b"", None
    while parts is None:
        piece = next(pieces, b"")
        data += piece
        parts = rule.split(data, whole=not piece or len(data) > _MAX_HEAD_BYTES)
    return Head(source.path, *parts), pieces


def _decompressed(source: Source, codec: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file decompressed, all of its members. Raises ValueError for a damaged file."""
    stored = io.BufferedReader(_ChunkFile(lambda: (piece for piece in pieces)), _PIECE_BYTES)
    if codec == "gzip":
        file: Any = gzip.GzipFile(fileobj=stored)
        errors: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error)
    else:
        file, errors = zstandard().ZstdFile(stored), (zstandard().ZstdError,)
    try:
        while data := file.read(_PIECE_BYTES):
            yield data
    except errors as error:
        raise ValueError(f"{source.path} is not {codec}: {error}") from error
    except EOFError as error:
        raise ValueError(f"{source.path} ends before its {codec} stream does") from error
