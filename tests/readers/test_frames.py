"""Dtypes of frames follow from the schema alone, so that all parts of a table agree."""

from __future__ import annotations

import datetime
import decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.readers.frames import DtypeBackend, FrameBuilder, dtype_of
from fsspec_avroglob.readers.read import read_avro
from tests.support.avro_data import avro_file, record_schema

UTC = datetime.UTC
TEXT = "str" if int(pandas.__version__.partition(".")[0]) >= 3 else "object"

# Type, value, dtype of a required column, dtype of a nullable one.
TYPES: dict[str, tuple[Any, Any, str, str]] = {
    "boolean": ("boolean", True, "bool", "boolean"),
    "int": ("int", -1, "int32", "Int32"),
    "long": ("long", (1 << 53) + 1, "int64", "Int64"),
    "float": ("float", 0.5, "float32", "float32"),
    "double": ("double", 0.5, "float64", "float64"),
    "string": ("string", "ä", TEXT, TEXT),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "category", "category"),
    "timestamp": (
        {"type": "long", "logicalType": "timestamp-millis"},
        datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
        "datetime64[ms, UTC]",
        "datetime64[ms, UTC]",
    ),
    "local timestamp": (
        {"type": "long", "logicalType": "local-timestamp-micros"},
        datetime.datetime(1000, 2, 28, 1, 2, 3),
        "datetime64[us]",
        "datetime64[us]",
    ),
    "bytes": ("bytes", b"\xff", "binary[pyarrow]", "binary[pyarrow]"),
    "date": (
        {"type": "int", "logicalType": "date"},
        datetime.datetime(2024, 2, 29),
        *["datetime64[ms]"] * 2,
    ),
    "decimal": (
        {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2},
        decimal.Decimal("1.25"),
        *["decimal128(5, 2)[pyarrow]"] * 2,
    ),
    "array": (
        {"type": "array", "items": "int"},
        [1, 2],
        *["list<item: int32 not null>[pyarrow]"] * 2,
    ),
}


def frame_of(path: Path, type_: Any, values: list[Any], **options: Any) -> pandas.DataFrame:
    path.write_bytes(avro_file([{"x": value} for value in values], record_schema({"x": type_})))
    return read_avro(path, **options)


@pytest.mark.parametrize(("type_", "value", "required", "nullable"), TYPES.values(), ids=TYPES)
def test_dtypes_ignore_values(
    tmp_path: Path, type_: Any, value: Any, required: str, nullable: str
) -> None:
    path = tmp_path / "x.avro"

    for values in ([], [value], [value, value]):
        frame = frame_of(path, type_, values)
        assert (str(frame["x"].dtype), frame["x"].tolist()) == (required, values)
    for values in ([], [None], [value], [None, value]):
        frame = frame_of(path, ["null", type_], values)
        assert str(frame["x"].dtype) == nullable
        assert frame["x"].isna().tolist() == [one is None for one in values]
        assert frame["x"].dropna().tolist() == [one for one in values if one is not None]


@pytest.mark.parametrize("values", [[], ["B"], [None, "A"]])
def test_categories_are_enum_symbols(tmp_path: Path, values: Any) -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}

    frame = frame_of(tmp_path / "x.avro", ["null", enum], values)

    assert list(frame["x"].cat.categories) == ["A", "B", "C"]


@pytest.mark.parametrize(("type_", "value", "_", "__"), TYPES.values(), ids=TYPES)
def test_pyarrow_backend_keeps_types(
    tmp_path: Path, type_: Any, value: Any, _: str, __: str
) -> None:
    frame = frame_of(tmp_path / "x.avro", ["null", type_], [value], dtype_backend="pyarrow")

    assert isinstance(frame["x"].dtype, pandas.ArrowDtype)
    expected = value.date() if "date32" in str(frame["x"].dtype) else value
    assert frame["x"].tolist() == [expected]


def test_numpy_nullable_masks(tmp_path: Path) -> None:
    types = {"i": "int", "l": ["null", "long"], "d": ["null", "double"], "b": "boolean"}
    row = {"i": 1, "l": None, "d": None, "b": True}
    (tmp_path / "x.avro").write_bytes(avro_file([row], record_schema(types)))

    frame = read_avro(tmp_path / "x.avro", dtype_backend="numpy_nullable")

    assert [str(dtype) for dtype in frame.dtypes] == ["Int32", "Int64", "Float64", "boolean"]
    assert frame["l"][0] is pandas.NA


def test_unknown_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype_backend is 'numpy_nullable' or 'pyarrow'"):
        frame_of(tmp_path / "x.avro", "int", [1], dtype_backend="numpy")  # type: ignore[arg-type]


def test_frames_equal_tables(tmp_path: Path) -> None:
    frame = frame_of(tmp_path / "x.avro", ["null", "long"], [None, 2**62])

    assert pa.table(frame)["x"].to_pylist() == [None, 2**62]


COLUMNS = {
    "int": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float32(), st.floats(width=32)),
    "double": (pa.float64(), st.floats()),
    "boolean": (pa.bool_(), st.booleans()),
    "string": (pa.string(), st.text(max_size=3)),
    "timestamp": (pa.timestamp("us", "UTC"), st.integers(-(2**40), 2**40)),
}


@given(st.data(), st.sampled_from([None, "numpy_nullable", "pyarrow"]))
def test_batches_fill_as_pyarrow_does(data: st.DataObject, backend: DtypeBackend | None) -> None:
    rows = data.draw(st.integers(0, 20))
    fields, arrays = [], []
    for name, (type_, values) in COLUMNS.items():
        nullable = data.draw(st.booleans())
        some = st.none() | values if nullable else values
        fields.append(pa.field(name, type_, nullable=nullable))
        column = data.draw(st.lists(some, min_size=rows, max_size=rows))
        arrays.append(pa.array(column, type_))
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))

    builder = FrameBuilder(batch.schema, backend)
    for start, stop in pairwise([0, *cuts, rows]):
        builder.add(batch.slice(start, stop - start))
    found = builder.frame()

    table = pa.Table.from_batches([batch])
    for field in batch.schema:
        column = table[field.name].to_pandas(types_mapper=lambda _, f=field: dtype_of(f, backend))
        pandas.testing.assert_series_equal(found[field.name], column, check_names=False)


@pytest.mark.parametrize("dtype_backend", [None, "numpy_nullable"])
def test_nat_timestamp_is_an_error(dtype_backend: Any) -> None:
    schema = pa.schema([("at", pa.timestamp("us", "UTC"))])
    batches = [
        pa.record_batch([pa.array(values, schema.field(0).type)], schema)
        for values in ([None, 5], [-(2**63)])
    ]
    builder, whole = FrameBuilder(schema, dtype_backend), FrameBuilder(schema, "pyarrow")
    for batch in batches:
        builder.add(batch)
        whole.add(batch)

    with pytest.raises(ValueError, match=r"'at' holds the timestamp -2\*\*63.*pyarrow"):
        builder.frame()
    assert whole.frame()["at"].isna().tolist() == [True, False, False]
