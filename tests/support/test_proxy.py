"""The fault-injecting proxy that other tests rely on."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    ResponseStreamingError,
)

from tests.support.faults import Gate, Request
from tests.support.operations import operation_name
from tests.support.proxy import FaultProxy
from tests.support.servers import LOOPBACK, Endpoint


@pytest.fixture
def client(endpoint: Endpoint, proxy: FaultProxy) -> Any:
    return Endpoint(proxy.url, endpoint.key, endpoint.secret).client()


def test_signed_requests_arrive(client: Any, bucket: str, proxy: FaultProxy) -> None:
    key, content = "dir/ü +%2F?.bin", bytes(range(256)) * 4096

    client.put_object(Bucket=bucket, Key=key, Body=content)
    found = client.get_object(Bucket=bucket, Key=key)["Body"].read()

    assert found == content
    assert [(r.operation, r.bucket, r.key) for r in proxy.requests] == [
        ("PutObject", bucket, key),
        ("GetObject", bucket, key),
    ]


def test_query_and_headers_recorded(client: Any, bucket: str, proxy: FaultProxy) -> None:
    client.list_objects_v2(Bucket=bucket, Prefix="a b/", Delimiter="/")

    (request,) = proxy.requests
    assert request.method == "GET"
    assert request.path == f"/{bucket}"
    assert request.query["prefix"] == "a b/"
    assert request.headers["host"] == urlsplit(proxy.url).netloc


def test_requests_count_by_operation(client: Any, bucket: str, proxy: FaultProxy) -> None:
    client.head_bucket(Bucket=bucket)
    client.list_objects_v2(Bucket=bucket)
    client.list_objects_v2(Bucket=bucket)

    assert proxy.count() == 3
    assert proxy.count("ListObjectsV2") == 2
    proxy.clear()
    assert proxy.count() == 0


def test_failure_is_limited_by_times(client: Any, bucket: str, proxy: FaultProxy) -> None:
    proxy.fail("ListObjectsV2", status=503, code="SlowDown", times=2, headers={"Retry-After": "7"})

    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown") as caught:
            client.list_objects_v2(Bucket=bucket)
        metadata = caught.value.response["ResponseMetadata"]
        assert metadata["HTTPStatusCode"] == 503
        assert metadata["HTTPHeaders"]["retry-after"] == "7"
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_failure_is_limited_by_match(client: Any, bucket: str, put: Any, proxy: FaultProxy) -> None:
    put({"good": b"1", "bad": b"2"})
    proxy.fail("GetObject", match=lambda request: request.key == "bad")

    assert client.get_object(Bucket=bucket, Key="good")["Body"].read() == b"1"
    assert client.head_object(Bucket=bucket, Key="bad")["ContentLength"] == 1
    with pytest.raises(ClientError, match="SlowDown"):
        client.get_object(Bucket=bucket, Key="bad")


def test_first_rule_left_decides(client: Any, bucket: str, proxy: FaultProxy) -> None:
    proxy.fail("HeadBucket", status=500, times=1)
    proxy.fail(None, status=403)

    statuses = []
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            client.head_bucket(Bucket=bucket)
        statuses.append(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])
    assert statuses == [500, 403]


def test_failed_upload_keeps_connection(client: Any, bucket: str, proxy: FaultProxy) -> None:
    proxy.fail("PutObject", times=1)

    with pytest.raises(ClientError, match="SlowDown"):
        client.put_object(Bucket=bucket, Key="key", Body=b"x" * 2_000_000)
    client.put_object(Bucket=bucket, Key="key", Body=b"x" * 2_000_000)

    assert client.head_object(Bucket=bucket, Key="key")["ContentLength"] == 2_000_000


def test_dropped_request_gets_no_answer(client: Any, bucket: str, proxy: FaultProxy) -> None:
    proxy.drop("HeadBucket", times=1)

    with pytest.raises(ConnectionClosedError):
        client.head_bucket(Bucket=bucket)
    client.head_bucket(Bucket=bucket)
    assert proxy.count("HeadBucket") == 2


def test_cut_body_ends_after_bytes(client: Any, bucket: str, put: Any, proxy: FaultProxy) -> None:
    put({"key": bytes(1_000_000)})
    proxy.cut("GetObject", after=300_000, times=1)

    body = client.get_object(Bucket=bucket, Key="key")["Body"]
    assert len(body.read(300_000)) == 300_000
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        body.read(1)
    assert len(client.get_object(Bucket=bucket, Key="key")["Body"].read()) == 1_000_000


def test_delay_holds_up_no_other(endpoint: Endpoint, bucket: str) -> None:
    with ThreadPoolExecutor() as pool:
        with FaultProxy(endpoint) as proxy:
            client = Endpoint(proxy.url, endpoint.key, endpoint.secret).client()
            proxy.delay("HeadBucket", seconds=3600)
            delayed = pool.submit(client.head_bucket, Bucket=bucket)
            while not proxy.count("HeadBucket") and not delayed.done():
                client.list_objects_v2(Bucket=bucket)
            assert not delayed.done()
        assert isinstance(delayed.exception(), ConnectionClosedError)


def test_gate_limits_in_flight() -> None:
    gate = Gate(None, in_flight=2, rate=None)
    request = Request("GET", "/bucket/key", {}, "GetObject", {})

    assert [gate.enter(request) for _ in range(3)] == [True, True, False]
    gate.leave()
    assert gate.enter(request)
    assert (gate.peak, gate.refused) == (2, 1)


def test_gate_limits_the_rate() -> None:
    now = 0.0
    gate = Gate(None, in_flight=None, rate=4, clock=lambda: now)
    request = Request("GET", "/bucket/key", {}, "GetObject", {})

    assert [gate.enter(request) for _ in range(5)] == [True] * 4 + [False]
    now = 0.5
    assert [gate.enter(request) for _ in range(3)] == [True, True, False]


def test_throttle_refuses_beyond_rate(client: Any, bucket: str, proxy: FaultProxy) -> None:
    gate = proxy.throttle("HeadBucket", rate=0.5)

    with pytest.raises(ClientError) as caught:
        client.head_bucket(Bucket=bucket)
    client.list_objects_v2(Bucket=bucket)

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert gate.refused == 1
    assert proxy.count() == 2


class RecordingUpstream:
    """Serves one connection: sends each answer when the text that it waits for has come."""

    def __init__(self, *exchanges: tuple[bytes, bytes]) -> None:
        self.received = b""
        self._exchanges = exchanges
        self._listener = socket.create_server((LOOPBACK, 0))
        self.endpoint = Endpoint(f"http://{LOOPBACK}:{self._listener.getsockname()[1]}", "k", "s")
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> RecordingUpstream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            for awaited, answer in self._exchanges:
                while awaited not in self.received:
                    self.received += connection.recv(65536)
                connection.sendall(answer)


def test_upload_passes_unchanged() -> None:
    head = (
        b"PUT /bucket/a%2fb%20c+%C3%BC?x-id=PutObject&empty HTTP/1.1\r\n"
        b"Host: s3.example.com\r\nx-Odd-CASE:  spaces  \r\n"
        b"Transfer-Encoding: chunked\r\nTrailer: x-amz-checksum-crc32\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    body = b"5;ext=1\r\nhello\r\n0\r\nx-amz-checksum-crc32: AAAAAA==\r\n\r\n"
    go_on, done = (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )

    with (
        RecordingUpstream((head, go_on), (body, done)) as upstream,
        FaultProxy(upstream.endpoint) as proxy,
        socket.create_connection((LOOPBACK, urlsplit(proxy.url).port or 0)) as connection,
    ):
        connection.sendall(head)
        answer = connection.recv(len(go_on), socket.MSG_WAITALL)
        connection.sendall(body)
        answer += connection.recv(len(done), socket.MSG_WAITALL)

    assert upstream.received == head + body
    assert answer == go_on + done
    (request,) = proxy.requests
    assert request.operation == "PutObject"
    assert request.key == "a/b c+ü"
    assert request.query == {"x-id": "PutObject", "empty": ""}


def test_chunked_answer_is_cut() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n4\r\nefgh\r\n0\r\n\r\n"
    )

    with (
        RecordingUpstream((b"\r\n\r\n", answer)) as upstream,
        FaultProxy(upstream.endpoint) as proxy,
    ):
        proxy.cut(after=6)
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc)
        connection.request("GET", "/bucket/key")
        response = connection.getresponse()
        assert response.read(6) == b"abcdef"
        with pytest.raises(http.client.IncompleteRead):
            response.read()
        connection.close()


def test_corrupt_changes_one_byte() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabcdefgh"

    with (
        RecordingUpstream((b"\r\n\r\n", answer)) as upstream,
        FaultProxy(upstream.endpoint) as proxy,
    ):
        proxy.corrupt(at=5)
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc)
        connection.request("GET", "/bucket/key")
        body = connection.getresponse().read()
        connection.close()

    assert body == b"abcde\x99gh"


@pytest.mark.parametrize(
    ("request_line", "operation"),
    [
        ("GET /", "ListBuckets"),
        ("HEAD /b", "HeadBucket"),
        ("GET /b?list-type=2&prefix=uploads", "ListObjectsV2"),
        ("GET /b?prefix=x", "ListObjects"),
        ("GET /b?versions", "ListObjectVersions"),
        ("GET /b?uploads", "ListMultipartUploads"),
        ("PUT /b/", "CreateBucket"),
        ("DELETE /b", "DeleteBucket"),
        ("POST /b?delete", "DeleteObjects"),
        ("HEAD /b/k", "HeadObject"),
        ("GET /b/k/l", "GetObject"),
        ("GET /b/k?tagging", "GetObjectTagging"),
        ("GET /b/k?uploadId=1", "ListParts"),
        ("PUT /b/k", "PutObject"),
        ("PUT /b/k x-amz-copy-source", "CopyObject"),
        ("PUT /b/k?partNumber=1&uploadId=1", "UploadPart"),
        ("PUT /b/k?partNumber=1&uploadId=1 x-amz-copy-source", "UploadPartCopy"),
        ("PUT /b/k?tagging", "PutObjectTagging"),
        ("POST /b/k?uploads", "CreateMultipartUpload"),
        ("POST /b/k?uploadId=1", "CompleteMultipartUpload"),
        ("DELETE /b/k?uploadId=1", "AbortMultipartUpload"),
        ("DELETE /b/k", "DeleteObject"),
    ],
)
def test_operations_have_s3_names(request_line: str, operation: str) -> None:
    method, target, *headers = request_line.split()
    path, _, query = target.partition("?")
    parameters = dict(re.findall(r"([^&=]+)=?([^&]*)", query))

    assert operation_name(method, path, parameters, headers) == operation
