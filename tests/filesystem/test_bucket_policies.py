"""Real bucket policies, which Ceph RGW enforces on every request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support import rgw
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

KEYS = ("home/ann/2024/x.csv", "home/ann/a.csv", "home/bob/b.csv")


def statement(action: str | list[str], resource: str, **condition: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{rgw.GUEST}"]},
        "Action": action,
        "Resource": f"arn:aws:s3:::{resource}",
        **({"Condition": condition} if condition else {}),
    }


@pytest.fixture(autouse=True)
def lake(endpoint: Endpoint, bucket: str, put: PutObjects) -> Iterator[str]:
    if endpoint.key != rgw.KEY:
        pytest.skip("only RGW enforces bucket policies here (--s3=rgw)")
    put(dict.fromkeys(KEYS, b"1"))
    yield bucket
    endpoint.client().delete_bucket_policy(Bucket=bucket)


def guest(
    endpoint: Endpoint, proxy: FaultProxy, make_fs: MakeFs, bucket: str, *allowed: dict[str, Any]
) -> AvroGlobFileSystem:
    """The guest's filesystem, behind the proxy, under a policy of these statements."""
    policy = {"Version": "2012-10-17", "Statement": allowed}
    endpoint.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    return make_fs(proxy.storage_options, key=rgw.GUEST, secret=rgw.GUEST_SECRET)


def test_home_folders(endpoint: Endpoint, proxy: FaultProxy, make_fs: MakeFs, lake: str) -> None:
    fs = guest(
        endpoint,
        proxy,
        make_fs,
        lake,
        statement(
            "s3:ListBucket",
            lake,
            StringEquals={"s3:prefix": ["", "home/"], "s3:delimiter": ["/"]},
        ),
        statement("s3:ListBucket", lake, StringLike={"s3:prefix": ["home/ann/*"]}),
        statement(["s3:GetObject", "s3:PutObject"], f"{lake}/home/ann/*"),
    )
    home = f"{lake}/home"

    assert fs.ls(home) == [f"{home}/ann", f"{home}/bob"]
    assert fs.find(f"{home}/ann") == [f"{home}/ann/2024/x.csv", f"{home}/ann/a.csv"]
    assert fs.glob(f"{home}/ann/**/*.csv") == fs.find(f"{home}/ann")
    assert fs.isdir(f"{home}/ann")
    assert not fs.exists(f"{home}/ann/none")
    with fs.open(f"{home}/ann/new", "xb") as file:
        file.write(b"2")
    assert fs.cat(f"{home}/ann/new") == b"2"
    proxy.clear()
    for most in (4, 2):
        assert fs.glob(f"{home}/a*/*.csv") == [f"{home}/ann/a.csv"]
        assert proxy.count() <= most
        proxy.clear()
    with pytest.raises(PermissionError, match=r"AccessDenied \(ListObjectsV2 .*/home/bob/\)"):
        fs.glob(f"{home}/*/*.csv")


def test_levels_only(endpoint: Endpoint, proxy: FaultProxy, make_fs: MakeFs, lake: str) -> None:
    fs = guest(
        endpoint,
        proxy,
        make_fs,
        lake,
        statement("s3:ListBucket", lake, StringEquals={"s3:delimiter": ["/"]}),
    )
    expected = [f"{lake}/{key}" for key in KEYS]

    for most in (10, 5):  # a refusal and a level for each of 5 directories, then the levels
        assert fs.find(lake) == expected
        assert proxy.count() <= most
        proxy.clear()
    assert fs.glob(f"{lake}/**/*.csv") == expected
    assert fs.du(lake) == 3


def test_objects_without_listing(
    endpoint: Endpoint, proxy: FaultProxy, make_fs: MakeFs, lake: str, tmp_path: Path
) -> None:
    fs = guest(
        endpoint,
        proxy,
        make_fs,
        lake,
        statement(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"{lake}/home/ann/*"),
    )
    path = f"{lake}/home/ann/a.csv"

    assert fs.cat(path) == b"1"
    assert fs.exists(path)
    fs.pipe_file(f"{path}.new", b"2")
    with fs.open(f"{path}.other", "xb") as file:
        file.write(b"3")
    with fs.open(f"{path}.new") as read:
        assert read.read() == b"2"
    fs.get(path, str(tmp_path / "copy"))
    fs.put(str(tmp_path / "copy"), f"{path}.put")
    fs.cp(f"{path}.put", f"{path}.cp")
    fs.mv(f"{path}.cp", f"{path}.mv")
    assert fs.cat(f"{path}.mv") == b"1"
    for run in (
        lambda: fs.exists(f"{path}.none"),
        lambda: fs.ls(lake),
        lambda: fs.glob(f"{lake}/*"),
    ):
        with pytest.raises(PermissionError) as caught:
            run()
        assert "None" not in str(caught.value)
