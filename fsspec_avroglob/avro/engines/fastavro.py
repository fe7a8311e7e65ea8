"""The reference engine: fastavro makes Python records, and pyarrow makes columns of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy
import pyarrow as pa

from fsspec_avroglob.avro.decode import BlockReader, check_count
from fsspec_avroglob.errors import BlockDecodeError

# Enough to make the cost of an array negligible, few enough for the CPU's cache.
_RECORDS_AT_ONCE = 4096


class FastavroEngine:
    """Decodes any schema. It decodes all fields, but makes columns only of those wanted."""

    name = "fastavro"
    parallel = False

    def __init__(self, schema: Any, columns: pa.StructType, *, interpreted: bool) -> None:
        self._blocks = BlockReader(schema, interpreted=interpreted)
        self._columns = columns

    def decode(self, blocks: Sequence[tuple[int, bytes]]) -> Iterator[pa.StructArray]:
        """See :class:`RawEngine`."""
        records: list[Any] = []
        for count, data in blocks:
            if data or count == 0:
                records += self._blocks.values(count, data)
            else:  # records without bytes are equal, and there may be millions
                check_count(count, data)
                yield self._array(records)
                one = self._array(self._blocks.values(1, data))
                yield one.take(pa.array(numpy.zeros(count, numpy.int32)))
                records = []
            if len(records) >= _RECORDS_AT_ONCE:
                yield self._array(records)
                records = []
        yield self._array(records)

    def _array(self, records: list[Any]) -> pa.StructArray:
        try:
            array = pa.array(records, self._columns)
        except RecursionError as error:
            raise BlockDecodeError("its records nest too deep") from error
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise BlockDecodeError(str(error)) from error
        if isinstance(array, pa.ChunkedArray):
            raise BlockDecodeError("a column has more than 2 GiB; decode fewer blocks at once")
        return array
