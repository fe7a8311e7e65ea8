"""Avro files as a LazyFrame: what a query needs reaches the reader, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsspec_avroglob.errors import UnsupportedTypeError
from fsspec_avroglob.readers.lazy import scan_avro
from tests.conftest import PutObjects
from tests.support.avro_data import (
    avro_file,
    block,
    header,
    logical,
    record_schema,
    user_file,
    users,
)
from tests.support.proxy import FaultProxy

pytestmark = pytest.mark.needs("polars")


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """A glob of three files in Hive directories with the users 0 to 29 in order."""
    for n in range(3):
        (tmp_path / f"y={n}").mkdir()
        (tmp_path / f"y={n}" / "x.avro").write_bytes(user_file(10, n * 10, block_bytes=64))
    return f"{tmp_path}/y=*/*.avro"


def test_scan_equals_the_table(lake: str) -> None:
    import polars

    frame = scan_avro(lake)

    assert frame.collect_schema() == {
        "id": polars.Int64,
        "name": polars.String,
        "score": polars.Float64,
        "y": polars.Int64,
    }
    assert frame.drop("y").collect().to_dicts() == users(30)
    assert frame.collect(engine="streaming").height == 30


def test_query_is_pushed_down(lake: str) -> None:
    import polars
    from polars import col

    frame = scan_avro(lake, row_index_name="row", include_file_paths="file")

    assert frame.select("name").collect().columns == ["name"]
    assert frame.filter(col("id") > 27).select("row", "y").collect().rows() == [(28, 2), (29, 2)]
    assert frame.head(8).filter(col("id") > 5).collect()["id"].to_list() == [6, 7]
    assert frame.filter(col("id") > 5).head(2).collect()["id"].to_list() == [6, 7]
    assert frame.slice(9, 3).collect()["id"].to_list() == [9, 10, 11]
    assert frame.tail(2).collect()["id"].to_list() == [28, 29]
    assert frame.select(polars.len()).collect().item() == 30
    assert scan_avro(lake, n_rows=12).select(polars.len()).collect().item() == 12
    assert frame.group_by("y").agg(col("row").sum()).sort("y").collect().rows() == [
        (0, 45),
        (1, 145),
        (2, 245),
    ]


def test_scan_can_be_reused(lake: str) -> None:
    frame = scan_avro(lake)

    assert frame.collect().equals(frame.collect())
    assert frame.join(frame, on="id").collect().height == 30


def test_slice_costs_one_object(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"{n}.avro": user_file(10_000, 10_000 * n) for n in range(3)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    frame = scan_avro(f"s3://{bucket}/*.avro", options)
    assert [r.operation for r in proxy.requests] == ["ListObjectsV2", *["GetObject"] * 3]
    proxy.clear()

    assert frame.head(100).collect().height == 100
    assert {r.path.rpartition("/")[2] for r in proxy.requests} == {"0.avro"}


def test_partition_filters_prune_the_files(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"y={n}/x.avro": user_file(1, n) for n in range(4)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    frame = scan_avro(f"s3://{bucket}/y=*/x.avro", options, filters=[("y", ">=", 2)])

    assert frame.collect()["y"].to_list() == [2, 3]
    assert proxy.count("GetObject") == 2


def test_unsupported_type_is_avoidable(tmp_path: Path) -> None:
    duration = {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}
    schema = record_schema({"id": "long", "list": {"type": "array", "items": duration}})
    (tmp_path / "x.avro").write_bytes(avro_file([{"id": 1, "list": [bytes(12)]}], schema))

    with pytest.raises(UnsupportedTypeError, match=r"'list.item' has no Polars type.*columns="):
        scan_avro(tmp_path / "x.avro")
    frame = scan_avro(tmp_path / "x.avro", columns=["id"])

    assert frame.collect().rows() == [(1,)]
    assert frame.select("id").collect().rows() == [(1,)]


def test_odd_unions_and_names(tmp_path: Path) -> None:
    both = record_schema({"u": [logical("long", "timestamp-millis"), "long"], "n": "int"})
    path = tmp_path / "x.avro"
    path.write_bytes(header(both) + block(b"\x02\x0e\x02"))

    with pytest.raises(UnsupportedTypeError, match=r"field 'u' .* two branches 'long'"):
        scan_avro(path)
    assert scan_avro(path, columns=["n"]).collect().rows() == [(1,)]
    path.write_bytes(avro_file([{"": 7}], record_schema({"": "long"})))
    assert scan_avro(path).collect().to_dicts() == [{"": 7}]
