"""Files written column by column hold what fastavro writes, whatever the types."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.columnar import column_writer
from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.avro.encode import table_records
from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.readers.write import CODECS
from tests.support.avro_data import enum, logical, record_schema

pytestmark = pytest.mark.needs("polars_avro")

VALUE = record_schema({"id": "long", "tags": {"type": "array", "items": "string"}}, "Value")

# Avro type and a strategy for the values that Arrow has for it.
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", st.integers(-(2**63), 2**63 - 1)),
    ("float", st.floats(width=32, allow_nan=False)),
    ("double", st.floats(allow_nan=False)),
    ("string", st.text(max_size=4)),
    ("bytes", st.binary(max_size=4)),
    (logical("int", "date"), st.dates()),
    (logical("long", "timestamp-micros"), st.datetimes(timezones=st.just(datetime.UTC))),
    (logical("long", "local-timestamp-nanos"), st.integers(-(2**62), 2**62)),
    (
        logical("bytes", "decimal", precision=20, scale=2),
        st.decimals(-(10**17), 10**17, places=2).map(lambda d: d.quantize(Decimal("0.01"))),
    ),
    ({"type": "fixed", "name": "F", "size": 3}, st.binary(min_size=3, max_size=3)),
]


def nested(leaf: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    type_, values = leaf
    record = record_schema({"a": type_, "b": ["null", "long"]}, "S")
    records = st.fixed_dictionaries({"a": values, "b": st.none() | st.integers(0, 9)})
    pairs = st.dictionaries(st.text("ab", max_size=2), values, max_size=2)
    return st.sampled_from(
        [
            leaf,
            (["null", type_], st.none() | values),
            ({"type": "array", "items": type_}, st.lists(values, max_size=3)),
            (
                ["null", {"type": "array", "items": ["null", type_]}],
                st.none() | st.lists(st.none() | values, max_size=3),
            ),
            (record, records),
            (["null", record], st.none() | records),
            ({"type": "map", "values": type_}, pairs.map(lambda d: list(d.items()))),
            (
                ["null", {"type": "map", "values": type_}],
                st.none() | pairs.map(lambda d: list(d.items())),
            ),
            ({"type": "array", "items": record}, st.lists(records, max_size=2)),
        ]
    )


def written(table: pa.Table, schema: Any, codec: str = "null") -> bytes:
    out = io.BytesIO()
    writer = column_writer(table, TableSchema.of(schema), schema, 200)
    assert writer is not None
    writer.write(out, table, codec, {"key": "text"})
    return out.getvalue()


def decoded(data: bytes) -> list[Any]:
    return list(fastavro.reader(io.BytesIO(data)))


def as_fastavro(table: pa.Table, schema: Any) -> list[Any]:
    out = io.BytesIO()
    fastavro.writer(out, schema, table_records(table, TableSchema.of(schema)))
    return decoded(out.getvalue())


@given(st.data())
def test_columns_equal_records(data: st.DataObject) -> None:
    type_, values = data.draw(st.sampled_from(LEAVES).flatmap(nested))
    schema = record_schema({"n": "int", "x": type_})
    rows = data.draw(st.lists(values, max_size=6))
    field = TableSchema.of(schema).arrow.field("x")
    table = pa.table({"n": range(len(rows)), "x": pa.array(rows, field.type)})
    start = data.draw(st.integers(0, len(rows)))
    table = table.slice(start)  # arrays with offsets

    assert decoded(written(table, schema)) == as_fastavro(table, schema)


@pytest.mark.parametrize("codec", CODECS)
def test_header_is_the_one_asked_for(codec: str) -> None:
    schema = {**record_schema({"x": ["null", enum("A", "B")]}, "Seen"), "namespace": "a.b"}
    table = pa.table({"x": ["B", None, "A"] * 1000})

    reader = fastavro.reader(io.BytesIO(written(table, schema, codec)))

    assert (reader.metadata["key"], reader.codec) == ("text", codec)
    assert reader.writer_schema["name"] == "a.b.Seen"
    assert [row["x"] for row in reader] == ["B", None, "A"] * 1000


def test_blocks_have_about_the_size_asked_for() -> None:
    data = written(pa.table({"x": ["a" * 50] * 100}), record_schema({"x": "string"}))

    counts = [block.num_records for block in fastavro.block_reader(io.BytesIO(data))]
    assert max(counts) <= 5
    assert sum(counts) == 100


def test_dictionaries_do_not_make_large_blocks() -> None:
    texts = pa.array(["a" * 50, "b" * 50] * 500).dictionary_encode()
    data = written(pa.table({"x": texts}), record_schema({"x": "string"}))

    assert max(block.num_records for block in fastavro.block_reader(io.BytesIO(data))) <= 5


@pytest.mark.parametrize(
    "type_",
    [
        ["string", "null"],
        ["null", "long", "string"],
        ["long"],
        {"type": "array", "items": enum("A")},
        {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
        {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"},
        {"type": "fixed", "name": "N", "size": 8, "logicalType": "decimal", "precision": 9},
        record_schema({}, "Empty"),
    ],
    ids=str,
)
def test_other_types_are_left_to_fastavro(type_: Any) -> None:
    schema = record_schema({"x": type_})
    columns = TableSchema.of(schema)

    assert column_writer(columns.arrow.empty_table(), columns, schema, 1000) is None


@pytest.mark.parametrize(
    ("type_", "values", "message"),
    [
        (enum("A"), ["A", "C"], "'C' is not a symbol"),
        (VALUE, [{"id": None, "tags": []}], "'x.id'.*1 nulls in a type without null"),
        (VALUE, [{"id": 1, "tags": ["a", None]}], r"'x.tags\[\]'.*1 nulls"),
        ("int", [2**40], "not in range|out of bounds|invalid"),
        ({"type": "map", "values": "int"}, [[("k", 1), ("k", 2)]], "a key twice"),
    ],
)
def test_values_that_do_not_fit_are_named(type_: Any, values: list[Any], message: str) -> None:
    schema = record_schema({"x": type_})
    given = pa.map_(pa.string(), pa.int64()) if isinstance(values[0], list) else None

    with pytest.raises(NotWritableError, match=message):
        written(pa.table({"x": pa.array(values, given)}), schema)


def test_fields_of_null_records_do_not_count() -> None:
    schema = record_schema({"x": ["null", VALUE]})
    table = pa.table({"x": [None, {"id": 1, "tags": ["a"]}]})

    assert decoded(written(table, schema)) == table.to_pylist()


def test_symbols_may_be_any_text() -> None:
    schema = record_schema({"x": enum("6", "A-B")})

    data = written(pa.table({"x": ["A-B", "6"]}), schema)

    assert parse_header(data).schema == schema
    assert data.count(b"\x02\x00" + data[-16:]) == 1  # the indices, and the sync marker
