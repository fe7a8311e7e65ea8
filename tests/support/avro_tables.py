"""Avro data decoded as tables: what the tests of types, engines and resolution have in common."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.container import ContainerHeader, parse_header
from fsspec_avroglob.avro.engines import Decoder, decoder
from tests.support.avro_data import avro_file, encode_long, record_schema

ENGINES = ("fastavro", pytest.param("polars-avro", marks=pytest.mark.needs("polars_avro")))
"""Parameters for tests of each engine."""


def decoded(
    data: bytes,
    reader: Any = None,
    *,
    engine: str = "auto",
    columns: Sequence[str | int] | None = None,
    rows: int | None = None,
) -> pa.RecordBatch:
    """All blocks of a container file, read with a schema or the file's own, and found valid."""
    header = parse_header(data)
    table = TableSchema.of(header.schema if reader is None else reader, columns)
    batch = decoder(header, table, engine).decode(data[header.size_bytes :], rows)
    batch.validate(full=True)
    assert batch.schema.equals(table.arrow, check_metadata=True)
    return batch


def column(
    type_: Any, values: Iterable[Any], reader: Any = None, *, engine: str = "auto"
) -> pa.Array:
    """Values of one type, written by fastavro, as the column that they are decoded to."""
    # Beside a number: polars-avro takes no schema whose values are few.
    records = [{"x": value, "n": number} for number, value in enumerate(values)]
    data = avro_file(records, record_schema({"x": type_, "n": "long"}))
    schema = None if reader is None else record_schema({"x": reader, "n": "long"})
    batch = decoded(data, schema, engine=engine)
    assert batch.column("n").to_pylist() == list(range(len(records)))
    return batch.column("x")


def decoder_of(schema: Any, engine: str = "auto", codec: str = "null", **options: Any) -> Decoder:
    """The decoder for blocks that were not written by anyone."""
    header = ContainerHeader(json.dumps(schema), codec, {}, bytes(16), 0)
    return decoder(header, TableSchema.of(schema), engine, **options)


def block(value_count: int, data: bytes) -> bytes:
    """A block as it is stored, without compression."""
    return encode_long(value_count) + encode_long(len(data)) + data + bytes(16)


def encoded(schema: Any, value: Any) -> bytes:
    """One value's bytes."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()
