"""Values of one schema are read with another by the rules of the specification."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from fsspec_avroglob.avro.resolution import resolve
from fsspec_avroglob.avro.schema import parse_schema
from fsspec_avroglob.errors import ConversionError, InvalidSchemaError, SchemaMismatchError
from tests.support.avro_data import avro_file, enum, logical, record_schema
from tests.support.avro_tables import ENGINES, column, decoded

MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1


def inner(*fields: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"type": "record", "name": "S", "fields": list(fields), **attributes}


def field(name: str, type_: Any, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **attributes}


# Writer, reader, values, and what they are read as; None for what fastavro's reader says.
RESOLVED: list[tuple[Any, Any, list[Any], list[Any] | None]] = [
    ("int", "long", [1, -1], None),
    ("int", "float", [1, 2**24], None),
    ("int", "double", [2**31 - 1], None),
    ("long", "float", [3], None),
    ("long", "double", [2**53], None),
    ("float", "double", [1.5], None),
    ("string", "bytes", ["é"], None),
    ("bytes", "string", ["é".encode()], None),
    ("int", ["null", "int"], [1], None),
    ("int", ["null", "long"], [1], None),
    (["null", "int"], "int", [1], None),
    (["int", "string"], "int", [1], None),
    (["null", "int"], ["double", "null"], [None, 2], None),
    (["int", "string"], ["null", "long"], [5], [5]),
    (["null", "long"], ["null", "double"], [None, None], None),
    (["null", "long", "string"], ["null", "string"], ["a", None, "b"], None),
    (["long", "string"], ["double", "string"], ["a"], [{"double": None, "string": "a"}]),
    ("int", ["string", "long"], [5], [{"string": None, "long": 5}]),
    ("int", ["double", "int"], [5], [{"double": None, "int": 5}]),
    (
        ["null", "int", "string"],
        ["string", "double", "null"],
        [None, 1, "x"],
        [None, {"string": None, "double": 1.0}, {"string": "x", "double": None}],
    ),
    (["int", "long"], "double", [1, 2**40], [1.0, 2.0**40]),
    (["int", "float"], ["null", "double"], [1, 1.5], [1.0, 1.5]),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "double"}, [[1], []], None),
    (
        {"type": "map", "values": "int"},
        {"type": "map", "values": ["null", "long"]},
        [{"a": 1}],
        [[("a", 1)]],
    ),
    (enum("A", "B"), enum("C", "B", "A"), ["A", "B"], None),
    (enum("A", "B"), enum("A", "Z", default="Z"), ["A", "B"], None),
    (["null", enum("A", "B")], ["null", enum("B", "A")], ["A", None, "B"], None),
    (enum("A"), {**enum("A"), "name": "E2", "aliases": ["E"]}, ["A"], None),
    (inner(field("a", "int")), inner(field("b", "long", aliases=["a"])), [{"a": 1}], [{"b": 1}]),
    (
        inner(field("a", "int"), field("b", "string")),
        inner(field("b", "string"), field("c", "int", default=7), field("a", "int")),
        [{"a": 1, "b": "x"}],
        [{"b": "x", "c": 7, "a": 1}],
    ),
    (
        ["null", inner(field("a", ["null", "int"]))],
        ["null", inner(field("a", "int"))],
        [None, {"a": 1}],
        None,
    ),
    (inner(field("a", "int")), inner(), [{"a": 1}], None),
    (logical("long", "timestamp-millis"), "long", [datetime(1970, 1, 2, tzinfo=UTC)], [86_400_000]),
    (
        logical("long", "timestamp-millis"),
        logical("long", "timestamp-micros"),
        [datetime(2024, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)],
        [datetime(2024, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)],
    ),
    (
        logical("bytes", "decimal", precision=4, scale=1),
        logical("bytes", "decimal", precision=40, scale=3),
        [Decimal("-123.4")],
        [Decimal("-123.400")],
    ),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("writer", "reader", "values", "expected"), RESOLVED, ids=str)
def test_reader_schema_applies(
    engine: str, writer: Any, reader: Any, values: list[Any], expected: list[Any] | None
) -> None:
    if expected is None:
        data = avro_file([{"x": value} for value in values], record_schema({"x": writer}))
        records = fastavro.reader(io.BytesIO(data), record_schema({"x": reader}))
        expected = [record["x"] for record in records]  # type: ignore[index,call-overload]

    assert column(writer, values, reader, engine=engine).to_pylist() == expected


DEFAULTS: list[tuple[Any, Any, Any]] = [
    ("null", None, None),
    ("boolean", True, True),
    ("int", 5, 5),
    ("long", MIN_LONG, MIN_LONG),
    ("float", 1, 1.0),
    ("double", 1.5, 1.5),
    ("bytes", "\u00ff", b"\xff"),
    ("string", "é", "é"),
    ({"type": "fixed", "name": "F", "size": 2}, "\u0001\u00ff", b"\x01\xff"),
    (enum("A", "B"), "B", "B"),
    ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
    ({"type": "map", "values": "string"}, {"k": "v"}, [("k", "v")]),
    (inner(field("a", "int"), field("b", "int", default=3)), {"a": 1}, {"a": 1, "b": 3}),
    (["null", "int"], None, None),
    (["int", "null"], 5, 5),
    (["null", "int"], 5, 5),
    (["int", "string"], "x", {"int": None, "string": "x"}),
    (logical("bytes", "decimal", precision=4, scale=2), "\u0001\u0000", Decimal("2.56")),
    (logical("long", "timestamp-micros"), 0, datetime(1970, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("type_", "default", "expected"), DEFAULTS, ids=str)
def test_missing_fields_get_default(engine: str, type_: Any, default: Any, expected: Any) -> None:
    reader = {**record_schema({}), "fields": [field("x", type_, default=default)]}
    data = avro_file([{"n": 1}, {"n": 2}], record_schema({"n": "long"}))

    assert decoded(data, reader, engine=engine).to_pylist() == [{"x": expected}] * 2


@pytest.mark.parametrize(
    ("type_", "default"), [("int", "x"), (enum("A"), "B"), (["null", "int"], "x"), ("null", 1)]
)
def test_default_of_other_type_is_error(type_: Any, default: Any) -> None:
    reader = {**record_schema({}), "fields": [field("x", type_, default=default)]}

    with pytest.raises(InvalidSchemaError, match="field 'x' has the default"):
        decoded(avro_file([{"n": 1}], record_schema({"n": "long"})), reader)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("writer", "reader", "value", "reason"),
    [
        ("long", "double", 2**53 + 1, "9007199254740993 is not exact as double"),
        ("int", "float", 2**24 + 1, "not exact as float"),
        ("long", "double", MAX_LONG, "not exact as double"),
        ("bytes", "string", b"\xff", "UTF"),
        (["null", "int"], "int", None, "a value is null"),
        (["int", "string"], "int", "x", "string is not int"),
        (["null", "int", "string"], ["null", "int"], "x", "string is not"),
        (enum("A", "B"), enum("A"), "B", "symbol 'B' is not in the reader schema"),
        (
            logical("long", "timestamp-micros"),
            logical("long", "timestamp-nanos"),
            datetime(2500, 1, 1, tzinfo=UTC),
            "overflow",
        ),
    ],
)
def test_unfit_value_is_error(
    engine: str, writer: Any, reader: Any, value: Any, reason: str
) -> None:
    with pytest.raises(ConversionError, match=f"field 'x': .*{reason}"):
        column(writer, [value], reader, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_null_record_has_null_fields(engine: str) -> None:
    writer = ["null", inner(field("a", ["null", inner(field("b", ["null", "int"]), name="T")]))]
    reader = ["null", inner(field("a", inner(field("b", "int"), name="T")))]

    array = column(writer, [None, {"a": {"b": 1}}], reader, engine=engine)

    assert array.to_pylist() == [None, {"a": {"b": 1}}]


MISMATCHES: list[tuple[Any, Any, str]] = [
    ("long", "int", "field 'x' is long; it is int"),
    ("double", "float", "field 'x' is double; it is float"),
    ("string", "int", "field 'x' is string; it is int"),
    (["null", "int"], ["null", "string"], r"field 'x' is \[null, int\]; it is \[null, string\]"),
    ("null", "int", "field 'x' is null; it is int"),
    (inner(field("a", "int")), inner(field("b", "int")), r"field 'x\.b' is missing; it is int"),
    ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}, r"field 'x\[\]' is"),
    ({"type": "map", "values": "long"}, {"type": "map", "values": "int"}, r"field 'x\{\}' is"),
    (inner(), {**inner(), "name": "T"}, "record S; it is record T"),
    (enum("A"), {**enum("A"), "name": "T"}, "enum E"),
    (
        {"type": "fixed", "name": "F", "size": 2},
        {"type": "fixed", "name": "F", "size": 3},
        "2 bytes.*3 bytes",
    ),
    (logical("long", "timestamp-nanos"), logical("long", "timestamp-micros"), "timestamp-nanos"),
    (logical("long", "timestamp-millis"), logical("long", "local-timestamp-millis"), "local"),
    (logical("int", "date"), logical("int", "time-millis"), "date"),
    (
        logical("bytes", "decimal", precision=4, scale=2),
        logical("bytes", "decimal", precision=4, scale=1),
        "decimal, 4, 2",
    ),
]


@pytest.mark.parametrize(("writer", "reader", "message"), MISMATCHES, ids=str)
def test_mismatch_names_file_field_type(writer: Any, reader: Any, message: str) -> None:
    schemas = [parse_schema(record_schema({"x": type_})) for type_ in (writer, reader)]

    with pytest.raises(SchemaMismatchError, match=message) as caught:
        resolve(*schemas, writer_path="other.avro", reader_path="first.avro")

    assert (caught.value.first_path, caught.value.path) == ("first.avro", "other.avro")
    assert str(caught.value).startswith("other.avro does not fit first.avro: field 'x")


@pytest.mark.parametrize("engine", ENGINES)
def test_recursive_writer_flattens(engine: str) -> None:
    if engine == "polars-avro":
        engine = "auto"
    node = record_schema({"value": "int", "children": {"type": "array", "items": "Node"}}, "Node")
    data = avro_file([{"value": 1, "children": [{"value": 2, "children": []}]}], node)
    leaf = record_schema({"value": "long"}, "Node")
    reader = record_schema(
        {"value": "long", "children": {"type": "array", "items": "Leaf"}}, "Node"
    )
    reader["fields"][1]["type"]["items"] = {**leaf, "name": "Leaf", "aliases": ["Node"]}

    batch = decoded(data, reader, engine=engine)

    assert batch.to_pylist() == [{"value": 1, "children": [{"value": 2}]}]
