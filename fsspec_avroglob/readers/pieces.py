"""Pieces of a table, which other processes or machines read independently."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pyarrow as pa

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import collect
from fsspec_avroglob.avro.container import (
    SYNC_MARKER_BYTES,
    ByteRange,
    NeedMoreBytes,
    blocks_in_range,
    split_ranges,
)
from fsspec_avroglob.avro.stream import BlockRun, BlockStream, Dropped
from fsspec_avroglob.errors import AvroDecodeError, CorruptBlockError
from fsspec_avroglob.readers.batches import TableReading
from fsspec_avroglob.readers.hive import Partition
from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.locate import Location, StorageOptions, locate, read_part
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pipeline import CHUNK_BYTES
from fsspec_avroglob.readers.session import Reading
from fsspec_avroglob.readers.sources import OpenedFile, ResolvedSources, SourceFile

PIECE_BYTES = 64 * 1024 * 1024
"""Default size of a piece, in bytes of files."""

MIN_PIECE_BYTES = CHUNK_BYTES
"""Smaller pieces do not pay for a task: one request reads them, and decoding takes milliseconds."""

_CONCURRENT_READS = 16
_SLACK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Span:
    """A file, or the blocks that start in a range of it, and its ``key=value`` directories."""

    file: SourceFile
    partition: Partition
    blocks: ByteRange | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of blocks to read; 0 for a file of unknown size."""
        if self.blocks is not None:
            return self.blocks.stop - self.blocks.start
        return max((self.file.size or 0) - self.file.header.size_bytes, 0)


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a table, from several whole files or from a part of one.

    Can be pickled. All pieces in order hold each row once.
    """

    spans: tuple[Span, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of files to read, without files of unknown size."""
        return sum(span.size_bytes for span in self.spans)


def pieces(
    resolved: ResolvedSources, blocksize: int | None = PIECE_BYTES, readers: int = 1
) -> list[Piece]:
    """Divide the table into pieces of at most about *blocksize* bytes of files, without a request.

    Consecutive small files share a piece, large ones are divided between blocks; None makes each
    file a piece. A table that would give *readers* too few pieces is divided evenly among them,
    into pieces of at least ``MIN_PIECE_BYTES``. Raises ValueError for a *blocksize* below 1.
    """
    whole = [Span(*of) for of in zip(resolved.files, resolved.partitions, strict=True)]
    if blocksize is None:
        return [Piece((span,)) for span in whole]
    if blocksize < 1:
        raise ValueError(f"blocksize is {blocksize} bytes; it must be at least 1")
    total = sum(span.size_bytes for span in whole)
    # Fewer readers share a small table.
    share = max(total, 1) / max(min(readers, total // MIN_PIECE_BYTES), 1)
    found: list[Piece] = []
    together: list[Span] = []
    held = before = number = 0
    for span in whole:
        size = span.size_bytes
        parts = max(-(-size // blocksize), round(size / share))
        # A file belongs to the share that holds its middle, so that small files make at most as
        # many pieces as there are readers.
        last, number = number, int((before + size / 2) / share)
        before += size
        if together and (parts > 1 or held + size > blocksize or number != last):
            found.append(Piece(tuple(together)))
            together, held = [], 0
        if parts > 1:
            assert span.file.size is not None
            header_bytes = span.file.header.size_bytes
            ranges = split_ranges(span.file.size, header_bytes, -(-size // parts))
            found += [Piece((replace(span, blocks=one),)) for one in ranges]
        else:
            together.append(span)
            held += size
    if together:
        found.append(Piece(tuple(together)))
    return found


def layout_of(resolved: ResolvedSources, options: ReadOptions) -> TableLayout:
    """Return the columns of the table.

    Raises what :meth:`TableLayout.of` raises, and ValueError for a row index: a piece does not know
    how many rows precede it.
    """
    if options.row_index_name is not None:
        raise ValueError("row_index_name is not supported for partitioned reads")
    return TableLayout.of(resolved.schema, resolved.partitions, options)


def read_piece(
    piece: Piece,
    layout: TableLayout,
    storage_options: StorageOptions = None,
    options: ReadOptions | None = None,
    *,
    errors: list[Dropped] | None = None,
) -> pa.Table:
    """Read one piece as a table with the schema ``layout.arrow``.

    *errors* receives what ``ignore_errors`` skips. A part of a file is read alone. If the part
    is corrupt, or its data contains the sync marker, the file is read from its header. The pieces
    then equal the whole file. With ``ignore_errors`` pieces may hold more rows: a corrupt block
    length hides the next blocks from a reader of the whole file. A reader that starts at one of
    those blocks finds them.

    Raises FileNotFoundError, FileExpired for a file that changed since it was resolved, and
    AvroDecodeError for corrupt data.
    """
    locations = locate([span.file.path for span in piece.spans], storage_options)
    table, dropped = blocking(_read, piece, layout, locations, options or ReadOptions())
    if errors is not None:
        errors += dropped
    return table


async def _read(
    piece: Piece, layout: TableLayout, locations: Sequence[Location], options: ReadOptions
) -> tuple[pa.Table, list[Dropped]]:
    files = [
        OpenedFile(span.file, location, number)
        for number, (span, location) in enumerate(zip(piece.spans, locations, strict=True))
    ]
    reading = TableReading(Reading.of_files(files, options), layout)
    if piece.spans[0].blocks is None:
        table = await reading.table()
    else:
        batches = await _range_batches(reading, files[0], piece.spans[0].blocks)
        table = pa.Table.from_batches(batches, layout.arrow)
    return table, reading.errors


async def _range_batches(
    reading: TableReading, file: OpenedFile, blocks: ByteRange
) -> list[pa.RecordBatch]:
    """Decode the blocks that start in a range of *file*."""
    max_block_bytes, dropped = reading.reading.options.max_block_size, reading.reading.dropped

    def decoded(runs: Sequence[BlockRun]) -> list[pa.RecordBatch]:
        decode = reading.decoding(file)
        parts = (part for run in runs for part in run.split(CHUNK_BYTES))
        return [
            reading.layout.batch(held, file, 0) for part in parts for held in decode(part, None)
        ]

    with suppress(CorruptBlockError, AvroDecodeError):
        runs = await _range_runs(file, blocks, max_block_bytes)
        batches = await asyncio.to_thread(decoded, runs)
        if not dropped:
            return batches
    # Corrupt data, or a sync marker in it: the blocks before it show which.
    reading.errors.clear()
    try:
        runs = await _followed_runs(file, blocks, dropped, max_block_bytes)
    except CorruptBlockError as error:
        raise AvroDecodeError.of(error, file.source.path) from error
    return await asyncio.to_thread(decoded, runs)


async def _range_runs(file: OpenedFile, blocks: ByteRange, max_block_bytes: int) -> list[BlockRun]:
    """Read the blocks that start in a range of *file*, without the bytes before the range.

    Raises CorruptBlockError if these bytes are needed to find the blocks.
    """
    header, size = file.source.header, file.source.size
    assert size is not None
    first = header.size_bytes if blocks.start == header.size_bytes else None
    base = blocks.start if first is not None else blocks.start - SYNC_MARKER_BYTES
    # The bytes after the range complete the last block and verify the first.
    data = await _read_range(file, base, min(blocks.stop + _SLACK_BYTES, size))
    while True:
        try:
            found = blocks_in_range(
                data, header.sync_marker, blocks, base=base, file_bytes=size, first=first
            )
        except NeedMoreBytes as more:
            start, stop = base + len(data), base + more.size_bytes
            if stop > blocks.stop + max_block_bytes + _SLACK_BYTES:
                raise CorruptBlockError("its last block is too large", base) from more
            rest = await _read_range(file, start, min(stop + _SLACK_BYTES, size))
            if not rest:
                raise CorruptBlockError("the file ends within its last block", base) from more
            data += rest
        else:
            break
    if not found:
        return []
    return [BlockRun.of(data, found, base, None if first is None else 0)]


async def _followed_runs(
    file: OpenedFile, blocks: ByteRange, dropped: list[Dropped] | None, max_block_bytes: int
) -> list[BlockRun]:
    """Read the blocks that start in a range of *file* by parsing all blocks before them.

    *dropped* receives what is skipped in the range; None raises CorruptBlockError.
    """
    source = file.source
    lost: list[Dropped] | None = None if dropped is None else []
    at = source.header.size_bytes
    stream = BlockStream(
        source.path,
        source.header.sync_marker,
        at,
        source.size,
        dropped=lost,
        max_block_bytes=max_block_bytes,
    )
    found: list[BlockRun] = []
    followed = at
    while followed < blocks.stop:
        stop = min(at + _CONCURRENT_READS * CHUNK_BYTES, source.size or 0)
        data = await _read_range(file, at, stop)
        at += len(data)
        last = not data or at == source.size
        for run in stream.feed(data, last=last):
            found += run.within(blocks)
            followed = run.blocks[-1].end
        if lost:
            followed = max(followed, lost[-1].end)
        if last:
            break
    if dropped is not None:
        dropped += [one for one in lost or () if blocks.start <= one.offset < blocks.stop]
    return found


async def _read_range(file: OpenedFile, start: int, stop: int) -> bytes:
    """Read the bytes [start, stop) of *file*, large ranges with concurrent requests."""

    async def part(range_: tuple[int, int]) -> bytes:
        found = await read_part(file.location, *range_, file.source.etag)
        return found.data

    ends = [*range(start + CHUNK_BYTES, stop, CHUNK_BYTES), stop]
    ranges = list(zip([start, *ends], ends, strict=False))
    return b"".join(await collect(ranges, part, _CONCURRENT_READS))
