"""The Avro object container file: its header and its block headers, parsed from bytes alone.

Follows "Object Container Files" of the Apache Avro 1.12 specification. Nothing here reads a file:
a parser that runs out of bytes raises :class:`NeedMoreBytes`, which says how many it takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MAGIC = b"Obj\x01"
SYNC_MARKER_BYTES = 16

# The largest schemas met in practice are below 2 MB. A longer header is a length that lies.
MAX_HEADER_BYTES = 16 * 1024 * 1024

# zig-zag varints of 64 bits: nine bytes of seven bits hold 63 bits, the tenth holds the last one.
_MAX_VARINT_BYTES = 10


class NotAvroError(ValueError):
    """The bytes are not an Avro object container file, or its header is damaged."""


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


def _parse_metadata(data: bytes, offset: int) -> tuple[dict[str, bytes], int]:
    """The header's map of bytes, and the offset after it."""
    metadata: dict[str, bytes] = {}
    while True:
        count, offset = _parse_long(data, offset)
        if count == 0:
            return metadata, offset
        if count < 0:
            # A negative count is followed by the length of the map block, for those who skip it.
            count = -count
            _, offset = _parse_long(data, offset)
        if count > MAX_HEADER_BYTES:
            raise NotAvroError(f"its header claims {count} metadata entries")
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


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAvroError(f"{what} in its header is not UTF-8") from error
