"""Avro files as Python values: dicts for records, with the core dependencies alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from fsspec_avroglob.avro.columns import chosen_columns
from fsspec_avroglob.avro.decode import RunDecoder, record_function
from fsspec_avroglob.avro.schema import ParsedSchema, parse_schema, standalone
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.session import Located, Reading
from fsspec_avroglob.readers.sources import OpenedFile


class RecordReading:
    """A reading as dicts (or as values, of files that hold no records)."""

    def __init__(self, reading: Reading) -> None:
        """Raises ValueError for columns that do not exist, or of files without records."""
        self.reading = reading
        table = reading.fit.table
        columns = reading.options.columns
        self._names = None if columns is None else _fields(table, columns)
        self._reader = table if self._names is None else _projected(table, self._names)
        self._functions: dict[tuple[str, str], Callable[[Run, int | None], list[Any]]] = {}

    @classmethod
    async def open(cls, located: Located, options: ReadOptions) -> RecordReading:
        """As :meth:`Reading.open`, with all schemas checked."""
        reading = await Reading.open(located, options, check_first=True)
        try:
            return cls(reading)
        except BaseException:
            await reading.aclose()
            raise

    async def values(self) -> AsyncGenerator[list[Any], None]:
        """Values by the list, in order."""
        left = self.reading.options.n_rows
        if left == 0:
            await self.reading.aclose()
            return
        async with aclosing(self.reading.results(self._decoding)) as results:
            async for _, values in results:
                yield values if left is None else values[:left]
                if left is not None:
                    left -= len(values)
                    if left <= 0:
                        return

    def _decoding(self, file: OpenedFile) -> RunDecoder[list[Any]]:
        header = file.source.header
        key = header.schema_text, header.codec
        if key not in self._functions:
            same = self._names is None and self.reading.fit.mapping(file.source) is None
            names = self._names
            if names is None and not same and self.reading.fit.table.is_record:
                names = list(self.reading.fit.table.fields)
            self._functions[key] = record_function(
                header.codec,
                parse_schema(header.schema),
                None if same else self._reader,
                names,
                self.reading.options.max_block_size,
            )
        return self.reading.decoder(file, self._functions[key], parallel=False)


def _fields(table: ParsedSchema, columns: Sequence[str | int]) -> list[str]:
    if not table.is_record:
        raise ValueError("the files hold no records to choose columns of")
    return list(chosen_columns(columns, list(table.fields)))


def _projected(table: ParsedSchema, names: Sequence[str]) -> ParsedSchema:
    fields = {field["name"]: field for field in table.root["fields"]}
    record = {**table.root, "fields": [fields[name] for name in names]}
    return parse_schema(standalone(table, record))
