"""Many Avro files as one: the first header, then all blocks, each with the first's sync marker.

A file's blocks may be put behind another header if both have the same schema and codec and the
blocks end in that header's sync marker. Markers are of one length, so the joined file's layout
follows from headers and sizes, and the exchange is made in whatever range is being read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.avro.container import (
    BLOCK_HEADER_BYTES,
    HEAD_BYTES,
    SYNC_MARKER_BYTES,
    ContainerHeader,
    NeedMoreBytes,
    find_block,
    header_of,
    parse_block_header,
    walk_blocks,
)
from fsspec_avroglob.avro.schema import AvroSchema, column_mapping, file_schema
from fsspec_avroglob.errors import (
    CorruptBlockError,
    FilesDifferError,
    NotAvroError,
    UncertainBlockError,
)
from fsspec_avroglob.filesystem.joined import RangeReader, Source, Stretch, Tail

# Read at a time where a file is walked through to find out where its blocks are.
_WALK_BYTES = 32 << 20

# What two schemas must have in common for one to read the bytes of the other.
_ATTRIBUTES = ("type", "name", "fields", "items", "values", "symbols", "size")
_LOGICAL_ATTRIBUTES = ("logicalType", "precision", "scale")


async def avro_stretches(reader: RangeReader, sources: Sequence[Source]) -> list[Stretch]:
    """What the joined file of *sources* is made of, at the cost of one small GET each.

    Metadata other than schema and codec is the first file's. Raises NotAvroError for a file that
    is none, InvalidSchemaError, and FilesDifferError, or SchemaMismatchError, for the first file
    whose codec or schema is not the first's; all name the file.
    """
    headers = await gather(_read_header(reader, source) for source in sources)
    first = headers[0]
    alike = {first.schema_text}
    stretches: list[Stretch] = [Tail(sources[0])]
    for source, header in zip(sources[1:], headers[1:], strict=True):
        if header.codec != first.codec:
            raise FilesDifferError(
                f"{source.path} has the codec {header.codec}, {sources[0].path} has {first.codec}; "
                "read_avro reads both as one table"
            )
        if header.schema_text not in alike:
            _must_be_alike(sources[0].path, first, source.path, header)
            alike.add(header.schema_text)
        if header.sync_marker == first.sync_marker:
            stretches.append(Tail(source, header.size_bytes))
        else:
            markers = header.sync_marker, first.sync_marker
            stretches.append(ExchangedBlocks(source, header.size_bytes, *markers))
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
    if _bare(one.root) == _bare(two.root):
        return
    # Finds and names most differences; what it lets pass are orders and names.
    column_mapping(one, two, first_path=first_path, path=path)
    raise FilesDifferError(
        f"{path} has the fields, branches or names of {first_path}, but not in the same order or "
        "not the same names in full; read_avro reads both as one table"
    )


def _bare(schema: AvroSchema) -> Any:
    """*schema* without what does not bear on its bytes and their meaning: docs, defaults, ..."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {key: _bare(schema[key]) for key in _ATTRIBUTES if key in schema}
    bare |= {key: schema[key] for key in _LOGICAL_ATTRIBUTES if key in schema}
    return bare["type"] if bare.keys() == {"type"} else bare


class ExchangedBlocks:
    """A file's blocks, with another sync marker in the place of the file's own.

    - ``source``: the file; ``start``: where its blocks begin.
    - ``own``, ``other``: its marker, and the one to put there.

    Where the markers are is known for all that has been read from the start of the file on. In a
    range elsewhere they are found (:func:`find_block` says how certainly); if that leaves a doubt,
    the file is read from where it is known to there. A marker's bytes in data are left as they are.
    """

    def __init__(self, source: Source, start: int, own: bytes, other: bytes) -> None:
        self.size_bytes = source.size_bytes - start
        self._source = source
        self._start = start
        self._own = own
        self._other = other
        # Of all blocks that start before _known, in order: where in the file the marker is.
        self._markers: list[int] = []
        self._known = start

    def __reduce__(self) -> tuple[Any, ...]:
        return ExchangedBlocks, (self._source, self._start, self._own, self._other)

    async def read(self, reader: RangeReader, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of the blocks. Raises CorruptBlockError with the file's name."""
        start, stop = self._start + start, self._start + stop
        # So that a marker is whole that the range has one byte of, and a block's header too.
        base = start - SYNC_MARKER_BYTES + 1
        end = min(stop + BLOCK_HEADER_BYTES, self._source.size_bytes)
        data = bytearray(await self._source.read(reader, base, end))
        for marker in await self._markers_in(reader, bytes(data), base, stop):
            self._exchange(data, base, marker)
        return bytes(data[start - base : stop - base])

    async def _markers_in(
        self, reader: RangeReader, data: bytes, base: int, stop: int
    ) -> list[int]:
        self._follow(data, base)
        if self._known < stop:
            try:
                return self._search(data, base)
            except UncertainBlockError:
                while self._known < base:
                    known = self._known
                    end = min(known + _WALK_BYTES, base) + BLOCK_HEADER_BYTES
                    end = min(end, self._source.size_bytes)
                    self._follow(await self._source.read(reader, known, end), known)
                self._follow(data, base)
        first = bisect_right(self._markers, base - SYNC_MARKER_BYTES)
        return self._markers[first : bisect_left(self._markers, stop, first)]

    def _follow(self, data: bytes, base: int) -> None:
        """Learn where markers are from *data*, if the known blocks end in it."""
        while base <= self._known < base + len(data):
            try:
                block = parse_block_header(data, self._known - base)
            except NotAvroError as error:
                raise self._corrupt(str(error)) from error
            except NeedMoreBytes as more:
                if base + len(data) == self._source.size_bytes:
                    raise self._corrupt("the file ends within it") from more
                return
            marker = base + block.data_offset + block.size_bytes
            if marker + SYNC_MARKER_BYTES > self._source.size_bytes:
                raise self._corrupt(f"its {block.size_bytes} bytes go on behind the file's end")
            self._markers.append(marker)
            self._known = marker + SYNC_MARKER_BYTES

    def _search(self, data: bytes, base: int) -> list[int]:
        """Where markers are in *data*, which begins anywhere. Raises UncertainBlockError."""
        size = self._source.size_bytes
        at_or_after = base + SYNC_MARKER_BYTES
        found = find_block(data, self._own, base=base, at_or_after=at_or_after, file_bytes=size)
        if found is None:
            return []
        markers = [found - SYNC_MARKER_BYTES]
        with suppress(NeedMoreBytes):
            for block in walk_blocks(
                data, self._own, base=base, start=found - base, file_bytes=size
            ):
                markers.append(block.end - SYNC_MARKER_BYTES)
        return markers

    def _exchange(self, data: bytearray, base: int, marker: int) -> None:
        """Exchange the part of a marker that is in *data*."""
        start, stop = max(marker, base), min(marker + SYNC_MARKER_BYTES, base + len(data))
        part = slice(start - marker, stop - marker)
        if data[start - base : stop - base] != self._own[part]:
            index = bisect_left(self._markers, marker)
            offset = self._markers[index - 1] + SYNC_MARKER_BYTES if index else self._start
            reason = f"no sync marker at byte {marker}, where its data ends"
            raise CorruptBlockError(reason, offset, self._source.path, index)
        data[start - base : stop - base] = self._other[part]

    def _corrupt(self, reason: str) -> CorruptBlockError:
        return CorruptBlockError(reason, self._known, self._source.path, len(self._markers))
