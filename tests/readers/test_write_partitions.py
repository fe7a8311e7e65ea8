"""Tables in key=value directories, and reruns that leave nothing of the run before."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest

from fsspec_avroglob.dask import to_avro
from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.readers.lazy import scan_avro
from fsspec_avroglob.readers.read import (
    iter_avro_batches,
    iter_avro_records,
    read_avro,
    read_avro_table,
)
from fsspec_avroglob.readers.write import write_avro
from tests.support.avro_data import record_schema
from tests.support.servers import Endpoint

DAY = datetime.date(2026, 11, 28)
ROWS = {"k": ["a", "b", None, "a"], "n": [1, 1, 2, 1], "x": [0.0, 1.0, 2.0, 3.0]}

TABLES: dict[str, Any] = {
    "pandas": pd.DataFrame,
    "arrow": pa.table,
    "polars": lambda columns: pytest.importorskip("polars").DataFrame(columns),
    "records": lambda columns: [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ],
}


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.avro"))


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_every_table_is_divided(tmp_path: Path, make: Any) -> None:
    written = write_avro(make(ROWS), tmp_path, partition_cols=["k", "n"])

    assert names(tmp_path) == [
        "k=__HIVE_DEFAULT_PARTITION__/n=2/part-00000.avro",
        "k=a/n=1/part-00000.avro",
        "k=b/n=1/part-00000.avro",
    ]
    assert sorted(written) == [f"{tmp_path}/{name}" for name in names(tmp_path)]
    table = read_avro_table(tmp_path)
    assert table.column_names == ["x", "k", "n"]
    assert table["x"].to_pylist() == [2.0, 0.0, 3.0, 1.0]
    assert table["k"].to_pylist() == [None, "a", "a", "b"]


def test_dask_partitions_are_divided(tmp_path: Path) -> None:
    frame = dd.from_pandas(pd.DataFrame(ROWS), npartitions=2)

    written = to_avro(frame, tmp_path, partition_cols=["k"])

    assert names(tmp_path) == sorted(str(Path(name).relative_to(tmp_path)) for name in written)
    assert "k=a/part-00001.avro" in names(tmp_path)
    assert sorted(read_avro(tmp_path)["x"]) == ROWS["x"]


VALUES: dict[str, tuple[Any, str, Any]] = {
    "date": (DAY, "2026-11-28", DAY),
    "midnight": (datetime.datetime(2026, 11, 28), "2026-11-28", DAY),
    "moment": (
        datetime.datetime(2026, 11, 28, 1),
        "2026-11-28 01%3A00%3A00",
        "2026-11-28 01:00:00",
    ),
    "integer": (-5, "-5", -5),
    "boolean": (True, "true", "true"),
    "decimal": (decimal.Decimal("1.50"), "1.50", "1.50"),
    "slash": ("a/b=c", "a%2Fb%3Dc", "a/b=c"),
    "magic": ("*?[{%", "%2A%3F%5B%7B%25", "*?[{%"),
    "umlaut": ("ä b", "ä b", "ä b"),
    "empty": ("", "", ""),
    "name of null": (
        "__HIVE_DEFAULT_PARTITION__",
        "%5F_HIVE_DEFAULT_PARTITION__",
        "__HIVE_DEFAULT_PARTITION__",
    ),
}


@pytest.mark.parametrize(("value", "text", "read"), VALUES.values(), ids=VALUES)
def test_values_come_back(tmp_path: Path, value: Any, text: str, read: Any) -> None:
    write_avro(pa.table({"k": [value], "x": [1]}), tmp_path, partition_cols=["k"])

    assert [path.name for path in tmp_path.iterdir()] == [f"k={text}"]
    assert read_avro_table(tmp_path)["k"].to_pylist() == [read]


def test_objects_are_divided(bucket: str, endpoint: Endpoint) -> None:
    url, options = f"s3://{bucket}/t", endpoint.storage_options
    rows = {"k": ["a/[b]", "c*", None], "x": [1, 2, 3]}

    write_avro(pa.table(rows), url, partition_cols=["k"], storage_options=options)
    write_avro(pa.table(rows), url, partition_cols=["k"], storage_options=options, overwrite=True)

    assert sorted(read_avro_table(url, options).to_pylist(), key=lambda row: row["x"]) == [
        {"x": x, "k": k} for k, x in zip(rows["k"], rows["x"], strict=True)
    ]


def test_schema_may_have_the_divided_columns(tmp_path: Path) -> None:
    schema = record_schema({"k": "string", "x": "int"})

    write_avro(pd.DataFrame({"k": ["a"], "x": [1]}), tmp_path, schema, partition_cols=["k"])

    assert read_avro_table(tmp_path).schema.field("x").type == pa.int32()


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (["none"], NotWritableError, "the table does not have it"),
        (["k", "x"], ValueError, "are all columns"),
        (["x"], NotWritableError, "no text for a directory's name"),
        ("k", TypeError, r"write \['k'\]"),
    ],
)
def test_unfit_columns_are_refused(
    tmp_path: Path, columns: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_avro(pa.table({"k": ["a"], "x": [b"1"]}), tmp_path, partition_cols=columns)
    assert list(tmp_path.iterdir()) == []


def test_overwrite_deletes_the_rest(tmp_path: Path) -> None:
    frame = pd.DataFrame({"k": ["a", "b", "c", "d"], "x": range(4)})
    for kept in ("part-x.avro", "other-00000.avro", "sub"):
        (tmp_path / kept).mkdir() if kept == "sub" else (tmp_path / kept).write_bytes(b"")
    (tmp_path / "sub/part-00009.avro").write_bytes(b"")
    url = f"{tmp_path}/part-*.avro"

    write_avro(frame, url, max_rows_per_file=1)
    write_avro(frame, tmp_path, partition_cols=["k"])
    to_avro(dd.from_pandas(frame, npartitions=2), url, overwrite=True)

    assert names(tmp_path) == [
        "other-00000.avro",
        "part-00000.avro",
        "part-00001.avro",
        "part-x.avro",
        "sub/part-00009.avro",
    ]


def test_failed_run_deletes_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": ["a", "b", "c"]})
    write_avro(frame, f"{tmp_path}/part-*.avro", max_rows_per_file=1)

    schema = record_schema({"x": {"type": "enum", "name": "E", "symbols": ["a"]}})
    with pytest.raises(ValueError, match=r"'x'|does not fit"):
        write_avro(
            frame,
            f"{tmp_path}/part-*.avro",
            schema,
            max_rows_per_file=1,
            overwrite=True,
        )

    assert len(names(tmp_path)) == 3


def test_overwrite_needs_compute(tmp_path: Path) -> None:
    frame = dd.from_pandas(pd.DataFrame({"x": [1]}), npartitions=1)
    with pytest.raises(ValueError, match="needs compute=True"):
        to_avro(frame, f"{tmp_path}/", overwrite=True, compute=False)


def test_frames_write_dates_with_a_schema(tmp_path: Path) -> None:
    schema = record_schema({"d": ["null", {"type": "int", "logicalType": "date"}]})
    write_avro(pa.table({"d": [DAY, None]}), tmp_path / "a.avro", schema)
    frame = read_avro(tmp_path / "a.avro")

    write_avro(frame, tmp_path / "b.avro", schema)

    assert read_avro_table(tmp_path / "b.avro")["d"].to_pylist() == [DAY, None]


def test_frames_write_durations(tmp_path: Path) -> None:
    duration = {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}
    schema = record_schema({"d": ["null", duration]})
    given = pa.array([(1, 2, 3_000_000), None], pa.month_day_nano_interval())
    write_avro(pa.table({"d": given}), tmp_path / "a.avro", schema)

    write_avro(read_avro(tmp_path / "a.avro"), tmp_path / "b.avro", schema)

    assert read_avro_table(tmp_path / "b.avro")["d"].to_pylist() == given.to_pylist()


@pytest.mark.needs("polars")
def test_scanned_frames_go_back(tmp_path: Path) -> None:
    value = record_schema({"id": "long", "m": {"type": "map", "values": "int"}}, "Value")
    other = record_schema({"why": "string"}, "Other")
    fields = {"before": ["null", value], "after": ["null", "Value"], "event": [other, "Value"]}
    schema = record_schema(fields, "Envelope")
    rows = [
        {"before": None, "after": {"id": 1, "m": {"a": 1}}, "event": ("Other", {"why": "x"})},
        {"before": {"id": 2, "m": {}}, "after": None, "event": ("Value", {"id": 3, "m": {}})},
    ]
    write_avro(rows, tmp_path / "a.avro", schema)
    table = read_avro_table(tmp_path / "a.avro")

    write_avro(table, tmp_path / "b.avro", schema)
    write_avro(scan_avro(tmp_path / "a.avro").collect(), tmp_path / "c.avro", schema)
    write_avro(read_avro(tmp_path / "a.avro"), tmp_path / "d.avro", schema)

    write_avro(scan_avro(tmp_path / "a.avro"), tmp_path / "e.avro", schema)
    write_avro(iter_avro_batches(tmp_path / "a.avro"), tmp_path / "f.avro", schema)
    write_avro(iter_avro_records(tmp_path / "a.avro"), tmp_path / "g.avro", schema)

    for name in "bcdefg":
        assert read_avro_table(tmp_path / f"{name}.avro").equals(table)
