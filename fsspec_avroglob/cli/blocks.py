"""The blocks of a file, read through a small window: what `count` and `check` go by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from fsspec_avroglob.avro.blocks import CodecError, Dropped, decompress
from fsspec_avroglob.avro.container import (
    SYNC_MARKER_BYTES,
    Block,
    ContainerHeader,
    CorruptBlockError,
    NeedMoreBytes,
    NotAvroError,
    parse_block_header,
    parse_header,
)

_BLOCK_HEADER_BYTES = 20


@dataclass
class Window:
    """Ranges of a file, mostly ascending; neighbouring ones share requests.

    fs: its filesystem, with coroutines or without. size_bytes: of the file. first_bytes,
    chunk_bytes: least and most that is read ahead; at most so much is kept. hop_bytes: a gap that
    is skipped by a request of its own, since reading it would take longer; probe_bytes: what that
    request reads.
    """

    fs: Any
    path: str
    size_bytes: int
    first_bytes: int = 64 << 10
    chunk_bytes: int = 8 << 20
    hop_bytes: int = 1 << 20
    probe_bytes: int = 4 << 10

    def __post_init__(self) -> None:
        self._start = 0
        self._data = b""
        self._chunk = self.first_bytes

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of the file, fewer where it ends before."""
        stop = min(stop, self.size_bytes)
        end = self._start + len(self._data)
        if not self._start <= start <= stop <= end:
            if start > end + self.hop_bytes or start < self._start:
                return await self._fetch(start, stop)
            # What is at hand already is not asked for again.
            held = self._data[start - self._start :] if start < end else b""
            upto = max(stop, min(max(start, end) + self._chunk, self.size_bytes))
            self._data = held + await self._fetch(max(start, end), upto)
            self._start = start
            self._chunk = min(4 * self._chunk, self.chunk_bytes)
        return self._data[start - self._start : stop - self._start]

    async def probe(self, start: int, stop: int) -> bytes:
        """As :meth:`read`; from a place far ahead a little more, where reading then goes on."""
        if start > self._start + len(self._data) + self.hop_bytes:
            upto = min(max(stop, start + self.probe_bytes), self.size_bytes)
            self._start, self._data = start, await self._fetch(start, upto)
        return await self.read(start, stop)

    async def _fetch(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        if self.fs.async_impl:
            data: bytes = await self.fs._cat_file(self.path, start=start, end=stop)
        else:
            data = self.fs.cat_file(self.path, start=start, end=stop)
        if len(data) != stop - start:
            raise OSError(f"{self.path} became shorter while it was read")
        return data


async def read_header(window: Window) -> ContainerHeader:
    """The header of a file. Raises NotAvroError naming the file."""
    size = window.first_bytes
    try:
        while True:
            data = await window.read(0, size)
            try:
                return parse_header(data)
            except NeedMoreBytes as more:
                if more.size_bytes > window.size_bytes:
                    raise NotAvroError("it ends within its header") from more
                size = max(2 * size, more.size_bytes)
    except NotAvroError as error:
        raise NotAvroError(f"{window.path} is not an Avro file: {error}") from error


async def block_at(window: Window, offset: int, sync_marker: bytes) -> Block:
    """The block that starts at a byte; of it only the header and the marker behind it are read.

    Raises CorruptBlockError for bytes that cannot be one.
    """
    try:
        opening = await window.read(offset, offset + _BLOCK_HEADER_BYTES)
        count, size_bytes, data_start = parse_block_header(opening)
    except NotAvroError as error:
        raise CorruptBlockError(str(error), offset, window.path) from error
    except NeedMoreBytes as more:
        raise CorruptBlockError("the file ends within its header", offset, window.path) from more
    marker = offset + data_start + size_bytes
    end = marker + SYNC_MARKER_BYTES
    if end > window.size_bytes:
        reason = f"it claims {size_bytes:,} bytes of data, but the file ends before"
        raise CorruptBlockError(reason, offset, window.path)
    if await window.probe(marker, end) != sync_marker:
        reason = f"no sync marker follows its {size_bytes:,} bytes of data"
        raise CorruptBlockError(reason, offset, window.path)
    return Block(offset, count, size_bytes, offset + data_start, end)


async def walk(window: Window, header: ContainerHeader) -> AsyncIterator[Block]:
    """All blocks of a file. Raises CorruptBlockError at the first one that is none."""
    offset, index = header.size_bytes, 0
    while offset < window.size_bytes:
        try:
            block = await block_at(window, offset, header.sync_marker)
        except CorruptBlockError as error:
            raise error.at(window.path, index) from error
        yield block
        offset, index = block.end, index + 1


@dataclass
class Findings:
    """What :func:`examine` found in one file."""

    path: str
    size_bytes: int
    blocks: int = 0
    values: int = 0
    dropped: list[Dropped] = field(default_factory=list)


async def examine(
    window: Window,
    max_block_bytes: int,
    told: Callable[[int], object],
    decoding: Callable[[ContainerHeader], Callable[[bytes], object]] | None = None,
) -> Findings:
    """Read a whole file, inflate every block, and report what cannot be read.

    max_block_bytes: larger blocks, as stored or inflated, are reported, not inflated. told: is told
    of bytes done. decoding: makes, of a header, what takes a whole block and raises ValueError
    where its values cannot be decoded.
    """
    found = Findings(window.path, window.size_bytes)
    if not window.size_bytes:
        return _lost(found, 0, 0, 0, "it is empty, not even a header is there")
    try:
        header = await read_header(window)
        decode = decoding(header) if decoding else None
    except ValueError as error:
        return _lost(found, 0, 0, window.size_bytes, str(error))
    offset, index = header.size_bytes, 0
    known = True
    told(offset)
    while offset < window.size_bytes:
        number = index if known else None
        try:
            block = await block_at(window, offset, header.sync_marker)
        except CorruptBlockError as error:
            after = await _next_block(window, offset, header.sync_marker)
            _lost(found, number, offset, after - offset, error.reason)
            known = False
        else:
            after = block.end
            reason = await _unreadable(window, block, header, max_block_bytes, decode)
            if reason:
                _lost(found, number, offset, after - offset, reason)
            else:
                found.blocks += 1
                found.values += block.value_count
        told(after - offset)
        offset, index = after, index + 1
    return found


def _lost(
    found: Findings, index: int | None, offset: int, size_bytes: int, reason: str
) -> Findings:
    found.dropped.append(Dropped(found.path, index, offset, size_bytes, reason))
    return found


async def _unreadable(
    window: Window,
    block: Block,
    header: ContainerHeader,
    max_block_bytes: int,
    decode: Callable[[bytes], object] | None,
) -> str:
    """Why a block cannot be read; nothing if it can."""
    if block.size_bytes > max_block_bytes:
        return f"its {block.size_bytes:,} bytes are more than --max-block-size"
    stored = await window.read(block.offset, block.end)
    data = stored[block.data_offset - block.offset : -SYNC_MARKER_BYTES]
    try:
        await asyncio.to_thread(decompress, header.codec, data, max_block_bytes)
        if decode is not None:
            await asyncio.to_thread(decode, stored)
    except CodecError as error:
        return str(error)
    except ValueError as error:
        return f"its values cannot be decoded: {error}"
    return ""


async def _next_block(window: Window, offset: int, sync_marker: bytes) -> int:
    """Where blocks go on after a corrupt one; the end of the file if they do not."""
    start = offset
    while start < window.size_bytes:
        data = await window.read(start, start + max(window.hop_bytes, 4 * SYNC_MARKER_BYTES))
        marker = data.find(sync_marker)
        if marker < 0:
            start += max(len(data) - SYNC_MARKER_BYTES + 1, 1)
            continue
        candidate = start + marker + SYNC_MARKER_BYTES
        if candidate == window.size_bytes:
            return candidate
        try:
            await block_at(window, candidate, sync_marker)
        except CorruptBlockError:
            start += marker + 1
        else:
            return candidate
    return window.size_bytes
