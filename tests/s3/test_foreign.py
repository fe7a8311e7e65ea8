"""Answers of status 200 that are not S3's, or that are malformed: errors that name the object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.support.proxy import FaultProxy

HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
XHTML = (
    b'<?xml version="1.0"?>\n<!-- portal --><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x">'
    b'<html xmlns="http://www.w3.org/1999/xhtml"/>'
)
Call = Callable[[AvroGlobFileSystem, str], object]


def upload(fs: AvroGlobFileSystem, path: str) -> None:
    fs.pipe_file(path, bytes(11 << 20), chunksize=5 << 20)


CALLS: dict[str, Call] = {
    "put": lambda fs, path: fs.pipe_file(path, b"precious"),
    "put_file": lambda fs, path: fs.put_file(__file__, path),
    "touch": lambda fs, path: fs.touch(path),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "rm": lambda fs, path: fs.rm([path, path + "2"]),
    "get": lambda fs, path: fs.cat_file(path),
    "part of get": lambda fs, path: fs.cat_file(path, start=1, end=3),
    "info": lambda fs, path: fs.info(path),
    "exists": lambda fs, path: fs.exists(path),
    "ls": lambda fs, path: fs.ls(path.partition("/")[0]),
    "exists bucket": lambda fs, path: fs.exists(path.partition("/")[0]),
    "copy": lambda fs, path: fs.cp_file(path, path + "2"),
    "upload": upload,
}


@pytest.mark.parametrize("page", [HTML, XHTML, b'{"login": "/"}', b""])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_portal_is_refused(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, call: Call, page: bytes
) -> None:
    proxy.fail(None, 200, body=page, headers={"Content-Type": "text/html"})

    with pytest.raises(OSError, match=path.partition("/")[0]):
        call(counted, path)


@pytest.mark.parametrize("answer", [HTML, XHTML, b"<ok/>"])
def test_page_is_no_deletion(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, answer: bytes
) -> None:
    proxy.fail("DeleteObjects", 200, body=answer)
    proxy.fail("DeleteObject", 200, body=answer)

    with pytest.raises(OSError, match="the answer to Delete"):
        counted.rm([path, path + "2"])


def test_part_without_etag_is_refused(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    proxy.fail("UploadPart", 200, body=b"", headers={"x-amz-request-id": "1"})

    with pytest.raises(OSError, match=f"the answer to UploadPart of '{path}' has no ETag"):
        upload(counted, path)
    assert proxy.count("AbortMultipartUpload") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"e"', "Last-Modified": "yesterday"},
        {"ETag": '"e"', "Last-Modified": "Mon, 30 Nov 2026 99:00:00 GMT"},
        {"ETag": '"e"'},
        {"Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT"},
    ],
)
@pytest.mark.parametrize("call", ["info", "exists", "isfile"])
def test_malformed_head_names_object(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, headers: dict[str, str], call: str
) -> None:
    proxy.fail("HeadObject", 200, body=b"", headers=headers)

    with pytest.raises(OSError, match=f"the answer to HeadObject of '{path}'"):
        getattr(counted, call)(path)


@pytest.mark.parametrize("size", ["x", "-5", "99999999999999999999999999x", ""])
def test_malformed_length_names_object(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, size: str
) -> None:
    headers = {"ETag": '"e"', "Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
    proxy.fail(None, 200, body=b"", headers={**headers, "Content-Length": size})

    for call in (counted.info, counted.cat_file, counted.ls):
        with pytest.raises(OSError, match=path):
            call(path)


def listing_of(*entries: str) -> bytes:
    return (
        "<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>"
        f"{''.join(entries)}</ListBucketResult>"
    ).encode()


@pytest.mark.parametrize(
    "entry",
    [
        "<Contents><Key>a</Key><Size>-5</Size></Contents>",
        "<Contents><Key>a</Key><Size>1.5</Size></Contents>",
        "<Contents><Key>a</Key><Size>1</Size><LastModified>now</LastModified></Contents>",
        f"<Contents><Key>{'a/' * 30_000}x</Key><Size>1</Size></Contents>",
        f"<Contents><Key>{'é' * 513}</Key><Size>1</Size></Contents>",
        f"<CommonPrefixes><Prefix>{'a/' * 513}</Prefix></CommonPrefixes>",
    ],
)
def test_malformed_page_names_listing(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, entry: str
) -> None:
    proxy.fail("ListObjectsV2", 200, body=listing_of(entry))

    for call in (counted.ls, counted.find, lambda name: counted.glob(f"{name}/**")):
        with pytest.raises(OSError, match=f"the answer to ListObjectsV2 of '{bucket}'"):
            list(call(bucket))


def test_longest_key_is_listed(counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str) -> None:
    key = "é" * 512
    proxy.fail(
        "ListObjectsV2",
        200,
        body=listing_of(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"),
    )

    assert counted.find(bucket) == [f"{bucket}/{key}"]


def test_large_error_keeps_its_status(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    proxy.fail("GetObject", 503, body=b"<html>" + bytes(2**21), times=2)

    assert counted.cat_file(path)
    assert counted.stats.throttles == 2


def test_huge_page_is_refused(counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str) -> None:
    proxy.fail("ListObjectsV2", 200, body=bytes(2**26 + 1))

    with pytest.raises(OSError, match=f"of '{bucket}' .* more than 67,108,864 bytes"):
        counted.find(bucket)


def test_whitespace_before_an_answer_is_kept(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, tmp_path: Path
) -> None:
    body = (
        b'<?xml version="1.0"?>\n'
        + b" " * 9000
        + b'<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>'
    )
    proxy.fail("CopyObject", 200, body=body)

    counted.cp_file(path, path + "2")
