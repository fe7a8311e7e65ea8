"""Many Avro files read as one table: records, frames and schemas, and the errors on the way."""

from __future__ import annotations

import datetime
import decimal
import io
import threading
from pathlib import Path
from typing import Any

import fastavro
import pandas
import pytest

from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.errors import AvroDecodeError, SchemaMismatchError
from fsspec_avroglob.readers.read import (
    iter_avro_batches,
    iter_avro_records,
    read_avro,
    read_avro_schema,
    read_avro_schema_async,
    read_avro_table,
)
from tests.conftest import PutObjects
from tests.support.avro_data import (
    SYNC_MARKER,
    USER_SCHEMA,
    avro_file,
    block,
    header,
    record_schema,
    user_file,
    users,
)
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


@pytest.fixture
def parts(tmp_path: Path) -> str:
    """A glob of three files with the users 0 to 29 in order."""
    for n in range(3):
        (tmp_path / f"part-{n}.avro").write_bytes(user_file(10, n * 10, block_bytes=64))
    return f"{tmp_path}/part-*.avro"


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


# --- records ------------------------------------------------------------------------------------


def test_records_keep_file_order(parts: str) -> None:
    assert list(iter_avro_records(parts)) == users(30)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_every_codec_is_read(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "x.avro", user_file(500, codec=codec, block_bytes=1000))

    assert list(iter_avro_records(path)) == users(500)


def test_sources_may_be_lists(parts: str, tmp_path: Path) -> None:
    sources = [tmp_path / "part-2.avro", parts]

    ids = [record["id"] for record in iter_avro_records(sources)]

    assert ids == [*range(20, 30), *range(20)]


def test_any_s3_scheme_is_read(put: PutObjects, bucket: str, endpoint: Endpoint) -> None:
    put({"d=1/a.avro": user_file(5), "d=2/a.avro": user_file(5, 5)})

    for scheme in ("s3", "avroglob"):
        url = f"{scheme}://{bucket}/d={{1,2}}/*.avro"
        assert list(iter_avro_records(url, endpoint.storage_options)) == users(10)


def test_local_and_s3_make_one_table(
    parts: str, put: PutObjects, bucket: str, endpoint: Endpoint
) -> None:
    put({"more.avro": user_file(5, 30)})

    frame = read_avro([parts, f"s3://{bucket}/more.avro"], endpoint.storage_options)

    assert frame["id"].tolist() == list(range(35))


def test_first_file_sets_field_order(tmp_path: Path) -> None:
    row = {"a": 1, "b": "x"}
    write(tmp_path / "1.avro", avro_file([row], record_schema({"a": "int", "b": "string"})))
    write(tmp_path / "2.avro", avro_file([row], record_schema({"b": "string", "a": "int"})))

    records = list(iter_avro_records(f"{tmp_path}/*.avro"))

    assert [list(record.items()) for record in records] == [list(row.items())] * 2


def test_schemas_compare_before_records(tmp_path: Path) -> None:
    write(tmp_path / "1.avro", user_file(1))
    write(tmp_path / "2.avro", avro_file([], record_schema({"a": "int"}, "example.User")))

    with pytest.raises(SchemaMismatchError, match=r"2\.avro"):
        iter_avro_records(f"{tmp_path}/*.avro")


def test_columns_keep_asked_order(parts: str) -> None:
    first = next(iter(iter_avro_records(parts, columns=["name", "id"])))

    assert list(first.items()) == [("name", "user-0"), ("id", 0)]
    assert list(read_avro(parts, columns=["score", "id"]).columns) == ["score", "id"]


@pytest.mark.parametrize("read", [read_avro, iter_avro_records])
def test_unknown_column_suggests(parts: str, read: Any) -> None:
    with pytest.raises(ValueError, match="no column 'nmae'; there is 'name'"):
        read(parts, columns=["nmae"])
    with pytest.raises(ValueError, match="there is 'id', 'name', 'score'"):
        read(parts, columns=["zzzzzz"])
    with pytest.raises(ValueError, match="twice"):
        read(parts, columns=["id", "id"])
    with pytest.raises(TypeError, match=r"write \['id'\]"):
        read(parts, columns="id")


@pytest.mark.parametrize("path", ["none.avro", "none", "none/", ""])
def test_missing_object_keeps_its_name(path: str, bucket: str, endpoint: Endpoint) -> None:
    url = f"s3://{bucket}/{path}"

    with pytest.raises(FileNotFoundError) as caught:
        read_avro(url, storage_options=endpoint.storage_options)

    assert caught.value.filename == url


def test_missing_bucket_is_told_apart(bucket: str, endpoint: Endpoint) -> None:
    with pytest.raises(FileNotFoundError, match="The bucket does not exist"):
        read_avro(f"s3://{bucket}-missing/x.avro", storage_options=endpoint.storage_options)


def test_n_rows_must_be_whole(parts: str) -> None:
    with pytest.raises(TypeError, match="n_rows is an integer, not '5'"):
        read_avro(parts, n_rows="5")  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_rows", "expected"), [(0, 0), (1, 1), (10, 10), (11, 11), (99, 30)])
def test_n_rows_spans_files(parts: str, n_rows: int, expected: int) -> None:
    assert list(iter_avro_records(parts, n_rows=n_rows)) == users(expected)
    assert len(read_avro(parts, n_rows=n_rows)) == expected


def test_negative_n_rows_is_an_error(parts: str) -> None:
    with pytest.raises(ValueError, match="n_rows must not be negative"):
        read_avro(parts, n_rows=-1)


def test_files_past_n_rows_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "1.avro", user_file(5))
    write(tmp_path / "2.avro", header(USER_SCHEMA) + b"damaged")

    assert list(iter_avro_records(f"{tmp_path}/*.avro", n_rows=5)) == users(5)


def test_objects_past_n_rows_not_fetched(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"{n}.avro": user_file(5) for n in range(3)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    assert list(iter_avro_records(f"s3://{bucket}/*.avro", options, n_rows=5)) == users(5)

    bodies = [r.path.rpartition("/")[2] for r in proxy.requests if r.operation == "GetObject"]
    assert bodies == ["0.avro"]


def test_dropped_iterator_ends_threads(parts: str) -> None:
    records = iter_avro_records(parts)
    next(records)

    records.close()

    assert [t.name for t in threading.enumerate() if "avroglob" in t.name] == []
    assert list(records) == []


def test_non_record_values_are_yielded(tmp_path: Path) -> None:
    path = write(tmp_path / "x.avro", avro_file([1, None, 3], ["null", "long"]))

    assert list(iter_avro_records(path)) == [1, None, 3]
    assert list(read_avro(path).columns) == ["value"]
    assert len(read_avro(path, columns=["value"])) == 3
    with pytest.raises(ValueError, match="the files do not hold records"):
        iter_avro_records(path, columns=["value"])


# --- frames -------------------------------------------------------------------------------------


def test_frame_has_row_per_record(parts: str) -> None:
    frame = read_avro(parts)

    expected = pandas.DataFrame(users(30), columns=["id", "name", "score"])
    pandas.testing.assert_frame_equal(frame, expected)
    assert frame.index.equals(pandas.RangeIndex(30))


def test_nested_values_are_kept(tmp_path: Path) -> None:
    schema = record_schema(
        {
            "tags": {"type": "array", "items": "string"},
            "props": {"type": "map", "values": "int"},
            "inner": record_schema({"x": ["null", "int"]}, "Inner"),
            "at": {"type": "long", "logicalType": "timestamp-micros"},
            "price": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            "raw": "bytes",
        }
    )
    row = {
        "tags": ["a", "b"],
        "props": {"k": 1},
        "inner": {"x": None},
        "at": datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=datetime.UTC),
        "price": decimal.Decimal("12.34"),
        "raw": b"\x00\xff",
    }
    path = write(tmp_path / "x.avro", avro_file([row, row], schema))

    frame = read_avro(path)

    row["props"] = list(row["props"].items())  # as Arrow has maps
    assert frame.to_dict("records") == [row, row]
    assert frame["at"].dtype.kind == "M"


def test_no_columns_keep_the_rows(parts: str) -> None:
    assert read_avro(parts, columns=[]).shape == (30, 0)
    assert read_avro(parts, columns=[], n_rows=0).shape == (0, 0)


SCALARS: dict[str, tuple[Any, Any]] = {
    "boolean": ("boolean", True),
    "int": ("int", 1),
    "long": ("long", 1),
    "float": ("float", 0.5),
    "double": ("double", 0.5),
    "string": ("string", "x"),
    "bytes": ("bytes", b"x"),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A"]}, "A"),
    "fixed": ({"type": "fixed", "name": "F", "size": 1}, b"x"),
    "array": ({"type": "array", "items": "int"}, [1]),
    "record": (record_schema({"y": "int"}, "I"), {"y": 1}),
    "date": ({"type": "int", "logicalType": "date"}, datetime.date(2024, 1, 1)),
    "timestamp": (
        {"type": "long", "logicalType": "timestamp-millis"},
        datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    ),
    "local timestamp": (
        {"type": "long", "logicalType": "local-timestamp-micros"},
        datetime.datetime(2024, 1, 1),
    ),
    "decimal": (
        {"type": "bytes", "logicalType": "decimal", "precision": 3},
        decimal.Decimal(1),
    ),
    "unknown logical type": ({"type": "long", "logicalType": "unheard-of"}, 1),
}


@pytest.mark.parametrize(("type_", "value"), SCALARS.values(), ids=SCALARS)
@pytest.mark.parametrize("nullable", [False, True], ids=["required", "nullable"])
def test_empty_frame_has_dtypes(tmp_path: Path, type_: Any, value: Any, nullable: bool) -> None:
    schema = record_schema({"x": ["null", type_] if nullable else type_})
    rows = [{"x": value}, *([{"x": None}] if nullable else [])]
    path = write(tmp_path / "x.avro", avro_file(rows, schema))

    empty = read_avro(path, n_rows=0)

    assert empty.shape == (0, 1)
    assert empty["x"].dtype == read_avro(path)["x"].dtype


def test_empty_files_give_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "x.avro", user_file(0))

    frame = read_avro(path)

    assert list(frame.columns) == ["id", "name", "score"]
    assert [str(dtype) for dtype in frame.dtypes[["id", "score"]]] == ["int64", "float64"]


def test_missing_pandas_says_install(parts: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)

    with pytest.raises(ImportError, match=r"pip install 'fsspec-avroglob\[pandas\]'"):
        read_avro(parts)
    assert len(list(iter_avro_records(parts))) == 30


# --- schemas ------------------------------------------------------------------------------------


def test_schema_is_the_first_files(parts: str) -> None:
    schema = read_avro_schema(parts)

    assert schema["name"].endswith("User")
    assert [field["name"] for field in schema["fields"]] == ["id", "name", "score"]


async def test_schema_as_coroutine(parts: str) -> None:
    assert await read_avro_schema_async(parts) == read_avro_schema(parts)


def test_unfit_schemas_are_an_error(parts: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other.avro", header("int"))

    with pytest.raises(SchemaMismatchError):
        read_avro_schema([parts, other])


# --- damage -------------------------------------------------------------------------------------


def read_until_error(path: str) -> tuple[list[Any], AvroDecodeError | None]:
    values: list[Any] = []
    try:
        for value in iter_avro_records(path):
            values.append(value)
    except AvroDecodeError as error:
        return values, error
    return values, None


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard"])
def test_cut_file_gives_whole_blocks(tmp_path: Path, codec: str) -> None:
    content = avro_file([0] * 250, "long", codec=codec, block_bytes=100)
    blocks = list(fastavro.block_reader(io.BytesIO(content)))
    ends = {blocks[0].offset, *(block.offset + block.size for block in blocks)}

    for length in range(blocks[0].offset, len(content) + 1):
        path = write(tmp_path / "x.avro", content[:length])
        whole = sum(b.num_records for b in blocks if b.offset + b.size <= length)

        values, error = read_until_error(path)

        assert len(values) == whole
        assert (error is None) == (length in ends)


@pytest.mark.parametrize(
    "damage",
    [
        encode_long(1) + encode_long(3) + b"\x02\x04\x06" + b"x" * 16,
        encode_long(-1) + encode_long(0) + SYNC_MARKER,
        encode_long(5) + encode_long(1) + b"\x02" + SYNC_MARKER,
        encode_long(1) + encode_long(1 << 40),
        encode_long(1) + encode_long(-8) + b"x" * 16,
        b"\xff" * 20,
    ],
    ids=[
        "sync marker",
        "negative count",
        "fewer values",
        "absurd size",
        "negative size",
        "endless number",
    ],
)
def test_damaged_block_names_the_file(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "x.avro", header("long") + damage)

    with pytest.raises(AvroDecodeError, match=r"x\.avro could not be decoded") as caught:
        list(iter_avro_records(path))

    assert isinstance(caught.value, ValueError)
    assert caught.value.path == path


def test_unknown_codec_is_named(tmp_path: Path) -> None:
    block = encode_long(1) + encode_long(1) + b"\x02" + SYNC_MARKER
    path = write(tmp_path / "x.avro", header("long", codec="made-up") + block)

    with pytest.raises(AvroDecodeError, match=r"x\.avro.*made-up"):
        list(iter_avro_records(path))


def test_vanished_file_is_not_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "x.avro", user_file(10_000))
    records = iter_avro_records(path)
    (tmp_path / "x.avro").unlink()

    with pytest.raises(FileNotFoundError):
        next(records)


def test_endless_nesting_is_an_error(tmp_path: Path) -> None:
    schema = record_schema({"next": ["null", "R"]})
    data = b"\x02" * 100_000
    block = encode_long(1) + encode_long(len(data)) + data + SYNC_MARKER
    path = write(tmp_path / "x.avro", header(schema) + block)

    with pytest.raises(AvroDecodeError, match=r"x\.avro could not be decoded"):
        list(iter_avro_records(path))


@pytest.mark.parametrize("schema", ["null", "long"])
def test_impossible_counts_are_an_error(tmp_path: Path, schema: str) -> None:
    block = encode_long(1 << 50) + encode_long(0) + SYNC_MARKER
    path = write(tmp_path / "x.avro", header(schema) + block)

    with pytest.raises(AvroDecodeError, match="claims"):
        list(iter_avro_records(path))


@pytest.mark.parametrize(
    "schema",
    ["null", record_schema({}, "E"), {"type": "fixed", "name": "F", "size": 0}],
    ids=["null", "record", "fixed"],
)
@pytest.mark.parametrize(
    ("count", "data"), [(2**34, b""), (1, encode_long(2**34)), (2**34, b"\x00")]
)
def test_values_without_bytes_are_bounded(
    tmp_path: Path, schema: Any, count: int, data: bytes
) -> None:
    for type_ in (schema, {"type": "array", "items": schema}, record_schema({"x": schema})):
        path = write(tmp_path / "x.avro", header(type_) + block(data, count))

        for read in (iter_avro_records, read_avro_table, iter_avro_batches):
            with pytest.raises(AvroDecodeError, match="block 0"):
                list(read(path))
