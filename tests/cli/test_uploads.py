"""`uploads`: what a killed process leaves."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs
from tests.support.command import Cli
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

KILLED = """
import os, sys, fsspec
fs = fsspec.AbstractFileSystem.from_json(sys.argv[1])
file = fs.open(sys.argv[2], "wb", block_size=5 * 2**20)
file.write(bytes(6 * 2**20))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def begun(endpoint: Endpoint, bucket: str) -> str:
    for key in ("a/1", "a/2", "ab", "b/1"):
        endpoint.client().create_multipart_upload(Bucket=bucket, Key=key)
    return bucket


def left(endpoint: Endpoint, bucket: str) -> list[str]:
    found = endpoint.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return sorted(item["Key"] for item in found)


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [("", ["a/1", "a/2", "ab", "b/1"]), ("/a/", ["a/1", "a/2"]), ("/a", ["a/1", "a/2", "ab"])],
)
def test_uploads_are_listed(cli: Cli, begun: str, prefix: str, keys: list[str]) -> None:
    ended = cli("uploads", "--json", f"s3://{begun}{prefix}")

    paths = [json.loads(line)["path"] for line in ended.out.splitlines()]
    assert (ended.code, sorted(paths)) == (0, [f"s3://{begun}/{key}" for key in keys])


def test_uploads_are_removed(cli: Cli, endpoint: Endpoint, begun: str) -> None:
    ended = cli("uploads", "--abort", f"s3://{begun}/a/")

    assert ended.code == 0
    assert "2 uploads removed" in ended.err
    assert left(endpoint, begun) == ["ab", "b/1"]


def test_young_uploads_stay(cli: Cli, endpoint: Endpoint, begun: str) -> None:
    ended = cli("uploads", "--abort", "--older-than", "2000w", f"s3://{begun}")

    assert (ended.code, ended.out) == (0, "")
    assert len(left(endpoint, begun)) == 4


@pytest.mark.parametrize(
    "arguments",
    [["--older-than", "soon", "s3://b"], ["local/path"], ["--older-than", "1y", "s3://b"]],
)
def test_wrong_arguments_are_refused(cli: Cli, arguments: list[str]) -> None:
    assert cli("uploads", *arguments).code == 2


def test_a_killed_process_leaves_an_upload(
    cli: Cli, fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str
) -> None:
    arguments = [sys.executable, "-c", KILLED, fs.to_json(), f"{bucket}/key"]
    assert subprocess.run(arguments, timeout=60).returncode == -9
    assert left(endpoint, bucket) == ["key"]

    assert cli("uploads", "--abort", f"s3://{bucket}").code == 0

    assert left(endpoint, bucket) == []
    assert not fs.exists(f"{bucket}/key")


def test_pages_follow_each_other(
    make_fs: MakeFs, proxy: FaultProxy, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = make_fs(proxy.storage_options, s3_additional_kwargs={"MaxUploads": 1})

    found = [upload.path for upload in fs.uploads(f"{begun}/")]

    assert sorted(found) == [f"{begun}/{key}" for key in ("a/1", "a/2", "ab", "b/1")]
