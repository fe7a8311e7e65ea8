"""LISTs and GETs of a client: pages and objects, errors, and answers that are malformed."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, FlexibleChecksumError
from fsspec.asyn import sync

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.client import get_object, list_page, prepare_client
from fsspec_avroglob.s3.page import Page, page_from_response
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

PAGE = "<ListBucketResult>{}</ListBucketResult>"
LAST = "<IsTruncated>false</IsTruncated>"


class Client:
    """An S3 client that `prepare_client` has prepared."""

    def __init__(self, fs: AvroGlobFileSystem) -> None:
        self.fs = fs
        self.client = sync(fs.loop, fs.set_session)
        prepare_client(self.client)

    def page(self, arguments: dict[str, str]) -> Page:
        page: Page = sync(self.fs.loop, list_page, self.client, arguments, detail=True)
        return page

    def botocore_page(self, arguments: dict[str, str]) -> Page:
        async def ask() -> Page:
            return page_from_response(await self.client.list_objects_v2(**arguments))

        page: Page = sync(self.fs.loop, ask)
        return page

    def read(self, arguments: dict[str, str]) -> tuple[bytes, dict[str, Any]]:
        async def ask() -> tuple[bytes, dict[str, Any]]:
            response = await get_object(self.client, arguments)
            return await response.pop("Body").read(), response

        content: tuple[bytes, dict[str, Any]] = sync(self.fs.loop, ask)
        return content


@pytest.fixture
def client(proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects) -> Client:
    put(dict.fromkeys(["a/1", "a/2", "a/b/3", "c d/é", "z"], b"content"))
    return Client(make_fs(proxy.storage_options))


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("prefix", ["", "a/", "c d/", "none"])
def test_page_equals_botocore(client: Client, bucket: str, prefix: str, delimiter: str) -> None:
    arguments = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}

    assert client.page(arguments) == client.botocore_page(arguments)


def test_botocore_parses_no_decoded_page(client: Client, bucket: str) -> None:
    bodies = []

    def note(parsed: dict[str, Any], **_: Any) -> None:
        bodies.append(parsed.get("Contents"))

    client.client.meta.events.register("after-call.s3.ListObjectsV2", note)

    assert client.page({"Bucket": bucket, "Prefix": "a/"}).keys == ["a/1", "a/2", "a/b/3"]
    assert bodies == [None]


def test_error_equals_botocore(client: Client, proxy: FaultProxy, bucket: str) -> None:
    proxy.fail("ListObjectsV2", 403, "AccessDenied")

    errors = []
    for ask in (client.page, client.botocore_page):
        with pytest.raises(ClientError) as failure:
            ask({"Bucket": bucket})
        errors.append((type(failure.value), str(failure.value), failure.value.operation_name))

    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    "page",
    [
        PAGE.format(LAST + "<Contents><Size>1</Size></Contents>"),
        PAGE.format(LAST + "<Contents><Key>k</Key></Contents>"),
        PAGE.format(LAST + "<Contents><Key>k</Key><Size>many</Size></Contents>"),
        PAGE.format(LAST + "<Contents><Key>k</Key><Size/></Contents>"),
        PAGE.format(
            LAST + "<Contents><Key>k</Key><Size>1</Size>"
            "<LastModified>yesterday</LastModified></Contents>"
        ),
        PAGE.format(LAST + "<CommonPrefixes></CommonPrefixes>"),
        PAGE.format(LAST + "<MaxKeys>all</MaxKeys>"),
        PAGE.format(LAST + "<EncodingType>url</EncodingType><Contents><Size>1</Size></Contents>"),
        PAGE.format("<Contents><Key>k</Key><Size>1</Size></Contents>"),
        PAGE.format("<IsTruncated>true</IsTruncated>"),
        PAGE.format(LAST + "<Contents><Key>k</Key><Key>l</Key><Size>1</Size></Contents>"),
        PAGE.format(LAST + "<CommonPrefixes><Prefix>a/</Prefix><Prefix/></CommonPrefixes>"),
    ],
)
def test_malformed_page_names_listing(
    client: Client, proxy: FaultProxy, bucket: str, page: str
) -> None:
    proxy.fail("ListObjectsV2", 200, body=page.encode())

    with pytest.raises(OSError, match=f"{bucket}/a/") as failure:
        client.fs.find(f"{bucket}/a/")

    assert "malformed" in str(failure.value)


def test_early_error_is_not_malformed(client: Client, bucket: str) -> None:
    def fail(**_: Any) -> None:
        raise ValueError("a handler fails")

    client.client.meta.events.register("before-call.s3.ListObjectsV2", fail)

    with pytest.raises(ValueError, match="a handler fails"):
        client.page({"Bucket": bucket})


def test_object_has_its_headers(client: Client, bucket: str) -> None:
    content, response = client.read({"Bucket": bucket, "Key": "c d/é", "Range": "bytes=1-2"})

    assert content == b"on"
    assert response["ContentLength"] == 2
    assert response["ContentRange"] == "bytes 1-2/7"
    assert response["ETag"]


@pytest.mark.parametrize("validation", ["when_supported", "when_required"])
def test_checksums_are_checked(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects, validation: str
) -> None:
    put({"data": b"content"})
    config = {"response_checksum_validation": validation}
    client = Client(make_fs({**proxy.storage_options, "config_kwargs": config}))
    headers = {"x-amz-checksum-crc32": "AAAAAA==", "ETag": '"e"'}
    proxy.fail("GetObject", 200, body=b"content", headers=headers)

    arguments = {"Bucket": bucket, "Key": "data"}
    if validation == "when_required":
        assert client.read(arguments)[0] == b"content"
    else:
        with pytest.raises(FlexibleChecksumError):
            client.read(arguments)
