"""How often each S3 operation is tried, and with what waits."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import traceback
from collections import Counter
from pathlib import Path

import pytest
import s3fs
import s3fs.core
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
)

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs
from tests.support.calls import (
    HEAD_GET_LIST_PUT,
    OPERATIONS,
    READS,
    Operation,
    bucket_of,
    write_parts,
)
from tests.support.fault_table import (
    FAULTS,
)
from tests.support.proxy import FaultProxy
from tests.support.servers import LOOPBACK
from tests.support.session import SESSION
from tests.support.virtual_time import Waits


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


head_get_list_put = pytest.mark.parametrize(
    ("operation", "run"), HEAD_GET_LIST_PUT.values(), ids=list(HEAD_GET_LIST_PUT)
)


# --- how often ------------------------------------------------------------------------------------


USUAL = ("status 503", "status 404", "access denied", "dropped", "nothing for an answer")


@pytest.mark.parametrize(
    ("operation", "run", "faults"),
    [
        *((*case, USUAL) for case in OPERATIONS.values()),
        *((*case, tuple(FAULTS)) for case in HEAD_GET_LIST_PUT.values()),
        *((*OPERATIONS[f"write: {name}"], tuple(FAULTS)) for name in ("cp_file", "rm")),
    ],
)
def test_faults_cost_stated_requests(
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
        fs._without_bulk_deletion.clear()
        fault.inject(proxy, operation)
        if operation == "HeadObject":
            # What is no object may be a directory.
            fault.inject(proxy, "ListObjectsV2")

        # What is not there is an answer to some questions.
        with contextlib.suppress(OSError, HTTPClientError):
            # Keys are deleted one by one if DeleteObjects is refused.
            assert not run(fs, path) or operation == "DeleteObjects"

        counted[name], waited[name] = most_repeated(proxy, operation), list(dict.fromkeys(waits))
        expected[name] = fault.requests

    assert counted == expected
    assert waited == {name: [1.0, 2.0][: number - 1] for name, number in expected.items() if number}
    assert (fs.stats.in_flight, fs.stats.waiting) == (0, 0)


@head_get_list_put
def test_lasting_503_says_so(
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
def test_single_failure_is_hidden(
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
def test_no_retries_try_once(
    proxy: FaultProxy, make_fs: MakeFs, path: str, operation: str, run: Operation
) -> None:
    fs = make_fs(proxy.storage_options, session=SESSION, max_retries=0)
    proxy.fail(operation, 503)

    with pytest.raises(OSError, match=r"."):
        run(fs, path)

    assert most_repeated(proxy, operation) == 1


@head_get_list_put
def test_dropped_connection_tries_thrice(
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
def test_cut_listing_tries_thrice(
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
def test_missing_body_tries_thrice(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, waits: Waits, run: Operation
) -> None:
    proxy.cut("GetObject", after=0)

    with pytest.raises(Exception, match=r"."):
        run(fs, path)

    assert proxy.count("GetObject") == 3
    assert waits == [1.0, 2.0]


def test_failed_completion_is_taken_back(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    proxy.fail("CompleteMultipartUpload", 200, "InternalError")

    with pytest.raises(OSError, match="InternalError"):
        write_parts(fs, path)

    assert proxy.count("CompleteMultipartUpload") == 3
    assert proxy.count("AbortMultipartUpload") == 1
    assert fs.list_multipart_uploads(bucket_of(path)) == []


def test_version_pages_try_thrice(
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
def test_botocore_retries_do_not_multiply(
    proxy: FaultProxy, make_fs: MakeFs, path: str, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    fs = make_fs(
        proxy.storage_options, config_kwargs={"retries": {"max_attempts": 2, "mode": mode}}
    )
    for operation, run in HEAD_GET_LIST_PUT.values():
        proxy.fail(operation, 503)

        with pytest.raises(OSError, match=r"."):
            run(fs, path)

        assert most_repeated(proxy, operation) == 3


def test_absent_server_tries_thrice(make_fs: MakeFs, waits: Waits) -> None:
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
def test_retry_after_is_kept(
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


def test_timeout_bounds_an_operation(proxy: FaultProxy, make_fs: MakeFs, path: str) -> None:
    fs = make_fs(proxy.storage_options, retry={"timeout": 0.05})
    fs.connect()
    proxy.delay("HeadObject", seconds=3600)

    with pytest.raises(TimeoutError) as caught:
        fs.info(path)

    assert "not done within timeout=0.05 s" in "".join(traceback.format_exception(caught.value))
    assert proxy.count("HeadObject") <= 1


def test_each_retry_is_logged(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fail("HeadObject", 503, times=1)

    with caplog.at_level(logging.WARNING, "fsspec_avroglob"):
        fs.info(path)

    assert caplog.messages == [f"HeadObject {path}: throttled, retry 1 of 2 in 1.00 s"]


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
def test_s3fs_error_handler_is_asked(
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
def test_added_s3fs_errors_are_retried(
    fs: AvroGlobFileSystem, proxy: FaultProxy, path: str, waits: Waits
) -> None:
    s3fs.core.add_retryable_error(ClientError)
    proxy.fail("HeadObject", 409, "OperationAborted", times=2)

    fs.info(path)

    assert proxy.count("HeadObject") == 3


@pytest.mark.parametrize("method", ["isfile", "isdir", "exists"])
@pytest.mark.parametrize("key", ["", "/key"])
@pytest.mark.parametrize("status", [403, 503])
def test_a_failure_is_not_taken_for_no(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, method: str, key: str, status: int
) -> None:
    fs = make_fs(proxy.storage_options, max_retries=0)
    code = "AccessDenied" if status == 403 else "SlowDown"
    for operation in ("HeadObject", "HeadBucket", "GetBucketLocation", "ListObjectsV2"):
        proxy.fail(operation, status, code)

    with pytest.raises(OSError, match=r"HeadObject|HeadBucket|ListObjectsV2|denied") as caught:
        getattr(fs, method)(bucket + key)

    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("method", ["isfile", "isdir", "exists"])
@pytest.mark.parametrize("path", ["bucket", "bucket/key"])
def test_a_refused_connection_is_not_taken_for_no(make_fs: MakeFs, method: str, path: str) -> None:
    fs = make_fs({"endpoint_url": "http://127.0.0.1:1"}, max_retries=0)

    with pytest.raises(Exception, match=r"[Cc]onnect"):
        getattr(fs, method)(path)
