"""Avro files as Python values: dicts for records, with the core dependencies alone."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from fsspec_avroglob.avro.codecs import decompress
from fsspec_avroglob.avro.columns import chosen_columns
from fsspec_avroglob.avro.decode import RunDecoder
from fsspec_avroglob.avro.resolution import resolve
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    file_schema,
    parse_schema,
    with_fields,
    without_docs,
)
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.avro.values import ValueDecoder
from fsspec_avroglob.readers.fit import SchemaFit
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.session import Located, Reading
from fsspec_avroglob.readers.sources import OpenedFile

# Few records at a time: the garbage collector traverses all that are alive, again and again.
_DECODED_BYTES = 1024 * 1024

_SAMPLE = 8


class RecordReading:
    """A reading as dicts, or as other values where the files do not hold records.

    Raises ValueError for unknown columns, and for columns of values that are not records.
    """

    def __init__(self, reading: Reading, fit: SchemaFit) -> None:
        columns = reading.options.columns
        self._reading, self._fit = reading, fit
        self.schema: AvroSchema = fit.table.source
        self.errors: list[Dropped] = reading.errors
        self._reader = fit.table
        if columns is not None:
            if not fit.table.is_record:
                text = "columns were given, but the files do not hold records; leave them out"
                raise ValueError(text)
            names = chosen_columns(columns, list(fit.table.fields))
            self._reader = parse_schema(with_fields(fit.table, names))
        self._functions: dict[tuple[str, str], Callable[[BlockRun, int | None], list[Any]]] = {}

    @classmethod
    async def open(cls, located: Located, options: ReadOptions) -> RecordReading:
        """Open as :meth:`Reading.open` does, with all schemas checked."""
        reading, fit = await Reading.open(located, options, check_first=True)
        try:
            return cls(reading, fit)
        except BaseException:
            await reading.aclose()
            raise

    async def lists(self) -> AsyncGenerator[list[Any], None]:
        """Yield lists of values, in order."""
        left = self._reading.options.n_rows
        async with aclosing(
            self._reading.results(self._decoding, _memory_of, _DECODED_BYTES)
        ) as results:
            async for _, values in results:
                yield values if left is None else values[:left]
                if left is not None:
                    left -= len(values)
                    if left <= 0:
                        return

    def _decoding(self, file: OpenedFile) -> RunDecoder[list[Any]]:
        header = file.source.header
        key = without_docs(header.schema_text), header.codec
        if key not in self._functions:
            writer = file_schema(file.source.path, header)
            path, table_path = file.source.path, self._fit.table_path
            step = resolve(writer, self._reader, writer_path=path, reader_path=table_path)
            values = ValueDecoder(writer, self._reader, step)
            most = self._reading.options.max_block_size

            def decode(run: BlockRun, rows: int | None) -> list[Any]:
                found = values.of_blocks(
                    (count, decompress(header.codec, stored, most))
                    for count, stored in run.stored()
                )
                return found if rows is None else found[:rows]

            self._functions[key] = decode
        return self._reading.decoder(file, self._functions[key], parallel=False)


def _memory_of(values: Sequence[Any]) -> int:
    """Estimate the bytes of values in memory from some of them."""
    sample = values[:: max(1, len(values) // _SAMPLE)]
    return sum(map(_deep_size, sample)) * len(values) // max(len(sample), 1)


def _deep_size(value: Any) -> int:
    size = sys.getsizeof(value)
    match value:
        case dict():
            return size + sum(map(_deep_size, value.values()))
        case list():
            return size + sum(map(_deep_size, value))
    return size
