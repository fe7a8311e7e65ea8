"""Join many Avro files: the first header, then all blocks, each with the first sync marker.

The blocks of a file may follow the header of another one if both files have the same schema and
codec, and the blocks end in that header's sync marker. All markers have the same length. So the
headers and sizes give the layout of the joined file, and markers are replaced as ranges are read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.avro.container import (
    BLOCK_HEADER_BYTES,
    HEAD_BYTES,
    SYNC_MARKER_BYTES,
    ContainerHeader,
    NeedMoreBytes,
    claimed_block,
    header_of,
)
from fsspec_avroglob.avro.resolution import resolve, same_order
from fsspec_avroglob.avro.schema import file_schema
from fsspec_avroglob.errors import (
    CorruptBlockError,
    FilesDifferError,
)
from fsspec_avroglob.filesystem.joined import RangeReader, Source, Stretch, Tail

# The size of a read that only follows the chain of blocks.
_WALK_BYTES = 32 << 20


async def avro_stretches(reader: RangeReader, sources: Sequence[Source]) -> list[Stretch]:
    """Return the stretches of the joined file of *sources*. Costs one small GET a file.

    The metadata of the joined file is that of the first file. Raises NotAvroError,
    InvalidSchemaError, and FilesDifferError or SchemaMismatchError if a file has another codec or
    schema than the first one.
    """
    headers = await gather(_read_header(reader, source) for source in sources)
    first = headers[0]
    alike = {first.schema_text}
    stretches: list[Stretch] = [Tail(sources[0])]
    for source, header in zip(sources[1:], headers[1:], strict=True):
        if header.codec != first.codec:
            raise FilesDifferError(
                f"cannot join Avro files: {source.path} has the codec {header.codec}, "
                f"{sources[0].path} has {first.codec}; read_avro reads both as one table"
            )
        if header.schema_text not in alike:
            _must_be_alike(sources[0].path, first, source.path, header)
            alike.add(header.schema_text)
        if header.sync_marker == first.sync_marker:
            stretches.append(Tail(source, header.size_bytes))
        else:
            markers = header.sync_marker, first.sync_marker
            stretches.append(RemarkedBlocks(source, header.size_bytes, *markers))
    return stretches


async def _read_header(reader: RangeReader, source: Source) -> ContainerHeader:
    data, wanted = b"", HEAD_BYTES
    while True:
        data += await source.read(reader, len(data), min(wanted, source.size_bytes))
        found = header_of(source.path, data, whole=len(data) >= source.size_bytes)
        if isinstance(found, ContainerHeader):
            return found
        wanted = found


def _must_be_alike(
    first_path: str, first: ContainerHeader, path: str, other: ContainerHeader
) -> None:
    one, two = file_schema(first_path, first), file_schema(path, other)
    step = resolve(two, one, writer_path=path, reader_path=first_path, strict=True)
    if not same_order(step) or list(one.names) != list(two.names):
        raise FilesDifferError(
            f"{path} has the fields, branches or names of {first_path}, but not in the same order "
            "or not the same names in full; read_avro reads both as one table"
        )


class RemarkedBlocks:
    """The blocks of a file, with its sync marker replaced.

    Only markers at the end of a block are replaced: *other* replaces *own*. Data may hold the bytes
    of a marker too, so the blocks before a range are followed first, from the last known one on.
    """

    def __init__(self, source: Source, start: int, own: bytes, other: bytes) -> None:
        self.size_bytes = source.size_bytes - start
        self._source = source
        self._start = start
        self._own = own
        self._other = other
        # The positions of the markers of all blocks before the byte _known.
        self._markers: list[int] = []
        self._known = start

    def __reduce__(self) -> tuple[Any, ...]:
        return RemarkedBlocks, (self._source, self._start, self._own, self._other)

    async def read(self, reader: RangeReader, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop) of the blocks. Raises CorruptBlockError."""
        start, stop = self._start + start, self._start + stop
        # Markers and block headers that are only partly in the range are read whole.
        base = start - SYNC_MARKER_BYTES + 1
        end = min(stop + BLOCK_HEADER_BYTES, self._source.size_bytes)
        await self._follow_to(reader, base)
        stored = await self._source.read(reader, base, end)
        self._follow(stored, base)
        data = bytearray(stored)
        first = bisect_right(self._markers, base - SYNC_MARKER_BYTES)
        for marker in self._markers[first : bisect_left(self._markers, stop)]:
            self._replace(data, base, marker)
        return bytes(data[start - base : stop - base])

    async def _follow_to(self, reader: RangeReader, stop: int) -> None:
        """Read on along the chain of blocks until the blocks before *stop* are known."""
        while self._known < stop:
            known = self._known
            end = min(known + _WALK_BYTES, stop) + BLOCK_HEADER_BYTES
            end = min(end, self._source.size_bytes)
            self._follow(await self._source.read(reader, known, end), known)

    def _follow(self, data: bytes, base: int) -> None:
        """Follow the chain of blocks through *data*, the bytes from *base* on."""
        while base <= self._known < base + len(data):
            start, size = self._known - base, self._source.size_bytes
            try:
                block = claimed_block(data, start, base=base, file_bytes=size)
            except CorruptBlockError as error:
                raise error.at(self._source.path, len(self._markers)) from error
            except NeedMoreBytes:
                return
            self._markers.append(block.end - SYNC_MARKER_BYTES)
            self._known = block.end

    def _replace(self, data: bytearray, base: int, marker: int) -> None:
        """Replace the part of a marker that is in *data*, the bytes from *base* on."""
        start, stop = max(marker, base), min(marker + SYNC_MARKER_BYTES, base + len(data))
        part = slice(start - marker, stop - marker)
        if data[start - base : stop - base] != self._own[part]:
            index = bisect_left(self._markers, marker)
            offset = self._markers[index - 1] + SYNC_MARKER_BYTES if index else self._start
            reason = f"no sync marker at byte {marker}, where its data ends"
            raise CorruptBlockError(reason, offset, self._source.path, index)
        data[start - base : stop - base] = self._other[part]
