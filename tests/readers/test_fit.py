"""Files with different schemas: what is read together, and what the errors advise."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob import iter_avro_records, read_avro_table, scan_avro
from fsspec_avroglob.dask import read_avro as dask_read_avro
from fsspec_avroglob.errors import InvalidSchemaError, SchemaMismatchError, UnsupportedTypeError
from tests.conftest import PutObjects
from tests.support.avro_data import avro_file, enum, logical, record_schema
from tests.support.servers import Endpoint

MILLIS = logical("long", "timestamp-millis")
DAY = datetime(2026, 11, 28, tzinfo=UTC)


def decimal(size: int, precision: int, scale: int) -> dict[str, Any]:
    fixed = {"type": "fixed", "name": "D", "size": size, "logicalType": "decimal"}
    return {**fixed, "precision": precision, "scale": scale}


def write_files(folder: Path, *files: tuple[Any, Any]) -> str:
    """Write files of one record, each a schema and the record, and return their glob."""
    for number, (schema, record) in enumerate(files):
        Path(folder, f"{number}.avro").write_bytes(avro_file([record], schema))
    return f"{folder}/*.avro"


def both(path: str, **options: Any) -> list[Any]:
    """What records and tables have in common."""
    records = list(iter_avro_records(path, **options))
    assert read_avro_table(path, **options).to_pylist() == records
    return records


@pytest.mark.parametrize(
    ("first", "second", "values", "expected"),
    [
        (
            decimal(4, 9, 2),
            decimal(16, 30, 4),
            [Decimal("1.50"), Decimal("2.1234")],
            [Decimal("1.5000"), Decimal("2.1234")],
        ),
        (
            decimal(4, 9, 2),
            logical("bytes", "decimal", precision=12, scale=2),
            [Decimal("1.50")] * 2,
            [Decimal("1.50")] * 2,
        ),
        (enum("A", "B"), "string", ["B", "new"], ["B", "new"]),
        (logical("int", "date"), MILLIS, [date(2026, 11, 28), DAY], [DAY, DAY]),
        ("long", MILLIS, [1_795_824_000_000, DAY], [DAY, DAY]),
        (["null", "long"], MILLIS, [None, DAY], [None, DAY]),
    ],
    ids=["decimals", "decimal on bytes", "enum", "date", "long", "nullable"],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_union_of_types_of_one_meaning(
    tmp_path: Path, first: Any, second: Any, values: list[Any], expected: list[Any], swapped: bool
) -> None:
    files = [
        (record_schema({"x": type_}), {"x": value})
        for type_, value in zip([first, second], values, strict=True)
    ]
    path = write_files(tmp_path, *(files[::-1] if swapped else files))

    found = [row["x"] for row in both(path, schema="union")]

    assert found == (expected[::-1] if swapped else expected)


def test_union_by_name_ignores_names_of_types(tmp_path: Path) -> None:
    def schema(tag: str, **more: Any) -> dict[str, Any]:
        inner = record_schema({"y": "int", **more}, f"Inner{tag}")
        items = {"type": "array", "items": ["null", record_schema({"z": "int"}, f"Item{tag}")]}
        return record_schema({"x": inner, "items": items}, f"ns{tag}.Topic{tag}")

    record = {"x": {"y": 1}, "items": [{"z": 2}, None]}
    path = write_files(
        tmp_path,
        (schema("A"), record),
        (schema("B", w="string"), {**record, "x": {"y": 2, "w": "text"}}),
    )

    with pytest.raises(SchemaMismatchError, match=r'schema="union_by_name" reads them together$'):
        list(iter_avro_records(path))
    with pytest.raises(SchemaMismatchError, match=r'schema="union_by_name" reads them together$'):
        list(iter_avro_records(path, schema="union"))
    assert both(path, schema="union_by_name") == [
        {"x": {"y": 1, "w": None}, "items": [{"z": 2}, None]},
        {"x": {"y": 2, "w": "text"}, "items": [{"z": 2}, None]},
    ]


@pytest.mark.needs("dask", "polars")
@pytest.mark.parametrize("columns", [["id"], ["id", "y"]])
@pytest.mark.parametrize("schema", [None, "first", "last", "union"])
def test_other_columns_need_not_fit(tmp_path: Path, schema: Any, columns: list[str]) -> None:
    path = write_files(
        tmp_path,
        (record_schema({"id": "int", "y": "int", "x": "string"}), {"id": 1, "y": 1, "x": ""}),
        (record_schema({"x": "int", "y": "int", "id": "int"}), {"id": 2, "y": 2, "x": 1}),
    )

    found = both(path, schema=schema, columns=columns)

    assert [row["id"] for row in found] == [1, 2]
    assert list(found[0]) == columns
    frame = dask_read_avro(path, schema=schema, columns=columns).compute()
    assert frame.to_dict("records") == found
    assert scan_avro(path, schema=schema, columns=columns).collect().to_dicts() == found
    with pytest.raises(SchemaMismatchError, match="'x'"):
        list(iter_avro_records(path, schema=schema))


def test_schema_is_given_in_many_ways(tmp_path: Path) -> None:
    path = write_files(
        tmp_path,
        (record_schema({"a": "int"}), {"a": 1}),
        (record_schema({"a": "int", "b": ["null", "int"]}), {"a": 2, "b": 3}),
    )
    reader = record_schema({"a": "double"})
    text = json.dumps(reader)
    Path(tmp_path, "reader.avsc").write_text(text)

    for schema in (reader, text, tmp_path / "reader.avsc", f"file://{tmp_path}/reader.avsc"):
        assert both(path, schema=schema) == [{"a": 1.0}, {"a": 2.0}]
    assert both(path, schema="first") == [{"a": 1}, {"a": 2}]
    with pytest.raises(
        SchemaMismatchError, match=r"field 'b' is missing.*; schema=\"union\" reads"
    ):
        list(iter_avro_records(path, schema="last"))
    for wrong in ("frist", "{", str(tmp_path / "none.avs")):
        with pytest.raises(InvalidSchemaError, match="schema"):
            list(iter_avro_records(path, schema=wrong))


def test_schema_of_an_object(put: PutObjects, bucket: str, endpoint: Endpoint) -> None:
    reader = record_schema({"a": "long"})
    put({"x.avro": avro_file([{"a": 1}], record_schema({"a": "int"}))})
    put({"reader.avsc": json.dumps(reader).encode()})

    found = read_avro_table(
        f"s3://{bucket}/x.avro",
        storage_options=endpoint.storage_options,
        schema=f"s3://{bucket}/reader.avsc",
    )

    assert str(found.schema.field("a").type) == "int64"


def test_mismatch_without_a_union_advises(tmp_path: Path) -> None:
    path = write_files(
        tmp_path,
        (record_schema({"a": "int"}), {"a": 1}),
        (record_schema({"a": "string"}), {"a": "x"}),
    )

    with pytest.raises(
        SchemaMismatchError, match=r"columns without it, or give .*schema="
    ) as found:
        list(iter_avro_records(path))

    assert str(pickle.loads(pickle.dumps(found.value))) == str(found.value)


def test_recursive_columns_as_json(tmp_path: Path) -> None:
    tree = record_schema({"n": "int", "b": "bytes"}, "Tree")
    tree["fields"].append({"name": "next", "type": ["null", "Tree"]})
    tree["fields"].append({"name": "all", "type": {"type": "array", "items": "Tree"}})
    leaf = {"n": 1, "b": b"\xff", "next": None, "all": []}
    path = tmp_path / "x.avro"
    path.write_bytes(avro_file([leaf, {**leaf, "next": leaf, "all": [leaf]}], tree))

    with pytest.raises(UnsupportedTypeError, match="recursive='json'"):
        read_avro_table(path)
    text = '{"n": 1, "b": "ÿ", "next": null, "all": []}'
    rows = [
        {"n": 1, "b": b"\xff", "next": None, "all": "[]"},
        {"n": 1, "b": b"\xff", "next": text, "all": f"[{text}]"},
    ]
    assert read_avro_table(path, recursive="json").to_pylist() == rows
    assert read_avro_table(path, recursive="json", columns=["all"], n_rows=1).to_pylist() == [
        {"all": "[]"}
    ]
    assert list(iter_avro_records(path, columns=["all"]))[1] == {"all": [leaf]}
    flat = avro_file([{"n": 5}], record_schema({"n": "int"}))
    path.write_bytes(flat)
    assert read_avro_table(path, recursive="json").to_pylist() == [{"n": 5}]
