"""How often each S3 operation is tried, with what waits, and what errors come out in the end."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import s3fs
import s3fs.core
from aiobotocore.session import AioSession
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
)

from fsspec_avroglob.filesystem import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import LOOPBACK

Operation = Callable[[AvroGlobFileSystem, str], object]

SESSION = AioSession()
"""Shared, because reading botocore's service descriptions is what making a client costs."""


class Waits(list[float]):
    """Stands in for sleeping: keeps the seconds that were asked for."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def path(bucket: str, put: PutObjects) -> str:
    """An object of 12 bytes."""
    put({"dir/key": b"some content"})
    return f"{bucket}/dir/key"


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def fs(proxy: FaultProxy, make_fs: MakeFs, waits: Waits) -> AvroGlobFileSystem:
    """A filesystem behind the proxy with the default policy, without jitter, that never sleeps."""
    made = make_fs(proxy.storage_options, session=SESSION, retry={"jitter": 0})
    made._sleep = waits
    return made


def most_repeated(proxy: FaultProxy, operation: str) -> int:
    """How often the same request of an operation arrived."""
    same = Counter(
        (request.path, *sorted(request.query.items()), request.headers.get("range"))
        for request in proxy.requests
        if request.operation == operation
    )
    return max(same.values(), default=0)


def bucket_of(path: str) -> str:
    return path.partition("/")[0]


def write_file(fs: AvroGlobFileSystem, path: str, size: int = 3) -> None:
    file = fs.open(path, "wb", block_size=5 * 2**20)
    try:
        file.write(b"x" * size)
        file.close()
    finally:
        file.closed = True  # else it would be written once more in the end


def read_file(fs: AvroGlobFileSystem, path: str) -> bytes:
    with fs.open(path) as file:
        content: bytes = file.read()
    return content


def write_parts(fs: AvroGlobFileSystem, path: str) -> None:
    fs.pipe_file(path, b"12345678", chunksize=4, max_concurrency=1)


READS: dict[str, tuple[str, Operation]] = {
    "info": ("HeadObject", lambda fs, path: fs.info(path)),
    "exists": ("HeadObject", lambda fs, path: fs.exists(path)),
    "size": ("HeadObject", lambda fs, path: fs.size(path)),
    "info of bucket": ("HeadBucket", lambda fs, path: fs.info(bucket_of(path))),
    "cat": ("GetObject", lambda fs, path: fs.cat(path)),
    "cat_file": ("GetObject", lambda fs, path: fs.cat_file(path)),
    "cat_file range": ("GetObject", lambda fs, path: fs.cat_file(path, start=2, end=5)),
    "cat_file parts": (
        "GetObject",
        lambda fs, path: fs.cat_file(path, chunksize=12, max_concurrency=2),
    ),
    "get_file": ("GetObject", lambda fs, path: fs.get_file(path, "/dev/null")),
    "open": ("GetObject", read_file),
    "ls": ("ListObjectsV2", lambda fs, path: fs.ls(bucket_of(path))),
    "find": ("ListObjectsV2", lambda fs, path: fs.find(bucket_of(path))),
    "find with depth": (
        "ListObjectsV2",
        lambda fs, path: fs.find(bucket_of(path), maxdepth=1, prefix="d"),
    ),
    "glob": ("ListObjectsV2", lambda fs, path: fs.glob(f"{bucket_of(path)}/*/k*")),
    "iglob": ("ListObjectsV2", lambda fs, path: list(fs.iglob(f"{bucket_of(path)}/*/k*"))),
    "isdir": ("ListObjectsV2", lambda fs, path: fs.isdir(path)),
    "du": ("ListObjectsV2", lambda fs, path: fs.du(bucket_of(path))),
    "ls of buckets": ("ListBuckets", lambda fs, path: fs.ls("")),
    "get_tags": ("GetObjectTagging", lambda fs, path: fs.get_tags(path)),
    "uploads": (
        "ListMultipartUploads",
        lambda fs, path: fs.list_multipart_uploads(bucket_of(path)),
    ),
    "versioning": ("GetBucketVersioning", lambda fs, path: fs.is_bucket_versioned(bucket_of(path))),
}
WRITES: dict[str, tuple[str, Operation]] = {
    "pipe_file": ("PutObject", lambda fs, path: fs.pipe_file(path, b"1")),
    "put_file": ("PutObject", lambda fs, path: fs.put_file(__file__, path)),
    "touch": ("PutObject", lambda fs, path: fs.touch(path)),
    "open": ("PutObject", write_file),
    "cp_file": ("CopyObject", lambda fs, path: fs.cp_file(path, path + "2")),
    "rm_file": ("DeleteObject", lambda fs, path: fs.rm_file(path)),
    "rm": ("DeleteObjects", lambda fs, path: fs.rm([path])),
    "rmdir": ("DeleteBucket", lambda fs, path: fs.rmdir(bucket_of(path))),
    "mkdir": ("CreateBucket", lambda fs, path: fs.mkdir(bucket_of(path)[:40] + "-new")),
    "put_tags": ("PutObjectTagging", lambda fs, path: fs.put_tags(path, {"a": "b"})),
    "chmod": ("PutObjectAcl", lambda fs, path: fs.chmod(path, "private")),
    "create upload": ("CreateMultipartUpload", write_parts),
    "upload part": ("UploadPart", write_parts),
    "open, upload part": ("UploadPart", lambda fs, path: write_file(fs, path, 6 * 2**20)),
    "abort upload": (
        "AbortMultipartUpload",
        lambda fs, path: fs.abort_mpu(*path.split("/", 1), "none"),
    ),
}
OPERATIONS = {
    **{f"read: {name}": value for name, value in READS.items()},
    **{f"write: {name}": value for name, value in WRITES.items()},
}
HEAD_GET_LIST_PUT = {
    name: OPERATIONS[name] for name in ("read: info", "read: cat_file", "read: ls", "write: touch")
}
head_get_list_put = pytest.mark.parametrize(
    ("operation", "run"), HEAD_GET_LIST_PUT.values(), ids=list(HEAD_GET_LIST_PUT)
)


# --- how often ------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """What always happens to an operation, and how many requests it then makes of one."""

    inject: Callable[[FaultProxy, str], None]
    requests: int
    where: Callable[[str], bool] = lambda operation: True


def answers(status: int, code: str = "Unheard") -> Callable[[FaultProxy, str], None]:
    return lambda proxy, operation: proxy.fail(operation, status, code)


def sends(status: int, body: bytes) -> Callable[[FaultProxy, str], None]:
    return lambda proxy, operation: proxy.fail(operation, status, body=body)


def has_body(operation: str) -> bool:
    """Whether the operation's answer is XML."""
    return operation in (
        "CopyObject",
        "CreateMultipartUpload",
        "DeleteObjects",
        "GetBucketVersioning",
        "GetObjectTagging",
        "ListBuckets",
        "ListMultipartUploads",
        "ListObjectsV2",
    )


def is_no_head(operation: str) -> bool:
    """False where botocore asks once more, since the bucket may be in another region."""
    return operation != "HeadObject"


PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Hello</body></html>"
WELL_FORMED_PAGE = b"<html><body><h1>Sorry</h1></body></html>"
FAULTS: dict[str, Fault] = {
    **{f"status {status}": Fault(answers(status), 3) for status in (408, 429, 500, 502, 503, 504)},
    **{f"status {status}": Fault(answers(status), 1) for status in (403, 404, 409, 418, 501)},
    "status 400": Fault(answers(400), 1, is_no_head),
    "SlowDown": Fault(answers(503, "SlowDown"), 3),
    "InternalError": Fault(answers(500, "InternalError"), 3),
    "access denied": Fault(answers(403, "AccessDenied"), 1),
    "token expired": Fault(answers(400, "ExpiredToken"), 1, is_no_head),
    "clock skew": Fault(answers(403, "RequestTimeTooSkewed"), 1),
    "dropped": Fault(lambda proxy, operation: proxy.drop(operation), 3),
    "a proxy's 502": Fault(sends(502, PAGE), 3),
    "a proxy's 403": Fault(sends(403, WELL_FORMED_PAGE), 1),
    "an error behind 200": Fault(answers(200, "InternalError"), 3, has_body),
    "a final error behind 200": Fault(answers(200, "AccessDenied"), 1, has_body),
    "a page for an answer": Fault(sends(200, PAGE), 3, has_body),
    "a well-formed page": Fault(sends(200, WELL_FORMED_PAGE), 3, has_body),
    "text for an answer": Fault(sends(200, b"OK"), 3, has_body),
    "nothing for an answer": Fault(sends(200, b""), 3, has_body),
    "XML cut short": Fault(
        sends(200, b"<?xml version='1.0'?>\n<ListBucketResult><Name>b</Na"), 3, has_body
    ),
}


USUAL = ("status 503", "status 404", "access denied", "dropped", "nothing for an answer")


@pytest.mark.parametrize(
    ("operation", "run", "faults"),
    [
        *((*case, USUAL) for case in OPERATIONS.values()),
        *((*case, tuple(FAULTS)) for case in HEAD_GET_LIST_PUT.values()),
        *((*OPERATIONS[f"write: {name}"], tuple(FAULTS)) for name in ("cp_file", "rm")),
    ],
)
def test_requests_at_the_server_for_every_fault(
    fs: AvroGlobFileSystem,
    proxy: FaultProxy,
    path: str,
    waits: Waits,
    operation: str,
    run: Operation,
    faults: tuple[str, ...],
) -> None:
    counted, expected, waited = {}, {}, {}
    for name, fault in FAULTS.items():
        if name not in faults or not fault.where(operation):
            continue
        proxy.clear()
        waits.clear()
        fault.inject(proxy, operation)
        if operation == "HeadObject":
            # What is no object may be a directory.
            fault.inject(proxy, "ListObjectsV2")

        # What is not there is an answer to some questions.
        with contextlib.suppress(OSError, HTTPClientError):
            assert not run(fs, path)

        counted[name], waited[name] = most_repeated(proxy, operation), waits[:2]
        expected[name] = fault.requests

    assert counted == expected
    assert waited == {name: [1.0, 2.0][: number - 1] for name, number in expected.items() if number}
    assert (fs.stats.in_flight, fs.stats.waiting) == (0, 0)


@head_get_list_put
def test_what_is_always_unavailable_says_so(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, operation: str, run: Operation
) -> None:
    proxy.fail(operation, 503)

    with pytest.raises(OSError, match=r".") as caught:
        run(fs, path)

    assert caught.value.errno == errno.EBUSY
    cause = caught.value.__cause__
    assert isinstance(cause, ClientError)
    assert cause.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    note, hint = caught.value.__notes__
    assert note.startswith(operation)
    assert bucket_of(path) in note
    assert "failed after 3 attempts in " in note
    assert "max_retries (now 2)" in hint


SINGLE_FAILURES = {
    **HEAD_GET_LIST_PUT,
    **{name: OPERATIONS[f"read: {name}"] for name in ("open", "get_file", "glob", "iglob")},
    **{name: OPERATIONS[f"write: {name}"] for name in ("open, upload part", "cp_file", "rm")},
}


@pytest.mark.parametrize(("operation", "run"), SINGLE_FAILURES.values(), ids=list(SINGLE_FAILURES))
def test_a_single_failure_goes_unnoticed(
    fs: AvroGlobFileSystem,
    proxy: FaultProxy,
    path: str,
    waits: Waits,
    operation: str,
    run: Operation,
) -> None:
    proxy.fail(operation, 503, times=1)

    run(fs, path)

    assert waits == [1.0]
    assert most_repeated(proxy, operation) == 2


@head_get_list_put
def test_without_retries_everything_is_tried_once(
    proxy: FaultProxy, make_fs: MakeFs, path: str, operation: str, run: Operation
) -> None:
    fs = make_fs(proxy.storage_options, session=SESSION, max_retries=0)
    proxy.fail(operation, 503)

    with pytest.raises(OSError, match=r"."):
        run(fs, path)

    assert most_repeated(proxy, operation) == 1


@head_get_list_put
def test_a_dropped_connection_is_tried_three_times_new_or_used(
    fs: AvroGlobFileSystem,
    proxy: FaultProxy,
    path: str,
    waits: Waits,
    operation: str,
    run: Operation,
) -> None:
    for used in (False, True):
        proxy.clear()
        waits.clear()
        if used:
            run(fs, path)
            fs.invalidate_cache()
            proxy.clear()
        proxy.drop(operation)

        with pytest.raises(Exception, match="onnection") as caught:
            run(fs, path)

        assert most_repeated(proxy, operation) == 3
        assert waits == [1.0, 2.0]
        assert any("3 attempts" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("after", [0, 30])
@pytest.mark.parametrize("run", [READS["ls"][1], READS["find"][1], READS["glob"][1]])
def test_a_listing_cut_short_is_tried_three_times(
    fs: AvroGlobFileSystem,
    proxy: FaultProxy,
    path: str,
    waits: Waits,
    run: Operation,
    after: int,
) -> None:
    proxy.cut("ListObjectsV2", after=after)

    with pytest.raises(Exception, match=r"."):
        run(fs, path)

    assert most_repeated(proxy, "ListObjectsV2") == 3
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("run", [READS["cat_file"][1], READS["open"][1]])
def test_a_body_that_never_begins_is_tried_three_times(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, waits: Waits, run: Operation
) -> None:
    proxy.cut("GetObject", after=0)

    with pytest.raises(Exception, match=r"."):
        run(fs, path)

    assert proxy.count("GetObject") == 3
    assert waits == [1.0, 2.0]


def test_an_upload_whose_completion_fails_is_tried_three_times_and_taken_back(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    proxy.fail("CompleteMultipartUpload", 200, "InternalError")

    with pytest.raises(OSError, match="InternalError"):
        write_parts(fs, path)

    assert proxy.count("CompleteMultipartUpload") == 3
    assert proxy.count("AbortMultipartUpload") == 1
    assert fs.list_multipart_uploads(bucket_of(path)) == []


def test_each_page_of_a_versioned_listing_is_tried_three_times(
    proxy: FaultProxy, make_fs: MakeFs, path: str, waits: Waits
) -> None:
    fs = make_fs(proxy.storage_options, session=SESSION, version_aware=True, retry={"jitter": 0})
    fs._sleep = waits
    proxy.fail("ListObjectVersions", 503)

    with pytest.raises(OSError, match="SlowDown"):
        fs.ls(bucket_of(path))

    assert proxy.count("ListObjectVersions") == 3
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_retries_asked_of_botocore_do_not_multiply(
    proxy: FaultProxy, make_fs: MakeFs, path: str, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    fs = make_fs(
        proxy.storage_options, config_kwargs={"retries": {"max_attempts": 9, "mode": mode}}
    )
    for operation, run in HEAD_GET_LIST_PUT.values():
        proxy.fail(operation, 503)

        with pytest.raises(OSError, match=r"."):
            run(fs, path)

        assert most_repeated(proxy, operation) == 3


def test_a_server_that_is_not_there_is_tried_three_times(make_fs: MakeFs, waits: Waits) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))  # and never listens
        fs = make_fs(
            endpoint_url=f"http://{LOOPBACK}:{taken.getsockname()[1]}", retry={"jitter": 0}
        )
        fs._sleep = waits

        with pytest.raises(EndpointConnectionError) as caught:
            fs.info("b/k")

    assert waits == [1.0, 2.0]
    assert "HeadObject b/k: failed after 3 attempts" in caught.value.__notes__[0]


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("86400", 30.0), ("0", 0.0)])
def test_the_wait_that_the_server_asks_for_is_kept(
    fs: AvroGlobFileSystem,
    proxy: FaultProxy,
    path: str,
    waits: Waits,
    header: str,
    seconds: float,
) -> None:
    proxy.fail("HeadObject", 503, headers={"Retry-After": header}, times=2)

    fs.info(path)

    assert waits == [seconds, seconds]


def test_a_timeout_bounds_an_operation(proxy: FaultProxy, make_fs: MakeFs, path: str) -> None:
    fs = make_fs(proxy.storage_options, retry={"timeout": 0.05})
    fs.connect()
    proxy.delay("HeadObject", seconds=3600)

    with pytest.raises(TimeoutError) as caught:
        fs.info(path)

    assert "not done within timeout=0.05 s" in "".join(traceback.format_exception(caught.value))
    assert proxy.count("HeadObject") <= 1


def test_missing_credentials_are_final(
    proxy: FaultProxy,
    make_fs: MakeFs,
    path: str,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fs = make_fs(endpoint_url=proxy.url, key=None, secret=None, retry=None)
    fs._sleep = waits

    with pytest.raises(NoCredentialsError):
        fs.info(path)

    assert (proxy.requests, waits) == ([], [])


def test_invalid_parameters_are_final(
    fs: AvroGlobFileSystem, proxy: FaultProxy, waits: Waits
) -> None:
    with pytest.raises(Exception, match="Invalid bucket name"):
        fs.call_s3("head_object", Bucket="not a bucket!", Key="k")

    assert (proxy.requests, waits) == ([], [])


# --- what s3fs's users have set -------------------------------------------------------------------


@pytest.fixture
def _s3fs_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have changes of s3fs's settings undone."""
    for name in ("CUSTOM_ERROR_HANDLER", "S3_RETRYABLE_ERRORS"):
        monkeypatch.setattr(s3fs.core, name, getattr(s3fs.core, name))


@pytest.mark.usefixtures("_s3fs_settings")
@head_get_list_put
def test_the_error_handler_of_s3fs_is_asked(
    fs: AvroGlobFileSystem,
    proxy: FaultProxy,
    path: str,
    waits: Waits,
    operation: str,
    run: Operation,
) -> None:
    def handler(error: Exception) -> bool:
        return isinstance(error, ClientError) and "418" in str(error.response)

    s3fs.core.set_custom_error_handler(handler)
    proxy.fail(operation, 418, "418", times=2)

    run(fs, path)

    assert most_repeated(proxy, operation) == 3
    assert waits == [1.0, 2.0]


@pytest.mark.usefixtures("_s3fs_settings")
def test_the_errors_added_to_those_of_s3fs_are_retried(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, waits: Waits
) -> None:
    s3fs.core.add_retryable_error(ClientError)
    proxy.fail("HeadObject", 409, "OperationAborted", times=2)

    fs.info(path)

    assert proxy.count("HeadObject") == 3


# --- errors ---------------------------------------------------------------------------------------


class TriesOnce(s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """s3fs as it is, but for its retries."""

    retries = 1


ERRORS = [
    (403, "AccessDenied"),
    (403, "SignatureDoesNotMatch"),
    (403, "InvalidAccessKeyId"),
    (404, "NoSuchKey"),
    (404, "NoSuchBucket"),
    (405, "MethodNotAllowed"),
    (409, "OperationAborted"),
    (412, "PreconditionFailed"),
    (416, "InvalidRange"),
    (418, "Unheard"),
    (500, "InternalError"),
    (501, "NotImplemented"),
    (503, "SlowDown"),
    (503, "ServiceUnavailable"),
]


def shape(error: BaseException) -> tuple[object, ...]:
    return type(error), error.args, getattr(error, "errno", None)


@pytest.mark.parametrize(
    ("operation", "run"),
    [READS["info"], READS["cat_file range"], READS["ls"], WRITES["touch"], WRITES["rm_file"]],
)
def test_errors_are_those_that_s3fs_raises(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, operation: str, run: Operation
) -> None:
    stock = TriesOnce(
        **proxy.storage_options,
        session=SESSION,
        config_kwargs={"retries": {"total_max_attempts": 1}},
        skip_instance_cache=True,
    )
    for status, code in ERRORS:
        proxy.clear()
        proxy.fail(operation, status, code)
        if operation == "HeadObject":
            proxy.fail("ListObjectsV2", status, code)
        with pytest.raises(Exception, match=r".") as expected:
            run(stock, path)

        with pytest.raises(Exception, match=r".") as caught:
            run(fs, path)

        assert shape(caught.value) == shape(expected.value)


@pytest.mark.parametrize(
    ("operation", "run"), [READS["info"], READS["cat_file"], WRITES["touch"], WRITES["rm_file"]]
)
def test_the_note_names_the_object(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, operation: str, run: Operation
) -> None:
    proxy.fail(operation, 403, "AccessDenied")

    with pytest.raises(PermissionError) as caught:
        run(fs, path)

    assert caught.value.__notes__[0].startswith(f"{operation} {path}: failed after 1 attempt in ")


def test_each_retry_is_logged(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fail("HeadObject", 503, times=1)

    with caplog.at_level(logging.WARNING, "fsspec_avroglob"):
        fs.info(path)

    assert caplog.messages == [f"HeadObject {path}: throttled, retry 1 of 2 in 1.00 s"]


SECRETS = {"key": "AKIA-nowhere", "secret": "s3cr3t-nowhere", "token": "t0ken-nowhere"}


LEAKY_FAULTS: list[Callable[[FaultProxy], None]] = [
    lambda proxy: proxy.fail(status=503),
    lambda proxy: proxy.fail(status=403, code="SignatureDoesNotMatch"),
    lambda proxy: proxy.fail(status=400, code="ExpiredToken"),
    lambda proxy: proxy.drop(),
]


@pytest.mark.parametrize("fault", LEAKY_FAULTS, ids=["throttled", "refused", "expired", "dropped"])
def test_no_credential_shows_in_any_text(
    proxy: FaultProxy,
    make_fs: MakeFs,
    path: str,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[FaultProxy], None],
) -> None:
    fs = make_fs(proxy.storage_options, **SECRETS)
    fault(proxy)
    caplog.set_level(logging.DEBUG, "fsspec_avroglob")

    for _, run in HEAD_GET_LIST_PUT.values():
        with pytest.raises(Exception, match=r".") as caught:
            run(fs, path)

        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "nowhere" not in text + caplog.text
