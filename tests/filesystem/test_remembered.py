"""Listed paths are cached, and changes are seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import s3fs

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.errors import outcome
from tests.support.proxy import FaultProxy
from tests.support.trees import TREE


@pytest.fixture
def tree(put: PutObjects) -> list[str]:
    """Keys of a tree stored in `bucket`, for tests that change it."""
    put({key: key.encode() for key in TREE})
    return TREE


# --- what is cached -------------------------------------------------------------------------------

LISTINGS: dict[str, Callable[[AvroGlobFileSystem, str], object]] = {
    "ls": lambda fs, bucket: fs.ls(f"{bucket}/dir"),
    "find": lambda fs, bucket: fs.find(bucket),
    "glob": lambda fs, bucket: fs.glob(f"{bucket}/dir/k*"),
    "glob with detail": lambda fs, bucket: fs.glob(f"{bucket}/**/key", detail=True),
    "walk": lambda fs, bucket: list(fs.walk(bucket)),
}


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=list(LISTINGS))
def test_listed_object_costs_nothing(
    proxy: FaultProxy,
    make_fs: MakeFs,
    bucket: str,
    put: PutObjects,
    listing: Callable[[AvroGlobFileSystem, str], object],
) -> None:
    put({"dir/key": b"content"})
    path = f"{bucket}/dir/key"
    other = make_fs()
    fs = make_fs(proxy.storage_options)
    listing(fs, bucket)
    proxy.clear()

    answers = (
        fs.exists(path),
        fs.isfile(path),
        fs.isdir(path),
        fs.size(path),
        fs.checksum(path),
        fs.modified(path).replace(microsecond=0),
        fs.info(f"avroglob://{path}")["ETag"],
    )

    assert proxy.requests == []
    assert answers == (
        True,
        True,
        False,
        7,
        other.checksum(path),
        other.modified(path),  # whole seconds, as HTTP dates are
        other.info(path)["ETag"],
    )


def test_listed_object_opens_with_one_get(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({"key": b"content"})
    fs = make_fs(proxy.storage_options)
    fs.glob(f"{bucket}/*")
    proxy.clear()

    with fs.open(f"{bucket}/key") as file:
        assert file.read() == b"content"

    assert [request.operation for request in proxy.requests] == ["GetObject"]


QUESTIONS: dict[str, Callable[[s3fs.S3FileSystem, str], Any]] = {
    "info": lambda fs, path: fs.info(path)["size"],
    "isfile": lambda fs, path: fs.isfile(path),
    "isdir": lambda fs, path: fs.isdir(path),
    "exists": lambda fs, path: fs.exists(path),
    "size": lambda fs, path: fs.size(path),
    "sizes": lambda fs, path: fs.sizes([path]),
    "ukey": lambda fs, path: fs.ukey(path),
    "checksum": lambda fs, path: fs.checksum(path),
    # HEAD has no fractions of a second.
    "modified": lambda fs, path: fs.modified(path).replace(microsecond=0),
    "open": lambda fs, path: fs.open(path).size,
}


@pytest.mark.parametrize(
    "listing",
    [
        lambda fs, bucket: fs.glob(f"{bucket}/c/d/**"),
        lambda fs, bucket: fs.glob(f"{bucket}/c/d/*/*.avro"),
        lambda fs, bucket: fs.glob(f"{bucket}/c/d/**", detail=True),
        lambda fs, bucket: fs.find(f"{bucket}/c/d"),
        lambda fs, bucket: fs.find(f"{bucket}/c/d", withdirs=True, detail=True),
        lambda fs, bucket: fs.ls(f"{bucket}/c/d/e"),
    ],
    ids=["glob", "glob of a level", "glob with detail", "find", "find with detail", "ls"],
)
def test_listed_path_costs_nothing(
    counted: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    proxy: FaultProxy,
    forest: str,
    listing: Callable[[s3fs.S3FileSystem, str], Any],
) -> None:
    listing(counted, forest)
    proxy.clear()
    path = f"{forest}/c/d/e/g.avro"
    for name, ask in QUESTIONS.items():
        answer = ask(counted, path)
        assert proxy.requests == [], name
        if name not in ("ukey", "checksum"):  # of an info's text, which HEAD and LIST differ in
            assert answer == ask(reference, path), name


def test_unlisted_path_is_requested(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    for name, ask in QUESTIONS.items():
        counted.invalidate_cache()
        counted.glob(f"{forest}/c/d/*")
        proxy.clear()
        ask(counted, f"{forest}/c/i.csv")
        assert proxy.requests, name


def test_listed_directory_costs_nothing(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    assert counted.glob(f"{forest}/c/*/") == [f"{forest}/c/{n}" for n in ("d", "d0", "éé")]
    proxy.clear()
    path = f"{forest}/c/d"
    assert counted.isdir(path)
    assert not counted.isfile(path)
    assert counted.exists(path)
    assert counted.info(path)["type"] == "directory"
    assert proxy.requests == []


def test_listed_bucket_keeps_its_name(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"dir/key": b"1"})

    for pattern in ("**", "**/key", "*"):
        fs.glob(f"{bucket}/{pattern}", detail=True)

        assert fs.info(bucket)["name"] == bucket
        assert fs.isdir(bucket)


@pytest.mark.parametrize("pattern", ["*", "**", "dir*"])
def test_object_may_be_a_directory(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, pattern: str
) -> None:
    put({"dir": b"1", "dir/key": b"2"})

    fs.glob(f"{bucket}/{pattern}")

    assert fs.isdir(f"{bucket}/dir")


# --- own changes ----------------------------------------------------------------------------------


def write(fs: s3fs.S3FileSystem, path: str, content: bytes) -> None:
    with fs.open(path, "wb") as file:
        file.write(content)


def test_write_below_makes_a_directory(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"dir": b"1"})
    fs.glob(f"{bucket}/*")

    with fs.open(f"{bucket}/dir/key", "wb") as file:
        file.write(b"2")

    assert fs.isdir(f"{bucket}/dir")


WRITES: dict[str, Callable[[AvroGlobFileSystem, str], object]] = {
    "pipe_file": lambda fs, path: fs.pipe_file(path, b"longer than before"),
    "touch": lambda fs, path: fs.touch(path),
    "open": lambda fs, path: write(fs, path, b"longer than before"),
    "cp_file": lambda fs, path: fs.cp_file(path + "-other", path),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "rm": lambda fs, path: fs.rm([path]),
    "bulk delete": lambda fs, path: fs.call_s3(
        "delete_objects",
        Bucket=path.partition("/")[0],
        Delete={"Objects": [{"Key": path.partition("/")[2]}]},
    ),
    "multipart": lambda fs, path: fs.pipe_file(path, b"x" * 11 * 2**20, chunksize=5 * 2**20),
}


@pytest.mark.parametrize("scheme", ["", "avroglob://"])
def test_own_writes_are_seen(make_fs: MakeFs, bucket: str, put: PutObjects, scheme: str) -> None:
    path = f"{bucket}/key"
    fs, other = make_fs(), make_fs(use_listings_cache=False)
    for name, change in WRITES.items():
        put({"key": b"before", "key-other": b"of the other"})
        fs.invalidate_cache()
        fs.glob(f"{bucket}/*")

        change(fs, path if name == "bulk delete" else scheme + path)

        assert (name, fs.exists(path)) == (name, other.exists(path))
        if other.exists(path):
            assert (name, fs.size(path)) == (name, other.size(path))
            assert fs.size(path) != len(b"before")


CHANGES: dict[str, Callable[[s3fs.S3FileSystem, str], Any]] = {
    "pipe": lambda fs, path: fs.pipe(path, b"changed contents"),
    "open": lambda fs, path: write(fs, path, b"changed contents"),
    "touch": lambda fs, path: fs.touch(path, truncate=True),
    "copy": lambda fs, path: fs.copy(path.replace("i.csv", "d/h.avro"), path),
    "rm": lambda fs, path: fs.rm(path),
    "rm of a list": lambda fs, path: fs.rm([path]),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "mv": lambda fs, path: fs.mv(path, path + ".moved"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_own_changes_are_seen(
    fs: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    bucket: str,
    tree: list[str],
    change: Callable[[s3fs.S3FileSystem, str], Any],
) -> None:
    path = f"{bucket}/c/i.csv"
    fs.glob(f"{bucket}/**")
    assert fs.size(path) == len("c/i.csv")
    change(fs, path)
    for ask in (lambda one, p: one.size(p), lambda one, p: one.exists(p)):
        assert outcome(ask, fs, path) == outcome(ask, reference, path)


# --- what is forgotten ----------------------------------------------------------------------------


def test_refresh_shows_others_writes(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"key": b"before"})
    path = f"{bucket}/key"
    fs.glob(f"{bucket}/*")
    put({"key": b"afterwards"})

    assert fs.size(path) == 6
    assert fs.info(path, refresh=True)["size"] == 10
    fs.invalidate_cache()
    assert fs.size(path) == 10


def test_next_glob_shows_others_writes(
    fs: AvroGlobFileSystem, bucket: str, tree: list[str], put: PutObjects
) -> None:
    before = fs.glob(f"{bucket}/c/*")
    put({"c/new": b"", "c/i.csv": b"longer than before"})
    assert sorted([*before, f"{bucket}/c/new"]) == fs.glob(f"{bucket}/c/*")
    assert fs.size(f"{bucket}/c/i.csv") == 18


@pytest.mark.parametrize("scope", [None, "c", "c/i.csv"])
def test_invalidated_path_is_requested(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str, scope: str | None
) -> None:
    counted.glob(f"{forest}/c/*")
    counted.invalidate_cache(None if scope is None else f"{forest}/{scope}")
    proxy.clear()
    assert counted.size(f"{forest}/c/i.csv") == 7
    assert proxy.count("HeadObject") == 1


def test_expired_path_is_requested(make_fs: MakeFs, proxy: FaultProxy, forest: str) -> None:
    fs = make_fs(proxy.storage_options, listings_expiry_time=0)
    fs.glob(f"{forest}/c/*")
    proxy.clear()
    assert fs.size(f"{forest}/c/i.csv") == 7
    assert proxy.count("HeadObject") == 1


@pytest.mark.parametrize("list_", ["glob", "ls"])
def test_listing_during_write_not_cached(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects, list_: str
) -> None:
    put({"a/x": b"1"})
    fs = make_fs(proxy.storage_options, on_retry=lambda event: fs.invalidate_cache(f"{bucket}/a/x"))
    proxy.fail("ListObjectsV2", times=1)

    # The page may come from before the write.
    assert getattr(fs, list_)(f"{bucket}/a/*" if list_ == "glob" else f"{bucket}/a")

    proxy.clear()
    assert fs.info(f"{bucket}/a/x")["size"] == 1
    assert proxy.count() == 1


@pytest.mark.parametrize("options", [{"use_listings_cache": "false"}, {"version_aware": True}])
def test_cache_can_be_off(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects, options: dict[str, Any]
) -> None:
    put({"key": b"1"})
    fs = make_fs(proxy.storage_options, **options)
    fs.glob(f"{bucket}/*")
    proxy.clear()

    fs.info(f"{bucket}/key", refresh=bool(options.get("version_aware")))

    assert proxy.count("HeadObject") == 1
    assert len(fs.listings) == 0
