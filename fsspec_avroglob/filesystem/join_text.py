"""Many files of lines as one: a newline between files, and one header line for CSV."""

from __future__ import annotations

import errno
import io
import re
import zlib
from asyncio import run_coroutine_threadsafe
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.avro.blocks import zstandard
from fsspec_avroglob.errors import HeaderLinesDifferError
from fsspec_avroglob.filesystem.joined import HeldSource, Literal, ObjectPart, Source, Stretch

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

# Most header lines fit; longer ones are read in a second request. Files that fit are read whole.
_HEAD_BYTES = 64 << 10
_HELD_BYTES = 8 << 20
_MAX_HEAD_BYTES = 16 << 20

# A line whose quoted fields may hold newlines; the second also at the end of the file.
_CSV_LINE = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+\n')
_CSV_LAST_LINE = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+(?:\n|\Z)')

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Of compressed files: bytes of a request, and how many requests are under way ahead of the reader.
_REQUEST_BYTES = 4 << 20
_REQUESTS_AHEAD = 8

# Inflated at a time.
_PIECE_BYTES = 1 << 20


async def line_stretches(
    fs: AvroGlobFileSystem, given: Sequence[Source], *, csv: bool
) -> list[Stretch]:
    """What the joined file of the sources *given*, not compressed, is made of.

    - ``csv``: the first line of each file is a header line, which only the first file keeps.

    A file that does not end in a newline gets one, if another follows. Costs a GET of the last
    byte of each file, and for CSV one of the beginning. Small files are read whole instead, and
    not again later, as long as they are 8 MiB together. Raises HeaderLinesDifferError.
    """
    sources = await _with_small_ones_held(fs, [source for source in given if source.size_bytes])
    headers = await gather(_header_line(fs, source) for source in sources) if csv else []
    starts = [0] * len(sources)
    for i in range(1, len(headers)):
        _must_equal(sources[0], headers[0], sources[i], headers[i])
        starts[i] = len(headers[i])
    parts = [
        ObjectPart(source, start)
        for i, (source, start) in enumerate(zip(sources, starts, strict=True))
        if start < source.size_bytes or not i
    ]
    stretches: list[Stretch] = []
    for part, newline in zip(
        parts, await gather(_newline(fs, p) for p in parts[:-1]), strict=False
    ):
        stretches += [part, newline]
    return stretches + list(parts[-1:])


async def _with_small_ones_held(
    fs: AvroGlobFileSystem, sources: Sequence[Source]
) -> list[Source | HeldSource]:
    room = _HELD_BYTES
    small: list[Source] = []
    for source in sources:
        if source.size_bytes <= min(_HEAD_BYTES, room):
            room -= source.size_bytes
            small.append(source)
    held = await gather(_held(fs, source) for source in small)
    by_path = {one.path: one for one in held}
    return [by_path.get(source.path, source) for source in sources]


async def _held(fs: AvroGlobFileSystem, source: Source) -> HeldSource:
    return HeldSource(source, await source.read(fs, 0, source.size_bytes))


async def _newline(fs: AvroGlobFileSystem, part: ObjectPart) -> Literal:
    """The newline that is missing after *part*, or nothing."""
    last = await part.read(fs, part.size_bytes - 1, part.size_bytes)
    return Literal(b"" if last == b"\n" else b"\n")


async def _header_line(fs: AvroGlobFileSystem, source: Source | HeldSource) -> bytes:
    wanted = _HEAD_BYTES
    while True:
        data = await source.read(fs, 0, min(wanted, source.size_bytes))
        line = _first_line(data, whole=len(data) == source.size_bytes or wanted > _MAX_HEAD_BYTES)
        if line is not None:
            return line
        wanted *= 16


def _first_line(data: bytes, *, whole: bool) -> bytes | None:
    """The first line of CSV *data* with its newline; None if it may go on behind *data*.

    - ``whole``: nothing follows *data*; quotes that are never closed are then no quotes.
    """
    if line := (_CSV_LAST_LINE if whole else _CSV_LINE).match(data):
        return line[0]
    return data[: data.find(b"\n") + 1] or data if whole else None


def _must_equal(
    first: Source | HeldSource, first_line: bytes, source: Source | HeldSource, line: bytes
) -> None:
    if _bare(line) != _bare(first_line):
        raise HeaderLinesDifferError(first.path, _bare(first_line), source.path, _bare(line))


def _bare(line: bytes) -> bytes:
    return line.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")


class CompressedLines(io.BufferedReader):
    """Compressed files of lines as one compressed file, which is made while it is read.

    - ``path``: the pattern that was opened; ``codec``: "gzip" or "zstd"; ``csv``: as
      :func:`line_stretches` has it.

    What is read is a single stream of the same codec, stored rather than compressed. Whether a
    file ends in a newline, and its header line, only show when it is inflated: so reading goes
    forward, a seek back starts again, and a seek from the end reads everything to learn the size.
    """

    def __init__(
        self,
        fs: AvroGlobFileSystem,
        path: str,
        sources: Sequence[Source],
        *,
        codec: str,
        csv: bool,
    ) -> None:
        self.path = path
        self._settings = (fs, path, sources, codec, csv)
        super().__init__(_Stream(fs, sources, codec, csv), _PIECE_BYTES)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (*self._settings, self.tell())


def _reopened(
    fs: AvroGlobFileSystem,
    path: str,
    sources: Sequence[Source],
    codec: str,
    csv: bool,
    position: int,
) -> CompressedLines:
    file = CompressedLines(fs, path, sources, codec=codec, csv=csv)
    file.seek(position)
    return file


class _Stream(io.RawIOBase):
    """The bytes of a CompressedLines, which can go forward and back to the start."""

    def __init__(
        self, fs: AvroGlobFileSystem, sources: Sequence[Source], codec: str, csv: bool
    ) -> None:
        self._open: Callable[[], Generator[bytes, None, None]] = lambda: _recompressed(
            fs, sources, codec, csv
        )
        self._begin()

    def _begin(self) -> None:
        self._chunks = self._open()
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
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except BaseException:
                # The generator has ended, which is not the end of the file.
                self._failed = True
                raise
        taken = min(len(buffer), len(self._rest))
        buffer[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        self._position += taken
        return taken

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        if self._failed:
            self._begin()
        if whence == io.SEEK_END:
            while self._skip(_PIECE_BYTES):
                pass
            offset += self._position
        if offset < 0:
            raise ValueError("seek before the start of the file")
        if offset < self._position:
            self._chunks.close()
            self._begin()
        while self._position < offset and self._skip(offset - self._position):
            pass
        return self._position

    def _skip(self, count: int) -> int:
        return self.readinto(memoryview(bytearray(min(count, _PIECE_BYTES))))

    def close(self) -> None:
        self._chunks.close()
        super().close()


def _recompressed(
    fs: AvroGlobFileSystem, sources: Sequence[Source], codec: str, csv: bool
) -> Generator[bytes, None, None]:
    """One compressed stream with the lines of all files."""
    if codec == "gzip":
        stream: Any = zlib.compressobj(level=0, wbits=zlib.MAX_WBITS | 16)
    else:
        stream = zstandard().ZstdCompressor(level=1)
    stored = _read_ahead(fs, [source for source in sources if source.size_bytes])
    try:
        for piece in _joined_lines(stored, codec, csv):
            if data := stream.compress(piece):
                yield data
        yield stream.flush()
    finally:
        stored.close()


def _read_ahead(
    fs: AvroGlobFileSystem, sources: Sequence[Source]
) -> Generator[tuple[Source, bytes], None, None]:
    """The files as stored, in pieces; the next ones are fetched meanwhile."""
    ranges = (
        (source, at, min(at + _REQUEST_BYTES, source.size_bytes))
        for source in sources
        for at in range(0, source.size_bytes, _REQUEST_BYTES)
    )
    ahead: deque[tuple[Source, Future[bytes]]] = deque()
    try:
        for source, start, stop in ranges:
            reading = run_coroutine_threadsafe(source.read(fs, start, stop), fs.loop)
            ahead.append((source, reading))
            if len(ahead) > _REQUESTS_AHEAD:
                yield _first_of(ahead)
        while ahead:
            yield _first_of(ahead)
    finally:
        while ahead:
            ahead.popleft()[1].cancel()


def _first_of(ahead: deque[tuple[Source, Future[bytes]]]) -> tuple[Source, bytes]:
    """The piece that is next; where waiting for it is interrupted, it stays to be cancelled."""
    data = ahead[0][1].result()
    return ahead.popleft()[0], data


def _joined_lines(stored: Iterator[tuple[Source, bytes]], codec: str, csv: bool) -> Iterator[bytes]:
    """The lines of all files, inflated: pieces of any length."""
    first: tuple[Source, bytes] | None = None
    last = b"\n"
    for source, pieces in groupby(stored, key=itemgetter(0)):
        inflated = _inflated(source, codec, (data for _, data in pieces))
        if csv:
            line, inflated = _header_apart(inflated)
            if first is not None:
                _must_equal(*first, source, line)
            else:
                first, inflated = (source, line), chain([line], inflated)
        begun = False
        for piece in filter(None, inflated):
            if not begun and not last.endswith(b"\n"):
                yield b"\n"
            yield piece
            begun, last = True, piece


def _header_apart(inflated: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first line of a CSV file, and what follows it."""
    data, line = b"", None
    for piece in inflated:
        data += piece
        line = _first_line(data, whole=len(data) > _MAX_HEAD_BYTES)
        if line is not None:
            break
    else:
        line = _first_line(data, whole=True)
    line = line or b""
    return line, chain([data[len(line) :]], inflated)


def _inflated(source: Source, codec: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A file inflated, all of its members. Raises ValueError, naming it, if that cannot be done."""
    if codec == "gzip":
        new_inflater: Any = partial(zlib.decompressobj, zlib.MAX_WBITS | 16)
        error_type: type[Exception] = zlib.error
    else:
        new_inflater, error_type = zstandard().ZstdDecompressor, zstandard().ZstdError
    inflater, begun = new_inflater(), False
    try:
        for piece in pieces:
            # Members may be followed by zeros, as tape blocks once asked for.
            pending = piece if begun else piece.lstrip(b"\0")
            while pending or begun:
                begun = True
                data = inflater.decompress(pending, _PIECE_BYTES)
                yield data
                if inflater.eof:
                    pending = inflater.unused_data.lstrip(b"\0")
                    inflater, begun = new_inflater(), False
                    continue
                # zlib hands back what it has not looked at, zstd keeps it.
                pending = getattr(inflater, "unconsumed_tail", b"")
                if not pending and len(data) < _PIECE_BYTES:
                    break
    except error_type as error:
        raise ValueError(f"{source.path} is not {codec}: {error}") from error
    if begun:
        raise ValueError(f"{source.path} ends before its {codec} stream does")
