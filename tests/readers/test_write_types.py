"""Tables, frames and records come back as they were written, types as they were or the nearest."""

from __future__ import annotations

import datetime
import decimal
import importlib
import io
import uuid
from pathlib import Path
from typing import Any

import fastavro
import fsspec
import pandas
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.derive import avro_schema_of
from fsspec_avroglob.avro.encode import table_records
from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.readers.read import read_avro_schema, read_avro_table
from fsspec_avroglob.readers.write import CODECS, write_avro
from tests.support.avro_data import USER_SCHEMA, record_schema, users

UTC = datetime.UTC


def round_trip(table: Any, path: Path, **options: Any) -> pa.Table:
    target = str(path / "file.avro")
    write_avro(table, target, **options)
    return read_avro_table(target)


def column(values: list[Any], type_: pa.DataType, *, nullable: bool = True) -> pa.Table:
    return pa.table([pa.array(values, type_)], schema=pa.schema([pa.field("x", type_, nullable)]))


# Types that come back as they are.
KEPT: dict[str, tuple[pa.DataType, list[Any]]] = {
    "null": (pa.null(), [None, None]),
    "boolean": (pa.bool_(), [True, None, False]),
    "int": (pa.int32(), [-(2**31), 2**31 - 1, None]),
    "long": (pa.int64(), [-(2**63), 2**63 - 1, None]),
    "float": (pa.float32(), [1.5, float("inf"), None]),
    "double": (pa.float64(), [0.1, -0.0, 1e300, None]),
    "string": (pa.string(), ["", "Grüße \U0001f600", None]),
    "bytes": (pa.binary(), [b"", b"\x00\xff", None]),
    "fixed": (pa.binary(3), [b"abc", None]),
    "date": (pa.date32(), [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None]),
    "time-millis": (pa.time32("ms"), [datetime.time(23, 59, 59, 999000), None]),
    "time-micros": (pa.time64("us"), [datetime.time(0, 0, 0, 1), None]),
    "timestamp-millis": (pa.timestamp("ms", "UTC"), [-62135596800000, 1, None]),
    "timestamp-micros": (pa.timestamp("us", "UTC"), [-1, 253402300799999999, None]),
    "timestamp-nanos": (pa.timestamp("ns", "UTC"), [-1, 2**63 - 1, None]),
    "local-timestamp-millis": (pa.timestamp("ms"), [1, None]),
    "local-timestamp-micros": (pa.timestamp("us"), [1, None]),
    "local-timestamp-nanos": (pa.timestamp("ns"), [123456789, None]),
    "decimal": (pa.decimal128(20, 4), [decimal.Decimal("-1234567890123456.7891"), None]),
    "wide decimal": (pa.decimal256(76, 10), [decimal.Decimal("-0.0000000001"), None]),
    "duration": (pa.month_day_nano_interval(), [(1, 2, 3_000_000), None]),
    "array": (pa.list_(pa.int64()), [[1, None], [], None]),
    "array of times": (pa.list_(pa.timestamp("ns", "UTC")), [[1, None], [], None]),
    "map": (pa.map_(pa.string(), pa.date32()), [[("a", datetime.date(2020, 1, 1))], [], None]),
    "record": (
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.struct([("c", pa.time64("us"))])))]),
        [{"a": 1, "b": [{"c": datetime.time(1)}, None]}, {"a": None, "b": None}, None],
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_types_round_trip(name: str, tmp_path: Path) -> None:
    type_, values = KEPT[name]
    table = column(values, type_)

    assert round_trip(table, tmp_path).equals(table)


@pytest.mark.parametrize("name", [name for name in KEPT if name != "null"])
def test_no_nulls_no_null_type(name: str, tmp_path: Path) -> None:
    type_, values = KEPT[name]
    table = column([value for value in values if value is not None], type_, nullable=False)

    back = round_trip(table, tmp_path)

    assert back.equals(table)
    assert not back.schema.field("x").nullable


@pytest.mark.parametrize(
    ("type_", "values", "back"),
    [
        (pa.int8(), [-128, None], pa.int32()),
        (pa.uint32(), [2**32 - 1], pa.int64()),
        (pa.uint64(), [2**63 - 1], pa.int64()),
        (pa.float16(), [1.5], pa.float32()),
        (pa.large_string(), ["a"], pa.string()),
        (pa.string_view(), ["a", None], pa.string()),
        (pa.large_binary(), [b"a"], pa.binary()),
        (pa.date64(), [86_400_000], pa.date32()),
        (pa.time32("s"), [1], pa.time32("ms")),
        (pa.timestamp("s"), [1], pa.timestamp("ms")),
        (pa.timestamp("us", "Europe/Berlin"), [1], pa.timestamp("us", "UTC")),
        (pa.large_list(pa.int8()), [[1]], pa.list_(pa.int32())),
        (pa.list_(pa.int16(), 2), [[1, 2]], pa.list_(pa.int32())),
        (pa.dictionary(pa.int8(), pa.int64()), [7, 7, None], pa.int64()),
        (pa.dictionary(pa.int8(), pa.string()), ["not a name"], pa.string()),
    ],
    ids=str,
)
def test_other_types_come_back_wider(
    type_: pa.DataType, values: list[Any], back: pa.DataType, tmp_path: Path
) -> None:
    table = column(values, type_)

    read = round_trip(table, tmp_path)

    plain = table["x"].cast(type_.value_type) if pa.types.is_dictionary(type_) else table["x"]
    assert read["x"].type == back
    assert read["x"].combine_chunks().equals(plain.cast(back).combine_chunks())


def test_dictionaries_become_enums(tmp_path: Path) -> None:
    chunks = [pa.array(["red", None]).dictionary_encode(), pa.array(["blue"]).dictionary_encode()]
    table = pa.table({"color": pa.chunked_array(chunks)})

    back = round_trip(table, tmp_path)

    assert read_avro_schema(str(tmp_path / "file.avro"))["fields"][0]["type"][1]["symbols"] == [
        "red",
        "blue",
    ]
    assert back["color"].to_pylist() == ["red", None, "blue"]
    assert pa.types.is_dictionary(back["color"].type)


def test_uuids_come_back_as_text(tmp_path: Path) -> None:
    value = uuid.UUID(int=5)
    table = pa.table({"x": pa.array([value.bytes, None], pa.uuid())})

    assert round_trip(table, tmp_path)["x"].to_pylist() == [str(value), None]


@pytest.mark.parametrize(
    "library", ["pandas", pytest.param("polars", marks=pytest.mark.needs("polars"))]
)
def test_frames_are_written(library: str, tmp_path: Path) -> None:
    values = {
        "id": [1, 2],
        "name": ["a", None],
        "at": [datetime.datetime(2024, 1, 1, tzinfo=UTC)] * 2,
    }

    frame = importlib.import_module(library).DataFrame(values)

    assert round_trip(frame, tmp_path).to_pylist() == [
        {name: column[i] for name, column in values.items()} for i in range(2)
    ]


@pytest.mark.needs("polars")
def test_polars_types_are_written(tmp_path: Path) -> None:
    import polars

    times = [datetime.time(1, 2, 3, 4), None]
    frame = polars.DataFrame(
        {
            "category": polars.Series(["a", None], dtype=polars.Categorical),
            "enum": polars.Series(["z", "a"], dtype=polars.Enum(["a", "z"])),
            "list": polars.Series([["z"], []], dtype=polars.List(polars.Enum(["a", "z"]))),
            "time": polars.Series(times),
        }
    )

    back = round_trip(frame, tmp_path)

    assert back.to_pylist() == frame.to_dicts()
    assert pa.types.is_dictionary(back["enum"].type)


@pytest.mark.needs("polars")
@pytest.mark.parametrize("type_", ["Object", "Int128"])
def test_unsupported_polars_type_is_named(type_: str, tmp_path: Path) -> None:
    import polars

    frame = polars.DataFrame({"a": [1], "x": polars.Series([1], dtype=getattr(polars, type_))})

    with pytest.raises(NotWritableError, match="'x' cannot be written"):
        write_avro(frame, tmp_path / "x.avro")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values",
    [
        pandas.Series(["text", 1], dtype=object),
        pandas.Series([1, "text"], dtype=object),
        pandas.Series([1j]),
        pandas.arrays.SparseArray([0, 1]),
        pandas.Series(pandas.to_timedelta([1, 2])),
    ],
    ids=lambda values: str(values.dtype),
)
def test_unsupported_pandas_is_named(values: Any, tmp_path: Path) -> None:
    with pytest.raises(NotWritableError, match="'x' cannot be written"):
        write_avro(pandas.DataFrame({"a": [1, 2][: len(values)], "x": values}), tmp_path / "x.avro")

    assert list(tmp_path.iterdir()) == []


def test_records_may_have_other_fields(tmp_path: Path) -> None:
    back = round_trip([{"a": 1}, {"b": "x"}], tmp_path)

    assert back.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


@pytest.mark.parametrize("codec", CODECS)
def test_records_equal_fastavros(codec: str, tmp_path: Path) -> None:
    target = tmp_path / "users.avro"

    write_avro(iter(users(500)), target, USER_SCHEMA, codec, metadata={"origin": "here"})

    with target.open("rb") as file:
        reader: Any = fastavro.reader(file)
        assert list(reader) == users(500)
        assert reader.codec == codec
        assert reader.metadata["origin"] == "here"


def test_given_schema_decides(tmp_path: Path) -> None:
    decimals = {"type": "fixed", "name": "D", "size": 5, "logicalType": "decimal", "precision": 9}
    schema = record_schema(
        {
            "b": ["null", {"type": "long", "logicalType": "timestamp-millis"}],
            "a": {**decimals, "scale": 2},
            "u": ["null", "int", {"type": "array", "items": "string"}],
            "i": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
            "e": {"type": "enum", "name": "E", "symbols": ["x", "y"]},
        }
    )
    table = pa.table(
        {
            "a": pa.array([decimal.Decimal("1.50")], pa.decimal128(9, 2)),
            "b": pa.array([1_000], pa.timestamp("us", "UTC")),
            "u": pa.array([{"int": None, "array": ["p"]}]),
            "i": [str(uuid.UUID(int=7))],
            "e": ["y"],
        }
    )

    back = round_trip(table, tmp_path, schema=schema)

    assert back.schema == TableSchema.of(schema).arrow
    assert back.to_pylist() == [
        {
            "b": datetime.datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),
            "a": decimal.Decimal("1.50"),
            "u": {"int": None, "array": ["p"]},
            "i": str(uuid.UUID(int=7)),
            "e": "y",
        }
    ]


def test_non_records_are_written(tmp_path: Path) -> None:
    back = round_trip(pa.table({"value": ["a", None]}), tmp_path, schema=["null", "string"])

    assert back.to_pylist() == [{"value": "a"}, {"value": None}]


def test_empty_tables_keep_their_shape(tmp_path: Path) -> None:
    empty = pa.table({"x": pa.array([], pa.int64())})

    assert round_trip(empty, tmp_path).equals(empty)


# --- any table ---

TYPES = st.recursive(
    st.sampled_from(
        [
            *(pa.bool_(), pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.binary()),
            *(pa.date32(), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.decimal128(10, 3)),
        ]
    ),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(lambda type_: pa.map_(pa.string(), type_)),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda found: pa.struct([(f"f{i}", type_) for i, type_ in enumerate(found)])
        ),
    ),
    max_leaves=5,
)


def values_of(type_: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(type_):
        found: st.SearchStrategy[Any] = st.lists(values_of(type_.value_type), max_size=3)
    elif pa.types.is_map(type_):
        found = st.dictionaries(st.text(max_size=3), values_of(type_.item_type), max_size=3).map(
            lambda values: list(values.items())
        )
    elif pa.types.is_struct(type_):
        found = st.fixed_dictionaries({field.name: values_of(field.type) for field in type_})
    elif pa.types.is_decimal(type_):
        found = st.integers(-(10**10) + 1, 10**10 - 1).map(lambda n: decimal.Decimal(n).scaleb(-3))
    elif pa.types.is_boolean(type_):
        found = st.booleans()
    elif pa.types.is_floating(type_):
        found = st.floats(allow_nan=False)
    elif pa.types.is_string(type_):
        found = st.text(max_size=5)
    elif pa.types.is_binary(type_):
        found = st.binary(max_size=5)
    else:
        bits = 31 if type_ in (pa.int32(), pa.date32()) else 63
        found = st.integers(-(2**bits), 2**bits - 1)
    return st.none() | found


@settings(max_examples=40)
@given(st.data())
def test_any_table_round_trips(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    values = data.draw(st.lists(values_of(type_), max_size=5))
    table = pa.table({"x": pa.array(values, type_)})
    schema = avro_schema_of(table.schema)
    out = io.BytesIO()

    fastavro.writer(out, schema, table_records(table, TableSchema.of(schema)))

    fsspec.filesystem("memory").pipe_file("/any.avro", out.getvalue())
    assert read_avro_table("memory://any.avro").equals(table)
