"""Tables in pieces that are read on their own, in other processes or on other machines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Unpack

import pyarrow as pa

from fsspec_avroglob.avro.blocks import Dropped, salvage_blocks
from fsspec_avroglob.avro.container import (
    SYNC_MARKER_BYTES,
    Block,
    ByteRange,
    CorruptBlockError,
    NeedMoreBytes,
    blocks_in_range,
    split_ranges,
)
from fsspec_avroglob.avro.decode import AvroDecodeError
from fsspec_avroglob.avro.options import ReadOptions, TableOptions
from fsspec_avroglob.avro.pipeline import CHUNK_BYTES
from fsspec_avroglob.avro.reading import Reading
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.avro.table import TableLayout
from fsspec_avroglob.avro.tables import TableReading
from fsspec_avroglob.expand import Location, StorageOptions, locate
from fsspec_avroglob.hive import Partition
from fsspec_avroglob.parts import read_part
from fsspec_avroglob.sources import OpenedFile, ResolvedSources, SourceFile
from fsspec_avroglob.tasks import blocking, collect

PIECE_BYTES = 64 * 1024 * 1024
"""Default of about how many bytes of files make a piece."""

_RANGE_READS_AT_ONCE = 16
_SLACK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Span:
    """A file, or the blocks that begin within a range of it, and the file's directories."""

    file: SourceFile
    partition: Partition
    blocks: ByteRange | None = None


@dataclass(frozen=True)
class Piece:
    """Rows that stand together in the table: of several whole files, or of a part of one.

    Can be pickled. All pieces in order have every row once.
    """

    spans: tuple[Span, ...]

    @property
    def size_bytes(self) -> int:
        """How many bytes of files are read for it, as far as is known."""
        return sum(map(_span_bytes, self.spans))


def pieces(resolved: ResolvedSources, blocksize: int | None = PIECE_BYTES) -> list[Piece]:
    """Divide the table of *resolved* into pieces of about *blocksize* bytes of files.

    Neighbouring small files go into one piece, large ones are divided between blocks; None makes
    each file a piece. Files without blocks make no piece of their own. No request is sent.
    """
    found: list[Piece] = []
    together: list[Span] = []
    held = 0
    for file, partition in zip(resolved.files, resolved.partitions, strict=True):
        whole = Span(file, partition)
        size = _span_bytes(whole)
        if together and (blocksize is None or held + size > blocksize):
            found.append(Piece(tuple(together)))
            together, held = [], 0
        if blocksize is not None and file.size is not None and size > blocksize:
            ranges = split_ranges(file.size, file.header.size_bytes, blocksize)
            found += [Piece((Span(file, partition, one),)) for one in ranges]
        else:
            together.append(whole)
            held += size
    if together:
        found.append(Piece(tuple(together)))
    return found


def _span_bytes(span: Span) -> int:
    if span.blocks is not None:
        return span.blocks.stop - span.blocks.start
    return max((span.file.size or 0) - span.file.header.size_bytes, 0)


def layout_of(resolved: ResolvedSources, options: ReadOptions) -> TableLayout:
    """The columns of the table of *resolved*; of *options* it is about columns alone.

    Raises what :meth:`TableLayout.of` does, and ValueError for a row index: a piece does not know
    how many rows come before it.
    """
    if options.row_index_name is not None:
        raise ValueError("row_index_name cannot be had of pieces")
    return TableLayout.of(resolved.schema, resolved.partitions, options)


def read_piece(
    piece: Piece,
    layout: TableLayout,
    storage_options: StorageOptions = None,
    *,
    errors: list[Dropped] | None = None,
    **options: Unpack[TableOptions],
) -> pa.Table:
    """The rows of one piece, with the schema ``layout.arrow``.

    - ``errors``: with ``ignore_errors=True`` gets what was left out.
    - ``options``: of :class:`ReadOptions` those about how to read.

    Raises FileNotFoundError, FileExpired for a file that has changed since it was resolved, and
    AvroDecodeError for corrupt data.
    """
    places = locate([span.file.path for span in piece.spans], storage_options)
    table, dropped = blocking(_read, piece, layout, places, ReadOptions(**options))
    if errors is not None:
        errors += dropped
    return table


async def _read(
    piece: Piece, layout: TableLayout, places: Sequence[Location], options: ReadOptions
) -> tuple[pa.Table, list[Dropped]]:
    files = [
        OpenedFile(span.file, place, number)
        for number, (span, place) in enumerate(zip(piece.spans, places, strict=True))
    ]
    partitions = [span.partition for span in piece.spans]
    reading = TableReading(Reading.of_files(files, partitions, options), layout)
    if piece.spans[0].blocks is None:
        table = await reading.table()
    else:
        batches = _range_batches(reading, files[0], piece.spans[0].blocks, partitions[0])
        async with aclosing(batches):
            table = pa.Table.from_batches([batch async for batch in batches], layout.arrow)
    return table, reading.reading.errors


async def _range_batches(
    reading: TableReading, file: OpenedFile, blocks: ByteRange, partition: Partition
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The rows of the blocks that begin in a range of *file*."""
    dropped = reading.reading.errors if reading.reading.options.ignore_errors else None
    try:
        runs = await _range_runs(file, blocks, dropped)
    except CorruptBlockError as error:
        raise AvroDecodeError.of(error, file.source.path) from error
    decode = reading.decoding(file)
    for run in runs:
        for part in run.split(CHUNK_BYTES):
            for held in decode(part, None):
                yield reading.layout.batch(held, file.source.path, partition, 0)


async def _range_runs(
    file: OpenedFile, blocks: ByteRange, dropped: list[Dropped] | None
) -> list[Run]:
    header, size = file.source.header, file.source.size
    first = header.size_bytes if blocks.start == header.size_bytes else None
    base = blocks.start if first is not None else blocks.start - SYNC_MARKER_BYTES
    base = max(base, 0)
    ends = [*range(base + CHUNK_BYTES, blocks.stop, CHUNK_BYTES), blocks.stop]

    async def part(range_: tuple[int, int]) -> bytes:
        found = await read_part(file.location, *range_, file.source.etag)
        return found.data

    ranges = list(zip([base, *ends], ends, strict=False))
    data = b"".join(await collect(ranges, part, _RANGE_READS_AT_ONCE))
    while True:
        try:
            found = _blocks(file.source, data, blocks, base, first, dropped)
        except NeedMoreBytes as more:
            # The last block ends behind the range.
            start, stop = base + len(data), base + more.size_bytes + _SLACK_BYTES
            rest = await part((start, stop if size is None else min(stop, size)))
            if not rest:
                reason = "the file ends within it"
                raise CorruptBlockError(reason, base, file.source.path) from more
            data += rest
        else:
            break
    index = 0 if first is not None and dropped is None else None
    return list(_runs(data, found, base, index))


def _blocks(
    file: SourceFile,
    data: bytes,
    blocks: ByteRange,
    base: int,
    first: int | None,
    dropped: list[Dropped] | None,
) -> list[Block]:
    marker = file.header.sync_marker
    try:
        return blocks_in_range(data, marker, blocks, base=base, file_bytes=file.size, first=first)
    except CorruptBlockError as error:
        if dropped is None:
            raise error.at(file.path, None) from error
    start = first - base if first is not None else data.find(marker) + SYNC_MARKER_BYTES
    lost: list[Dropped] = []
    found: list[Block] = []
    for block in salvage_blocks(
        data,
        marker,
        path=file.path,
        base=base,
        dropped=lost,
        start=start,
        block_index=0 if first is not None else None,
        file_bytes=file.size,
    ):
        if block.offset >= blocks.stop:
            break
        found.append(block)
    dropped += [one for one in lost if one.offset < blocks.stop]
    return found


def _runs(data: bytes, blocks: Sequence[Block], base: int, index: int | None) -> list[Run]:
    """The blocks as runs without gaps."""
    found: list[Run] = []
    start = 0
    for place, block in enumerate(blocks):
        if place + 1 == len(blocks) or blocks[place + 1].offset != block.end:
            run = tuple(blocks[start : place + 1])
            found.append(Run(data[run[0].offset - base : block.end - base], run, index))
            index = None
            start = place + 1
    return found
