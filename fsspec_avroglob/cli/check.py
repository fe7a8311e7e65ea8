"""The blocks of files: hopped over for `count`, read and inflated for `check`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias

from fsspec_avroglob.avro.blocks import Dropped, decompress
from fsspec_avroglob.avro.container import (
    BLOCK_HEADER_BYTES,
    SYNC_MARKER_BYTES,
    Block,
    ContainerHeader,
    check_marker,
    claimed_block,
)
from fsspec_avroglob.avro.decode import RunDecoder
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.errors import CorruptBlockError
from fsspec_avroglob.readers.locate import Location, read_part
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pipeline import Pipeline
from fsspec_avroglob.readers.sources import LONG_HEAD_BYTES, OpenedFile, open_files

Decode: TypeAlias = Callable[[Iterable[tuple[int, bytes]]], object]
"""Decodes blocks, each its number of values and its stored data; raises ValueError if it cannot."""

# Least and most that is read ahead; at most so much is kept.
_FIRST_BYTES = 64 << 10
_CHUNK_BYTES = 8 << 20

# A gap that is skipped by a request of its own, since reading it would take longer; and what that
# request reads.
_HOP_BYTES = 1 << 20
_PROBE_BYTES = 4 << 10

# Inflating is slower than fetching, so that more would only take memory.
_FETCHED_AHEAD_BYTES = 32 << 20


class Window:
    """Ascending ranges of a file, the neighbouring ones of one request; its size must be known."""

    def __init__(self, file: OpenedFile) -> None:
        self._file = file
        self._start = 0
        self._data = file.source.head
        self._chunk = _FIRST_BYTES

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of the file, fewer where it ends before."""
        size = _size(self._file)
        stop, end = min(stop, size), self._start + len(self._data)
        if start > end + _HOP_BYTES:
            self._data = await self._fetch(start, min(max(stop, start + _PROBE_BYTES), size))
            self._start = start
        elif stop > end:
            # What is at hand already is not asked for again.
            held = self._data[start - self._start :] if start < end else b""
            upto = max(stop, min(max(start, end) + self._chunk, size))
            self._data = held + await self._fetch(max(start, end), upto)
            self._start = start
            self._chunk = min(4 * self._chunk, _CHUNK_BYTES)
        return self._data[start - self._start : stop - self._start]

    async def _fetch(self, start: int, stop: int) -> bytes:
        source = self._file.source
        part = await read_part(self._file.location, start, stop, source.etag)
        if len(part.data) != stop - start:
            raise OSError(f"{source.path} became shorter while it was read")
        return part.data


async def walk(file: OpenedFile) -> AsyncIterator[Block]:
    """All blocks of a file; of large ones only the header and the marker behind them are read.

    Raises CorruptBlockError at the first one that is none.
    """
    source, size, window = file.source, _size(file), Window(file)
    offset, index = source.header.size_bytes, 0
    while offset < size:
        try:
            opening = await window.read(offset, offset + BLOCK_HEADER_BYTES)
            block = claimed_block(opening, base=offset, file_bytes=size)
            marker = await window.read(block.end - SYNC_MARKER_BYTES, block.end)
            check_marker(block, marker, source.header.sync_marker)
        except CorruptBlockError as error:
            raise error.at(source.path, index) from error
        yield block
        offset, index = block.end, index + 1


def _size(file: OpenedFile) -> int:
    if file.source.size is None:
        raise OSError(f"{file.source.path} does not tell its size; copy it and count the copy")
    return file.source.size


@dataclass
class Findings:
    """What :func:`examine` found: good blocks, values in them, and what cannot be read."""

    blocks: int = 0
    values: int = 0
    dropped: list[Dropped] = field(default_factory=list)


async def examine(
    files: Sequence[Location],
    max_block_bytes: int,
    told: Callable[[int], object],
    decoding: Callable[[ContainerHeader], Decode] | None = None,
) -> Findings:
    """Read files as the readers do, inflate every block, and report what cannot be read.

    max_block_bytes: larger blocks, as stored or inflated, are reported, not inflated. told: is told
    of bytes done. decoding: makes, of a header, what decodes the values too; raises ValueError.
    """
    found = Findings()
    decoders: dict[int, Decode | None] = {}

    def skip(whole: Dropped) -> None:
        found.dropped.append(whole)
        told(whole.size_bytes)

    async def decodable() -> AsyncGenerator[OpenedFile, None]:
        ahead = _FETCHED_AHEAD_BYTES // LONG_HEAD_BYTES
        opened = open_files(files, head_bytes=LONG_HEAD_BYTES, ahead=lambda: ahead, skipped=skip)
        async with aclosing(opened):
            async for file in opened:
                try:
                    decoders[file.number] = decoding(file.source.header) if decoding else None
                except ValueError as error:
                    skip(Dropped(file.source.path, None, 0, file.source.size or 0, str(error)))
                else:
                    yield file

    def decoder(file: OpenedFile) -> RunDecoder[Run]:
        decode = decoders.pop(file.number)
        function = _checking(file.source.header.codec, max_block_bytes, decode)
        return RunDecoder(
            file.source.path, function, parallel=decode is None, dropped=found.dropped
        )

    pipeline = Pipeline(
        decoder,
        ReadOptions(max_bytes=_FETCHED_AHEAD_BYTES, max_block_size=max_block_bytes),
        dropped=found.dropped,
        on_bytes=told,
    )
    async with aclosing(pipeline.results(decodable())) as results:
        async for _, run in results:
            found.blocks += len(run.blocks)
            found.values += run.value_count
    places = {file.name: number for number, file in enumerate(files)}
    found.dropped.sort(key=lambda one: (places[one.path], one.offset))
    return found


def _checking(
    codec: str, max_block_bytes: int, decode: Decode | None
) -> Callable[[Run, int | None], Run]:
    """What returns a run if all of it can be inflated, and decoded if that is asked for."""

    def check(run: Run, _: int | None) -> Run:
        for _, data in run.stored():
            decompress(codec, data, max_block_bytes)
        if decode is not None:
            try:
                decode(run.stored())
            except ValueError as error:
                raise ValueError(f"its values cannot be decoded: {error}") from error
        return run

    return check
