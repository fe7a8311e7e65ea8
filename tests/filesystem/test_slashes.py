"""Keys that begin with a slash, or hold two in a row."""

from __future__ import annotations

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects

KEYS = ["//x", "/c", "/f/g", "a//b", "a/d"]


@pytest.fixture
def files(bucket: str, put: PutObjects) -> list[str]:
    put({key: b"1" for key in KEYS})
    return [f"{bucket}/{key}" for key in KEYS]


def test_all_calls_name_the_same_files(
    fs: AvroGlobFileSystem, bucket: str, files: list[str]
) -> None:
    assert fs.find(bucket) == files
    assert [path for path in fs.glob(f"{bucket}/**") if path in files] == files
    for _ in range(2):  # the second time, from memory
        walked = [f"{top}/{name}" for top, _, names in fs.walk(bucket) for name in names]
        assert sorted(walked) == files
    assert fs.du(bucket) == len(files)


def test_one_path(fs: AvroGlobFileSystem, files: list[str]) -> None:
    for path in files:
        assert fs.info(path)["name"] == path
        assert fs.isfile(path)
        assert fs.glob(path) == [path]
        assert fs.find(path) == [path]
        assert fs.cat_file(path) == b"1"
        assert fs.open(path).read() == b"1"


def test_directories(fs: AvroGlobFileSystem, bucket: str, files: list[str]) -> None:
    assert fs.ls(bucket, detail=False) == [f"{bucket}/", f"{bucket}/a"]
    assert fs.ls(f"{bucket}/a", detail=False) == [f"{bucket}/a/", f"{bucket}/a/d"]
    assert fs.ls(f"{bucket}/a/", detail=False) == [f"{bucket}/a/", f"{bucket}/a/d"]
    assert fs.ls(f"{bucket}/a//", detail=False) == [f"{bucket}/a//b"]
    assert fs.ls(f"{bucket}//", detail=False) == [f"{bucket}//", f"{bucket}//c", f"{bucket}//f"]
    assert fs.ls(f"{bucket}//f", detail=False) == [f"{bucket}//f/g"]
    assert fs.glob(f"{bucket}//f/*") == [f"{bucket}//f/g"]
    assert fs.isdir(f"{bucket}//f")


def test_removal(fs: AvroGlobFileSystem, bucket: str, files: list[str]) -> None:
    fs.rm([f"{bucket}/a//b", f"{bucket}//c"])
    assert fs.find(bucket) == [f"{bucket}/{key}" for key in ("//x", "/f/g", "a/d")]
