"""Many files as one table: columns, rows, order, what is requested, and what is left out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3fs.utils import FileExpired

from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.errors import AvroDecodeError, NotAvroError, SchemaMismatchError
from fsspec_avroglob.readers.pipeline import Pipeline
from fsspec_avroglob.readers.read import (
    aiter_avro_batches,
    aiter_avro_records,
    iter_avro_batches,
    iter_avro_records,
    read_avro,
    read_avro_table,
)
from fsspec_avroglob.readers.sources import ResolvedSources
from tests.conftest import PutObjects
from tests.support.avro_data import (
    USER_SCHEMA,
    avro_file,
    header,
    record_schema,
    user_file,
    users,
)
from tests.support.avro_tables import ENGINES
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


def damaged(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


# --- columns and rows ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_table_has_ordered_typed_rows(lake: str, engine: Any) -> None:
    table = read_avro_table(lake, engine=engine)

    assert table.select(["id", "name", "score"]).to_pylist() == users(40)
    assert table.schema == pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
            pa.field("score", pa.float64()),
            pa.field("year", pa.int64(), nullable=False),
            pa.field("part", pa.int64(), nullable=False),
        ]
    )


def test_extra_columns(lake: str) -> None:
    table = read_avro_table(
        lake, row_index_name="row", row_index_offset=5, include_file_paths="file"
    )

    assert table.column_names == ["row", "id", "name", "score", "year", "part", "file"]
    assert table["row"].to_pylist() == list(range(5, 45))
    assert table["year"].to_pylist() == [2023] * 20 + [2024] * 20
    assert table["file"][39].as_py().endswith("year=2024/part=03/x.avro")
    assert read_avro_table(lake, hive=False).column_names == ["id", "name", "score"]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["score", "id"], ["score", "id"]),
        ([1, -1], ["name", "part"]),
        (["year"], ["year"]),
        ([], []),
    ],
)
def test_columns_by_name_and_position(lake: str, columns: Any, names: Any) -> None:
    table = read_avro_table(lake, columns=columns)

    assert table.column_names == names
    assert table.num_rows == 40


def test_field_hides_a_directory(tmp_path: Path) -> None:
    (tmp_path / "id=7").mkdir()
    (tmp_path / "id=7" / "x.avro").write_bytes(user_file(2))

    assert read_avro_table(tmp_path / "id=*" / "*")["id"].to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": [9]}, "no column 9: there are 5"),
        ({"columns": ["yaer"]}, "no column 'yaer'; there is 'year'"),
        ({"row_index_name": "id"}, "'id' already"),
        ({"include_file_paths": "year"}, "'year' already"),
        ({"n_rows": -1}, "n_rows must not be negative"),
        ({"max_concurrency": 0}, "max_concurrency must be at least 1"),
        ({"row_index_name": "", "include_file_paths": ""}, "'' already"),
        ({"row_index_name": "n", "row_index_offset": 2**63 - 2}, "row_index_offset is 9"),
        ({"row_index_name": "n", "row_index_offset": -(2**63)}, "row_index_offset must be at"),
        ({"engine": "none"}, "engine is one of"),
        ({"filters": [("id", "=", 1)]}, "no file is in one of 'id'; there is 'part', 'year'"),
    ],
)
def test_impossible_options_are_refused(lake: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_avro_table(lake, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "id"}, r"write \['id'\]"),
        ({"columns": [True]}, "a name or an index, not True"),
        ({"columns": [1.0]}, "a name or an index, not 1.0"),
        ({"include_file_paths": True}, "the name of a column, not True"),
        ({"urlpath": None}, "expected a path or a list of paths"),
        ({"urlpath": b"x.avro"}, "not b'x.avro'"),
    ],
)
def test_other_option_types_are_refused(lake: str, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        read_avro_table(**{"urlpath": lake, **options})


@pytest.mark.parametrize("reader", [read_avro_table, iter_avro_records, aiter_avro_batches])
def test_unknown_option_is_named(lake: str, reader: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colums'"):
        reader(lake, colums=["id"])


def test_record_options_are_checked(lake: str) -> None:
    for name in ("row_index_name", "include_file_paths", "engine"):
        with pytest.raises(TypeError, match=name):
            iter_avro_records(lake, **{name: "x"})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=name):
            aiter_avro_records(lake, **{name: "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize("n_rows", [0, 1, 10, 11, 39, 40, 99])
@pytest.mark.parametrize("ignore_errors", [False, True])
def test_n_rows_spans_files(lake: str, n_rows: int, ignore_errors: bool) -> None:
    table = read_avro_table(lake, n_rows=n_rows, ignore_errors=ignore_errors)

    assert table["id"].to_pylist() == list(range(min(n_rows, 40)))


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000, None])
def test_batches_have_the_asked_size(lake: str, batch_size: int | None) -> None:
    with iter_avro_batches(lake, batch_size=batch_size) as batches:
        found = list(batches)

    assert pa.Table.from_batches(found, batches.schema)["id"].to_pylist() == list(range(40))
    if batch_size is not None:
        assert all(batch.num_rows == batch_size for batch in found[:-1])
        assert 1 <= found[-1].num_rows <= batch_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    rows=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    block_bytes=st.integers(1, 2000),
    codec=st.sampled_from(["null", "deflate", "snappy", "zstandard"]),
    max_bytes=st.sampled_from([1, 500, 1 << 20]),
    n_rows=st.none() | st.integers(0, 150),
)
def test_any_files_equal_fastavro(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[int],
    block_bytes: int,
    codec: str,
    max_bytes: int,
    n_rows: int | None,
) -> None:
    directory = tmp_path_factory.mktemp("files")
    for n, count in enumerate(rows):
        content = user_file(count, sum(rows[:n]), codec=codec, block_bytes=block_bytes)
        (directory / f"{n}.avro").write_bytes(content)
    expected = users(sum(rows))[:n_rows]

    table = read_avro_table(f"{directory}/*", n_rows=n_rows, max_bytes=max_bytes)

    assert table.to_pylist() == expected
    assert list(iter_avro_records(f"{directory}/*", n_rows=n_rows)) == expected


# --- schemas ------------------------------------------------------------------------------------


@pytest.fixture
def versions(tmp_path: Path) -> str:
    """Two files, the second with a wider and a new field."""
    old = record_schema({"a": "int", "b": "string"})
    new = record_schema({"a": "long"}) | {
        "fields": [{"name": "a", "type": "long"}, {"name": "c", "type": "int", "default": 7}]
    }
    (tmp_path / "1.avro").write_bytes(avro_file([{"a": 1, "b": "x"}], old))
    (tmp_path / "2.avro").write_bytes(avro_file([{"a": 1 << 40, "c": 9}], new))
    return f"{tmp_path}/*.avro"


def test_two_schemas_are_refused(versions: str) -> None:
    for read in (read_avro_table, iter_avro_batches, iter_avro_records, ResolvedSources.resolve):
        with pytest.raises(SchemaMismatchError) as caught:
            read(versions)
        assert caught.value.first_path.endswith("1.avro")
        assert caught.value.path.endswith("2.avro")
        assert caught.value.field == "a"


@pytest.mark.parametrize("engine", ENGINES)
def test_union_of_schemas_has_all_fields(versions: str, engine: Any) -> None:
    expected = [{"a": 1, "b": "x", "c": None}, {"a": 1 << 40, "b": None, "c": 9}]

    assert read_avro_table(versions, schema="union", engine=engine).to_pylist() == expected
    assert list(iter_avro_records(versions, schema="union")) == expected
    resolved = ResolvedSources.resolve(versions, schema="union")
    assert resolved.column_mappings == ((0, 1, None), (0, None, 1))


def test_reader_schema_decides(versions: str) -> None:
    reader = record_schema({}) | {
        "fields": [{"name": "c", "type": "long", "default": 5}, {"name": "a", "type": "double"}]
    }
    expected = [{"c": 5, "a": 1.0}, {"c": 9, "a": float(1 << 40)}]

    assert read_avro_table(versions, schema=reader).to_pylist() == expected
    assert list(iter_avro_records(versions, schema=reader)) == expected
    with pytest.raises(SchemaMismatchError, match=r"2\.avro"):
        read_avro_table(versions, schema="first")


def test_sources_are_not_resolved_again(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"{n}.avro": user_file(5, 5 * n) for n in range(3)})
    options = {**proxy.storage_options, "skip_instance_cache": True}
    resolved = ResolvedSources.resolve(f"s3://{bucket}/*.avro", options)
    proxy.clear()

    assert read_avro_table(resolved, options).to_pylist() == users(15)
    assert proxy.count() == 0
    with pytest.raises(ValueError, match=r"ResolvedSources\.resolve"):
        read_avro_table(resolved, options, schema="union")


# --- requests -----------------------------------------------------------------------------------


def test_small_objects_cost_one_get(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"{n:02}.avro": user_file(5, 5 * n) for n in range(20)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    assert read_avro_table(f"s3://{bucket}/*.avro", options).to_pylist() == users(100)

    assert proxy.count("ListObjectsV2") == 1
    assert proxy.count("GetObject") == 20
    assert proxy.count() == 21


def test_few_rows_cost_one_small_get(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"{n}.avro": user_file(10_000, 10_000 * n) for n in range(5)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    assert read_avro_table(f"s3://{bucket}/*.avro", options, n_rows=10).num_rows == 10

    assert [r.operation for r in proxy.requests] == ["ListObjectsV2", "GetObject"]
    proxy.clear()
    assert read_avro_table(f"s3://{bucket}/*.avro", options, n_rows=10_001).num_rows == 10_001
    assert len({r.path for r in proxy.requests if r.operation == "GetObject"}) == 2


def test_large_objects_use_ranges(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    content = user_file(300_000, codec="null")
    put({"large.avro": content})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    with iter_avro_batches(f"s3://{bucket}/large.avro", options, columns=["id"]) as batches:
        ids = pa.Table.from_batches(batches)["id"]

    assert ids.to_pylist() == list(range(300_000))
    assert proxy.count("GetObject") == 1 + -(-len(content) // (4 << 20))
    assert proxy.count("HeadObject") == 0


def test_filters_spare_requests(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    for year in range(2020, 2026):
        put({f"year={year}/month=0{m}/x.avro": user_file(2, 10 * m) for m in range(1, 4)})
    options = {**proxy.storage_options, "skip_instance_cache": True}
    url = f"s3://{bucket}/year=*/month=*/x.avro"

    table = read_avro_table(url, options, filters=[("year", "=", 2024), ("month", ">", 1)])

    assert table["month"].to_pylist() == [2, 2, 3, 3]
    assert proxy.count("GetObject") == 2
    lists = [r.query.get("prefix", "") for r in proxy.requests if r.operation == "ListObjectsV2"]
    assert all("year=2024" in str(prefix) for prefix in lists)
    with pytest.raises(FileNotFoundError, match="All files are excluded by filters"):
        read_avro_table(url, options, filters=[("month", "=", 1), ("month", "=", 2)])


def test_failed_requests_are_retried(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"{n}.avro": user_file(5, 5 * n) for n in range(4)})
    retry = {"base_delay": 0}
    options = {**proxy.storage_options, "skip_instance_cache": True, "retry": retry}
    proxy.fail("GetObject", times=3)

    assert read_avro_table(f"s3://{bucket}/*.avro", options).to_pylist() == users(20)


# --- errors -------------------------------------------------------------------------------------


def test_changed_object_is_an_error(put: PutObjects, bucket: str, endpoint: Endpoint) -> None:
    put({"x.avro": user_file(10_000)})
    resolved = ResolvedSources.resolve(f"s3://{bucket}/x.avro", endpoint.storage_options)
    put({"x.avro": user_file(10_000, 1)})

    with pytest.raises(FileExpired, match=r"x\.avro"):
        read_avro_table(resolved, endpoint.storage_options)


@pytest.mark.parametrize("engine", ENGINES)
def test_corruption_is_error_or_reported(tmp_path: Path, engine: Any) -> None:
    content = user_file(200, block_bytes=200, codec="deflate")
    start = parse_header(content).size_bytes
    place = start + (len(content) - start) // 2
    (tmp_path / "1.avro").write_bytes(damaged(content, place))
    (tmp_path / "2.avro").write_bytes(user_file(5, 200))
    pattern = f"{tmp_path}/*.avro"

    with pytest.raises(AvroDecodeError, match=r"1\.avro could not be decoded") as caught:
        read_avro_table(pattern, engine=engine)
    assert caught.value.block_index is not None
    assert caught.value.offset is not None
    assert start < caught.value.offset <= place

    frame = read_avro(pattern, engine=engine, ignore_errors=True)
    ids = frame["id"].tolist()
    assert ids == sorted(ids)
    assert set(range(200, 205)) < set(ids)
    assert 150 < len(ids) < 205
    (report,) = frame.attrs["avroglob"]
    assert report.offset == caught.value.offset
    assert "1.avro" in str(report)
    with iter_avro_batches(pattern, engine=engine, ignore_errors=True) as batches:
        assert sum(batch.num_rows for batch in batches) == len(ids)
    assert [error.offset for error in batches.errors] == [caught.value.offset]
    records = iter_avro_records(pattern, ignore_errors=True)
    assert [record["id"] for record in records] == ids
    assert [error.offset for error in records.errors] == [caught.value.offset]


@pytest.mark.parametrize("ruin", [lambda content: content[:-30], lambda c: damaged(c, len(c) - 30)])
def test_failed_read_keeps_nothing(tmp_path: Path, ruin: Callable[[bytes], bytes]) -> None:
    content = user_file(100, block_bytes=200, codec="deflate")
    (tmp_path / "1.avro").write_bytes(content)
    (tmp_path / "2.avro").write_bytes(ruin(content))
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(AvroDecodeError) as caught:
            read_avro_table(f"{tmp_path}/*.avro")
        del caught
        assert not [one for one in gc.get_objects() if isinstance(one, Pipeline | pa.Table)]
    finally:
        gc.enable()


def test_rows_before_corruption_come(tmp_path: Path) -> None:
    content = user_file(100, block_bytes=200)
    (tmp_path / "x.avro").write_bytes(content[:-30])
    seen: list[pa.RecordBatch] = []

    with pytest.raises(AvroDecodeError):
        seen.extend(iter_avro_batches(tmp_path / "x.avro"))
    assert sum(batch.num_rows for batch in seen) > 80


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_before_undecodable_come(tmp_path: Path, engine: Any) -> None:
    for n in range(3):
        content = user_file(20, 20 * n, block_bytes=200, codec="deflate")
        (tmp_path / f"{n}.avro").write_bytes(damaged(content, len(content) - 30) if n else content)
    seen: list[int] = []

    batches = iter_avro_batches(f"{tmp_path}/*.avro", engine=engine)
    with pytest.raises(AvroDecodeError, match=r"1\.avro") as caught:
        seen.extend(number for batch in batches for number in batch["id"].to_pylist())

    assert caught.value.block_index
    assert 20 < len(seen) < 40
    assert seen == list(range(len(seen)))
    records: list[int] = []
    with pytest.raises(AvroDecodeError, match=r"1\.avro"):
        records.extend(record["id"] for record in iter_avro_records(f"{tmp_path}/*.avro"))
    assert records == seen


def test_non_avro_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "1.avro").write_bytes(b"")
    (tmp_path / "2.avro").write_bytes(user_file(3))
    (tmp_path / "3.avro").write_bytes(b"id,name\n")
    (tmp_path / "4.avro").write_bytes(header({"type": "unheard-of"}))
    (tmp_path / "5.avro").write_bytes(header(USER_SCHEMA))
    pattern = f"{tmp_path}/*.avro"

    frame = read_avro(pattern, ignore_errors=True)
    resolved = ResolvedSources.resolve(pattern, ignore_errors=True)

    assert frame["id"].tolist() == [0, 1, 2]
    assert [Path(one.path).name for one in resolved.skipped] == ["1.avro", "3.avro", "4.avro"]
    assert len(frame.attrs["avroglob"]) == 3
    assert [Path(path).name for path in resolved.paths] == ["2.avro", "5.avro"]
    with pytest.raises(NotAvroError, match=r"1\.avro"):
        read_avro(pattern)
    with pytest.raises(NotAvroError, match="none of the files"):
        read_avro(tmp_path / "1.avro", ignore_errors=True)


def test_bomb_is_refused(tmp_path: Path) -> None:
    bomb = avro_file(["\0" * 5_000_000], "string", codec="deflate")
    path = tmp_path / "x.avro"
    path.write_bytes(bomb)

    assert len(bomb) < 10_000
    for read in (read_avro_table, lambda *a, **k: list(iter_avro_records(*a, **k))):
        with pytest.raises(AvroDecodeError, match="max_block_size"):
            read(path, max_block_size=1_000_000)
    assert read_avro_table(path).num_rows == 1
