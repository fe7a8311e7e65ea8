"""The reference engine: fastavro makes Python records, pyarrow makes columns of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro
import pyarrow as pa

from fsspec_avroglob.avro.engines.raw import BlockDecodeError, RawBlock, encode_long

# Enough for the cost of an array to vanish, few enough for the records to stay in the cache.
_RECORDS_AT_ONCE = 4096


class FastavroEngine:
    """Decodes any schema. Fields that are not wanted are decoded too, but not made columns of."""

    name = "fastavro"
    parallel = False

    def __init__(self, schema: Any, columns: pa.StructType) -> None:
        # Records one after another are an array of records without its counts.
        self._schema = fastavro.parse_schema({"type": "array", "items": schema})
        self._columns = columns

    def decode(self, blocks: Sequence[RawBlock]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        records: list[Any] = []
        for index, block in enumerate(blocks):
            records += self._records(index, block)
            if len(records) >= _RECORDS_AT_ONCE or index == len(blocks) - 1:
                yield self._array(records)
                records = []

    def _records(self, index: int, block: RawBlock) -> list[Any]:
        if block.value_count == 0:
            if block.data:
                raise BlockDecodeError(f"{len(block.data)} bytes hold no record", index)
            return []
        data = encode_long(block.value_count) + block.data + b"\x00"
        stream = io.BytesIO(data)
        try:
            records: Any = fastavro.schemaless_reader(stream, self._schema, None)
        except Exception as error:  # damaged bytes fail in whichever way the type has
            raise BlockDecodeError(str(error) or type(error).__name__, index) from error
        if len(records) != block.value_count or stream.tell() != len(data):
            raise BlockDecodeError(
                f"its {block.value_count} records do not end where its data does", index
            )
        return list(records)

    def _array(self, records: list[Any]) -> pa.StructArray:
        try:
            array = pa.array(records, self._columns)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise BlockDecodeError(str(error)) from error
        if isinstance(array, pa.ChunkedArray):
            raise BlockDecodeError("more than 2 GiB in a column; decode fewer blocks at once")
        return array
