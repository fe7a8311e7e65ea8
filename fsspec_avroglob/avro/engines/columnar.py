"""The fast engine: polars-avro, which decodes straight into Arrow columns.

It is called through its native module, whose batches are Arrow as they were decoded. The public
functions make Polars frames of them, which have no unions and no fixed-size bytes, and copy.

All blocks are handed over as one, which is asked for as one batch. Three things of version 0.13 are
behind that: it never returns from a block that holds more bytes than records, it takes no notice
where records end, and an iterator that is dropped halfway may crash the process. So behind the last
record stands a sentinel, a record with a random value in it: if it is what comes out last, then the
records took exactly the bytes that they have.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from fsspec_avroglob.avro.container import MAGIC, SYNC_MARKER_BYTES
from fsspec_avroglob.avro.engines.raw import (
    BlockDecodeError,
    EngineNotAbleError,
    RawBlock,
    encode_long,
)

_SYNC_MARKER = bytes(SYNC_MARKER_BYTES)


class PolarsAvroEngine:
    """Decodes schemas that are not recursive and whose every value takes at least a byte."""

    name = "polars-avro"
    parallel = False  # it holds the GIL

    def __init__(self, schema: Any, columns: pa.StructType) -> None:
        self._source = _native_source()
        self._names = [field.name for field in columns]
        self._sentinel = _sentinel(schema, self._names)
        self._wanted = sorted({*self._names, self._sentinel.column})
        text = json.dumps(schema).encode()
        entry = [encode_long(len(part)) + part for part in (b"avro.schema", text)]
        self._header = b"".join([MAGIC, encode_long(1), *entry, encode_long(0), _SYNC_MARKER])

    def decode(self, blocks: Sequence[RawBlock]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        for index, block in enumerate(blocks):
            if block.value_count > len(block.data):
                raise BlockDecodeError("it claims more records than it has bytes", index)
        rows = sum(block.value_count for block in blocks)
        size = sum(len(block.data) for block in blocks) + len(self._sentinel.data)
        batch = self._batch(
            b"".join(
                [
                    self._header,
                    encode_long(rows + 1) + encode_long(size),
                    *(block.data for block in blocks),
                    self._sentinel.data,
                    _SYNC_MARKER,
                ]
            ),
            rows + 1,
        )
        last = batch.column(self._wanted.index(self._sentinel.column))[-1]
        if len(batch) != rows + 1 or last.as_py() != self._sentinel.value:
            raise BlockDecodeError("the records do not end where their blocks do")
        yield batch.slice(0, rows).to_struct_array()

    def _batch(self, data: bytes, rows: int) -> pa.RecordBatch:
        try:
            source = self._source([lambda: nullcontext(io.BytesIO(data))], False, False)
            return pa.record_batch(next(source.batch_iter(rows, self._wanted)))
        except BaseException as error:
            # A panic of the native module derives from BaseException alone.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise BlockDecodeError(str(error) or type(error).__name__) from error
            raise


class _Sentinel(NamedTuple):
    """The record behind the last: its bytes, and the column that tells it from all others."""

    data: bytes
    column: str
    value: Any


def _sentinel(schema: Any, preferred: Sequence[str]) -> _Sentinel:
    """A sentinel of a physical schema, its column one of the *preferred* where that can be."""
    types = {field["name"]: field["type"] for field in schema["fields"]}
    for column in sorted(types, key=lambda name: name not in preferred):
        branches = types[column] if isinstance(types[column], list) else [types[column]]
        for position, branch in enumerate(branches):
            found = _random_value(branch)
            if found is not None:
                index = encode_long(position) if branches is types[column] else b""
                named: dict[str, Any] = {}
                parts = [
                    index + found[0] if name == column else _least(type_, named)
                    for name, type_ in types.items()
                ]
                return _Sentinel(b"".join(parts), column, found[1])
    raise EngineNotAbleError("polars-avro would not notice records that end in the wrong place")


def _random_value(type_: Any) -> tuple[bytes, Any] | None:
    """A random value of a physical type and its encoding; None if the type has too few values."""
    noise = os.urandom(16)
    match type_:
        case "bytes":
            return encode_long(len(noise)) + noise, noise
        case "int" | "long":
            number = int.from_bytes(noise[:4]) >> 1
            return encode_long(number), number
        case "double":
            number = int.from_bytes(noise[:4])
            return struct.pack("<d", number), float(number)
        case {"type": "fixed", "size": size} if size >= 4:
            data = (noise * size)[:size]
            return data, data
    return None


def _least(type_: Any, named: dict[str, Any]) -> bytes:
    """The encoding of a small value of a physical type; *named* are the types defined so far."""
    if isinstance(type_, list):
        return b"\x00" + _least(type_[0], named)
    if isinstance(type_, str) and type_ not in named:
        return {"null": b"", "float": bytes(4), "double": bytes(8)}.get(type_, b"\x00")
    type_ = named[type_] if isinstance(type_, str) else type_
    if "name" in type_:
        named[type_["name"]] = type_
    match type_["type"]:
        case "record":
            return b"".join([_least(field["type"], named) for field in type_["fields"]])
        case "fixed":
            return bytes(type_["size"])
    return b"\x00"  # an array without items


@cache
def _native_source() -> Any:
    """The native module's reader; raises EngineNotAbleError unless it can be called as it is here.

    It is no public interface, so another version may have another one.
    """
    try:
        from polars_avro._avro_rs import AvroSource
    except ImportError as error:
        raise EngineNotAbleError(
            f"polars-avro cannot be imported ({error}): pip install 'fsspec-avroglob[polars]'"
        ) from error
    return AvroSource
