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
from typing import Any

import pyarrow as pa

from fsspec_avroglob.avro.container import MAGIC, SYNC_MARKER_BYTES, encode_long
from fsspec_avroglob.avro.engines.base import RawBlock
from fsspec_avroglob.errors import BlockDecodeError, EngineNotAbleError

_SYNC_MARKER = bytes(SYNC_MARKER_BYTES)

# A record that is not the sentinel passes for it once in 2**24 times.
_SENTINEL_BITS = 24

_SMALLEST = {"null": b"", "float": bytes(4), "double": bytes(8)}


class PolarsAvroEngine:
    """Decodes schemas that are not recursive and whose every value takes at least a byte."""

    name = "polars-avro"
    parallel = True

    def __init__(self, schema: Any, columns: pa.StructType) -> None:
        self._source = _native_source()
        self._names = [field.name for field in columns]
        text = json.dumps(schema).encode()
        entry = [encode_long(len(part)) + part for part in (b"avro.schema", text)]
        self._header = b"".join([MAGIC, encode_long(1), *entry, encode_long(0), _SYNC_MARKER])
        marked, self._sentinel = _sentinel(schema, self._names)
        self._wanted = sorted({*self._names, marked})
        self._mark = self._wanted.index(marked)
        try:
            self._expected = self._batch([self._sentinel], 1).column(self._mark)
        except BlockDecodeError as error:
            # The native module is no public interface: another version may have another one.
            raise EngineNotAbleError(f"polars-avro does not decode the schema: {error}") from error

    def decode(self, blocks: Sequence[RawBlock]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        for block in blocks:
            if block.value_count > len(block.data):
                reason = f"it claims {block.value_count} values in {len(block.data)} bytes"
                raise BlockDecodeError(reason)
        rows = sum(block.value_count for block in blocks)
        batch = self._batch([*(block.data for block in blocks), self._sentinel], rows + 1)
        if len(batch) != rows + 1 or batch.column(self._mark).slice(rows) != self._expected:
            raise BlockDecodeError("the records do not end where their blocks do")
        yield batch.slice(0, rows).to_struct_array()

    def _batch(self, records: list[bytes], rows: int) -> pa.RecordBatch:
        size = sum(map(len, records))
        block = [encode_long(rows) + encode_long(size), *records, _SYNC_MARKER]
        data = b"".join([self._header, *block])
        try:
            source = self._source([lambda: nullcontext(io.BytesIO(data))], False, False)
            batch = next(source.batch_iter(rows, self._wanted))
            # Each column by itself, since a batch is let go of as a whole.
            columns = [pa.array(column) for column in batch.columns]
            return pa.RecordBatch.from_arrays(columns, schema=pa.schema(batch.schema))
        except BaseException as error:
            # A panic of the native module derives from BaseException alone.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise BlockDecodeError(str(error) or type(error).__name__) from error
            raise


def _sentinel(schema: Any, preferred: Sequence[str]) -> tuple[str, bytes]:
    """A record with random values in one column, *preferred* where possible: that, and its bytes.

    Raises EngineNotAbleError for a schema that has no column with enough different values.
    """
    types = {field["name"]: field["type"] for field in schema["fields"]}
    for marked in sorted(types, key=lambda name: name not in preferred):
        encoder = _Encoder()
        parts = [encoder.value(type_, name == marked) for name, type_ in types.items()]
        if encoder.random_bits >= _SENTINEL_BITS:
            return marked, b"".join(parts)
    raise EngineNotAbleError("polars-avro would not notice if records of so few values ended early")


class _Encoder:
    """Encodes values of a physical schema: small ones, or random ones whose bits are counted."""

    def __init__(self) -> None:
        self.random_bits = 0
        self._named: dict[str, Any] = {}
        self._items = _SENTINEL_BITS

    def value(self, type_: Any, random: bool) -> bytes:
        """A value of a type; arrays are empty unless it is to be random."""
        if isinstance(type_, list):
            position = len(type_) - 1 if random else 0
            if random and type_[position] == "null":
                position = 0
            # Types are known by name from where they are defined, whichever branch is taken.
            parts = [self.value(branch, random and i == position) for i, branch in enumerate(type_)]
            return encode_long(position) + parts[position]
        if isinstance(type_, dict):
            self._named[type_.get("name", "")] = type_
        type_ = self._named.get(type_, type_) if isinstance(type_, str) else type_
        match type_:
            case {"type": "record", "fields": fields}:
                return b"".join([self.value(field["type"], random) for field in fields])
            case {"type": "array", "items": items}:
                if not random:
                    self.value(items, False)
                    return encode_long(0)
                # Arrays within it have one item, or their number would multiply.
                count, self._items = self._items, 1
                values = [self.value(items, True) for _ in range(count)]
                self._items = count
                return encode_long(count) + b"".join(values) + encode_long(0)
            case {"type": "fixed", "size": size} if not random:
                return bytes(size)
        return self._noise(type_) if random else _SMALLEST.get(type_, b"\x00")

    def _noise(self, type_: Any) -> bytes:
        number = int.from_bytes(os.urandom(3))
        match type_:
            case "null":
                return b""
            case "boolean":
                self.random_bits += 1
                return (number & 1).to_bytes()
        self.random_bits += 24
        match type_:
            case "bytes":
                return encode_long(3) + number.to_bytes(3)
            case "float":
                return struct.pack("<f", number)
            case "double":
                return struct.pack("<d", number)
            case {"size": size}:
                self.random_bits += 8 * min(size, 3) - 24
                return number.to_bytes(3)[:size].ljust(size, b"\x00")
        return encode_long(number)


@cache
def _native_source() -> Any:
    """The native module's reader; raises EngineNotAbleError if there is none."""
    try:
        from polars_avro._avro_rs import AvroSource
    except ImportError as error:
        raise EngineNotAbleError(
            f"polars-avro cannot be imported ({error}): pip install 'fsspec-avroglob[polars]'"
        ) from error
    return AvroSource
