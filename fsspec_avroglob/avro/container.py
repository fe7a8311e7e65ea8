"""The Avro object container file: its header, its blocks, and where it can be divided.

Follows "Object Container Files" of the Apache Avro 1.12 specification. Nothing here reads a file:
a parser that runs out of bytes raises :class:`NeedMoreBytes`, which says how many it needs.

Each block states its size, so the chain of blocks after the header is certain. From the middle of a
file, a block is found by the sync marker before it. The same 16 bytes may also occur in data, for
example if a record holds a copy of the file. :func:`find_block` therefore checks the blocks that
must follow, and says how certain its answer is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from fsspec_avroglob.errors import CorruptBlockError, NotAvroError, UncertainBlockError

AVRO_MAGIC = b"Obj\x01"
SYNC_MARKER_BYTES = 16

HEAD_BYTES = 64 * 1024
"""How much of a file to read for its header: most headers fit, and latency outweighs the rest."""

# The largest schemas in practice are below 2 MB. Anything longer is treated as corrupt.
MAX_HEADER_BYTES = 16 * 1024 * 1024

# Writers add a handful of entries. Millions of empty entries would take long to parse.
MAX_METADATA_ENTRIES = 10_000

# Zig-zag varints of 64 bits: nine bytes of seven bits hold 63 bits, the tenth holds the last one.
_MAX_VARINT_BYTES = 10

BLOCK_HEADER_BYTES = 2 * _MAX_VARINT_BYTES
"""Most bytes of a block's header."""


class NeedMoreBytes(Exception):
    """The buffer ends within the item that is being parsed.

    - ``size_bytes``: least length, from the start of the buffer, that the parser needs.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


@dataclass(frozen=True)
class ContainerHeader:
    """The header of a container file.

    - ``schema_text``: the writer schema, JSON as in the file.
    - ``codec``: name of the block compression, ``"null"`` if the header names none.
    - ``metadata``: all metadata, ``avro.schema`` and ``avro.codec`` included.
    - ``sync_marker``: the 16 bytes that end every block.
    - ``size_bytes``: length of the header, and so the offset of the first block.
    """

    schema_text: str
    codec: str
    metadata: Mapping[str, bytes]
    sync_marker: bytes
    size_bytes: int

    @property
    def schema(self) -> Any:
        """The writer schema as parsed JSON: a dict, a list (union) or a str (name of a type).

        Raises NotAvroError if the text is not JSON.
        """
        try:
            return json.loads(self.schema_text)
        except (ValueError, RecursionError) as error:
            raise NotAvroError(f"its schema is not usable JSON ({error})") from error


class Block(NamedTuple):
    """A block of a file; all offsets count from the start of the file.

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


StoredBlock: TypeAlias = tuple[int, int, bytes]
"""A block's number of values, the length of its header, and its data as stored.

A plain tuple: files that are flushed after each value have millions of blocks.
"""


class ByteRange(NamedTuple):
    """The range [start, stop) of a file; a block belongs to the range in which it starts."""

    start: int
    stop: int


def parse_header(data: bytes) -> ContainerHeader:
    """Parse the header at the start of ``data``, which may hold more than the header.

    Raises NeedMoreBytes if ``data`` ends within the header, and NotAvroError if no further bytes
    could make it a header.
    """
    if data[: len(AVRO_MAGIC)] != AVRO_MAGIC[: len(data)]:
        raise NotAvroError(f"it starts with {bytes(data[:4])!r}, not with Avro's {AVRO_MAGIC!r}")
    if len(data) < len(AVRO_MAGIC):
        raise NeedMoreBytes(len(AVRO_MAGIC))
    metadata, offset = _parse_metadata(data, len(AVRO_MAGIC))
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
    """Return the header of the file *path*, or how many bytes to read before the next call.

    - ``data``: the first bytes of the file; ``whole``: whether they are the whole file.

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


def walk_blocks(
    data: bytes,
    sync_marker: bytes,
    *,
    base: int = 0,
    start: int = 0,
    stop: int | None = None,
    file_bytes: int | None = None,
) -> Iterator[Block]:
    """Yield the blocks that begin in the bytes [start, stop) of *data*, None for its end.

    Other arguments and errors: :func:`block_at`.
    """
    while start < (len(data) if stop is None else stop):
        block = block_at(data, start, sync_marker, base=base, file_bytes=file_bytes)
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
    """Return the block that begins at *start* of *data*.

    - ``base``: offset in the file of the first byte of *data*.
    - ``file_bytes``: size of the file, if known: a block that ends beyond it is corrupt.
    - ``max_bytes``: a block that claims more bytes of data is corrupt.

    Raises NeedMoreBytes (counted from the start of *data*) if the block is incomplete, and
    CorruptBlockError if the bytes are not a block.
    """
    block = claimed_block(data, start, base=base, file_bytes=file_bytes, max_bytes=max_bytes)
    end = block.end - base
    if end > len(data):
        raise NeedMoreBytes(end)
    check_marker(block, data[end - SYNC_MARKER_BYTES : end], sync_marker)
    return block


def leading_blocks(
    data: bytes, start: int, sync_marker: bytes, max_bytes: int
) -> tuple[list[StoredBlock], int]:
    """Return the small blocks at *start* of *data*, and the offset after them.

    The same as calls of :func:`block_at`, several times as fast. They end before the first block
    that is incomplete, corrupt, above *max_bytes*, or has 64 values or 8 KiB of data or more.
    """
    found: list[StoredBlock] = []
    position = start
    limit = len(data) - SYNC_MARKER_BYTES - 2
    while position < limit:
        count, size = data[position], data[position + 1]
        begin = position + 2
        if size & 0x80:
            size = size & 0x7F | data[begin] << 7
            begin += 1
        # Both numbers are zig-zag varints: an odd one is negative.
        if count & 0x81 or size & 0x4001 or size >> 1 > max_bytes:
            break
        end = begin + (size >> 1)
        after = end + SYNC_MARKER_BYTES
        if data[end:after] != sync_marker:
            break
        found.append((count >> 1, begin - position, data[begin:end]))
        position = after
    return found, position


def claimed_block(
    data: bytes,
    start: int = 0,
    *,
    base: int = 0,
    file_bytes: int | None = None,
    max_bytes: int | None = None,
) -> Block:
    """Return the block that the header at *start* claims; :func:`check_marker` must confirm it.

    Arguments and errors: :func:`block_at`.
    """
    offset = base + start
    try:
        count, size_start = _parse_long(data, start)
        size_bytes, data_start = _parse_long(data, size_start)
    except NotAvroError as error:
        raise CorruptBlockError(str(error), offset) from error
    except NeedMoreBytes as more:
        if file_bytes is not None and base + more.size_bytes > file_bytes:
            raise CorruptBlockError("the file ends within its header", offset) from more
        raise
    if count < 0 or size_bytes < 0:
        raise CorruptBlockError(f"a block cannot have {count} values in {size_bytes} bytes", offset)
    end = base + data_start + size_bytes + SYNC_MARKER_BYTES
    if file_bytes is not None and end > file_bytes:
        reason = f"it claims {size_bytes} bytes of data, but the file ends at byte {file_bytes}"
        raise CorruptBlockError(reason, offset)
    if max_bytes is not None and size_bytes > max_bytes:
        reason = f"it claims {size_bytes} bytes of data, more than {max_bytes}"
        raise CorruptBlockError(f"{reason}; raise max_block_size if you trust the file", offset)
    return Block(offset, count, size_bytes, base + data_start, end)


def check_marker(block: Block, found: bytes, sync_marker: bytes) -> None:
    """Raise CorruptBlockError if *found*, the last 16 bytes of *block*, is not the sync marker."""
    if found != sync_marker:
        offset = block.end - SYNC_MARKER_BYTES
        reason = f"no sync marker follows its {block.size_bytes} bytes of data, at byte {offset}"
        raise CorruptBlockError(reason, block.offset)


def find_block(
    data: bytes,
    sync_marker: bytes,
    *,
    base: int,
    at_or_after: int,
    file_bytes: int | None = None,
) -> int | None:
    """Return the offset of the first block that begins at or after a byte of the file.

    - ``data``: a part of the file, from its byte *base*, which is at most *at_or_after* - 16: a
      block is found by the sync marker before it.
    - ``file_bytes``: size of the file, if known.

    Returns None if no marker in *data* ends there or later. The end of the last block counts as the
    start of a block. Raises UncertainBlockError if no chain of blocks follows the marker.

    No marker is skipped, so damage never hides a block without an error. The answer may be wrong if
    data hold a marker and then a chain of blocks up to the end of *data*, as in a record that holds
    a whole container file with the same marker. A caller that knows the preceding blocks can check
    (:func:`blocks_in_range`).
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
    """Return the blocks that begin within *byte_range*, in order.

    - ``data``: the file from its byte *base*, up to the end of the last of these blocks at least.
      Without *first*, *base* is at most ``byte_range.start - 16``.
    - ``file_bytes``: size of the file, if known.
    - ``first``: where the first block at or after ``byte_range.start`` begins, if known: the end of
      the header for the file's first range, else the ``end`` of the last block before it.

    The ranges of :func:`split_ranges` together have each block of the file once. Without *first*
    the answer is as uncertain as that of :func:`find_block`. A reader of neighbouring ranges can
    check it: if the first block does not begin where the last block before it ends, or if a range
    has blocks and the last block before it covers the range, read the range again with *first*.

    Raises NeedMoreBytes (counted from the start of *data*) if the last block is incomplete,
    CorruptBlockError, and without *first* UncertainBlockError.
    """
    if first is None:
        # A marker that ends after the range says nothing about it, whatever follows.
        earliest = max(byte_range.start - base - SYNC_MARKER_BYTES, 0)
        if data.find(sync_marker, earliest, byte_range.stop - 1 - base) < 0:
            return []
        first = find_block(
            data, sync_marker, base=base, at_or_after=byte_range.start, file_bytes=file_bytes
        )
        if first is None:
            return []
    start, stop = first - base, byte_range.stop - base
    return list(
        walk_blocks(data, sync_marker, base=base, start=start, stop=stop, file_bytes=file_bytes)
    )


def split_ranges(size_bytes: int, header_bytes: int, split_bytes: int) -> list[ByteRange]:
    """Divide a file into about equal ranges of at most *split_bytes*, to read its blocks by.

    - ``size_bytes``, ``header_bytes``: lengths of the file and of its header.

    Returns ranges that cover [header_bytes, size_bytes) without a gap; none for a file without
    blocks. It may be that no block starts in a range. Raises ValueError for *split_bytes* below 1.
    """
    if split_bytes < 1:
        raise ValueError(f"a split must have at least 1 byte, not {split_bytes}")
    body = max(size_bytes - header_bytes, 0)
    count = -(-body // split_bytes)
    bounds = [header_bytes + body * i // count for i in range(count)] + [size_bytes]
    return [ByteRange(*bound) for bound in pairwise(bounds)]


def _parse_metadata(data: bytes, offset: int) -> tuple[dict[str, bytes], int]:
    """Return the header's map of bytes, and the offset after it."""
    metadata: dict[str, bytes] = {}
    entries = 0
    while True:
        count, offset = _parse_long(data, offset)
        if count == 0:
            return metadata, offset
        if count < 0:
            # The length in bytes follows a negative count, so that readers can skip the entries.
            count = -count
            _, offset = _parse_long(data, offset)
        entries += count
        if entries > MAX_METADATA_ENTRIES:
            limit = f"more than {MAX_METADATA_ENTRIES}"
            raise NotAvroError(f"its header claims {entries} metadata entries, {limit}")
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
    """Return the zig-zag varint at ``offset``, and the offset after it."""
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
