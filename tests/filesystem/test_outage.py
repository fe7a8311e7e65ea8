"""An outage is not absence: what the server refuses or does not answer is never "no"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

QUESTIONS: dict[str, Callable[[AvroGlobFileSystem, str], Any]] = {
    "exists": lambda fs, bucket: fs.exists(f"{bucket}/d/a"),
    "exists of a bucket": lambda fs, bucket: fs.exists(bucket),
    "isfile": lambda fs, bucket: fs.isfile(f"{bucket}/d/a"),
    "isdir": lambda fs, bucket: fs.isdir(f"{bucket}/d"),
    "isdir of a bucket": lambda fs, bucket: fs.isdir(bucket),
    "ls": lambda fs, bucket: fs.ls(f"{bucket}/d"),
    "walk": lambda fs, bucket: list(fs.walk(f"{bucket}/d")),
    "walk upwards": lambda fs, bucket: list(fs.walk(f"{bucket}/d", topdown=False)),
    "glob of a name": lambda fs, bucket: fs.glob(f"{bucket}/d/a"),
    "glob": lambda fs, bucket: fs.glob(f"{bucket}/d/*"),
    "find": lambda fs, bucket: fs.find(f"{bucket}/d"),
    "find to a depth": lambda fs, bucket: fs.find(f"{bucket}/d", maxdepth=1),
    "du": lambda fs, bucket: fs.du(f"{bucket}/d"),
    "lexists": lambda fs, bucket: fs.lexists(f"{bucket}/d/a"),
    "open for x": lambda fs, bucket: fs.open(f"{bucket}/d/a", "xb").close(),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("status", [403, 503, None])
def test_outage_is_not_absence(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    ask: Callable[[AvroGlobFileSystem, str], Any],
    status: int | None,
) -> None:
    if status is None:
        proxy.drop()
    else:
        proxy.fail(status=status, code="AccessDenied" if status == 403 else "SlowDown")

    with pytest.raises((OSError, BotoCoreError)) as raised:
        ask(counted, "bkt")

    assert not isinstance(raised.value, FileNotFoundError)
    assert isinstance(raised.value, PermissionError) == (status == 403)


def test_outage_of_the_parent_is_not_absence(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    proxy.fail("ListObjectsV2", match=lambda request: request.query["prefix"] == "dir/")

    with pytest.raises(OSError, match="SlowDown") as raised:
        counted.ls(path)

    assert not isinstance(raised.value, FileNotFoundError)


def test_missing_directory_is_empty(fs: AvroGlobFileSystem, bucket: str) -> None:
    assert list(fs.walk(f"{bucket}/none")) == [(f"{bucket}/none", [], [])]


@pytest.mark.parametrize("first", [True, False], ids=["first directory", "another"])
def test_walk_follows_on_error(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects, first: bool
) -> None:
    put({"d/sub/a": b"1"})
    refused = "d/" if first else "d/sub/"
    proxy.fail("ListObjectsV2", 403, "AccessDenied", match=lambda r: r.query["prefix"] == refused)
    seen: list[OSError] = []

    with pytest.raises(PermissionError):
        list(make_fs(proxy.storage_options).walk(f"{bucket}/d", on_error="raise"))
    omitted = list(make_fs(proxy.storage_options).walk(f"{bucket}/d", on_error="omit"))
    list(make_fs(proxy.storage_options).walk(f"{bucket}/d", on_error=seen.append))

    assert omitted[-1] == (f"{bucket}/d" if first else f"{bucket}/d/sub", [], [])
    assert [type(error) for error in seen] == [PermissionError]


def test_walk_prunes_and_limits(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"d/a/x": b"1", "d/b/y": b"1", "d/b/c/z": b"1"})

    upwards = [path for path, *_ in fs.walk(f"{bucket}/d", topdown=False)]
    pruned = []
    for path, directories, _ in fs.walk(f"{bucket}/d"):
        pruned.append(path)
        directories[:] = [name for name in directories if name != "b"]

    assert upwards == [f"{bucket}/d/{name}" for name in ("a", "b/c", "b")] + [f"{bucket}/d"]
    assert pruned == [f"{bucket}/d", f"{bucket}/d/a"]
    assert len(list(fs.walk(f"{bucket}/d", maxdepth=2))) == 3
