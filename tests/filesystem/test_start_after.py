"""``glob(start_after=...)`` on a server: the later files, and nothing remembered as complete."""

from __future__ import annotations

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects


def test_finds_later_files_only(fs: AvroGlobFileSystem, put: PutObjects, bucket: str) -> None:
    put({f"day={day}/{name}": b"x" for day in (1, 2, 3) for name in "abc"})
    pattern = f"s3://{bucket}/day=*/*"

    found = fs.glob(pattern, start_after=f"s3://{bucket}/day=2/b")

    assert found == [f"{bucket}/day={key}" for key in ("2/c", "3/a", "3/b", "3/c")]
    assert fs.glob(pattern, start_after=f"{bucket}/day=9") == []
    assert list(fs.glob(pattern, start_after=f"{bucket}/day=3/b", detail=True)) == found[-1:]
    assert fs.exists(f"{bucket}/day=1/a")
    assert len(fs.glob(pattern)) == 9


def test_other_buckets(fs: AvroGlobFileSystem, put: PutObjects, bucket: str) -> None:
    put({"a": b"x", "b": b"y"})
    assert fs.glob(f"{bucket}/*", start_after="a-bucket/z") == [f"{bucket}/a", f"{bucket}/b"]
    assert fs.glob(f"{bucket}/*", start_after="z-bucket/a") == []


def test_names_and_versions(
    fs: AvroGlobFileSystem, make_fs: MakeFs, put: PutObjects, bucket: str
) -> None:
    put({"a": b"x", "b": b"y"})
    name = f"{bucket}/a"
    assert fs.glob(name, start_after=f"{bucket}/A") == list(fs.iglob(name)) == [name]
    assert fs.glob(name, start_after=name) == list(fs.iglob(name, start_after=name)) == []
    versions = make_fs(version_aware=True)
    for found in (
        versions.glob(f"{bucket}/*", start_after=name, detail=True),
        [info["name"] for info in versions.iglob(f"{bucket}/*", start_after=name, detail=True)],
    ):
        assert list(found) == [f"{bucket}/b"]
