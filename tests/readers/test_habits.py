"""What pandas users take for granted holds for the frames of read_avro, and on Dask."""

from __future__ import annotations

import datetime
import pickle
import struct
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fsspec_avroglob
from fsspec_avroglob import dask
from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.readers.read import iter_avro_records, read_avro
from tests.support.avro_data import avro_file, logical, record_schema, user_file

DAYS = ["2026-11-27", "2026-11-28", "2026-11-29"]


@pytest.fixture
def days(tmp_path: Path) -> str:
    """Files of two rows in the directories of three days."""
    for number, day in enumerate(DAYS):
        path = tmp_path / f"n={number}/date={day}/x.avro"
        path.parent.mkdir(parents=True)
        path.write_bytes(user_file(2, 2 * number))
    return f"{tmp_path}/n=*/date=*/*.avro"


def read_on_dask(*args: Any, **options: Any) -> pd.DataFrame:
    return dask.read_avro(*args, **options).compute(scheduler="sync").reset_index(drop=True)


readers = pytest.mark.parametrize("read", [read_avro, read_on_dask])
backends = pytest.mark.parametrize("backend", [None, "numpy_nullable"])


# --- key=value columns ---------------------------------------------------------------------------


@readers
def test_integers_are_int64(days: str, read: Any, tmp_path: Path) -> None:
    assert read(days)["n"].dtype == "int64"
    assert str(read(days, dtype_backend="numpy_nullable")["n"].dtype) == "Int64"
    assert str(read(days, dtype_backend="pyarrow")["n"].dtype) == "int64[pyarrow]"

    (tmp_path / "n=__HIVE_DEFAULT_PARTITION__").mkdir()
    (tmp_path / "n=__HIVE_DEFAULT_PARTITION__/x.avro").write_bytes(user_file(1))
    column = read(f"{tmp_path}/**/*.avro")["n"]
    assert (str(column.dtype), int(column.isna().sum())) == ("Int64", 1)


@readers
@backends
def test_dates_compare_with_text(days: str, read: Any, backend: Any) -> None:
    df = read(days, dtype_backend=backend)

    assert df[df["date"] == "2026-11-28"]["id"].tolist() == [2, 3]
    assert df[df["date"] >= "2026-11-28"]["id"].tolist() == [2, 3, 4, 5]
    assert df[df["date"] < pd.Timestamp("2026-11-28")]["id"].tolist() == [0, 1]


@readers
def test_dates_merge_and_resample(days: str, read: Any) -> None:
    df = read(days)
    names = pd.DataFrame({"date": pd.to_datetime(DAYS), "name_of_day": ["Fri", "Sat", "Sun"]})

    assert (
        df.merge(names, on="date")["name_of_day"].tolist()
        == ["Fri"] * 2 + ["Sat"] * 2 + ["Sun"] * 2
    )
    assert df.set_index("date")["id"].resample("2D").sum().tolist() == [6, 9]
    assert '"2026-11-28T' in df.to_json(date_format="iso")


@readers
def test_dates_survive_parquet(days: str, read: Any, tmp_path: Path) -> None:
    df = read(days)
    df.to_parquet(tmp_path / "flat.parquet")
    df.to_parquet(tmp_path / "parts", partition_cols=["date"])

    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "flat.parquet"), df)
    again = pd.read_parquet(tmp_path / "parts")
    assert pd.to_datetime(again["date"].astype(str)).dt.strftime("%Y-%m-%d").tolist() == [
        day for day in DAYS for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("condition", "read"),
    [
        (lambda df: df["date"] == "2026-11-28", 1),
        (lambda df: df["date"] >= pd.Timestamp("2026-11-28"), 2),
        (lambda df: df["date"] > datetime.datetime(2026, 11, 28, 12), 1),
        (lambda df: df["date"] != "2026-11", 3),
    ],
)
def test_dask_skips_other_dates(days: str, condition: Any, read: int) -> None:
    df = dask.read_avro(days, blocksize=None)
    whole = read_avro(days)

    found = df[condition(df)]

    (source,) = [e for e in found.optimize(fuse=False).expr.walk() if "_ReadAvro" in repr(type(e))]
    assert sum(bool(piece.spans) for piece in source.operand("iterables")[0]) == read
    pd.testing.assert_frame_equal(
        found.compute(scheduler="sync").reset_index(drop=True),
        whole[condition(whole)].reset_index(drop=True),
    )


def test_hive_has_polars_name(days: str) -> None:
    assert "n" not in read_avro(days, hive_partitioning=False)
    assert "n" in read_avro(days, hive_partitioning=True)
    with pytest.raises(ValueError, match="contradict"):
        read_avro(days, hive=False, hive_partitioning=True)


def test_second_argument_is_the_same() -> None:
    readers = [
        fsspec_avroglob.read_avro,
        fsspec_avroglob.read_avro_table,
        fsspec_avroglob.read_avro_schema,
        fsspec_avroglob.iter_avro_batches,
        fsspec_avroglob.iter_avro_records,
        fsspec_avroglob.scan_avro,
        dask.read_avro,
    ]
    assert {list(signature(reader).parameters)[1] for reader in readers} == {"storage_options"}


# --- values that pandas cannot show --------------------------------------------------------------

FAR: dict[str, tuple[Any, Any, str]] = {
    "duration": (
        {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"},
        struct.pack("<III", 1, 2, 3),
        "{'months': 1, 'days': 2, 'milliseconds': 3}",
    ),
    "date": (logical("int", "date"), 2932897, "10000-01-01"),
    "last date": (logical("int", "date"), 2**31 - 1, "5881580-07-11"),
    "timestamp": (logical("long", "timestamp-millis"), 253402300800000, "10000-01-01"),
    "micros": (logical("long", "timestamp-micros"), 253402300800000000, "10000-01-01"),
    "local": (logical("long", "local-timestamp-micros"), 253402300800000000, "10000-01-01"),
}


@backends
@pytest.mark.parametrize(("type_", "value", "shown"), FAR.values(), ids=FAR)
def test_far_values_print_and_write(
    tmp_path: Path, type_: Any, value: Any, shown: str, backend: Any
) -> None:
    path = tmp_path / "x.avro"
    plain = type_ if type_["type"] == "fixed" else type_["type"]
    data = avro_file([{"v": value}, {"v": None}], record_schema({"v": ["null", plain]}))
    path.write_bytes(data)

    with pd.option_context("display.max_colwidth", None):
        df = read_avro(path, schema=record_schema({"v": ["null", type_]}), dtype_backend=backend)
        assert shown in repr(df)
        assert shown in df.to_csv()
        assert shown in df.to_html()
    df.to_parquet(tmp_path / "x.parquet")


# --- what was left out ---------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    """A file with two corrupt blocks, and one that is text."""
    data = bytearray(user_file(400, block_bytes=500))
    data[len(data) // 3] ^= 255
    data[-1] ^= 255
    (tmp_path / "a.avro").write_bytes(data)
    (tmp_path / "b.avro").write_bytes(b"text")
    return f"{tmp_path}/*.avro"


def test_left_out_parts_warn_once(damaged: str) -> None:
    for read in (read_avro, lambda *args, **options: list(iter_avro_records(*args, **options))):
        with pytest.warns(UserWarning, match=r"left out \d corrupt parts of 2 files") as caught:
            read(damaged, ignore_errors=True)
        assert len(caught) == 1


def test_attrs_hold_what_was_dropped(damaged: str, tmp_path: Path) -> None:
    df = read_avro(damaged, ignore_errors=True)
    dropped = df.attrs["avroglob"]

    assert all(isinstance(one, Dropped) for one in dropped)
    assert {Path(one.path).name for one in dropped} == {"a.avro", "b.avro"}
    assert pickle.loads(pickle.dumps(df)).attrs["avroglob"] == dropped
    assert pd.concat([df, df]).attrs["avroglob"] == dropped
    df.to_parquet(tmp_path / "x.parquet")
    again = pd.read_parquet(tmp_path / "x.parquet").attrs["avroglob"]
    assert [Dropped(*one) for one in again] == dropped
