"""The fsspec face of the filesystem, globs apart: how it is found, paths and URLs, loops, twins."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
import s3fs
from fsspec.asyn import AsyncFileSystem

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects
from tests.support.servers import Endpoint

SCHEMES = ["", "avroglob://", "s3://", "s3a://"]


# --- how it is found ------------------------------------------------------------------------------

NEW_INTERPRETER = """
import json, sys
import fsspec
options, url = json.load(sys.stdin)
with fsspec.open(url, **options) as file:
    content = file.read()
fs = fsspec.filesystem("avroglob", **options)
print(json.dumps({
    "class": type(fs).__name__,
    "content": content.decode(),
    "found": fs.glob(url[:-1] + "*"),
    "s3": fsspec.get_filesystem_class("s3").__name__,
}))
"""


def test_needs_no_import(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"a.txt": b"hello"})

    done = subprocess.run(
        [sys.executable, "-c", NEW_INTERPRETER],
        input=json.dumps([endpoint.storage_options, f"avroglob://{bucket}/a.txt"]),
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {
        "class": "AvroGlobFileSystem",
        "content": "hello",
        "found": [f"{bucket}/a.txt"],
        "s3": "S3FileSystem",
    }


def test_import_leaves_s3_alone() -> None:
    assert fsspec.get_filesystem_class("s3") is s3fs.S3FileSystem


# --- paths ----------------------------------------------------------------------------------------


def test_protocols() -> None:
    assert AvroGlobFileSystem.protocol == ("avroglob", "s3", "s3a")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_urls_are_stripped(fs: AvroGlobFileSystem, scheme: str) -> None:
    assert fs._strip_protocol(f"{scheme}b/dir/key") == "b/dir/key"
    assert fs.split_path(f"{scheme}b/dir/key") == ("b", "dir/key", None)
    assert fs.unstrip_protocol("b/key") == "avroglob://b/key"


READS: dict[str, Callable[[Any, str, str], Any]] = {
    "info": lambda fs, bucket, path: fs.info(path)["name"],
    "info of directory": lambda fs, bucket, path: fs.info(f"{bucket}/dir")["name"],
    "info of bucket": lambda fs, bucket, path: fs.info(bucket)["name"],
    "exists": lambda fs, bucket, path: (fs.exists(path), fs.exists(bucket)),
    "isfile": lambda fs, bucket, path: (fs.isfile(path), fs.isfile(f"{bucket}/dir")),
    "isdir": lambda fs, bucket, path: (fs.isdir(path), fs.isdir(f"{bucket}/dir")),
    "isdir of bucket": lambda fs, bucket, path: fs.isdir(bucket),
    "size": lambda fs, bucket, path: fs.size(path),
    "sizes": lambda fs, bucket, path: fs.sizes([path, path]),
    "checksum": lambda fs, bucket, path: fs.checksum(path),
    "modified": lambda fs, bucket, path: fs.modified(path),
    "ukey": lambda fs, bucket, path: len(fs.ukey(path)),
    "ls": lambda fs, bucket, path: fs.ls(f"{bucket}/dir"),
    "ls of file": lambda fs, bucket, path: fs.ls(path),
    "ls of bucket": lambda fs, bucket, path: fs.ls(bucket, detail=False),
    "ls with detail": lambda fs, bucket, path: fs.ls(f"{bucket}/", detail=True),
    "find": lambda fs, bucket, path: fs.find(bucket),
    "find of file": lambda fs, bucket, path: fs.find(path),
    "find with depth": lambda fs, bucket, path: fs.find(bucket, maxdepth=1, withdirs=True),
    "find with detail": lambda fs, bucket, path: fs.find(f"{bucket}/dir", detail=True),
    "find with prefix": lambda fs, bucket, path: fs.find(bucket, prefix="d"),
    "glob": lambda fs, bucket, path: fs.glob(f"{bucket}/*"),
    "glob of file": lambda fs, bucket, path: fs.glob(path),
    "du": lambda fs, bucket, path: fs.du(bucket),
    "du of each": lambda fs, bucket, path: fs.du(bucket, total=False),
    "walk": lambda fs, bucket, path: list(fs.walk(bucket)),
    "cat": lambda fs, bucket, path: fs.cat(path),
    "cat of list": lambda fs, bucket, path: fs.cat([path]),
    "cat_file": lambda fs, bucket, path: fs.cat_file(path, start=1, end=3),
    "cat_ranges": lambda fs, bucket, path: fs.cat_ranges([path], [0], [2]),
    "head": lambda fs, bucket, path: fs.head(path, 2),
    "open": lambda fs, bucket, path: fs.open(path).read(),
    "expand_path": lambda fs, bucket, path: fs.expand_path(f"{bucket}/dir", recursive=True),
    "metadata": lambda fs, bucket, path: fs.metadata(path),
    "get_tags": lambda fs, bucket, path: fs.get_tags(path),
    "tree": lambda fs, bucket, path: len(fs.tree(bucket)) > 0,
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reads_equal_s3fs(
    endpoint: Endpoint, fs: AvroGlobFileSystem, bucket: str, put: PutObjects, scheme: str
) -> None:
    put({"dir/key": b"content", "dir/sub/deep": b"1", "top": b""})
    stock = s3fs.S3FileSystem(**endpoint.storage_options, skip_instance_cache=True)

    def answers(fs: Any, base: str) -> dict[str, Any]:
        told = {}
        for name, read in READS.items():
            fs.invalidate_cache()
            told[name] = read(fs, base, f"{base}/dir/key")
        return told

    assert answers(fs, scheme + bucket) == answers(stock, bucket)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_writes_take_urls_and_paths(
    fs: AvroGlobFileSystem, bucket: str, scheme: str, tmp_path: Path
) -> None:
    base = scheme + bucket
    local = tmp_path / "local"
    local.write_bytes(b"local")

    fs.pipe_file(f"{base}/pipe", b"1")
    fs.pipe({f"{base}/pipes": b"2"})
    fs.touch(f"{base}/touch")
    fs.put_file(str(local), f"{base}/put")
    with fs.open(f"{base}/open", "wb") as file:
        file.write(b"3")
    fs.cp_file(f"{base}/pipe", f"{base}/copy")
    fs.mv(f"{base}/pipes", f"{base}/moved")
    fs.put_tags(f"{base}/pipe", {"tag": "x"})

    assert fs.get_tags(f"{base}/pipe") == {"tag": "x"}
    assert {name: fs.cat(name) for name in fs.find(base)} == {
        f"{bucket}/copy": b"1",
        f"{bucket}/moved": b"2",
        f"{bucket}/open": b"3",
        f"{bucket}/pipe": b"1",
        f"{bucket}/put": b"local",
        f"{bucket}/touch": b"",
    }
    fs.get_file(f"{base}/open", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b"3"
    fs.rm_file(f"{base}/copy")
    fs.rm([f"{base}/moved", f"{base}/open"])
    fs.rm(f"{base}/p*")
    assert fs.find(base) == [f"{bucket}/touch"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_buckets_are_made_and_removed(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str, scheme: str
) -> None:
    new = f"{bucket[:40]}-new"

    fs.mkdir(scheme + new)
    try:
        assert fs.exists(scheme + new)
        fs.rmdir(scheme + new)
        assert not fs.exists(scheme + new)
    finally:
        with contextlib.suppress(endpoint.client().exceptions.ClientError):
            endpoint.client().delete_bucket(Bucket=new)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_objects_are_merged(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, scheme: str
) -> None:
    put({"a": b"A" * 5 * 2**20, "b": b"B"})

    fs.merge(f"{scheme}{bucket}/ab", [f"{scheme}{bucket}/a", f"{scheme}{bucket}/b"])

    assert fs.size(f"{bucket}/ab") == 5 * 2**20 + 1


# --- loops, threads -------------------------------------------------------------------------------


async def test_works_in_coroutines(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({f"dir/{number}": b"x" * number for number in range(20)})
    fs = AvroGlobFileSystem(**endpoint.storage_options, asynchronous=True, skip_instance_cache=True)
    client = await fs.set_session()
    try:
        infos = await asyncio.gather(*(fs._info(f"{bucket}/dir/{n}") for n in range(20)))
        await fs._pipe_file(f"avroglob://{bucket}/new", b"new")
        found = await fs._find(f"avroglob://{bucket}")
        one = await fs._cat_file(f"{bucket}/new")

        assert [info["size"] for info in infos] == list(range(20))
        assert len(found) == 21
        assert one == b"new"
        assert await fs._glob(f"{bucket}/dir/1?") == [f"{bucket}/dir/{n}" for n in range(10, 20)]
        assert await fs._exists(f"{bucket}/dir/7")
        assert await fs._isdir(f"{bucket}/dir")
        assert not await fs._exists(f"{bucket}/none")
        assert len(await fs._ls(f"{bucket}/dir", detail=True)) == 20
        assert await fs._du(bucket) == sum(range(20)) + 3
    finally:
        await client.close()


def test_threads_share_an_instance(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({f"dir/{number}": b"%d" % number for number in range(10)})

    def work(worker: int) -> None:
        for number in range(5):
            path = f"{bucket}/dir/{number}"
            assert fs.cat_file(path) == b"%d" % number
            assert fs.info(path)["size"] == 1
            assert len(fs.glob(f"{bucket}/dir/?")) == 10
            fs.pipe_file(f"{bucket}/of-{worker}/{number}", b"x")
            assert fs.exists(f"{bucket}/of-{worker}/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert len(fs.find(bucket)) == 10 + 40


# --- sync twins -----------------------------------------------------------------------------------


def overridden_coroutines() -> list[str]:
    return [
        name
        for kind in AvroGlobFileSystem.__mro__
        if kind.__module__.startswith("fsspec_avroglob")
        for name, value in vars(kind).items()
        if inspect.iscoroutinefunction(value) and hasattr(s3fs.S3FileSystem, name)
    ]


def frozen_twins() -> set[str]:
    """Names of coroutines whose twin is made when a class is, not for each instance."""
    return {
        f"_{name}"
        for kind in (s3fs.S3FileSystem, AsyncFileSystem)
        for name, value in vars(kind).items()
        if inspect.iscoroutinefunction(getattr(value, "__wrapped__", None))
    }


def test_twins_are_found() -> None:
    assert {"_find", "_isdir", "_call_s3"} <= frozen_twins()
    assert {"_find", "_isdir", "_call_s3", "_glob", "_info"} <= set(overridden_coroutines())


@pytest.mark.parametrize("name", overridden_coroutines())
def test_coroutines_have_sync_twins(fs: AvroGlobFileSystem, name: str) -> None:
    twin = getattr(fs, name.removeprefix("_"), None)
    if name in frozen_twins():
        assert name.removeprefix("_") in vars(AvroGlobFileSystem)
    if twin is not None:
        own = inspect.getattr_static(AvroGlobFileSystem, name)
        assert inspect.unwrap(twin, stop=lambda function: function is own) is own
