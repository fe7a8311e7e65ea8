"""Reads ahead of a sequential reader, and fetches exactly what a random reader asks for.

It is the cache of files opened without ``cache_type`` and ``block_size``.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fsspec.caching import BaseCache

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.filesystem.bodies import FIRST_BYTES, Memory

PART_BYTES = 4 << 20
"""The most bytes of one GET that reads ahead."""

LIMIT_BYTES = 64 << 20
"""The most bytes that are read ahead."""

GROWTH = 4
"""How many times as far each sequential read that has to wait reads ahead, from FIRST_BYTES on."""

BEHIND_BYTES = 4 << 20
"""The bytes behind the reader that stay, for readers that step back."""

ReadChunks = Callable[[int, int], Awaitable[list[bytes]]]
ReadInto = Callable[[int, int, Memory], Awaitable[object]]


class _Part(NamedTuple):
    """The end of a range that is being read, and what reads it."""

    stop: int
    chunks: asyncio.Task[list[bytes]]


class ReadAhead(BaseCache):  # type: ignore[misc]  # fsspec has no types
    """A window over an object, from a little behind the reader to a little ahead.

    The window grows while reads follow one another, and begins anew where the reader seeks to. Long
    reads do not pass through it.

    Parameters
    ----------
    loop
        The event loop that runs the reads, in another thread.
    size
        Bytes of the object.
    read_chunks
        Reads the bytes [start, stop) by one GET.
    read_into
        Reads the bytes [start, stop) by concurrent GETs.
    """

    name = "avroglob"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        size: int,
        read_chunks: ReadChunks,
        read_into: ReadInto,
    ) -> None:
        super().__init__(FIRST_BYTES, None, size)
        self._loop, self._read_chunks, self._read_into = loop, read_chunks, read_into
        self._chunks: list[bytes] = []
        self._starts: list[int] = []  # of the chunks, which follow one another
        self._stop = 0  # of the last chunk
        self._parts: deque[_Part] = deque()  # they follow the last chunk
        self._ahead = 0  # the bytes to read ahead

    def keep(self, data: bytes) -> None:
        """Take over the first bytes of the object."""
        self._begin_at(0)
        self._append(data)

    def close(self) -> None:
        """Stop reading and release all bytes."""
        self._begin_at(0)

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        start = start or 0
        stop = self.size if stop is None else min(stop, self.size)
        if start >= stop:
            return b""
        first = self._starts[0] if self._chunks else self._stop
        if not first <= start <= self._stop:
            self._begin_at(start)
            self._ahead = 0
        if stop <= self._stop:
            self.hit_count += 1
            return self._slice(start, stop)
        self.miss_count += 1
        if stop - self._stop > 2 * PART_BYTES:
            return self._long(start, stop)
        sequential = bool(self._chunks) or self._ahead > 0 or start == 0
        if sequential:
            self._ahead = min(max(GROWTH * self._ahead, FIRST_BYTES), LIMIT_BYTES)
        sync(self._loop, self._advance, stop)
        data = self._slice(start, stop)
        self._forget_before(stop - BEHIND_BYTES)
        return data

    def _long(self, start: int, stop: int) -> bytes:
        """Read into the memory that is returned, so that nothing is held twice."""
        memory = Memory(start)
        memory.begin(stop - start)
        if start < self._stop:
            memory.write(start, self._slice(start, self._stop))
        sync(self._loop, self._finish, stop, memory)
        self._begin_at(stop)
        return memory.take()

    async def _finish(self, stop: int, memory: Memory) -> None:
        at = self._stop
        while self._parts and self._parts[0].stop <= stop:
            part = self._parts.popleft()
            for chunk in await part.chunks:
                memory.write(at, chunk)
                at += len(chunk)
        if at < stop:
            await self._read_into(at, stop, memory)

    async def _advance(self, stop: int) -> None:
        """Read up to *stop*, and begin to read what comes after it."""
        self._read_until(self.size if self.size <= FIRST_BYTES else stop)
        self._read_until(min(self.size, stop + self._ahead))
        while self._stop < stop:
            part = self._parts[0]
            for chunk in await part.chunks:
                self._append(chunk)
            self._parts.popleft()

    def _read_until(self, stop: int) -> None:
        """Begin to read what is neither here nor on its way."""
        at = self._parts[-1].stop if self._parts else self._stop
        while at < stop:
            end = min(stop, at + PART_BYTES)
            task = asyncio.ensure_future(self._read_chunks(at, end))
            task.add_done_callback(_retrieve)
            self._parts.append(_Part(end, task))
            self.total_requested_bytes += end - at
            at = end

    # -- the window --

    def _append(self, chunk: bytes) -> None:
        self._starts.append(self._stop)
        self._chunks.append(chunk)
        self._stop += len(chunk)

    def _slice(self, start: int, stop: int) -> bytes:
        at = bisect_right(self._starts, start) - 1
        first = self._starts[at]
        if stop <= first + len(self._chunks[at]):
            return self._chunks[at][start - first : stop - first]
        pieces = [memoryview(self._chunks[at])[start - first :]]
        while True:
            at += 1
            first = self._starts[at]
            if stop <= first + len(self._chunks[at]):
                pieces.append(memoryview(self._chunks[at])[: stop - first])
                return b"".join(pieces)
            pieces.append(memoryview(self._chunks[at]))

    def _forget_before(self, offset: int) -> None:
        count = bisect_right(self._starts, offset) - 1
        if count > 0:
            del self._starts[:count], self._chunks[:count]

    def _begin_at(self, offset: int) -> None:
        """Drop everything, and go on at *offset*."""
        self._chunks, self._starts, self._stop = [], [], offset
        for part in self._parts:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(part.chunks.cancel)
        self._parts.clear()


def _retrieve(task: asyncio.Task[list[bytes]]) -> None:
    """Look at the error of a task that nobody may wait for, or asyncio would log it."""
    if not task.cancelled():
        task.exception()
