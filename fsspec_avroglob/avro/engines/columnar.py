"""The fast engine: polars-avro, which decodes straight into Arrow columns.

It is called through its native module, whose batches are Arrow as they were decoded. The public
functions make Polars frames of them, which have no unions and no fixed-size bytes, and copy.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

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
        text = json.dumps(schema).encode()
        self._header = b"".join(
            (
                MAGIC,
                encode_long(1),
                *(encode_long(len(part)) + part for part in (b"avro.schema", text)),
                encode_long(0),
                _SYNC_MARKER,
            )
        )

    def decode(self, blocks: Sequence[RawBlock]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        parts = [self._header]
        for block in blocks:
            if block.value_count > len(block.data):
                raise BlockDecodeError("it claims more records than it has bytes")
            counts = encode_long(block.value_count) + encode_long(len(block.data))
            parts += (counts, block.data, _SYNC_MARKER)
        expected = sum(block.value_count for block in blocks)
        batches = self._batches(b"".join(parts), expected) if expected else []
        found = sum(map(len, batches))
        if found != expected:
            raise BlockDecodeError(f"{found} records were decoded of {expected}")
        yield from batches

    def _batches(self, data: bytes, rows: int) -> list[pa.StructArray]:
        try:
            source = self._source([lambda: nullcontext(io.BytesIO(data))], False, False)
            # All of them, before anything else may raise: the native iterator crashes the process
            # when it is dropped halfway by an exception.
            batches = list(source.batch_iter(rows, self._names))
        except BaseException as error:
            # A panic of the native module derives from BaseException alone.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise BlockDecodeError(str(error) or type(error).__name__) from error
            raise
        return [pa.record_batch(batch).to_struct_array() for batch in batches]


@cache
def _native_source() -> Any:
    """The native module's reader; raises EngineNotAbleError unless it works as is expected here."""
    try:
        from polars_avro._avro_rs import AvroSource
    except ImportError as error:
        raise EngineNotAbleError(
            f"polars-avro cannot be imported ({error}): pip install 'fsspec-avroglob[polars]'"
        ) from error
    return AvroSource
