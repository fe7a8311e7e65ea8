"""Avro data decoded as tables, for tests of types, engines and resolution."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from fsspec_avroglob.avro.arrow import TableSchema, member_name
from fsspec_avroglob.avro.container import ContainerHeader, parse_header, walk_blocks
from fsspec_avroglob.avro.engines import Decoder, decoder
from fsspec_avroglob.avro.schema import kind_of
from tests.support.avro_data import avro_file, record_schema

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
    """A container file as a valid batch, read with *reader* or its own schema."""
    header = parse_header(data)
    table = TableSchema.of(header.schema if reader is None else reader, columns)
    batch = decoder(header, table, engine).decode(stored_blocks(data), rows)
    batch.validate(full=True)
    assert batch.schema.equals(table.arrow, check_metadata=True)
    return batch


def column(
    type_: Any, values: Iterable[Any], reader: Any = None, *, engine: str = "auto"
) -> pa.Array:
    """The column of values that fastavro wrote as *type_*, read as *reader* or *type_*."""
    # The numbers are for polars-avro, which refuses schemas with few different values.
    records = [{"x": value, "n": number} for number, value in enumerate(values)]
    data = avro_file(records, record_schema({"x": type_, "n": "long"}))
    schema = None if reader is None else record_schema({"x": reader, "n": "long"})
    batch = decoded(data, schema, engine=engine)
    assert batch.column("n").to_pylist() == list(range(len(records)))
    return batch.column("x")


def decoder_of(schema: Any, engine: str = "auto", codec: str = "null", **options: Any) -> Decoder:
    """A decoder for handmade blocks."""
    header = ContainerHeader(json.dumps(schema), codec, {}, bytes(16), 0)
    return decoder(header, TableSchema.of(schema), engine, **options)


def block(value_count: int, data: bytes) -> list[tuple[int, bytes]]:
    """One block for a decoder."""
    return [(value_count, data)]


def stored_blocks(file: bytes) -> Iterator[tuple[int, bytes]]:
    """The blocks of a container file as decoders take them."""
    header = parse_header(file)
    for one in walk_blocks(file, header.sync_marker, start=header.size_bytes):
        yield one.value_count, file[one.data_offset :][: one.size_bytes]


def encoded(schema: Any, value: Any) -> bytes:
    """The bytes of one value."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def assert_same(schema: Any, avro: Any, arrow: Any) -> None:
    """Check that a value from Arrow equals the one that fastavro read."""
    kind = kind_of(schema)
    if kind == "union":
        branches = [branch for branch in schema if branch != "null"]
        if avro is None:
            assert arrow is None
        elif len(branches) == 1:
            assert_same(branches[0], avro, arrow)
        else:
            [(name, value)] = [(n, v) for n, v in arrow.items() if v is not None]
            assert_same(next(b for b in branches if member_name(b) == name), avro, value)
    elif kind == "record":
        assert avro.keys() == arrow.keys()
        for field in schema["fields"]:
            assert_same(field["type"], avro[field["name"]], arrow[field["name"]])
    elif kind == "array":
        for item, value in zip(avro, arrow, strict=True):
            assert_same(schema["items"], item, value)
    elif kind == "map":
        assert avro.keys() == dict(arrow).keys()
        for key, value in arrow:
            assert_same(schema["values"], avro[key], value)
    else:
        value = arrow.value if hasattr(arrow, "value") else arrow  # pandas' for nanoseconds
        assert (str(avro) if "uuid" in str(schema) else avro) == value
