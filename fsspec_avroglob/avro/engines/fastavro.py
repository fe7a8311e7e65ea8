"""The reference engine: fastavro makes Python records, pyarrow makes columns of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro
import fastavro._read_py
import numpy
import pyarrow as pa

from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.avro.engines.base import RawBlock
from fsspec_avroglob.errors import BlockDecodeError

# Enough for the cost of an array to vanish, few enough for the records to stay in the cache.
_RECORDS_AT_ONCE = 4096

# Records that take no bytes can be claimed in any number.
_MOST_EMPTY_RECORDS = 1 << 24


class FastavroEngine:
    """Decodes any schema. Fields that are not wanted are decoded too, but not made columns of.

    With *recursive*, records may lie in one another as deep as the data says. fastavro's compiled
    reader would overflow the C stack, its Python one raises RecursionError.
    """

    name = "fastavro"
    parallel = False

    def __init__(self, schema: Any, columns: pa.StructType, *, recursive: bool) -> None:
        # Records one after another are an array of records without its counts.
        self._schema = fastavro.parse_schema({"type": "array", "items": schema})
        self._read = (fastavro._read_py if recursive else fastavro).schemaless_reader
        self._columns = columns

    def decode(self, blocks: Sequence[RawBlock]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        records: list[Any] = []
        for index, block in enumerate(blocks):
            if block.data:
                records += self._records(index, block)
            else:
                yield self._array(records)
                yield self._empty_records(index, block.value_count)
                records = []
            if len(records) >= _RECORDS_AT_ONCE:
                yield self._array(records)
                records = []
        yield self._array(records)

    def _empty_records(self, index: int, count: int) -> pa.StructArray:
        if count == 0:
            return self._array([])
        if count > _MOST_EMPTY_RECORDS:
            raise BlockDecodeError(f"it claims {count} records in no bytes", index)
        one = self._array(self._records(index, RawBlock(1, b"")))
        return one.take(pa.array(numpy.zeros(count, numpy.int32)))

    def _records(self, index: int, block: RawBlock) -> list[Any]:
        if block.value_count > max(1, len(block.data)):
            raise BlockDecodeError("it claims more records than it has bytes", index)
        if block.value_count == 0:
            raise BlockDecodeError(f"its {len(block.data)} bytes hold no record", index)
        data = encode_long(block.value_count) + block.data + b"\x00"
        stream = io.BytesIO(data)
        try:
            records: Any = self._read(stream, self._schema, None)
        except RecursionError as error:
            raise BlockDecodeError(
                "records lie in one another deeper than sys.getrecursionlimit() allows", index
            ) from error
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
        except RecursionError as error:
            raise BlockDecodeError("records lie in one another too deep") from error
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise BlockDecodeError(str(error)) from error
        if isinstance(array, pa.ChunkedArray):
            raise BlockDecodeError("more than 2 GiB in a column; decode fewer blocks at once")
        return array
