"""Keys are removed one by one where DeleteObjects is refused."""

from __future__ import annotations

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects
from tests.support.proxy import FaultProxy

REFUSALS = [
    (501, "NotImplemented"),
    (400, "MissingContentMD5"),
    (400, "InvalidRequest"),
    (405, "MethodNotAllowed"),
    (403, "AccessDenied"),
    (403, "SignatureDoesNotMatch"),
]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_refused_bulk_deletion_is_replaced(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    bucket: str,
    put: PutObjects,
    status: int,
    code: str,
) -> None:
    put({"a/1": b"", "a/2": b"", "b": b""})
    proxy.fail("DeleteObjects", status, code)

    counted.rm([f"{bucket}/a/1", f"{bucket}/a/2"])
    counted.rm([f"{bucket}/b"])

    assert counted.find(bucket) == []
    assert proxy.count("DeleteObjects") == 1  # remembered
    assert proxy.count("DeleteObject") == 3


def test_refused_key_ends_the_deletion(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"a": b"", "b": b""})
    proxy.fail("DeleteObjects", 403, "AccessDenied")
    proxy.fail("DeleteObject", 403, "AccessDenied")

    with pytest.raises(PermissionError) as caught:
        counted.rm([f"{bucket}/a", f"{bucket}/b"])

    assert "DeleteObjects" in caught.value.__notes__[0]
    assert proxy.count("DeleteObject") == 1


def test_keys_that_remain_are_named(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"a": b"", "b": b"", "c": b""})
    proxy.fail("DeleteObjects", 501, "NotImplemented")
    proxy.fail("DeleteObject", 403, "AccessDenied", match=lambda request: request.key == "b")

    with pytest.raises(PermissionError) as caught:
        counted.rm([f"{bucket}/{name}" for name in "abc"])

    assert f"1 not deleted: {bucket}/b" in caught.value.__notes__
    assert counted.find(bucket) == [f"{bucket}/b"]


def test_outage_is_no_refusal(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"a": b""})
    proxy.fail("DeleteObjects", 503)

    with pytest.raises(OSError, match="SlowDown"):
        counted.rm([f"{bucket}/a"])

    assert proxy.count("DeleteObject") == 0
