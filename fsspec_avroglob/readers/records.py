"""Avro files as Python values: dicts for records, with the core dependencies alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from fsspec_avroglob.avro.columns import chosen_columns
from fsspec_avroglob.avro.decode import RunDecoder, record_function
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    parse_schema,
    standalone,
    without_docs,
)
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.session import Located, Reading
from fsspec_avroglob.readers.sources import OpenedFile, SchemaFit


class RecordReading:
    """A reading as dicts, or as other values where the files do not hold records.

    Raises ValueError for unknown columns, and for columns of values that are not records.
    """

    def __init__(self, reading: Reading, fit: SchemaFit) -> None:
        columns = reading.options.columns
        self._reading, self._fit = reading, fit
        self.schema: AvroSchema = fit.table.source
        self.errors: list[Dropped] = reading.errors
        self._names: list[str] | None = None
        if columns is not None:
            if not fit.table.is_record:
                text = "columns were given, but the files do not hold records; leave them out"
                raise ValueError(text)
            self._names = list(chosen_columns(columns, list(fit.table.fields)))
        self._reader = fit.table if self._names is None else _projected(fit.table, self._names)
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
        async with aclosing(self._reading.results(self._decoding)) as results:
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
            names = self._names
            same = names is None and self._fit.mapping(file.source) is None
            if names is None and not same and self._fit.table.is_record:
                names = list(self._fit.table.fields)
            self._functions[key] = record_function(
                header.codec,
                parse_schema(header.schema),
                None if same else self._reader,
                names,
                self._reading.options.max_block_size,
            )
        return self._reading.decoder(file, self._functions[key], parallel=False)


def _projected(table: ParsedSchema, names: Sequence[str]) -> ParsedSchema:
    fields = {field["name"]: field for field in table.root["fields"]}
    record = {**table.root, "fields": [fields[name] for name in names]}
    return parse_schema(standalone(table, record))
