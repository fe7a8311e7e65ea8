"""What cannot be written is refused by name, and no file appears before it is whole."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pandas
import pyarrow as pa
import pytest

from fsspec_avroglob import InvalidSchemaError
from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.encode import table_records
from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.readers.read import read_avro_table
from fsspec_avroglob.readers.write import write_avro, write_avro_async
from tests.conftest import MakeFs
from tests.support.avro_data import USER_SCHEMA, record_schema, users
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem


# --- what cannot be written ---


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"my col": [1]}), r"field 'my col'.*names are letters"),
        (pa.table({"x": pa.array([1], pa.duration("s"))}), r"no type for duration\[s\]"),
        (pa.table({"x": pa.array([1], pa.time64("ns"))}), r"time64\[ns\] .* would lose data"),
        (pa.table({"x": pa.array([[{"y z": 1}]])}), r"'x\[\].y z'"),
        (pa.table({"x": pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int8()))}), "no type for map"),
        (pa.table({"x": pa.array([2**63], pa.uint64())}), "not in range"),
        (
            pa.table({"x": pa.array([(0, 0, 1)], pa.month_day_nano_interval())}),
            "whole, not negative months, days and milliseconds",
        ),
        (
            pa.table({"x": pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int8()))}),
            "a key twice",
        ),
        (pa.table([[1], [2]], names=["x", "x"]), "two columns have this name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsupported_columns_are_named(table: pa.Table, message: str, tmp_path: Path) -> None:
    with pytest.raises(NotWritableError, match=message):
        write_avro(table, tmp_path / "x.avro")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (record_schema({"a": "int", "b": "int"}), "'b' cannot be .* it is not in the table"),
        (record_schema({}), "'a' cannot be .* it is not in the schema"),
        (record_schema({"a": "int"}), "1 nulls in a type without null"),
        (record_schema({"a": ["null", "boolean"], "s": "int"}), "'s' cannot be"),
        (
            record_schema({"a": ["null", {"type": "enum", "name": "E", "symbols": ["q"]}]}),
            "'a' .*'1' is not a symbol|does not fit the schema",
        ),
    ],
)
def test_unfit_table_is_refused(schema: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_avro(pa.table({"a": ["1", None]}), tmp_path / "x.avro", schema)

    assert list(tmp_path.iterdir()) == []


def test_structs_lose_nothing_silently() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "p", "type": ["null", "long"]}]}
    table = pa.table({"a": [[{"p": 1, "q": 2}]]})
    schema = TableSchema.of(record_schema({"a": {"type": "array", "items": inner}}))

    with pytest.raises(NotWritableError, match=r"'a\[\]'.* only one of .* has its fields q"):
        list(table_records(table, schema))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": 2**40}, "row 1 does not fit the schema"),
        ({"id": "x"}, "row 1 does not fit the schema"),
        ({}, "row 1 does not fit the schema"),
        ({"id": 1, "more": 2}, "row 1 does not fit the schema.*more"),
    ],
)
def test_unfit_record_is_refused(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_avro([{"id": 1}, record], tmp_path / "x.avro", record_schema({"id": "int"}))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"codec": "lzo"}, ValueError, "'lzo' is none of null, deflate"),
        ({"schema": {"type": "recrd"}}, InvalidSchemaError, "recrd"),
        ({"max_rows_per_file": 5}, ValueError, "does not fit max_rows_per_file"),
        ({"url": "x/*.avro"}, ValueError, "does not fit max_rows_per_file"),
        ({"url": "x/*.avro", "max_rows_per_file": 0}, ValueError, "at least 1"),
        ({"data": "text"}, TypeError, "not str"),
        ({"data": 5}, TypeError, "not int"),
        ({"data": []}, ValueError, "give schema"),
        ({"data": [{"a": 1}, 5]}, TypeError, "row 1 is 5, not a dict"),
        ({"data": [{"a": 1}, {"a": "x"}]}, NotWritableError, "field 'a' cannot be written"),
        ({"data": pandas.Series([1])}, TypeError, "expected a table or records, not Series"),
        ({"data": pa.table({"a": [[None]]})}, NotWritableError, "'a'.*items of no bytes"),
        ({"url": "/no/such/x.avro"}, FileNotFoundError, "No such directory; .*: '/no/such'"),
        ({"url": Path(__file__).parent}, IsADirectoryError, "name a file in it: .*readers'$"),
        ({"url": "s3://lake"}, IsADirectoryError, "name a file in it: 'lake'"),
        ({"storage_options": "demo"}, TypeError, "storage_options is a dict .* not a str"),
    ],
)
def test_contradictory_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        write_avro(**{"data": [{"a": 1}], "url": tmp_path / "x.avro", **arguments})


# --- files ---


def test_rows_divide_among_files(tmp_path: Path) -> None:
    table = pa.table({"n": range(25)})

    names = write_avro(table, tmp_path / "part-*.avro", max_rows_per_file=10)

    assert names == [str(tmp_path / f"part-0000{i}.avro") for i in range(3)]
    assert [read_avro_table(name).num_rows for name in names] == [10, 10, 5]
    assert read_avro_table(str(tmp_path / "part-*.avro"))["n"].to_pylist() == list(range(25))
    assert len(write_avro(table, tmp_path / "all-*.avro", max_rows_per_file=25)) == 1


def test_unfit_row_has_its_number(tmp_path: Path) -> None:
    records = [{"a": 1}, {"a": 2}, {"a": 3}, {"a": "x"}]

    with pytest.raises(ValueError, match=r"row 3 does not fit the schema: R\.a is <x>"):
        write_avro(records, tmp_path / "*.avro", record_schema({"a": "int"}), max_rows_per_file=2)

    assert [path.name for path in tmp_path.iterdir()] == ["00000.avro"]


async def test_coroutines_write_the_same(tmp_path: Path) -> None:
    names = await write_avro_async(users(5), tmp_path / "*.avro", USER_SCHEMA, max_rows_per_file=3)

    assert names == [str(tmp_path / "00000.avro"), str(tmp_path / "00001.avro")]
    assert read_avro_table(names).to_pylist() == users(5)


async def test_cancelled_write_leaves_nothing(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str, tmp_path: Path
) -> None:
    for url in (tmp_path / "x.avro", f"avroglob://{bucket}/x.avro"):
        begun, cancelled = threading.Event(), threading.Event()

        def records(begun: threading.Event, cancelled: threading.Event) -> Any:
            yield {"a": 1}
            begun.set()
            assert cancelled.wait(60)
            yield {"a": 2}

        options = endpoint.storage_options if isinstance(url, str) else None
        rows, schema = records(begun, cancelled), record_schema({"a": "int"})
        writing = asyncio.ensure_future(
            write_avro_async(rows, url, schema, storage_options=options)
        )
        await asyncio.to_thread(begun.wait, 60)
        writing.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.set()

        with pytest.raises(asyncio.CancelledError):
            await writing
    assert list(tmp_path.iterdir()) == []
    assert fs.find(bucket) == []


def test_failed_write_keeps_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.avro"
    target.write_bytes(b"before")

    with pytest.raises(NotWritableError):
        write_avro(pa.table({"a b": [1]}), target)
    with pytest.raises(ValueError, match="row 1"):
        write_avro(iter([{"a": 1}, {"a": "x"}]), target, record_schema({"a": "int"}))

    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_objects_cost_one_put(make_fs: MakeFs, proxy: FaultProxy, bucket: str) -> None:
    url = f"avroglob://{bucket}/t/part-*.avro"
    options = {**proxy.storage_options, "skip_instance_cache": True}

    write_avro(users(30), url, USER_SCHEMA, max_rows_per_file=10, storage_options=options)

    assert (proxy.count(), proxy.count("PutObject")) == (3, 3)
    with make_fs().open(f"{bucket}/t/*.avro") as file:
        assert list(fastavro.reader(file)) == users(30)


def test_large_object_appears_complete(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str
) -> None:
    def records(fail: bool) -> Any:
        for i in range(20):
            yield bytes([i]) * (1 << 20)
        # Most of it has been sent by now.
        assert fs.find(bucket) == []
        if fail:
            raise RuntimeError("the source broke")

    url, options = f"avroglob://{bucket}/large.avro", endpoint.storage_options

    with pytest.raises(RuntimeError, match="the source broke"):
        write_avro(records(True), url, "bytes", "null", storage_options=options)
    assert fs.find(bucket) == []
    uploads = endpoint.client().list_multipart_uploads(Bucket=bucket)
    assert "Uploads" not in uploads

    write_avro(records(False), url, "bytes", "null", storage_options=options)
    fs.invalidate_cache()
    with fs.open(f"{bucket}/large.avro") as file:
        assert [value[:1] for value in fastavro.reader(file)] == [bytes([i]) for i in range(20)]
