"""Whole objects: resumed where a body was cut, and never half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from s3fs.utils import FileExpired

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.calls import read_file
from tests.support.faults import Request
from tests.support.proxy import FaultProxy
from tests.support.session import SESSION

CONTENT = bytes(range(256)) * 4_000  # about 1 MB


@pytest.mark.parametrize("options", [{}, {"chunksize": 300_000}, {"max_concurrency": 1}])
def test_cat_and_get_read_all(
    make_fs: MakeFs, bucket: str, put: PutObjects, tmp_path: Path, options: dict[str, int]
) -> None:
    put({"data": CONTENT, "empty": b""})
    fs = make_fs()

    fs.get_file(f"{bucket}/data", str(tmp_path / "data"), **options)
    fs.get_file(f"{bucket}/empty", str(tmp_path / "empty"), **options)

    assert (tmp_path / "data").read_bytes() == CONTENT == fs.cat_file(f"{bucket}/data", **options)
    assert (tmp_path / "empty").read_bytes() == b"" == fs.cat_file(f"{bucket}/empty", **options)
    assert sorted(os.listdir(tmp_path)) == ["data", "empty"]


@pytest.mark.parametrize("chunksize", [None, 300_000])
def test_cut_body_resumes(
    make_fs: MakeFs,
    proxy: FaultProxy,
    bucket: str,
    put: PutObjects,
    tmp_path: Path,
    chunksize: int | None,
) -> None:
    put({"data": CONTENT})
    proxy.cut("GetObject", after=280_000, times=2)

    make_fs(proxy.storage_options).get_file(
        f"{bucket}/data", str(tmp_path / "data"), chunksize=chunksize
    )

    assert (tmp_path / "data").read_bytes() == CONTENT


def test_failed_get_keeps_old_file(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects, tmp_path: Path
) -> None:
    put({"data": CONTENT})
    (tmp_path / "data").write_bytes(b"before")
    proxy.fail("GetObject", status=503, code="SlowDown", times=None)

    with pytest.raises(OSError, match="Injected SlowDown"):
        make_fs(proxy.storage_options).get_file(f"{bucket}/data", str(tmp_path / "data"))

    assert proxy.count("GetObject") == 3
    assert (tmp_path / "data").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["data"]


# --- cut at any byte, changed at any time ---------------------------------------------------------

SMALL = bytes(range(200))


def read_get(fs: AvroGlobFileSystem, path: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        fs.get_file(path, f"{directory}/file")
        return Path(f"{directory}/file").read_bytes()


def read_ranges(fs: AvroGlobFileSystem, path: str) -> bytes:
    starts, ends = [0, 50, 150], [50, 150, None]
    return b"".join(fs.cat_ranges([path] * 3, starts, ends, on_error="raise"))


READS: dict[str, Callable[[AvroGlobFileSystem, str], bytes]] = {
    "cat_file": lambda fs, path: fs.cat_file(path),
    "cat_file by parts": lambda fs, path: fs.cat_file(path, chunksize=64),
    "cat of many": lambda fs, path: fs.cat([path])[path],
    "cat_ranges": read_ranges,
    "get_file": read_get,
    "open": read_file,
}
every_read = pytest.mark.parametrize("read", READS.values(), ids=list(READS))


@every_read
@pytest.mark.parametrize("after", [0, 1, 49, 50, 51, 63, 64, 65, 199])
def test_cut_at_any_byte_resumes(
    make_fs: MakeFs,
    proxy: FaultProxy,
    bucket: str,
    put: PutObjects,
    read: Callable[[AvroGlobFileSystem, str], bytes],
    after: int,
) -> None:
    put({"data": SMALL})
    proxy.cut("GetObject", after=after, times=2)

    assert read(make_fs(proxy.storage_options, session=SESSION), f"{bucket}/data") == SMALL


@every_read
@pytest.mark.parametrize("local_expiry_check", [False, True])
def test_changed_object_has_expired(
    make_fs: MakeFs,
    proxy: FaultProxy,
    bucket: str,
    put: PutObjects,
    read: Callable[[AvroGlobFileSystem, str], bytes],
    local_expiry_check: bool,
) -> None:
    put({"data": SMALL})
    fs = make_fs(
        proxy.storage_options, session=SESSION, local_expiry_check=local_expiry_check, batch_size=1
    )

    def change(request: Request) -> bool:
        if proxy.count("GetObject") == 2:
            put({"data": SMALL[::-1]})
        return False

    proxy.cut("GetObject", after=40, times=1)
    proxy.drop("GetObject", match=change)

    with pytest.raises(FileExpired):
        read(fs, f"{bucket}/data")


def test_file_keeps_one_version(make_fs: MakeFs, bucket: str, put: PutObjects) -> None:
    put({"data": SMALL})
    file = make_fs().open(f"{bucket}/data", size=200, cache_type="none")
    assert file.read(10) == SMALL[:10]

    put({"data": SMALL[::-1]})

    with pytest.raises(FileExpired):
        file.read(10)


def test_ignored_range_is_noticed(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"data": SMALL})
    fs = make_fs(proxy.storage_options)
    proxy.fail("GetObject", 200, body=SMALL, headers={"ETag": '"e"'})

    for start, end in ((2, 5), (2, None), (0, 5)):
        with pytest.raises(OSError, match=f"200 bytes from byte 0 on instead of bytes={start}-"):
            fs.cat_file(f"{bucket}/data", start=start, end=end)
    assert fs.cat_file(f"{bucket}/data", start=0, end=200) == SMALL
    assert proxy.count("GetObject") == 4


@pytest.mark.parametrize("missing", ["nothing", "nothing/below"])
def test_missing_object_costs_one_get(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects, missing: str
) -> None:
    put({"data": SMALL})
    fs = make_fs(proxy.storage_options)
    path = f"{bucket}/{missing}"

    with pytest.raises(FileNotFoundError):
        fs.cat_file(path)
    assert fs.cat([path, f"{bucket}/data"], on_error="omit") == {f"{bucket}/data": SMALL}
    found = fs.cat_ranges([path, f"{bucket}/data"], [0, 0], [10, 10])

    assert isinstance(found[0], FileNotFoundError)
    assert found[1] == SMALL[:10]
    assert [r.operation for r in proxy.requests if r.key == missing] == ["GetObject"] * 3
