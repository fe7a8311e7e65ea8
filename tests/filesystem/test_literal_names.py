"""A path that names an existing object is that object, whatever characters it has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import duckdb
import pytest
from upath import UPath

from fsspec_avroglob import expand_path, read_avro
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.avro_data import user_file
from tests.support.proxy import FaultProxy

# Each name matches "1" as a pattern, if it is one; the first three do not match themselves.
NAMES = ("[1]", "{1,2}", "a[!b]", "*", "?", "x?", "x*y", "[", "{", "]", "}", "{}", "**", "[1]*")
OTHERS = {"d/1": b"one", "d/2": b"two", "d/ac": b"ac", "d/xz": b"xz", "d/xzy": b"xzy", "d/1z": b""}


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest, bucket: str, put: PutObjects) -> str:
    """An object whose name is a pattern, or is none but looks like one, among what matches it."""
    put({**OTHERS, f"d/{request.param}": b"literal"})
    return f"{bucket}/d/{request.param}"


def others(fs: AvroGlobFileSystem, path: str) -> dict[str, bytes]:
    """What is in the directory, apart from the object itself."""
    fs.invalidate_cache()
    top = path.partition("/")[0]
    return {
        name.removeprefix(top + "/"): fs.cat_file(name)
        for name in fs.find(f"{top}/d")
        if name != path
    }


def test_reads(fs: AvroGlobFileSystem, path: str, tmp_path: Path, endpoint: Any) -> None:
    for _ in range(2):  # the second time, a listing is remembered
        assert fs.cat(path) == b"literal"
        assert fs.cat([path]) == {path: b"literal"}
        assert fs.cat_file(path) == b"literal"
        assert fs.open(path).read() == b"literal"
        assert fs.open(path, "r").read() == "literal"
        assert fs.isfile(path)
        assert fs.info(path)["size"] == 7
        assert fs.expand_path(path) == [path]
        fs.get(path, str(tmp_path / "one"))
        assert (tmp_path / "one").read_bytes() == b"literal"
        fs.ls(path.rpartition("/")[0])
    upath = UPath(f"avroglob://{path}", **endpoint.storage_options)
    assert upath.read_bytes() == b"literal"


REMOVALS: dict[str, Any] = {
    "rm": lambda fs, path: fs.rm(path),
    "rm of a list": lambda fs, path: fs.rm([path]),
    "rm recursive": lambda fs, path: fs.rm(path, recursive=True),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "delete": lambda fs, path: fs.delete(path),
    "mv": lambda fs, path: fs.mv(path, path.partition("/")[0] + "/moved"),
    "rename": lambda fs, path: fs.rename(path, path.partition("/")[0] + "/moved"),
}


@pytest.mark.parametrize("call", REMOVALS)
def test_removals(fs: AvroGlobFileSystem, bucket: str, path: str, call: str) -> None:
    REMOVALS[call](fs, path)
    assert others(fs, path) == OTHERS
    assert path not in fs.find(bucket)
    if fs.exists(f"{bucket}/moved"):
        assert fs.cat_file(f"{bucket}/moved") == b"literal"


def test_writes(fs: AvroGlobFileSystem, bucket: str, path: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"sent")
    fs.put(str(local), path)
    assert fs.cat_file(path) == b"sent"
    fs.pipe(path, b"piped")
    fs.copy(path, f"{bucket}/copy")
    assert fs.cat_file(f"{bucket}/copy") == b"piped"
    fs.copy(f"{bucket}/copy", path)
    with fs.open(path, "wb") as file:
        file.write(b"written")
    assert fs.cat_file(path) == b"written"
    assert others(fs, path) == OTHERS


def test_destructive_calls_say_so(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, caplog: pytest.LogCaptureFixture
) -> None:
    put({"d/*": b"literal", "d/1": b"one"})
    with caplog.at_level(logging.WARNING, logger="fsspec_avroglob"):
        fs.rm(f"{bucket}/d/*")
    assert f"rm: '{bucket}/d/*' names what exists" in caplog.text
    assert fs.find(bucket) == [f"{bucket}/d/1"]
    fs.rm(f"{bucket}/d/*")
    assert fs.find(bucket) == []


def test_upath_unlink_and_rename(path: str, fs: AvroGlobFileSystem, endpoint: Any) -> None:
    upath = UPath(f"avroglob://{path}", **endpoint.storage_options)
    moved = upath.rename(upath.with_name("moved"))
    assert moved.read_bytes() == b"literal"
    moved.rename(upath)
    upath.unlink()
    with pytest.raises(FileNotFoundError):
        upath.unlink()
    assert others(fs, path) == OTHERS


def test_results_given_back(fs: AvroGlobFileSystem, bucket: str, path: str) -> None:
    found = fs.glob(f"{bucket}/d/*")
    assert path in found
    assert fs.expand_path(found) == found
    assert fs.cat(found)[path] == b"literal"
    fs.invalidate_cache()
    assert fs.cat(fs.expand_path(f"{bucket}/d/*"))[path] == b"literal"


def test_plain_names_cost_nothing_more(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"d/a": b"1"})
    counted.cat(f"{bucket}/d/a")
    assert [request.operation for request in proxy.requests] == ["GetObject"]
    proxy.clear()
    counted.rm(f"{bucket}/d/a")
    assert [request.operation for request in proxy.requests] == ["DeleteObjects"]


@pytest.mark.parametrize("name", ["a[1].avro", "a{1,2}.avro", "a*.avro", "a?.avro"])
def test_readers(endpoint: Any, bucket: str, put: PutObjects, name: str) -> None:
    put({f"r/{name}": user_file(3), "r/a1.avro": user_file(5), "r/a2.avro": user_file(7)})
    assert len(read_avro(f"avroglob://{bucket}/r/{name}", endpoint.storage_options)) == 3
    [file] = expand_path(f"avroglob://{bucket}/r/{name}", storage_options=endpoint.storage_options)
    assert file.endswith(name)


def test_duckdb(make_fs: MakeFs, bucket: str, put: PutObjects) -> None:
    put({f"q/{name}.csv": b"x\n1\n" for name in ("a[1]", "a1", "a*", "a2")})
    with duckdb.connect() as db:
        db.register_filesystem(make_fs())
        for pattern, expected in (("a*", 4), ("a[[]1]", 1), ("a[*]", 1), ("a[1]", 1)):
            query = f"SELECT count(*) FROM read_csv('avroglob://{bucket}/q/{pattern}.csv')"
            assert db.sql(query).fetchall() == [(expected,)]


def test_local_names(fs: AvroGlobFileSystem, bucket: str, tmp_path: Path) -> None:
    for name in ("[1]", "*", "{a}", "1"):
        (tmp_path / name).write_text(name)
    for name in ("[1]", "*", "{a}"):
        fs.put(str(tmp_path / name), f"{bucket}/up/{name}")
        assert fs.cat_file(f"{bucket}/up/{name}") == name.encode()
    assert sorted(fs.find(bucket)) == [f"{bucket}/up/{name}" for name in ("*", "[1]", "{a}")]
    fs.get(f"{bucket}/up", str(tmp_path / "down"), recursive=True)
    assert sorted(file.name for file in (tmp_path / "down").iterdir()) == ["*", "[1]", "{a}"]
