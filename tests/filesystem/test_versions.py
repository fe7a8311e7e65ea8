"""``version_aware=True``: patterns find the newest versions, and ``?versionId=`` names another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs

NAMES = ("a.csv", "x[1].csv", "{b}.csv")


@pytest.fixture
def old(endpoint: Any, bucket: str) -> dict[str, str]:
    """The paths of the older of two versions of each file, by the path of the file."""
    client = endpoint.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    paths = {}
    for name in NAMES:
        version = client.put_object(Bucket=bucket, Key=f"d/{name}", Body=b"c\n1\n")["VersionId"]
        client.put_object(Bucket=bucket, Key=f"d/{name}", Body=b"c\n22\n")
        paths[f"{bucket}/d/{name}"] = f"{bucket}/d/{name}?versionId={version}"
    client.put_object(Bucket=bucket, Key="d/", Body=b"")
    return paths


@pytest.fixture
def versioned(make_fs: MakeFs) -> AvroGlobFileSystem:
    return make_fs(version_aware=True)


def test_one_version(versioned: AvroGlobFileSystem, old: dict[str, str], tmp_path: Path) -> None:
    fs = versioned
    for _ in range(2):  # the second time, listings are remembered
        for path, version in old.items():
            assert fs.cat(version) == fs.cat_file(version) == fs.open(version).read() == b"c\n1\n"
            assert fs.cat(path) == fs.open(path).read() == b"c\n22\n"
            assert (fs.info(version)["size"], fs.info(path)["size"]) == (4, 5)
            assert fs.isfile(version)
            fs.get(version, str(tmp_path / "file"))
            assert (tmp_path / "file").read_bytes() == b"c\n1\n"
        fs.ls(path.rpartition("/")[0])


def test_patterns(versioned: AvroGlobFileSystem, bucket: str, old: dict[str, str]) -> None:
    fs, files = versioned, list(old)
    assert fs.glob(f"{bucket}/d/*") == files
    assert list(fs.glob(f"{bucket}/d/{{a,x?1?}}.csv", detail=True)) == files[:2]
    assert fs.find(bucket) == files
    assert [names for _, _, names in fs.walk(bucket)] == [[], list(NAMES)]
    assert fs.open(f"{bucket}/d/{{a,x*}}.csv").read() == b"c\n22\n22\n"
    assert not fs.isfile(f"{bucket}/d/")
