"""Requests sent from what an earlier one was prepared to, beside those that botocore prepares."""

from __future__ import annotations

import functools
import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from aiobotocore.client import AioBaseClient
from aiobotocore.credentials import AioCredentials
from botocore.exceptions import ClientError
from fsspec.asyn import sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.client import ObjectReader, PageReader
from fsspec_avroglob.s3.page import Page, page_from_response
from fsspec_avroglob.s3.prepared import PreparedRequests
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

OPERATION = "s3.ListObjectsV2"
GET = "s3.GetObject"

# Differ from one request to the next, whoever prepares them.
PASSING = {"X-Amz-Date", "Authorization", "amz-sdk-invocation-id", "User-Agent"}

Arguments = dict[str, str]


class Read(NamedTuple):
    """What a read of an object brought, and by what kind of body."""

    content: bytes
    body: str
    told: Mapping[str, Any]


class Client:
    """An S3 client, pages and objects read through it, and the requests that it sends."""

    def __init__(self, fs: AvroGlobFileSystem) -> None:
        self.fs = fs
        self.client = sync(fs.loop, fs.set_session)
        self.events = self.client.meta.events
        self.reader = PageReader()
        self.objects = ObjectReader()

    def page(self, arguments: Arguments) -> Page:
        page: Page = sync(
            self.fs.loop, self.reader.page, self.client, dict(arguments), detail=False
        )
        return page

    def ordinary_page(self, arguments: Arguments) -> Page:
        async def ask() -> Page:
            return page_from_response(await self.client.list_objects_v2(**arguments))

        page: Page = sync(self.fs.loop, ask)
        return page

    def read(self, arguments: Arguments) -> Read:
        """A read of an object by a request that is prepared where it can be."""
        return self._body(partial(self.objects.get, self.client, arguments))

    @property
    def gets(self) -> PreparedRequests:
        """What has been prepared for reads."""
        return self.objects.clients[self.client]

    def ordinary_read(self, arguments: Arguments) -> Read:
        return self._body(partial(self.client.get_object, **arguments))

    def _body(self, get: Callable[[], Awaitable[Any]]) -> Read:
        async def ask() -> Read:
            response = await get()
            content = b""
            while chunk := await response["Body"].read(1 << 18):
                content += chunk
            names = ("ContentLength", "ContentRange", "ETag", "VersionId")
            told = {name: response.get(name) for name in names}
            return Read(content, type(response["Body"]).__name__, told)

        read: Read = sync(self.fs.loop, ask)
        return read

    @contextmanager
    def sent(self, operation: str = OPERATION) -> Iterator[list[Any]]:
        """Lists the requests that are sent within it."""
        requests: list[Any] = []

        def note(request: Any, **_: Any) -> None:
            requests.append(request)

        self.events.register(f"before-send.{operation}", note)
        try:
            yield requests
        finally:
            self.events.unregister(f"before-send.{operation}", note)


@pytest.fixture
def client(
    proxy: FaultProxy, make_fs: Callable[..., AvroGlobFileSystem], bucket: str, put: PutObjects
) -> Client:
    put(dict.fromkeys(["a/1", "a/2", "a/b/3", "c d/é", "z"], b""))
    return Client(make_fs(proxy.storage_options))


def outcome(ask: Callable[[Arguments], Page | Read], arguments: Arguments) -> Any:
    """What asking for a page or an object comes to, an error included."""
    try:
        answer = ask(arguments)
    except Exception as error:
        return type(error), str(error)
    if isinstance(answer, Read):
        return answer
    return answer.keys, answer.prefixes, answer.next_token


def features(request: Any) -> set[str]:
    """What the User-Agent says is in use; a set, written in any order."""
    agent = request.headers["User-Agent"].decode()
    return set(agent.partition(" m/")[2].partition(" ")[0].split(","))


def shown(requests: list[Any]) -> list[tuple[str, str, Mapping[str, Any], set[str]]]:
    """Requests as far as they do not differ anyway, and the features in use."""
    return [
        (
            request.method,
            request.url,
            {name: value for name, value in request.headers.items() if name not in PASSING},
            features(request),
        )
        for request in requests
    ]


def test_prepared_requests_are_those_of_botocore(client: Client, bucket: str) -> None:
    text = st.text(max_size=8) | st.sampled_from(["a/", "a/1", "c d/", "é+%/&="])
    varying = st.fixed_dictionaries(
        {"Prefix": text, "Delimiter": st.sampled_from(["", "/"])},
        optional={"StartAfter": text, "ContinuationToken": text},
    )

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(varying)
    def compare(arguments: Arguments) -> None:
        arguments = {"Bucket": bucket, **arguments}
        requests.clear()
        found = outcome(client.page, arguments)
        prepared = shown(requests)
        requests.clear()
        expected = outcome(client.ordinary_page, arguments)
        assert found == expected
        assert prepared == shown(requests)

    with client.sent() as requests:
        compare()
    assert client.reader.clients[client.client].prepared


def counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that come to pass through the client's own method, from now on."""
    calls: list[str] = []
    ordinary = AioBaseClient._make_api_call

    @functools.wraps(ordinary)
    def counting(self: Any, name: str, arguments: Any) -> Awaitable[Any]:
        calls.append(name)
        return ordinary(self, name, arguments)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", counting)
    return calls


def test_what_is_put_around_the_client_sees_every_request(
    client: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    client.page(arguments)

    calls = counted(client, monkeypatch)
    for _ in range(3):
        client.page(arguments)

    assert calls == ["ListObjectsV2"] * 3


@pytest.mark.parametrize("event", ["provide-client-params", "before-parameter-build"])
def test_a_handler_registered_later_changes_the_request(
    client: Client, bucket: str, event: str
) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    client.page(arguments)

    def redirect(params: dict[str, Any], **_: Any) -> None:
        params["Prefix"] = "c d/"

    client.events.register(f"{event}.{OPERATION}", redirect)

    assert [client.page(arguments).keys for _ in range(3)] == [["c d/é"]] * 3


def test_a_handler_before_the_call_may_change_the_headers(client: Client, bucket: str) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    client.page(arguments)

    def add(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["x-amz-note"] = "seen"

    client.events.register(f"before-call.{OPERATION}", add)
    with client.sent() as requests:
        client.page(arguments)
        client.page(arguments)

    assert [request.headers["x-amz-note"] for request in requests] == [b"seen"] * 2


def test_prepared_requests_are_signed_with_the_credentials_of_the_day(
    client: Client, bucket: str
) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    client.page(arguments)

    client.client._request_signer._credentials = AioCredentials("TOMORROW", "secret")
    with client.sent() as requests:
        for _ in range(2):
            outcome(client.page, arguments)  # which a server that knows no such key refuses

    assert b"Credential=TOMORROW/" in requests[1].headers["Authorization"]


def test_errors_are_those_of_the_ordinary_call(
    client: Client, proxy: FaultProxy, bucket: str
) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    client.page(arguments)
    proxy.fail("ListObjectsV2", 403, "AccessDenied")

    errors = []
    for ask in (client.page, client.ordinary_page):
        with pytest.raises(ClientError) as failure:
            ask(arguments)
        errors.append((type(failure.value), str(failure.value), failure.value.operation_name))

    assert errors[0] == errors[1]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_bucket_that_moved_is_followed_and_asked_there_from_then_on(
    client: Client, proxy: FaultProxy, bucket: str, before: int
) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    region = {"x-amz-bucket-region": "eu-west-3"}

    with client.sent() as requests:
        keys = [client.page(arguments).keys for _ in range(before)]
        proxy.fail("ListObjectsV2", 301, "PermanentRedirect", times=1, headers=region)
        keys += [client.page(arguments).keys for _ in range(3)]

    assert keys == [["a/1", "a/2", "a/b/3"]] * (before + 3)
    regions = [request.headers["Authorization"].decode().split("/")[2] for request in requests]
    assert regions == [*["us-east-1"] * (before + 1), *["eu-west-3"] * 3]


def test_the_user_agent_is_that_of_the_ordinary_call(client: Client, bucket: str) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}
    creator = client.client._user_agent_creator
    with client.sent() as requests:
        client.ordinary_page(arguments)
        for _ in range(2):
            client.page(arguments)

    def words(request: Any) -> list[str]:
        # The features are a set, written in any order.
        return [w for w in request.headers["User-Agent"].decode().split() if w[:2] != "m/"]

    assert words(requests[0]) == words(requests[1]) == words(requests[2])
    assert "to_string" in vars(creator)


def test_a_client_that_nobody_needs_any_more_is_let_go(
    client: Client, endpoint: Endpoint, bucket: str
) -> None:
    arguments = {"Bucket": bucket, "Prefix": "a/"}

    async def use_another() -> None:
        async with client.fs.session.create_client(
            "s3",
            endpoint_url=client.client.meta.endpoint_url,
            aws_access_key_id=endpoint.key,
            aws_secret_access_key=endpoint.secret,
            region_name=endpoint.region,
        ) as other:
            for _ in range(2):
                await client.reader.page(other, arguments, detail=False)

    sync(client.fs.loop, use_another)
    gc.collect()

    assert not client.reader.clients


# --- objects -------------------------------------------------------------------------------------


def test_prepared_reads_are_those_of_botocore(client: Client, bucket: str, put: PutObjects) -> None:
    keys = ["a/b/3", "c d/é", "c d+e%20~*'()&=?#.txt", "x/../y/./z"]
    put(dict.fromkeys(keys, b"0123456789"))
    parts = st.sampled_from(
        ["bytes=0-3", "bytes=2-", "bytes=-1", "bytes=99-", "bytes=\t", "bé", ""]
    )
    etags = st.sampled_from(["781e5e245d69b566979b86e28d23f2c7", '"other"', "*", "a b", "\n", "é"])
    varying = st.fixed_dictionaries(
        {"Key": st.sampled_from([*keys, "/a", "a//b", ""]) | st.text(max_size=6)},
        optional={"Range": parts, "IfMatch": etags, "VersionId": st.sampled_from(["null", "é&/"])},
    )

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(varying)
    def compare(arguments: Arguments) -> None:
        arguments = {"Bucket": bucket, **arguments}
        requests.clear()
        found = outcome(client.read, arguments)
        prepared = shown(requests)
        requests.clear()
        expected = outcome(client.ordinary_read, arguments)
        assert found == expected
        assert prepared == shown(requests)

    with client.sent(GET) as requests:
        compare()
    assert client.gets.prepared


@pytest.mark.parametrize("validation", ["when_supported", "when_required"])
def test_prepared_reads_check_the_sums_that_botocore_checks(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects, validation: str
) -> None:
    put({"data": b"content"})
    config = {"response_checksum_validation": validation}
    client = Client(make_fs({**proxy.storage_options, "config_kwargs": config}))
    arguments = {"Bucket": bucket, "Key": "data"}
    client.read(arguments)
    proxy.fail("GetObject", 200, body=b"content", headers={"x-amz-checksum-crc32": "AAAAAA=="})

    found = [outcome(ask, arguments) for ask in (client.read, client.ordinary_read)]

    assert found[0] == found[1]
    assert isinstance(found[0], Read) is (validation == "when_required")


def test_an_object_in_a_bucket_that_moved_is_followed(
    client: Client, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"c d/é": b"content"})
    arguments = {"Bucket": bucket, "Key": "c d/é", "Range": "bytes=1-2"}
    region = {"x-amz-bucket-region": "eu-west-3"}

    with client.sent(GET) as requests:
        read = [client.read(arguments).content for _ in range(2)]
        proxy.fail("GetObject", 301, "PermanentRedirect", times=1, headers=region)
        read += [client.read(arguments).content for _ in range(2)]

    assert read == [b"on"] * 4
    regions = [request.headers["Authorization"].decode().split("/")[2] for request in requests]
    assert regions == [*["us-east-1"] * 3, *["eu-west-3"] * 2]


def test_reads_are_prepared_unless_they_are_unusual(
    client: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {"Bucket": bucket, "Key": "z"}
    unusual = {**usual, "ResponseContentType": "text/plain"}
    for arguments in (usual, unusual):
        client.read(arguments)
    assert client.gets.prepared == 1

    calls = counted(client, monkeypatch)
    client.read(usual)

    assert calls == ["GetObject"]  # what is put around the client sees it
