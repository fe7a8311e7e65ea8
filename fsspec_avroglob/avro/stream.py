"""The blocks of a file, followed while its bytes arrive in parts.

:class:`BlockStream` follows the chain of blocks and hands them out in runs: whole blocks without a
gap. If blocks are corrupt, it raises, or skips to the next good block and reports what it skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.container import (
    SYNC_MARKER_BYTES,
    Block,
    ByteRange,
    NeedMoreBytes,
    StoredBlock,
    block_at,
    leading_blocks,
)
from fsspec_avroglob.errors import CorruptBlockError


class BlockRun(NamedTuple):
    """Consecutive whole blocks of a file.

    - ``offset``, ``end``: the bytes [offset, end) of the file are these blocks.
    - ``contents``: at least one block.
    - ``first_index``: number of blocks before them in the file, None if some of those were corrupt.
    """

    offset: int
    end: int
    contents: Sequence[StoredBlock]
    first_index: int | None

    @classmethod
    def of(cls, data: bytes, blocks: Sequence[Block], base: int, first_index: int | None) -> Self:
        """Make a run of consecutive *blocks* of *data*, which begins at byte *base* of the file."""
        contents = [_stored(data, block, base) for block in blocks]
        return cls(blocks[0].offset, blocks[-1].end, contents, first_index)

    @property
    def blocks(self) -> list[Block]:
        """The offsets and sizes of the blocks."""
        blocks = []
        offset = self.offset
        for count, header_bytes, data in self.contents:
            start = offset + header_bytes
            end = start + len(data) + SYNC_MARKER_BYTES
            blocks.append(Block(offset, count, len(data), start, end))
            offset = end
        return blocks

    @property
    def size_bytes(self) -> int:
        """Length of the blocks in the file."""
        return self.end - self.offset

    @property
    def value_count(self) -> int:
        """Number of values, as the blocks claim."""
        return sum(block[0] for block in self.contents)

    def index_of(self, position: int) -> int | None:
        """Return the number in the file of the run's block at *position*."""
        return None if self.first_index is None else self.first_index + position

    def part(self, start: int, stop: int) -> BlockRun:
        """Return the blocks at the positions [start, stop), at least one."""
        if start == 0 and stop >= len(self.contents):
            return self
        contents = self.contents[start:stop]
        offset = self.offset + sum(map(_size_of, self.contents[:start]))
        return BlockRun(
            offset, offset + sum(map(_size_of, contents)), contents, self.index_of(start)
        )

    def stored(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number of values and the stored data of each block."""
        for count, _, data in self.contents:
            yield count, data

    def split(self, stored_bytes: int) -> Iterator[BlockRun]:
        """Yield the run in about equal parts of *stored_bytes* or more, at least one block each."""
        count = max(self.size_bytes // stored_bytes, 1)
        if count == 1:
            yield self
            return
        least = self.size_bytes / count
        first, start, end = 0, self.offset, self.offset
        for stop, block in enumerate(self.contents, start=1):
            end += _size_of(block)
            if end - start >= least or end == self.end:
                yield BlockRun(start, end, self.contents[first:stop], self.index_of(first))
                first, start = stop, end

    def within(self, blocks: ByteRange) -> Iterator[BlockRun]:
        """Yield the blocks that begin in a range of the file, if any, as one run."""
        inside = [i for i, b in enumerate(self.blocks) if blocks.start <= b.offset < blocks.stop]
        if inside:
            yield self.part(inside[0], inside[-1] + 1)

    def first_values(self, count: int) -> BlockRun:
        """Return the blocks that hold the first *count* values."""
        seen = 0
        for stop, block in enumerate(self.contents, start=1):
            seen += block[0]
            if seen >= count:
                return self.part(0, stop)
        return self


def _stored(data: bytes, block: Block, base: int) -> StoredBlock:
    start = block.data_offset - base
    content = data[start : start + block.size_bytes]
    return block.value_count, block.data_offset - block.offset, content


def _size_of(block: StoredBlock) -> int:
    """Return the length of a block in its file."""
    return block[1] + len(block[2]) + SYNC_MARKER_BYTES


@dataclass(frozen=True)
class Dropped:
    """A part of a file that a reader left out because it is corrupt.

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
        # The whole blocks from first on, up to position.
        first = 0
        blocks: list[StoredBlock] = []
        while position < len(buffer) or self._corrupt is not None:
            if self._corrupt is not None:
                position, needed = self._next_start(buffer, position)
                if needed is not None:
                    break
                size_bytes = self._base + position - self._corrupt.offset
                assert self._dropped is not None
                self._dropped.append(replace(self._corrupt, size_bytes=size_bytes))
                self._corrupt = None
                first = position
                continue
            small, position = leading_blocks(
                buffer, position, self._sync_marker, self._max_block_bytes
            )
            blocks += small
            if position == len(buffer):
                break
            try:
                block = self._block(buffer, position)
            except NeedMoreBytes as more:
                needed = more.size_bytes
                break
            except CorruptBlockError as error:
                yield from self._run(first, position, blocks)
                blocks = []
                if self._dropped is None:
                    raise error.at(self._path, self._index) from None
                self._corrupt = Dropped(self._path, self._index, error.offset, 0, error.reason)
                self._index = None
            else:
                blocks.append(_stored(buffer, block, self._base))
                position = block.end - self._base
        yield from self._run(first, position, blocks)
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

    def _run(self, start: int, stop: int, blocks: list[StoredBlock]) -> Iterator[BlockRun]:
        """Yield the blocks in the bytes [start, stop) of the buffer as a run, if there are any.

        Advances the number of the next block.
        """
        if blocks:
            yield BlockRun(self._base + start, self._base + stop, blocks, self._index)
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
