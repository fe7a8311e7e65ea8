"""A directory is a source; what is no data in it is left out, and counted."""

from __future__ import annotations

import gzip
import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob import dask
from fsspec_avroglob.readers.lazy import scan_avro
from fsspec_avroglob.readers.read import (
    iter_avro_records,
    read_avro,
    read_avro_schema,
    read_avro_table,
)
from fsspec_avroglob.readers.sources import ResolvedSources
from tests.conftest import PutObjects
from tests.support.avro_data import USER_SCHEMA, user_file, users
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

TABLE = {
    "day=1/a.avro": user_file(2),
    "day=1/_SUCCESS": b"",
    "day=1/.a.avro.crc": b"crc",
    "day=2/b.avro.gz": gzip.compress(user_file(3, 2)),
    "day=2/empty.avro": b"",
    "_temporary/0/c.avro": user_file(1, 90),
    "_day=3/D.AVRO": user_file(1, 5),
    "README.md": b"text",
}
ROWS = [users(1, 5), users(2), users(3, 2)]  # in the order of the paths


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A local directory with TABLE."""
    write(tmp_path / "events.avro", TABLE)
    return tmp_path / "events.avro"


def expected() -> list[dict[str, Any]]:
    return [row for rows in ROWS for row in rows]


def test_every_reader_reads_a_directory(table: Path) -> None:
    ids = [row["id"] for row in expected()]

    assert list(iter_avro_records(table)) == expected()
    assert read_avro(table)["id"].tolist() == ids
    assert read_avro_table(f"{table}/")["id"].to_pylist() == ids
    assert len(dask.read_avro(str(table))) == len(ids)
    assert read_avro_schema(table) == USER_SCHEMA


@pytest.mark.needs("polars")
def test_directory_is_scanned(table: Path) -> None:
    assert scan_avro(table).collect()["id"].to_list() == [row["id"] for row in expected()]


@pytest.mark.parametrize("name", ["t", "t/", "t.avro", "t.avro/", "", "/"])
def test_directory_of_objects_is_read(
    name: str, put: PutObjects, bucket: str, endpoint: Endpoint
) -> None:
    directory = name.strip("/")
    put({f"{directory}/{key}".lstrip("/"): data for key, data in TABLE.items()})
    url = f"s3://{bucket}/{name}" if name != "/" else f"s3://{bucket}"

    resolved = ResolvedSources.resolve(url, endpoint.storage_options)

    assert list(iter_avro_records(resolved)) == expected()
    assert list(iter_avro_records(url, endpoint.storage_options)) == expected()
    assert all(path.startswith(url.rstrip("/") + "/") for path in resolved.paths)
    assert resolved.partitions[1:] == ({"day": "1"}, {"day": "2"})


def test_named_files_cost_no_more(
    put: PutObjects, proxy: FaultProxy, bucket: str, endpoint: Endpoint
) -> None:
    put({"a.avro": user_file(1), "b.avro": user_file(1)})
    options = {**endpoint.storage_options, "endpoint_url": proxy.url}
    list(iter_avro_records([f"s3://{bucket}/a.avro", f"s3://{bucket}/b.avro"], options))

    assert proxy.count() == proxy.count("GetObject") == 2


def test_what_is_left_out_is_counted(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fsspec_avroglob"):
        left_out = ResolvedSources.resolve(table).left_out

    assert (left_out.hidden, left_out.empty, left_out.other) == (3, 1, 1)
    assert "3 whose name begins with _ or ." in caplog.text
    assert read_avro(table).attrs["avroglob_left_out"] == {"hidden": 3, "empty": 1, "other": 1}


def test_double_star_leaves_out_no_data(table: Path) -> None:
    assert len(read_avro(f"{table}/**/*.[aA]*")) == 6
    assert len(read_avro(f"{table}/_temporary/**")) == 1
    assert len(read_avro(f"{table}/**/_temporary/*/*.avro")) == 1


@pytest.mark.parametrize("pattern", ["day=*", "day=*/", "*day=[1-3]", "day={1,2}"])
def test_pattern_of_directories(
    pattern: str, put: PutObjects, bucket: str, endpoint: Endpoint, table: Path
) -> None:
    put({f"t/{key}": data for key, data in TABLE.items()})
    rows = expected() if pattern.startswith("*") else expected()[1:]

    url = f"s3://{bucket}/t/{pattern}"
    assert list(iter_avro_records(url, endpoint.storage_options)) == rows
    assert list(iter_avro_records(f"{table}/{pattern}")) == rows


def test_directory_may_have_magic_characters(
    put: PutObjects, bucket: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    write(tmp_path, {"a[1]/x.avro": user_file(2)})
    put({"a[1]/x.avro": user_file(2)})

    assert list(iter_avro_records(f"{tmp_path}/a[1]")) == users(2)
    assert list(iter_avro_records(f"s3://{bucket}/a[1]/", endpoint.storage_options)) == users(2)


def test_directory_in_an_archive(table: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for key, data in TABLE.items():
            out.writestr(f"a/t/{key}", data)

    resolved = ResolvedSources.resolve(f"zip://a/t/::{tmp_path}/a.zip")

    assert list(iter_avro_records(resolved)) == expected()
    assert resolved.paths[1] == f"zip://a/t/day=1/a.avro::{tmp_path}/a.zip"


def test_directory_without_data_says_why(tmp_path: Path) -> None:
    write(tmp_path, {"_SUCCESS": b"", "a.avro": b"", "part-0": user_file(1)})

    with pytest.raises(FileNotFoundError, match=r"1 without a byte.*pattern such as \*/\*\*"):
        read_avro(tmp_path)
    with pytest.raises(FileNotFoundError, match="left out: 1 whose name"):
        read_avro(f"{tmp_path}/**/*SUCCESS")


def test_filters_choose_in_a_directory(table: Path) -> None:
    assert list(iter_avro_records(table, filters=[("day", "=", 2)])) == users(3, 2)


# --- .avro.gz ------------------------------------------------------------------------------------


def gz(directory: Path, data: bytes) -> str:
    path = directory / "x.avro.gz"
    path.write_bytes(data)
    return str(path)


def test_gzip_is_inflated_in_pieces(tmp_path: Path) -> None:
    plain = user_file(200_000, block_bytes=1000)
    half = len(plain) // 2
    members = gzip.compress(plain[:half], 1) + gzip.compress(plain[half:], 1) + bytes(8)
    path = gz(tmp_path, members)

    assert read_avro(path)["id"].tolist() == list(range(200_000))
    assert len(read_avro(path, n_rows=150_000)) == 150_000
    assert len(dask.read_avro(path, blocksize=100_000)) == 200_000


def test_gzip_header_over_one_read(tmp_path: Path) -> None:
    noise = "".join(map(str, range(60_000)))
    data = user_file(3, metadata={"noise": noise})

    assert list(iter_avro_records(gz(tmp_path, gzip.compress(data)), n_rows=2)) == users(2)


@pytest.mark.parametrize("damage", ["cut", "crc", "bits"])
def test_damaged_gzip_is_an_error(tmp_path: Path, damage: str) -> None:
    data = bytearray(gzip.compress(user_file(20_000, block_bytes=1000)))
    if damage == "cut":
        del data[-2000:]
    else:
        data[-8 if damage == "crc" else -3000] ^= 255
    path = gz(tmp_path, bytes(data))

    with pytest.raises(ValueError, match="gzip data"):
        read_avro(path)

    records = iter_avro_records(path, ignore_errors=True)
    ids = [row["id"] for row in records]
    assert ids == list(range(len(ids)))
    assert any("gzip data" in one.reason for one in records.errors)


def test_plain_file_may_be_called_gz(tmp_path: Path) -> None:
    assert list(iter_avro_records(gz(tmp_path, user_file(2)))) == users(2)
