"""Which redirects are followed, and what others get."""

from __future__ import annotations

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.redirects import made_by_s3
from tests.conftest import PutObjects
from tests.support.proxy import FaultProxy

AWS = "https://b.s3.amazonaws.com/k"


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("http://s3.example.com/b/k", "http://s3.example.com/b/k"),
        ("http://s3.example.com/b/k", "https://s3.example.com/b/k"),
        ("http://s3.example.com/b/k", "http://b.s3.example.com/k"),
        ("https://s3.eu-1.example.com/b/k", "https://s3.us-1.example.com/b/k"),
        ("https://s3.eu-1.example.co.uk/b/k", "https://s3.us-1.example.co.uk/b/k"),
        ("http://127.0.0.1:9000/b/k", "http://127.0.0.1:9000/c/k"),
        (AWS, "https://b.s3.eu-west-1.amazonaws.com/k"),
        (AWS, "https://b.s3-us-west-2.amazonaws.com/k"),
        (AWS, "https://s3.dualstack.eu-west-1.amazonaws.com/b/k"),
        ("https://s3.cn-north-1.amazonaws.com.cn/b", "https://b.s3.cn-north-1.amazonaws.com.cn/"),
    ],
)
def test_followed(asked: str, target: str) -> None:
    assert made_by_s3(asked, target)


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("http://s3.example.com/b/k", "http://example.com/b/k"),
        ("http://s3.example.com/b/k", "http://evil.org/s3.example.com/k"),
        ("http://s3.example.com/b/k", "http://s3.example.com.evil.org/b/k"),
        ("http://s3.example.com/b/k", "http://s3.example.com@evil.org/b/k"),
        ("http://s3.example.com/b/k", "http://evils3.example.com/b/k"),
        ("http://s3.example.com/b/k", "http://s3.other.com/b/k"),
        ("http://s3.example.co.uk/b/k", "http://s3.other.co.uk/b/k"),
        ("https://s3.example.com/b/k", "http://s3.example.com/b/k"),
        ("http://s3.example.com/b/k", "http://s3.example.com:8080/b/k"),
        ("http://s3.example.com/b/k", "ftp://s3.example.com/b/k"),
        ("http://s3.example.com/b/k", "http://s3.example.com:x/b/k"),
        ("http://127.0.0.1:9000/b/k", "http://127.0.0.1:9001/b/k"),
        ("http://127.0.0.1/b/k", "http://b.127.0.0.1/k"),
        ("http://10.0.0.1/b/k", "http://10.0.7.1/b/k"),
        ("http://[::1]:80/b/k", "http://[::2]:80/b/k"),
        (AWS, "https://ec2-1-2-3-4.eu-west-1.compute.amazonaws.com/k"),
        (AWS, "https://s3-1234.us-east-1.elb.amazonaws.com/k"),
        (AWS, "https://b.s3.amazonaws.com.evil.org/k"),
        (AWS, "http://b.s3.eu-west-1.amazonaws.com/k"),
        (AWS, "https://b.s3.eu-west-1.amazonaws.com:8443/k"),
        ("http://127.0.0.1:9000/b/k", AWS),
    ],
)
def test_refused(asked: str, target: str) -> None:
    assert not made_by_s3(asked, target)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_stranger_gets_nothing(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, status: int
) -> None:
    with FaultProxy(proxy._endpoint) as stranger:
        proxy.fail(None, status, headers={"Location": f"{stranger.url}/{path}"})
        for call in (counted.cat_file, counted.info, counted.rm_file):
            with pytest.raises(OSError, match="it is not followed") as failure:
                call(path)
            assert proxy.url.removeprefix("http://") in str(failure.value)
            assert stranger.url.removeprefix("http://") in str(failure.value)
        with pytest.raises(OSError, match="it is not followed"):
            counted.pipe_file(path, b"private")

    assert stranger.requests == []
    assert proxy.count() == 4


def test_own_redirect_is_signed_anew(
    counted: AvroGlobFileSystem, proxy: FaultProxy, put: PutObjects, bucket: str
) -> None:
    put({"moved": b"content"})
    proxy.fail("GetObject", 307, times=1, headers={"Location": f"/{bucket}/moved"})

    assert counted.cat_file(f"{bucket}/key") == b"content"
    first, second = (request.headers["authorization"] for request in proxy.requests)
    assert first != second


def test_loop_ends(counted: AvroGlobFileSystem, proxy: FaultProxy, path: str) -> None:
    proxy.fail(None, 301, headers={"Location": f"/{path}"})

    with pytest.raises(OSError, match="a second time"):
        counted.cat_file(path)

    assert proxy.count() == 2


@pytest.mark.parametrize("status", [301, 302, 307])
def test_without_location_is_final(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, status: int
) -> None:
    proxy.fail(None, status, "")

    for call in (counted.cat_file, counted.info):
        with pytest.raises(OSError, match=r"\S"):
            call(path)

    assert proxy.count() == 2


def test_region_is_left_to_botocore(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    headers = {"x-amz-bucket-region": "eu-west-1"}
    proxy.fail("GetObject", 301, "PermanentRedirect", times=1, headers=headers)

    assert counted.cat_file(path)
    assert "eu-west-1/s3" in proxy.requests[-1].headers["authorization"]
