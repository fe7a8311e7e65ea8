"""Small Avro files for tests to read and to damage."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fastavro

from fsspec_avroglob.avro.container import encode_long

SYNC_MARKER = bytes(range(16))

USER_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "User",
    "namespace": "example",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": "string"},
        {"name": "score", "type": ["null", "double"], "default": None},
    ],
}


def user(number: int) -> dict[str, Any]:
    """The record number *number* of USER_SCHEMA; every third has no score."""
    return {
        "id": number,
        "name": f"user-{number}",
        "score": None if number % 3 == 0 else number / 4,
    }


def users(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [user(number) for number in range(start, start + count)]


def record_schema(fields: Mapping[str, Any], name: str = "R", **attributes: Any) -> dict[str, Any]:
    """A record schema from types by field name."""
    listed = [{"name": field, "type": type_} for field, type_ in fields.items()]
    return {"type": "record", "name": name, "fields": listed, **attributes}


def logical(kind: str, name: str, **attributes: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **attributes}


def enum(*symbols: str, **attributes: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **attributes}


def avro_file(
    records: Iterable[Any],
    schema: Any = USER_SCHEMA,
    *,
    codec: str = "null",
    block_bytes: int = 16_000,
    metadata: Mapping[str, str] | None = None,
    sync_marker: bytes = SYNC_MARKER,
) -> bytes:
    """A container file of *records* in blocks of about *block_bytes*."""
    out = io.BytesIO()
    fastavro.writer(
        out,
        schema,
        records,
        codec=codec,
        sync_interval=block_bytes,
        metadata=dict(metadata or {}),
        sync_marker=sync_marker,
    )
    return out.getvalue()


def user_file(count: int, start: int = 0, **options: Any) -> bytes:
    return avro_file(users(count, start), **options)


def encode_bytes(data: bytes) -> bytes:
    return encode_long(len(data)) + data


def header(
    schema: Any = "int",
    codec: str | None = "null",
    *,
    extra: Mapping[str, bytes] | None = None,
    map_blocks: Sequence[int] | None = None,
    sized: bool = False,
) -> bytes:
    """A container header, byte by byte.

    *map_blocks* says how many metadata entries go into each block of the map (by default all into
    one), *sized* writes the blocks with a negative count and their length.
    """
    entries = {"avro.schema": json.dumps(schema).encode()}
    if codec is not None:
        entries["avro.codec"] = codec.encode()
    items = [
        encode_bytes(k.encode()) + encode_bytes(v) for k, v in (entries | (extra or {})).items()
    ]
    out = b"Obj\x01"
    for count in map_blocks or [len(items)]:
        block, items = b"".join(items[:count]), items[count:]
        size = encode_long(len(block)) if sized else b""
        out += encode_long(-count if sized else count) + size + block
    return out + encode_long(0) + SYNC_MARKER


def block(data: bytes, count: int = 1, sync_marker: bytes = SYNC_MARKER) -> bytes:
    """One block of a container file, byte by byte."""
    return encode_long(count) + encode_bytes(data) + sync_marker
