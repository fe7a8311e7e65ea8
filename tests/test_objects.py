"""Whole objects: resumed where a body was cut, and never half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

CONTENT = bytes(range(256)) * 4_000  # about 1 MB


@pytest.mark.parametrize("options", [{}, {"chunksize": 300_000}, {"max_concurrency": 1}])
def test_an_object_is_read_whole_by_cat_and_get(
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
def test_a_body_that_is_cut_goes_on_where_it_stopped(
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


def test_a_copy_that_fails_leaves_what_was_there(
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
