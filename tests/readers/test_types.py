"""Each type of Avro becomes the Arrow type that docs/types.md says, with its values exact."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas
import pyarrow as pa
import pytest

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.errors import UnsupportedTypeError
from fsspec_avroglob.readers.frames import FrameBuilder
from fsspec_avroglob.readers.lazy import polars_schema
from tests.support.avro_data import avro_file, logical, record_schema
from tests.support.avro_tables import ENGINES, block, column, decoded, decoder_of, encoded

DOCUMENT = Path(__file__).parents[2] / "docs" / "types.md"
ROWS = re.findall(r"^\| `(.*)` \| `(.*)` \| `(.*)` \| `(.*)` \|$", DOCUMENT.read_text(), re.M)

MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1
NINES = Decimal("9" * 73 + "." + "9" * 3)
UUID_5 = UUID(int=2**127 + 5)
YEAR_10000_MILLIS = 253_402_300_800_000

NODE = record_schema({"value": "int", "next": ["null", "Node"]}, "Node")
E = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
F3 = {"type": "fixed", "name": "F", "size": 3}


def fixed(name: str, size: int, **attributes: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": "X", "size": size, "logicalType": name, **attributes}


def test_documentation_has_the_table() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize(("avro", "arrow", "pandas_dtype"), [row[:3] for row in ROWS])
def test_types_are_as_documented(avro: str, arrow: str, pandas_dtype: str) -> None:
    schema = TableSchema.of(record_schema({"x": json.loads(avro)})).arrow

    assert str(schema.field(0).type) == arrow
    assert schema.field(0).nullable == ("null" in avro.partition("{")[0])
    if pandas_dtype == "str" and not isinstance(pandas.Series([""]).dtype, pandas.StringDtype):
        pandas_dtype = "object"  # before pandas 3
    assert str(FrameBuilder(schema).frame().dtypes.iloc[0]) == pandas_dtype


@pytest.mark.needs("polars")
@pytest.mark.parametrize(("avro", "polars_dtype"), [(row[0], row[3]) for row in ROWS])
def test_polars_types_are_as_documented(avro: str, polars_dtype: str) -> None:
    import polars

    schema = TableSchema.of(record_schema({"x": json.loads(avro)})).arrow

    if polars_dtype == "none":
        with pytest.raises(UnsupportedTypeError, match="'x'"):
            polars_schema(schema)
    else:
        values = pa.table([pa.nulls(1, schema.field(0).type)], schema=schema)
        assert str(polars.from_arrow(values).dtypes[0]) == polars_dtype


# Type, values as Avro's numbers and bytes, values as Arrow returns them.
VALUES: list[tuple[Any, list[Any], list[Any]]] = [
    ("boolean", [True, False], [True, False]),
    ("int", [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
    ("long", [MIN_LONG, MAX_LONG], [MIN_LONG, MAX_LONG]),
    ("float", [1.5, float("inf")], [1.5, float("inf")]),
    ("double", [1e308, -0.0], [1e308, -0.0]),
    ("bytes", [b"", b"\x00\xff"], [b"", b"\x00\xff"]),
    ("string", ["", "é\U0001f600\x00"], ["", "é\U0001f600\x00"]),
    (F3, [b"abc", b"\x00\xff\x01"], [b"abc", b"\x00\xff\x01"]),
    (E, ["B", "A", "B"], ["B", "A", "B"]),
    ({"type": "array", "items": "long"}, [[], [1, 2]], [[], [1, 2]]),
    ({"type": "array", "items": ["null", E]}, [["A", None], []], [["A", None], []]),
    ({"type": "map", "values": "int"}, [{}, {"b": 1, "a": 2}], [[], [("b", 1), ("a", 2)]]),
    (["null", {"type": "map", "values": F3}], [None, {"k": b"abc"}], [None, [("k", b"abc")]]),
    (record_schema({"a": "int", "b": ["null", "string"]}, "S"), [{"a": 1}], [{"a": 1, "b": None}]),
    (["null", record_schema({"a": "int"}, "S")], [None, {"a": 1}], [None, {"a": 1}]),
    (["string", "null"], ["x", None], ["x", None]),
    (["null"], [None], [None]),
    (["int"], [7], [7]),
    (
        ["null", "int", "string"],
        [None, 5, "x"],
        [None, {"int": 5, "string": None}, {"int": None, "string": "x"}],
    ),
    (
        ["int", {"type": "array", "items": ["null", "boolean"]}],
        [3, [True, None]],
        [{"int": 3, "array": None}, {"int": None, "array": [True, None]}],
    ),
    (
        ["null", record_schema({"u": ["long", "string"]}, "a.b.S"), E],
        [{"u": 1}, "B", {"u": "s"}, None],
        [
            {"a.b.S": {"u": {"long": 1, "string": None}}, "E": None},
            {"a.b.S": None, "E": "B"},
            {"a.b.S": {"u": {"long": None, "string": "s"}}, "E": None},
            None,
        ],
    ),
    (
        logical("bytes", "decimal", precision=10, scale=2),
        [Decimal("-1.25"), Decimal("99999999.99"), Decimal(0)],
        [Decimal("-1.25"), Decimal("99999999.99"), Decimal("0.00")],
    ),
    (
        fixed("decimal", 16, precision=38),
        [Decimal(10**38 - 1), Decimal(1 - 10**38)],
        [Decimal(10**38 - 1), Decimal(1 - 10**38)],
    ),
    (
        ["null", fixed("decimal", 32, precision=76, scale=3)],
        [NINES, None],
        [NINES, None],
    ),
    (logical("string", "uuid"), [UUID(int=5)], [str(UUID(int=5))]),
    (["null", fixed("uuid", 16)], [UUID_5.bytes, None], [str(UUID_5), None]),
    (
        fixed("duration", 12),
        [bytes([1, 0, 0, 0, 2, 0, 0, 0, 255, 255, 255, 255])],
        [pa.MonthDayNano([1, 2, (2**32 - 1) * 10**6])],
    ),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("type_", "values", "expected"), VALUES, ids=lambda v: str(v)[:60])
def test_values_are_exact(engine: str, type_: Any, values: list[Any], expected: list[Any]) -> None:
    array = column(type_, values, engine=engine)

    assert array.to_pylist() == expected
    assert array.equals(column(type_, values, engine="fastavro"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("kind", "name", "numbers"),
    [
        ("int", "date", [-(2**31), 0, 2**31 - 1]),
        ("int", "time-millis", [0, 86_399_999]),
        ("long", "time-micros", [0, 86_399_999_999]),
        *(
            ("long", f"{family}-{unit}", [MIN_LONG, -1, 0, YEAR_10000_MILLIS, MAX_LONG])
            for family in ("timestamp", "local-timestamp")
            for unit in ("millis", "micros", "nanos")
        ),
    ],
)
def test_times_keep_every_number(engine: str, kind: str, name: str, numbers: list[int]) -> None:
    schema = record_schema({"x": logical(kind, name), "y": ["null", logical(kind, name)]})
    data = b"".join(
        encoded(kind, n) + (b"\x02" + encoded(kind, n) if n else b"\x00") for n in numbers
    )

    batch = decoder_of(schema, engine).decode(block(len(numbers), data))

    raw = [pa.int32() if kind == "int" else pa.int64()] * 2
    assert [c.view(t).to_pylist() for c, t in zip(batch.columns, raw, strict=True)] == [
        numbers,
        [n or None for n in numbers],
    ]


@pytest.mark.parametrize(
    ("type_", "underneath"),
    [
        (logical("bytes", "decimal"), pa.binary()),
        (logical("bytes", "decimal", precision=0), pa.binary()),
        (logical("bytes", "decimal", precision=2, scale=3), pa.binary()),
        (logical("bytes", "decimal", precision="4"), pa.binary()),
        (fixed("decimal", 2, precision=5), pa.binary(2)),
        (fixed("duration", 11), pa.binary(11)),
        (fixed("uuid", 15), pa.binary(15)),
        (logical("long", "date"), pa.int64()),
        (logical("int", "timestamp-millis"), pa.int32()),
        (logical("string", "decimal", precision=4), pa.string()),
        (logical("long", "timestamp-weeks"), pa.int64()),
        (logical("long", ["odd"]), pa.int64()),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_invalid_logical_type_is_ignored(type_: Any, underneath: pa.DataType) -> None:
    schema = TableSchema.of(record_schema({"x": type_}))

    assert schema.arrow.field("x").type == underneath


@pytest.mark.parametrize("engine", ENGINES)
def test_maps_keep_repeated_keys(engine: str) -> None:
    schema = record_schema({"x": {"type": "map", "values": "int"}})
    data = b"\x04" + b"\x02k\x02" + b"\x02k\x04" + b"\x00"

    batch = decoder_of(schema, engine).decode(block(1, data))

    assert batch.column(0).to_pylist() == [[("k", 1), ("k", 2)]]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("type_", "value", "reason"),
    [
        (logical("bytes", "decimal", precision=2), b"\x7f", "2 digits"),
        (logical("bytes", "decimal", precision=2), b"\x01" + bytes(40), "2 digits"),
        (fixed("duration", 12), b"\xff" * 12, "months or days"),
        ("string", b"\xff", "UTF"),
        (E, 2, "not a symbol"),
        (E, -1, "not a symbol"),
    ],
)
def test_value_outside_type_is_error(engine: str, type_: Any, value: Any, reason: str) -> None:
    schema = record_schema({"r": record_schema({"x": type_}, "S")})
    physical = "int" if isinstance(value, int) else "bytes"
    data = value if type_ == fixed("duration", 12) else encoded(physical, value)

    with pytest.raises(ValueError, match=rf"field 'r\.x': .*{reason}"):
        decoder_of(schema, engine).decode(block(1, data))


@pytest.mark.parametrize("sign", [b"\x00", b"\xff"])
def test_decimals_may_be_padded(sign: bytes) -> None:
    schema = record_schema({"x": logical("bytes", "decimal", precision=2)})
    data = encoded("bytes", sign * 30 + (sign[0] ^ 0x11).to_bytes())

    batch = decoder_of(schema).decode(block(1, data))

    assert batch.column(0).to_pylist() == [Decimal(0x11) if sign == b"\x00" else Decimal(-0x12)]


def test_too_long_decimal_names_option() -> None:
    long = logical("bytes", "decimal", precision=77)
    schema = TableSchema.of(record_schema({"r": record_schema({"x": long}, "S"), "y": "int"}))

    with pytest.raises(UnsupportedTypeError, match=r"field 'r\.x'.* 77 digits.*schema=") as caught:
        _ = schema.arrow

    assert caught.value.field == "r.x"
    assert schema.select(["y"]).arrow.names == ["y"]


def test_recursive_type_names_options() -> None:
    data = avro_file([{"value": 1, "next": {"value": 2, "next": None}}], NODE)

    with pytest.raises(UnsupportedTypeError, match=r"field 'next'.*iter_avro_records"):
        decoded(data)

    assert decoded(data, columns=["value"]).to_pylist() == [{"value": 1}]
    without = record_schema({"next": ["null", record_schema({"value": "int"}, "Node")]}, "Node")
    assert decoded(data, {**without, "fields": NODE["fields"][:1]}).to_pylist() == [{"value": 1}]


def test_multiplying_names_are_refused() -> None:
    types: Any = "int"
    for depth in range(12):
        first = record_schema({"x": types}, f"A{depth}")
        types = record_schema({"a": first, **{f"b{i}": f"A{depth}" for i in range(4)}}, f"B{depth}")

    with pytest.raises(UnsupportedTypeError, match="more than 100000 nested fields"):
        _ = TableSchema.of(types).arrow


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("schema", "values", "expected"),
    [
        ("long", [1, 2], [1, 2]),
        (["null", "string"], ["x", None], ["x", None]),
        (["int", "string"], ["x"], [{"int": None, "string": "x"}]),
        ({"type": "array", "items": "int"}, [[1], []], [[1], []]),
        ({"type": "map", "values": "int"}, [{"k": 1}], [[("k", 1)]]),
        (E, ["B"], ["B"]),
        ([record_schema({"a": "int"})], [{"a": 1}], [{"a": 1}]),
    ],
    ids=str,
)
def test_non_record_is_one_column(
    engine: str, schema: Any, values: list[Any], expected: list[Any]
) -> None:
    batch = decoded(avro_file(values, schema), engine=engine)

    assert batch.to_pydict() == {"value": expected}


def test_columns_by_name_and_index() -> None:
    table = TableSchema.of(record_schema({"a": "int", "b": "string", "c": E}))

    assert table.columns == ("a", "b", "c")
    assert table.select(["c", 0]).columns == ("c", "a")
    assert table.select([-1]).arrow.names == ["c"]
    assert TableSchema.of(table.avro, ["b"]) == table.select(["b"])


def test_chosen_column_defines_its_types() -> None:
    table = TableSchema.of(record_schema({"a": E, "b": {"type": "array", "items": "E"}}))

    assert table.select(["b"]).arrow.field("b").type.value_type == table.arrow.field("a").type


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["idd"], "no column 'idd'; there is 'id'"),
        ([3], "no column 3"),
        (["id", 0], "names a column twice"),
    ],
)
def test_impossible_columns_are_errors(columns: list[str | int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableSchema.of(record_schema({"id": "int", "name": "string"}), columns)
