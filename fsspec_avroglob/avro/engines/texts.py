"""Columns of recursive types as JSON texts: Arrow has no recursive types."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.logical import json_value
from fsspec_avroglob.avro.resolution import resolve
from fsspec_avroglob.avro.schema import ParsedSchema
from fsspec_avroglob.avro.values import ValueDecoder


class TextColumns:
    """Makes those columns of a table that are JSON texts; files of *writer* hold them."""

    def __init__(self, writer: ParsedSchema, table: TableSchema) -> None:
        self._arrow = table.arrow
        self._names = table.texts
        reader = table.select(table.texts).parsed
        step = resolve(writer, reader, writer_path="the file", reader_path="the reader schema")
        self._decoder = ValueDecoder(writer, reader, step)

    def added_to(
        self, batch: pa.RecordBatch, blocks: Sequence[tuple[int, bytes]]
    ) -> pa.RecordBatch:
        """Return the table's rows: the other columns from *batch*, the texts from *blocks*.

        Raises BlockDecodeError and ConversionError.
        """
        rows = [row for count, data in blocks for row in self._decoder.values(count, data)]
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name in self._names:
            columns[name] = pa.array((_text(row[name]) for row in rows), pa.string())
        arrays = [columns[name] for name in self._arrow.names]
        return pa.RecordBatch.from_arrays(arrays, schema=self._arrow)


def _text(value: object) -> str | None:
    return None if value is None else json.dumps(json_value(value), ensure_ascii=False)
