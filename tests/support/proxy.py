"""A reverse proxy in front of an S3 endpoint that counts requests and injects faults.

It works on the bytes of HTTP/1.1 connections: each client connection gets one to the endpoint, and
heads and bodies are passed on as they came, so that signatures, chunk framing, trailers and
`100 Continue` stay what the two ends made them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.operations import operation_name
from tests.support.servers import LOOPBACK, Endpoint

_READ_SIZE = 1 << 16
_MAX_HEAD_SIZE = 1 << 20


@dataclass(frozen=True)
class Request:
    """One request as it reached the proxy."""

    method: str
    path: str
    """Path of the URL, percent-decoded: `/bucket/key`."""
    query: dict[str, str]
    operation: str
    headers: dict[str, str] = field(repr=False)
    """Header values by lower-case name."""

    @property
    def bucket(self) -> str:
        """Bucket in the path, "" when there is none."""
        return self.path[1:].partition("/")[0]

    @property
    def key(self) -> str:
        """Key in the path, "" when there is none."""
        return self.path[1:].partition("/")[2]


Match = Callable[[Request], bool]


@dataclass
class _Rule:
    """What happens to requests of one operation, and to how many more of them."""

    operation: str | None
    match: Match | None
    times: int | None
    response: bytes | None = None
    body: bytes = b""
    delay_s: float = 0.0
    drop: bool = False
    body_limit: int | None = None

    def applies_to(self, request: Request) -> bool:
        return (
            self.times != 0
            and self.operation in (None, request.operation)
            and (self.match is None or self.match(request))
        )


class FaultProxy:
    """Forwards to `endpoint` from a free loopback port, in a thread of its own.

    A context manager. Rules are looked at in the order they were made; the first that applies to a
    request decides, and one that has been used `times` times no longer applies. `operation=None` is
    any operation, `times=None` any number of times, `match` a further condition on the request.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._upstream = urlsplit(endpoint.url)
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._rules: list[_Rule] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._server: asyncio.Server | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def storage_options(self) -> dict[str, Any]:
        """What s3fs needs to reach the endpoint through this proxy."""
        return {**self._endpoint.storage_options, "endpoint_url": self.url}

    @property
    def requests(self) -> list[Request]:
        """All requests since the start or the last `clear`, in order of arrival."""
        with self._lock:
            return list(self._requests)

    def count(self, operation: str | None = None) -> int:
        """Return how many requests arrived: all, or those of one operation."""
        return sum(operation in (None, request.operation) for request in self.requests)

    def clear(self) -> None:
        """Forget the requests that arrived and all rules."""
        with self._lock:
            self._requests.clear()
            self._rules.clear()

    def fail(
        self,
        operation: str | None = None,
        status: int = 503,
        code: str = "SlowDown",
        times: int | None = None,
        match: Match | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with an S3 error instead of forwarding; with `status=200`, in a 200's body."""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>Injected {code}</Message>"
            "<RequestId>0</RequestId></Error>"
        ).encode()
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: application/xml",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        response = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self._add(_Rule(operation, match, times, response=response, body=body))

    def delay(
        self,
        operation: str | None = None,
        seconds: float = 0.0,
        times: int | None = None,
        match: Match | None = None,
    ) -> None:
        """Forward only after `seconds`."""
        self._add(_Rule(operation, match, times, delay_s=seconds))

    def drop(
        self,
        operation: str | None = None,
        times: int | None = None,
        match: Match | None = None,
    ) -> None:
        """Read the request, then close the connection without an answer."""
        self._add(_Rule(operation, match, times, drop=True))

    def cut(
        self,
        operation: str | None = None,
        after: int = 0,
        times: int | None = None,
        match: Match | None = None,
    ) -> None:
        """Forward, but close the connection after `after` bytes of the answer's body.

        A body that is not longer than `after` arrives whole.
        """
        self._add(_Rule(operation, match, times, body_limit=after))

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _record(self, request: Request) -> _Rule | None:
        with self._lock:
            self._requests.append(request)
            rule = next((rule for rule in self._rules if rule.applies_to(request)), None)
            if rule is not None and rule.times is not None:
                rule.times -= 1
            return rule

    async def _start(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, LOOPBACK, 0, limit=_MAX_HEAD_SIZE, backlog=1024
        )
        self.url = f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await _Connection(self, _Peer(reader, writer)).run()
        except (OSError, asyncio.IncompleteReadError):
            pass  # either end closed the connection, which closes the other one too
        finally:
            writer.close()
            self._connections.discard(task)

    async def _connect(self) -> _Peer:
        streams = await asyncio.open_connection(
            self._upstream.hostname,
            self._upstream.port,
            ssl=self._upstream.scheme == "https" or None,
            limit=_MAX_HEAD_SIZE,
        )
        return _Peer(*streams)


@dataclass(frozen=True)
class _Head:
    """First line and headers of a message, and the bytes that they were."""

    raw: bytes
    start: list[str]
    headers: dict[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> _Head:
        raw = await reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        return cls(raw, first.split(" ", 2), headers)

    def to_request(self) -> Request:
        method, target = self.start[0], urlsplit(self.start[1])
        path = unquote(target.path)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        operation = operation_name(method, path, query, self.headers)
        return Request(method, path, query, operation, self.headers)

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def keeps_alive(self) -> bool:
        version = self.start[0] if self.start[0].startswith("HTTP/") else self.start[-1]
        default = "close" if version == "HTTP/1.0" else "keep-alive"
        return self.headers.get("connection", default).lower() != "close"


@dataclass(frozen=True)
class _Peer:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def body(self, head: _Head, *, until_close: bool) -> AsyncIterator[tuple[bytes, int]]:
        """Yield the body as (bytes on the wire, how many of them are content)."""
        if head.chunked:
            async for piece in self._chunks():
                yield piece
        elif "content-length" in head.headers:
            remaining = int(head.headers["content-length"])
            while remaining:
                data = await self._read(min(remaining, _READ_SIZE))
                remaining -= len(data)
                yield data, len(data)
        elif until_close:
            while data := await self.reader.read(_READ_SIZE):
                yield data, len(data)

    async def _chunks(self) -> AsyncIterator[tuple[bytes, int]]:
        while True:
            line = await self.reader.readuntil(b"\r\n")
            yield line, 0
            remaining = int(line.partition(b";")[0], 16)
            if not remaining:
                break
            while remaining:
                data = await self._read(min(remaining, _READ_SIZE))
                remaining -= len(data)
                yield data, len(data)
            yield await self.reader.readuntil(b"\r\n"), 0
        while line != b"\r\n":
            line = await self.reader.readuntil(b"\r\n")
            yield line, 0

    async def _read(self, size: int) -> bytes:
        data = await self.reader.read(size)
        if not data:
            raise asyncio.IncompleteReadError(b"", size)
        return data


class _Connection:
    """A client's connection and, once a request is forwarded, its twin to the endpoint."""

    def __init__(self, proxy: FaultProxy, client: _Peer) -> None:
        self._proxy = proxy
        self._client = client
        self._upstream: _Peer | None = None

    async def run(self) -> None:
        """Serve requests until one of the two ends is done."""
        try:
            while await self._serve_one():
                pass
        finally:
            if self._upstream is not None:
                self._upstream.writer.close()

    async def _serve_one(self) -> bool:
        head = await _Head.read(self._client.reader)
        rule = self._proxy._record(head.to_request())
        if rule is None:
            return await self._forward(head, None)
        if rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        if rule.response is None and not rule.drop:
            return await self._forward(head, rule.body_limit)
        if head.headers.get("expect", "").lower() == "100-continue":
            await self._client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for _ in self._client.body(head, until_close=False):
            pass
        if rule.response is None:
            return False
        await self._client.send(rule.response + (b"" if head.start[0] == "HEAD" else rule.body))
        return head.keeps_alive

    async def _forward(self, head: _Head, body_limit: int | None) -> bool:
        if self._upstream is None:
            self._upstream = await self._proxy._connect()
        await self._upstream.send(head.raw)
        upload = asyncio.create_task(self._upload(self._upstream, head))
        try:
            answer = await self._download(self._upstream, head, body_limit)
            # An answer that came before the whole request leaves the connection of no further use.
            return answer.keeps_alive and head.keeps_alive and upload.done()
        finally:
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await upload

    async def _upload(self, upstream: _Peer, head: _Head) -> None:
        async for data, _ in self._client.body(head, until_close=False):
            await upstream.send(data)

    async def _download(self, upstream: _Peer, request: _Head, body_limit: int | None) -> _Head:
        while True:
            head = await _Head.read(upstream.reader)
            await self._client.send(head.raw)
            status = int(head.start[1])
            if status >= 200:
                break
        if request.start[0] == "HEAD" or status in (204, 304):
            return head
        sent = 0
        async for data, size in upstream.body(head, until_close=True):
            if body_limit is not None and sent + size > body_limit:
                await self._client.send(data[: body_limit - sent])
                raise ConnectionAbortedError("cut by rule")
            sent += size
            await self._client.send(data)
        return head
