"""The fast engine: polars-avro, which decodes directly into Arrow columns.

The engine calls the native module, because the public functions return Polars frames: those copy,
and have neither unions nor fixed-size bytes.

The engine passes all blocks as one and asks for one batch, because version 0.13 of polars-avro has
three faults: it never returns from a block with more bytes than records, it does not check where
records end, and an iterator that is dropped halfway may crash the process. For the second, a
sentinel follows the last record: a record with a random value. If the sentinel is decoded as the
last row, the records before it have exactly the bytes that they should have.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import fastavro
import pyarrow as pa

from fsspec_avroglob.avro.container import SYNC_MARKER_BYTES, encode_long
from fsspec_avroglob.errors import BlockDecodeError, EngineNotAbleError

_SYNC_MARKER = bytes(SYNC_MARKER_BYTES)

# Another record equals the sentinel once in 2**24 times.
_SENTINEL_BITS = 24

_SMALLEST = {"null": b"", "float": bytes(4), "double": bytes(8)}


class PolarsAvroEngine:
    """Decodes schemas without recursive types and without types whose values take no bytes."""

    name = "polars-avro"
    parallel = True

    def __init__(self, schema: Any, columns: pa.StructType) -> None:
        self._source = _native_source()
        self._names = [field.name for field in columns]
        header = io.BytesIO()
        fastavro.writer(header, schema, [], sync_marker=_SYNC_MARKER)
        self._header = header.getvalue()
        marked, self._sentinel = _sentinel(schema, self._names)
        self._wanted = sorted({*self._names, marked})
        self._mark = self._wanted.index(marked)
        try:
            self._expected = self._batch([self._sentinel], 1).column(self._mark)
        except BlockDecodeError as error:
            # The native module is not public: other versions may have another interface.
            raise EngineNotAbleError(f"polars-avro does not decode the schema: {error}") from error

    def decode(self, blocks: Sequence[tuple[int, bytes]]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        rows = 0
        for count, data in blocks:
            rows += count
            if count > len(data):
                raise BlockDecodeError(f"it claims {count} values in {len(data)} bytes")
        batch = self._batch([*(data for _, data in blocks), self._sentinel], rows + 1)
        if len(batch) != rows + 1 or batch.column(self._mark).slice(rows) != self._expected:
            raise BlockDecodeError("the records do not end where their blocks end")
        yield batch.slice(0, rows).to_struct_array()

    def _batch(self, records: list[bytes], rows: int) -> pa.RecordBatch:
        size = sum(map(len, records))
        block = [encode_long(rows) + encode_long(size), *records, _SYNC_MARKER]
        data = b"".join([self._header, *block])
        try:
            source = self._source([lambda: nullcontext(io.BytesIO(data))], False, False)
            batch = next(source.batch_iter(rows, self._wanted))
            # Import each column on its own: an imported batch frees its memory only as a whole.
            columns = [pa.array(column) for column in batch.columns]
            return pa.RecordBatch.from_arrays(columns, names=self._wanted)
        except BaseException as error:
            # A panic of the native module is not an Exception.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise BlockDecodeError(str(error) or type(error).__name__) from error
            raise


def _sentinel(schema: Any, preferred: Sequence[str]) -> tuple[str, bytes]:
    """Return the column that marks the sentinel, one of *preferred* if possible, and the sentinel.

    Raises EngineNotAbleError for a schema in which no column has enough different values.
    """
    named: dict[str, Any] = {}
    fastavro.parse_schema(schema, named_schemas=named)
    types = {field["name"]: field["type"] for field in schema["fields"]}
    for marked in sorted(types, key=lambda name: name not in preferred):
        encoder = _Encoder(named)
        parts = [encoder.value(type_, name == marked) for name, type_ in types.items()]
        if encoder.random_bits >= _SENTINEL_BITS:
            return marked, b"".join(parts)
    raise EngineNotAbleError(
        "polars-avro cannot tell where records end if no column has 2**24 different values"
    )


class _Encoder:
    """Encodes values of a physical schema: small ones, or random ones whose bits it counts."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.random_bits = 0
        self._named = named

    def value(self, type_: Any, random: bool) -> bytes:
        """Return a value of a type, random if possible; an array that is not random is empty."""
        type_ = self._named.get(type_, type_) if isinstance(type_, str) else type_
        match type_:
            case list():
                position = len(type_) - 1 if random and type_[-1] != "null" else 0
                return encode_long(position) + self.value(type_[position], random)
            case {"type": "record", "fields": fields}:
                return b"".join([self.value(field["type"], random) for field in fields])
            case {"type": "array", "items": items}:
                return encode_long(1) + self.value(items, True) + b"\x00" if random else b"\x00"
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
    """Import the native reader. Raises EngineNotAbleError if polars-avro is not installed."""
    try:
        from polars_avro._avro_rs import AvroSource
    except ImportError as error:
        raise EngineNotAbleError(
            f"polars-avro cannot be imported ({error}): pip install 'fsspec-avroglob[polars]'"
        ) from error
    return AvroSource
