"""The Avro object container file: its header, its blocks, and where it can be divided.

Follows "Object Container Files" of the Apache Avro 1.12 specification. Nothing here reads a file:
a parser that runs out of bytes raises :class:`NeedMoreBytes`, which says how many it takes.

A block tells where the next one starts, so the chain of blocks that begins after the header is
certain. From the middle of a file, blocks are found by the sync marker before them. Its 16 bytes
may also stand within data, in a file that was copied into a record for one, so a place found is
confirmed by the blocks that must follow it (:func:`find_block`, which says how far that carries).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from fsspec_avroglob.errors import CorruptBlockError, NotAvroError, UncertainBlockError

MAGIC = b"Obj\x01"
SYNC_MARKER_BYTES = 16

HEAD_BYTES = 64 * 1024
"""What to read of a file for its header: most fit, and servers send it about as fast as a byte."""

# The largest schemas met in practice are below 2 MB. A longer header is a length that lies.
MAX_HEADER_BYTES = 16 * 1024 * 1024

# Writers put in a handful. Empty entries by the million would take long to parse.
MAX_METADATA_ENTRIES = 10_000

# zig-zag varints of 64 bits: nine bytes of seven bits hold 63 bits, the tenth holds the last one.
_MAX_VARINT_BYTES = 10

BLOCK_HEADER_BYTES = 2 * _MAX_VARINT_BYTES
"""The most that a block's header takes."""


class NeedMoreBytes(Exception):
    """The buffer ends before the item that was being parsed does.

    ``size_bytes`` is the length, counted from the start of the buffer, that is needed at the least.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"at least {self.size_bytes} bytes are needed"


@dataclass(frozen=True)
class ContainerHeader:
    """What stands before the first block of a container file.

    - ``schema_text``: the writer schema, JSON as it stands in the file.
    - ``codec``: name of the block compression, ``"null"`` when the header names none.
    - ``metadata``: all of the header's metadata, ``avro.schema`` and ``avro.codec`` included.
    - ``sync_marker``: the 16 bytes that end every block.
    - ``size_bytes``: length of the header, which is the offset of the first block.
    """

    schema_text: str
    codec: str
    metadata: Mapping[str, bytes]
    sync_marker: bytes
    size_bytes: int

    @property
    def schema(self) -> Any:
        """The writer schema as parsed JSON: a dict, a list (union) or a str (name of a type).

        Raises NotAvroError when the text is not JSON.
        """
        try:
            return json.loads(self.schema_text)
        except (ValueError, RecursionError) as error:
            raise NotAvroError(f"its schema is not usable JSON ({error})") from error


class BlockHeader(NamedTuple):
    """The two numbers that open a block.

    - ``value_count``: number of values in the block.
    - ``size_bytes``: length of the block's data as stored, without header and sync marker.
    - ``data_offset``: where in the parsed buffer that data starts.
    """

    value_count: int
    size_bytes: int
    data_offset: int


class Block(NamedTuple):
    """Where a block is; all offsets count from the start of the file.

    - ``offset``: of its first byte.
    - ``value_count``: number of values in it.
    - ``size_bytes``: length of its data as stored, without header and sync marker.
    - ``data_offset``: of its data.
    - ``end``: after its sync marker, where the next block starts.
    """

    offset: int
    value_count: int
    size_bytes: int
    data_offset: int
    end: int


class ByteRange(NamedTuple):
    """The half-open range [start, stop) of a file; a block belongs to the one that it starts in."""

    start: int
    stop: int


def parse_header(data: bytes) -> ContainerHeader:
    """Parse the header at the start of ``data``, which may hold more than the header.

    Raises NeedMoreBytes when ``data`` is a proper beginning of a header but not all of it, and
    NotAvroError when no bytes that follow could make it one.
    """
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise NotAvroError(f"it starts with {bytes(data[:4])!r}, not with Avro's {MAGIC!r}")
    if len(data) < len(MAGIC):
        raise NeedMoreBytes(len(MAGIC))
    metadata, offset = _parse_metadata(data, len(MAGIC))
    sync_marker = _take(data, offset, SYNC_MARKER_BYTES)
    if "avro.schema" not in metadata:
        raise NotAvroError("its header has no avro.schema")
    return ContainerHeader(
        schema_text=_text(metadata["avro.schema"], "avro.schema"),
        codec=_text(metadata.get("avro.codec", b"null"), "avro.codec"),
        metadata=metadata,
        sync_marker=sync_marker,
        size_bytes=offset + SYNC_MARKER_BYTES,
    )


def header_of(path: str, data: bytes, *, whole: bool) -> ContainerHeader | int:
    """The header of the file *path*, or how many bytes of the file to read for it.

    - ``data``: the file from its start on, ``whole``: whether that is all of it.

    Raises NotAvroError with the file's name.
    """
    if whole and not data:
        raise NotAvroError(f"{path} is empty, not an Avro file")
    try:
        return parse_header(data)
    except NotAvroError as error:
        raise NotAvroError(f"{path} is not an Avro file: {error}") from error
    except NeedMoreBytes as more:
        if whole:
            raise NotAvroError(f"{path} ends within its Avro header") from more
        return min(more.size_bytes + HEAD_BYTES, 2 * MAX_HEADER_BYTES)


def parse_block_header(data: bytes, offset: int = 0) -> BlockHeader:
    """Parse the header of the block that starts at ``offset`` of ``data``.

    Raises NeedMoreBytes when ``data`` ends within the header, and NotAvroError when count or size
    is negative or longer than 64 bits.
    """
    count, after_count = _parse_long(data, offset)
    size_bytes, data_offset = _parse_long(data, after_count)
    if count < 0 or size_bytes < 0:
        raise NotAvroError(f"a block of {count} values in {size_bytes} bytes cannot be")
    return BlockHeader(count, size_bytes, data_offset)


def walk_blocks(
    data: bytes,
    sync_marker: bytes,
    *,
    base: int = 0,
    start: int = 0,
    file_bytes: int | None = None,
    max_bytes: int | None = None,
) -> Iterator[Block]:
    """The blocks of *data*, one after another.

    - ``base``: the byte of the file that *data* begins with.
    - ``start``: where in *data* the first block begins.
    - ``file_bytes``: size of the file, if known: a block that ends behind it is corrupt.
    - ``max_bytes``: a block that claims more bytes of data is taken for corrupt.

    Ends where *data* does. Raises, when it comes to that block, NeedMoreBytes (counted from the
    start of *data*) if the last one is not complete and CorruptBlockError if bytes cannot be one.
    """
    while start < len(data):
        block = block_at(
            data, start, sync_marker, base=base, file_bytes=file_bytes, max_bytes=max_bytes
        )
        yield block
        start = block.end - base


def block_at(
    data: bytes,
    start: int,
    sync_marker: bytes,
    *,
    base: int = 0,
    file_bytes: int | None = None,
    max_bytes: int | None = None,
) -> Block:
    """The block that begins at *start* of *data*. Arguments and errors: :func:`walk_blocks`."""
    block = claimed_block(data, start, base=base, file_bytes=file_bytes, max_bytes=max_bytes)
    end = block.end - base
    if end > len(data):
        raise NeedMoreBytes(end)
    check_marker(block, data[end - SYNC_MARKER_BYTES : end], sync_marker)
    return block


def claimed_block(
    data: bytes,
    start: int = 0,
    *,
    base: int = 0,
    file_bytes: int | None = None,
    max_bytes: int | None = None,
) -> Block:
    """The block whose header is at *start* of *data*, as that claims.

    Only :func:`check_marker` tells whether it is one. Arguments and errors: :func:`walk_blocks`.
    """
    offset = base + start
    try:
        count, size_bytes, data_start = parse_block_header(data, start)
    except NotAvroError as error:
        raise CorruptBlockError(str(error), offset) from error
    except NeedMoreBytes as more:
        if file_bytes is not None and base + more.size_bytes > file_bytes:
            raise CorruptBlockError("the file ends within its header", offset) from more
        raise
    end = base + data_start + size_bytes + SYNC_MARKER_BYTES
    if file_bytes is not None and end > file_bytes:
        reason = f"it claims {size_bytes} bytes of data, but the file ends at byte {file_bytes}"
        raise CorruptBlockError(reason, offset)
    if max_bytes is not None and size_bytes > max_bytes:
        reason = (
            f"it claims {size_bytes} bytes of data, more than {max_bytes}; "
            "raise max_block_size if the file is to be trusted"
        )
        raise CorruptBlockError(reason, offset)
    return Block(offset, count, size_bytes, base + data_start, end)


def check_marker(block: Block, found: bytes, sync_marker: bytes) -> None:
    """Raise CorruptBlockError if *found*, the 16 bytes that end *block*, is not its marker."""
    if found != sync_marker:
        place = block.end - SYNC_MARKER_BYTES
        reason = f"no sync marker follows its {block.size_bytes} bytes of data, at byte {place}"
        raise CorruptBlockError(reason, block.offset)


def find_block(
    data: bytes,
    sync_marker: bytes,
    *,
    base: int,
    at_or_after: int,
    file_bytes: int | None = None,
) -> int | None:
    """The offset of the first block that begins at or after a byte of the file.

    - ``data``: a part of the file, from its byte *base* on. A block is found by the sync marker
      before it, so *base* is at most *at_or_after* - 16.
    - ``file_bytes``: size of the file, if known.

    Returns None if no marker in *data* ends there or later; the end of the file's last block counts
    as the start of one. Raises UncertainBlockError if a marker is found but what follows it in
    *data* is no chain of blocks.

    What is certain: no marker is passed over, so damage never makes a block disappear unseen. What
    is not: a marker in data may be followed by a chain of blocks up to the end of *data*, as in a
    record that holds a whole container file with the same marker. Whoever knows the chain of
    blocks before this place can tell (:func:`blocks_in_range`).
    """
    marker = data.find(sync_marker, max(at_or_after - base - SYNC_MARKER_BYTES, 0))
    if marker < 0:
        return None
    start = marker + SYNC_MARKER_BYTES
    try:
        for _ in walk_blocks(data, sync_marker, base=base, start=start, file_bytes=file_bytes):
            pass
    except NeedMoreBytes:
        pass
    except CorruptBlockError as error:
        reason = f"a sync marker is before it, but no chain of blocks follows: {error}"
        raise UncertainBlockError(reason, base + start) from error
    return base + start


def blocks_in_range(
    data: bytes,
    sync_marker: bytes,
    byte_range: ByteRange,
    *,
    base: int,
    file_bytes: int | None = None,
    first: int | None = None,
) -> list[Block]:
    """The blocks that begin within *byte_range*, in order.

    - ``data``: the file from its byte *base* on, at the least to the end of the last of these
      blocks. Without *first*, *base* is at most ``byte_range.start - 16``.
    - ``file_bytes``: size of the file, if known.
    - ``first``: where the first block at or after ``byte_range.start`` begins, if known: for the
      file's first range the end of the header, else the ``end`` of the last block before it.

    All ranges of :func:`split_ranges` together have each of the file's blocks once. Without *first*
    this is subject to the uncertainty of :func:`find_block`. Whoever reads neighbouring ranges
    rules it out: if the first block does not begin where the last one before it ends, or if there
    are blocks in a range that the last block before it covers, read the range again with *first*.

    Raises NeedMoreBytes (counted from the start of *data*) if the last block is not complete,
    CorruptBlockError, and without *first* UncertainBlockError.
    """
    if first is None:
        # A marker that ends behind the range says nothing about it, whatever follows.
        earliest = max(byte_range.start - base - SYNC_MARKER_BYTES, 0)
        if data.find(sync_marker, earliest, byte_range.stop - 1 - base) < 0:
            return []
        first = find_block(
            data, sync_marker, base=base, at_or_after=byte_range.start, file_bytes=file_bytes
        )
    blocks = []
    while first is not None and first < byte_range.stop:
        block = block_at(data, first - base, sync_marker, base=base, file_bytes=file_bytes)
        blocks.append(block)
        first = block.end
    return blocks


def split_ranges(size_bytes: int, header_bytes: int, split_bytes: int) -> list[ByteRange]:
    """Divide a file into ranges of at most *split_bytes* each, about equal, for its blocks.

    - ``size_bytes``, ``header_bytes``: lengths of the file and of its header.

    Returns ranges that cover [header_bytes, size_bytes) without gap, none for a file without
    blocks. In a range no block may start. Raises ValueError for *split_bytes* below 1.
    """
    if split_bytes < 1:
        raise ValueError(f"a split of {split_bytes} bytes: at least 1 is needed")
    body = max(size_bytes - header_bytes, 0)
    count = -(-body // split_bytes)
    bounds = [header_bytes + body * i // count for i in range(count)] + [size_bytes]
    return [ByteRange(*bound) for bound in pairwise(bounds)]


def _parse_metadata(data: bytes, offset: int) -> tuple[dict[str, bytes], int]:
    """The header's map of bytes, and the offset after it."""
    metadata: dict[str, bytes] = {}
    entries = 0
    while True:
        count, offset = _parse_long(data, offset)
        if count == 0:
            return metadata, offset
        if count < 0:
            # A negative count is followed by the length of the map block, for those who skip it.
            count = -count
            _, offset = _parse_long(data, offset)
        entries += count
        if entries > MAX_METADATA_ENTRIES:
            raise NotAvroError(f"its header claims {entries} metadata entries")
        for _ in range(count):
            key, offset = _parse_bytes(data, offset)
            value, offset = _parse_bytes(data, offset)
            metadata[_text(key, "a metadata key")] = value


def _parse_bytes(data: bytes, offset: int) -> tuple[bytes, int]:
    length, offset = _parse_long(data, offset)
    if length < 0:
        raise NotAvroError(f"its header claims an entry of {length} bytes")
    return _take(data, offset, length), offset + length


def _take(data: bytes, offset: int, length: int) -> bytes:
    end = offset + length
    if end > MAX_HEADER_BYTES:
        raise NotAvroError(f"its header claims more than {MAX_HEADER_BYTES} bytes")
    if end > len(data):
        raise NeedMoreBytes(end)
    return bytes(data[offset:end])


def _parse_long(data: bytes, offset: int) -> tuple[int, int]:
    """The zig-zag varint at ``offset``, and the offset after it."""
    encoded = 0
    for position in range(_MAX_VARINT_BYTES):
        if offset + position >= len(data):
            raise NeedMoreBytes(offset + position + 1)
        byte = data[offset + position]
        encoded |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            if encoded >= 1 << 64:
                break
            return (encoded >> 1) ^ -(encoded & 1), offset + position + 1
    raise NotAvroError("a number in it is longer than 64 bits")


def encode_long(number: int) -> bytes:
    """*number* as the zig-zag varint that Avro writes."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAvroError(f"{what} in its header is not UTF-8") from error
