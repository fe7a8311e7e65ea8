"""The blocks of a file, followed while its bytes arrive in parts.

:class:`BlockStream` follows the chain of blocks and hands them out in runs: whole blocks without a
gap. If blocks are corrupt, it raises, or skips to the next good block and reports what it skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.container import (
    SYNC_MARKER_BYTES,
    Block,
    ByteRange,
    NeedMoreBytes,
    block_at,
)
from fsspec_avroglob.errors import CorruptBlockError


class BlockRun(NamedTuple):
    """Consecutive whole blocks of a file.

    - ``data``: their bytes, block headers and sync markers included.
    - ``blocks``: their offsets and sizes; at least one.
    - ``first_index``: number of blocks before them in the file, None if some of those were corrupt.
    """

    data: bytes
    blocks: tuple[Block, ...]
    first_index: int | None

    @property
    def value_count(self) -> int:
        """Number of values, as the blocks claim."""
        return sum(block.value_count for block in self.blocks)

    def index_of(self, position: int) -> int | None:
        """Return the number in the file of the run's block at *position*."""
        return None if self.first_index is None else self.first_index + position

    def part(self, start: int, stop: int) -> BlockRun:
        """Return the blocks at the positions [start, stop), at least one."""
        blocks, base = self.blocks[start:stop], self.blocks[0].offset
        data = self.data[blocks[0].offset - base : blocks[-1].end - base]
        return BlockRun(data, blocks, self.index_of(start))

    def stored(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number of values and the stored data of each block."""
        base = self.blocks[0].offset
        for block in self.blocks:
            start = block.data_offset - base
            yield block.value_count, self.data[start : start + block.size_bytes]

    def split(self, stored_bytes: int) -> Iterator[BlockRun]:
        """Yield the run in parts of about *stored_bytes*, at least one block each."""
        start = 0
        for stop, block in enumerate(self.blocks, start=1):
            enough = block.end - self.blocks[start].offset >= stored_bytes
            if enough or stop == len(self.blocks):
                yield self.part(start, stop)
                start = stop

    def within(self, blocks: ByteRange) -> Iterator[BlockRun]:
        """Yield the blocks that begin in a range of the file, if any, as one run."""
        inside = [i for i, b in enumerate(self.blocks) if blocks.start <= b.offset < blocks.stop]
        if inside:
            yield self.part(inside[0], inside[-1] + 1)

    def first_values(self, count: int) -> BlockRun:
        """Return the blocks that hold the first *count* values."""
        seen = 0
        for stop, block in enumerate(self.blocks, start=1):
            seen += block.value_count
            if seen >= count:
                return self.part(0, stop)
        return self


class Dropped(NamedTuple):
    """A part of a file that a reader left out because it is corrupt.

    A tuple, so that JSON, and with it ``DataFrame.attrs`` in Parquet, can hold it.

    - ``path``: the file.
    - ``block_index``: number of blocks before it, None if some of those are corrupt, too.
    - ``offset``, ``size_bytes``: its position and length in the file, in bytes.
    - ``reason``: what is wrong with its first block.
    """

    path: str
    block_index: int | None
    offset: int
    size_bytes: int
    reason: str

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.size_bytes

    def __str__(self) -> str:
        block = "" if self.block_index is None else f" (block {self.block_index})"
        return (
            f"{self.path}: {self.size_bytes} bytes at {self.offset}{block} left out: {self.reason}"
        )


class BlockStream:
    """Follows the chain of blocks from the end of a file's header.

    - ``path``, ``file_bytes``: the file's name and its size, None if unknown.
    - ``start``: offset of the first block.
    - ``dropped``: receives the corrupt parts that are skipped; with None a corrupt block raises.
    - ``max_block_bytes``: a block that claims more stored bytes is corrupt.
    """

    def __init__(
        self,
        path: str,
        sync_marker: bytes,
        start: int,
        file_bytes: int | None,
        *,
        dropped: list[Dropped] | None = None,
        max_block_bytes: int = MAX_BLOCK_BYTES,
    ) -> None:
        self._path = path
        self._sync_marker = sync_marker
        self._file_bytes = file_bytes
        self._dropped = dropped
        self._max_block_bytes = max_block_bytes
        # The bytes that are not yet followed, from the byte _base of the file.
        self._parts: list[bytes] = []
        self._held = 0
        self._base = start
        # How many bytes must be held before the next step is possible.
        self._needed = 1
        self._index: int | None = 0
        # The first bytes of a corrupt part that reaches to _base at least.
        self._corrupt: Dropped | None = None

    def feed(self, data: bytes, *, last: bool) -> Iterator[BlockRun]:
        """Yield the blocks that become complete with *data*, the next bytes of the file.

        - ``last``: whether the file ends after *data*.

        Raises CorruptBlockError, after the runs before the corrupt block.
        """
        self._parts.append(data)
        self._held += len(data)
        if last:
            self._file_bytes = self._base + self._held
        if self._held < self._needed and not last:
            return
        buffer = b"".join(self._parts)
        position = 0
        needed: int | None = None
        blocks: list[Block] = []
        while position < len(buffer) or self._corrupt is not None:
            if self._corrupt is not None:
                position, needed = self._next_start(buffer, position)
                if needed is not None:
                    break
                size_bytes = self._base + position - self._corrupt.offset
                assert self._dropped is not None
                self._dropped.append(self._corrupt._replace(size_bytes=size_bytes))
                self._corrupt = None
                continue
            try:
                block = self._block(buffer, position)
            except NeedMoreBytes as more:
                needed = more.size_bytes
                break
            except CorruptBlockError as error:
                yield from self._run(buffer, blocks)
                blocks = []
                if self._dropped is None:
                    raise error.at(self._path, self._index) from None
                self._corrupt = Dropped(self._path, self._index, error.offset, 0, error.reason)
                self._index = None
            else:
                blocks.append(block)
                position = block.end - self._base
        yield from self._run(buffer, blocks)
        self._parts = [buffer[position:]]
        self._held -= position
        self._base += position
        self._needed = 1 if needed is None else needed - position

    def _block(self, buffer: bytes, position: int) -> Block:
        return block_at(
            buffer,
            position,
            self._sync_marker,
            base=self._base,
            file_bytes=self._file_bytes,
            max_bytes=self._max_block_bytes,
        )

    def _run(self, buffer: bytes, blocks: list[Block]) -> Iterator[BlockRun]:
        """Yield the blocks as a run, if there are any, and advance the number of the next block."""
        if blocks:
            data = buffer[blocks[0].offset - self._base : blocks[-1].end - self._base]
            yield BlockRun(data, tuple(blocks), self._index)
            self._index = None if self._index is None else self._index + len(blocks)

    def _next_start(self, buffer: bytes, start: int) -> tuple[int, int | None]:
        """Return where in *buffer* the corrupt part that reaches to *start* ends, and None.

        It ends after a sync marker that a whole block or the end of the file follows. If *buffer*
        is too short to tell: where to continue, and how many bytes *buffer* must then have.
        """
        whole = self._file_bytes is not None and self._base + len(buffer) >= self._file_bytes
        while (marker := buffer.find(self._sync_marker, start)) >= 0:
            candidate = marker + SYNC_MARKER_BYTES
            if candidate == len(buffer) and whole:
                return candidate, None
            try:
                self._block(buffer, candidate)
            except CorruptBlockError:
                start = marker + 1
            except NeedMoreBytes as more:
                return marker, more.size_bytes
            else:
                return candidate, None
        if whole:
            return len(buffer), None
        return max(start, len(buffer) - SYNC_MARKER_BYTES + 1), len(buffer) + 1
