"""The blocks of a file whose bytes come a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fsspec_avroglob.avro.blocks import MAX_BLOCK_BYTES, Dropped, salvage_blocks
from fsspec_avroglob.avro.container import Block, ByteRange, NeedMoreBytes, walk_blocks
from fsspec_avroglob.errors import CorruptBlockError


class Run(NamedTuple):
    """Whole blocks, one after another in the file.

    - ``data``: their bytes, block headers and sync markers included.
    - ``blocks``: where they are in the file; never empty.
    - ``first_index``: how many blocks come before them, None where some of those were lost.
    """

    data: bytes
    blocks: tuple[Block, ...]
    first_index: int | None

    @property
    def value_count(self) -> int:
        """Number of values, as the blocks claim."""
        return sum(block.value_count for block in self.blocks)

    def index_of(self, place: int) -> int | None:
        """The number of a block in its file."""
        return None if self.first_index is None else self.first_index + place

    def single(self, place: int) -> Run:
        """One of the blocks by itself."""
        block, base = self.blocks[place], self.blocks[0].offset
        data = self.data[block.offset - base : block.end - base]
        return Run(data, (block,), self.index_of(place))

    def stored(self) -> Iterator[tuple[int, bytes]]:
        """Of each block the number of values and the data as it is stored."""
        base = self.blocks[0].offset
        for block in self.blocks:
            start = block.data_offset - base
            yield block.value_count, self.data[start : start + block.size_bytes]

    def split(self, stored_bytes: int) -> Iterator[Run]:
        """The run in parts of about *stored_bytes*, at least one block each."""
        base = self.blocks[0].offset
        start = 0
        for place, block in enumerate(self.blocks):
            last = place + 1 == len(self.blocks)
            if last or block.end - self.blocks[start].offset >= stored_bytes:
                part = self.blocks[start : place + 1]
                data = self.data[part[0].offset - base : block.end - base]
                yield Run(data, part, self.index_of(start))
                start = place + 1

    def within(self, blocks: ByteRange) -> Iterator[Run]:
        """Those of the blocks that begin within a range of the file, if any do."""
        places = [
            place
            for place, block in enumerate(self.blocks)
            if blocks.start <= block.offset < blocks.stop
        ]
        if places:
            part = self.blocks[places[0] : places[-1] + 1]
            base = self.blocks[0].offset
            data = self.data[part[0].offset - base : part[-1].end - base]
            yield Run(data, part, self.index_of(places[0]))

    def first_values(self, count: int) -> Run:
        """The blocks that hold the first *count* values."""
        seen = 0
        for place, block in enumerate(self.blocks):
            seen += block.value_count
            if seen >= count:
                data = self.data[: block.end - self.blocks[0].offset]
                return Run(data, self.blocks[: place + 1], self.first_index)
        return self


class BlockStream:
    """Follows the chain of blocks from the end of a file's header on.

    - ``path``, ``file_bytes``: of the file; its size None where not known.
    - ``start``: where the first block begins.
    - ``dropped``: None raises for a corrupt block; else it gets what is left out. Others may add to
      it at any time.
    - ``max_block_bytes``: most bytes of a block's data, stored and inflated.
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
        self._parts: list[bytes] = []
        self._base = start
        self._held = 0
        self._needed = 1
        self._index: int | None = 0
        self._lost: Dropped | None = None

    def feed(self, data: bytes, *, last: bool) -> Iterator[Run]:
        """The blocks that are whole with the *data* that follows what was fed before.

        last: whether the file ends with it. Raises CorruptBlockError, after the blocks before it.
        """
        self._parts.append(data)
        self._held += len(data)
        if last:
            self._file_bytes = self._base + self._held
        if self._held < self._needed and not last:
            return
        buffer = b"".join(self._parts)
        blocks: list[Block] = []
        error: CorruptBlockError | None = None
        # Of this part alone: others add to what is dropped while the runs are taken.
        lost: list[Dropped] = []
        needed: int | None = None
        try:
            for block in self._walk(buffer, lost):
                blocks.append(block)
        except NeedMoreBytes as more:
            needed = more.size_bytes
        except CorruptBlockError as found:
            error = found
        followed = max([self._base, *(b.end for b in blocks[-1:]), *(one.end for one in lost[-1:])])
        at_loss = bool(lost) and followed == lost[-1].end
        self._lost = lost.pop() if at_loss and needed is not None else None
        if self._dropped is not None:
            self._dropped += lost
        yield from self._runs(buffer, blocks)
        if at_loss:
            self._index = None
        consumed = followed - self._base
        self._parts = [buffer[consumed:]]
        self._held -= consumed
        self._base = followed
        self._needed = 1 if needed is None else needed - consumed
        if error is not None:
            raise error.at(self._path, self._index)

    def _walk(self, buffer: bytes, lost: list[Dropped]) -> Iterator[Block]:
        if self._dropped is None:
            return walk_blocks(
                buffer,
                self._sync_marker,
                base=self._base,
                file_bytes=self._file_bytes,
                max_bytes=self._max_block_bytes,
            )
        return salvage_blocks(
            buffer,
            self._sync_marker,
            path=self._path,
            base=self._base,
            dropped=lost,
            block_index=self._index,
            # Without a size, what was read is taken for the beginning of something endless.
            file_bytes=self._file_bytes if self._file_bytes is not None else 1 << 62,
            max_bytes=self._max_block_bytes,
            lost=self._lost,
        )

    def _runs(self, buffer: bytes, blocks: list[Block]) -> Iterator[Run]:
        """The blocks as runs without gaps; the number of the next block is kept."""
        start = 0
        for place, block in enumerate(blocks):
            if place + 1 < len(blocks) and blocks[place + 1].offset == block.end:
                continue
            run = blocks[start : place + 1]
            if run[0].offset != (blocks[start - 1].end if start else self._base):
                self._index = None
            data = buffer[run[0].offset - self._base : block.end - self._base]
            yield Run(data, tuple(run), self._index)
            self._index = None if self._index is None else self._index + len(run)
            start = place + 1
