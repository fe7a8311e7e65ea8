"""Folder markers: empty objects whose keys end in a slash are directories, and never files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as pa_dataset
import pytest
from upath import UPath

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

TREE = {"t/": b"", "t/a": b"A", "t/sub/": b"", "t/sub/b": b"BB", "t/hollow/": b"", "t/x/y/": b""}
FILES = ["t/a", "t/sub/b"]


@pytest.fixture
def tree(bucket: str, put: PutObjects) -> str:
    """A directory of two files and of markers at each depth, the top included."""
    put(TREE)
    return f"{bucket}/t"


def names(bucket: str, keys: list[str]) -> list[str]:
    return [f"{bucket}/{key}" for key in keys]


def test_find_names_only_files(fs: AvroGlobFileSystem, bucket: str, tree: str) -> None:
    assert fs.find(tree) == names(bucket, FILES)
    assert fs.find(bucket) == names(bucket, FILES)
    assert fs.find(tree, maxdepth=1) == names(bucket, ["t/a"])
    assert fs.find(f"{tree}/hollow") == []
    assert fs.find(f"{tree}/hollow/") == []


def test_find_with_directories(fs: AvroGlobFileSystem, bucket: str, tree: str) -> None:
    found = fs.find(bucket, withdirs=True, detail=True)
    directories = [path for path, info in found.items() if info["type"] == "directory"]
    assert directories == names(bucket, ["t", "t/hollow", "t/sub", "t/x", "t/x/y"])


@pytest.mark.parametrize("pattern", ["t/**", "t/*", "**", "t/*/", "t/{sub,hollow,x/y}/", "t/**/"])
def test_glob_agrees_with_isfile(
    fs: AvroGlobFileSystem, bucket: str, tree: str, pattern: str
) -> None:
    for path, info in fs.glob(f"{bucket}/{pattern}", detail=True).items():
        assert not path.endswith("//")
        fs.invalidate_cache()
        assert fs.isfile(path) == (info["type"] == "file")
        assert fs.isdir(path) == (info["type"] == "directory")


@pytest.mark.parametrize("name", ["t", "t/", "t/hollow", "t/hollow/", "t/x/y", "t/x/y/", "t/sub/"])
def test_marker_is_a_directory(fs: AvroGlobFileSystem, bucket: str, tree: str, name: str) -> None:
    path = f"{bucket}/{name}"
    for _ in range(2):
        assert fs.exists(path)
        assert fs.isdir(path)
        assert not fs.isfile(path)
        assert fs.info(path)["type"] == "directory"
        fs.ls(tree)
        fs.find(bucket)


def test_ls_leaves_out_the_marker(fs: AvroGlobFileSystem, bucket: str, tree: str) -> None:
    assert fs.ls(tree, detail=False) == names(bucket, ["t/a", "t/hollow", "t/sub", "t/x"])
    assert fs.ls(f"{tree}/hollow") == []
    kinds = {info["name"]: info["type"] for info in fs.ls(f"{tree}/", detail=True)}
    assert kinds[f"{tree}/hollow"] == "directory"


def test_walk_and_du(fs: AvroGlobFileSystem, bucket: str, tree: str) -> None:
    assert list(fs.walk(tree)) == [
        (tree, ["hollow", "sub", "x"], ["a"]),
        (f"{tree}/hollow", [], []),
        (f"{tree}/sub", [], ["b"]),
        (f"{tree}/x", ["y"], []),
        (f"{tree}/x/y", [], []),
    ]
    assert fs.du(bucket, total=False) == {f"{tree}/a": 1, f"{tree}/sub/b": 2}


def test_get_makes_directories(fs: AvroGlobFileSystem, tree: str, tmp_path: Path) -> None:
    fs.get(tree, str(tmp_path / "new"), recursive=True)
    found = [
        os.path.relpath(os.path.join(at, name), tmp_path / "new")
        for at, _, files in os.walk(tmp_path)
        for name in files
    ]
    assert sorted(found) == ["a", os.path.join("sub", "b")]


def test_cat_reads_only_files(fs: AvroGlobFileSystem, bucket: str, tree: str) -> None:
    expected = {f"{tree}/a": b"A", f"{tree}/sub/b": b"BB"}
    assert fs.cat(tree, recursive=True) == expected
    assert fs.cat(f"{bucket}/t/**") == expected
    assert fs.cat([f"{tree}/a", f"{tree}/sub"], recursive=True) == expected


@pytest.mark.parametrize("call", ["mv", "copy"])
def test_markers_move_along(fs: AvroGlobFileSystem, bucket: str, tree: str, call: str) -> None:
    getattr(fs, call)(tree, f"{bucket}/new", recursive=True)
    fs.invalidate_cache()
    assert fs.find(f"{bucket}/new") == names(bucket, ["new/a", "new/sub/b"])
    assert fs.isdir(f"{bucket}/new/hollow")
    assert fs.exists(tree) == (call == "copy")


def test_rm_removes_markers(fs: AvroGlobFileSystem, endpoint: Any, bucket: str, tree: str) -> None:
    fs.rm(f"{tree}/hollow", recursive=True)
    assert not fs.exists(f"{tree}/hollow")
    fs.rm(tree, recursive=True)
    assert "Contents" not in endpoint.client().list_objects_v2(Bucket=bucket)


def test_full_object_with_a_slash(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"d/": b"content", "d/a": b"A", "e/": b""})
    path = f"{bucket}/d/"
    assert fs.isfile(path)
    assert fs.info(path)["size"] == 7
    assert fs.cat_file(path) == b"content"
    assert fs.open(path).read() == b"content"
    assert path in fs.find(bucket)
    assert fs.isdir(f"{bucket}/d")
    assert fs.du(bucket) == 8
    fs.rm_file(path)
    assert fs.find(bucket) == [f"{bucket}/d/a"]


def test_marker_beside_an_object(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"n": b"N", "n/": b"", "n/c": b"C"})
    assert fs.find(bucket) == names(bucket, ["n", "n/c"])
    assert fs.isfile(f"{bucket}/n")
    assert fs.isdir(f"{bucket}/n")
    assert fs.cat_file(f"{bucket}/n") == b"N"
    assert fs.glob(f"{bucket}/n/*") == [f"{bucket}/n/c"]


def test_opened_glob(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put(
        {
            "d/": b"",
            "d/day=1/": b"",
            "d/day=1/a.csv": b"x\n1\n",
            "d/day=2/b.csv": b"x\n2\n",
            "d/c/": b"",
        }
    )
    assert fs.open(f"{bucket}/d/**").read() == b"x\n1\n2\n"
    assert fs.open(f"{bucket}/d/*/*.csv").read() == b"x\n1\n2\n"


def test_upath(fs: AvroGlobFileSystem, tree: str, endpoint: Any) -> None:
    top = UPath(f"avroglob://{tree}", **endpoint.storage_options)
    assert sorted(child.name for child in top.iterdir()) == ["a", "hollow", "sub", "x"]
    assert sorted(path.name for path in top.rglob("*") if path.is_file()) == ["a", "b"]
    assert (top / "hollow").is_dir()


def test_walk_costs_no_more(counted: AvroGlobFileSystem, proxy: FaultProxy, tree: str) -> None:
    counted.find(tree)
    assert proxy.count() == 1


def test_pandas_on_partitions(
    fs: AvroGlobFileSystem, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    frame = pd.DataFrame({"n": [1, 2]}).to_parquet()
    put({"p/": b"", "p/day=1/": b"", "p/day=1/a.parquet": frame, "p/day=2/": b""})
    assert pd.read_parquet(f"{bucket}/p", filesystem=fs)["n"].tolist() == [1, 2]
    table = pa_dataset.dataset(f"{bucket}/p", filesystem=make_fs(), partitioning="hive").to_table()
    assert table["day"].to_pylist() == [1, 1]
