"""A reverse proxy in front of an S3 endpoint that counts requests and injects faults.

It works on the bytes of HTTP/1.1 connections: each client connection gets one to the endpoint, and
heads and bodies are passed on as they came, so that signatures, chunk framing, trailers and
`100 Continue` stay what the two ends made them.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.faults import Gate, Match, Request, Response, Rule, draw
from tests.support.http import Head, Peer
from tests.support.servers import LOOPBACK, Endpoint

_MAX_HEAD_SIZE = 1 << 20


class FaultProxy:
    """Forwards to `endpoint` from a free loopback port, in a thread of its own.

    A context manager. Rules are looked at in the order they were made; the first that applies to a
    request decides, and one that has been used `times` times no longer applies. `operation=None` is
    any operation, `times=None` any number of times, `match` a further condition on the request,
    `share` the fraction of requests that a rule applies to. Which ones these are follows from
    `seed`, the request and how often it came before.
    """

    def __init__(self, endpoint: Endpoint, seed: int = 0) -> None:
        self.seed = seed
        self._seen: Counter[object] = Counter()
        self._gate: Gate | None = None
        self._slow_down: Response | None = None
        self._endpoint = endpoint
        self._upstream = urlsplit(endpoint.url)
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._requests: list[Request] = []
        self._rules: list[Rule] = []
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

    def wait_for(self, operation: str, sender: subprocess.Popen[str]) -> None:
        """Wait for the first request of an operation.

        Raises RuntimeError if the process that shall send it ends first, TimeoutError after two
        minutes.
        """
        for _ in range(1200):
            with self._arrived:
                if self._arrived.wait_for(lambda: self.count(operation) > 0, timeout=0.1):
                    return
            if sender.poll() is not None:
                raise RuntimeError(f"the process ended with status {sender.returncode}")
        raise TimeoutError(f"no {operation} arrived")

    def clear(self) -> None:
        """Forget the requests that arrived, all rules and the limit."""
        with self._lock:
            self._requests.clear()
            self._rules.clear()
            self._seen.clear()
            self._gate = None

    @property
    def repeats(self) -> Counter[object]:
        """How often each request arrived, by what it is (:attr:`Request.identity`)."""
        with self._lock:
            return Counter(self._seen)

    def fail(
        self,
        operation: str | None = None,
        status: int = 503,
        code: str = "SlowDown",
        times: int | None = None,
        match: Match | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        share: float = 1.0,
    ) -> None:
        """Answer with an S3 error, or `body`, instead of forwarding; `status=200` too."""
        if body is None:
            response = Response.of_error(status, code, headers or {})
        else:
            response = Response.of(status, body, headers or {})
        self._add(Rule(operation, match, times, share, response=response))

    def delay(
        self,
        operation: str | None = None,
        seconds: float = 0.0,
        times: int | None = None,
        match: Match | None = None,
        share: float = 1.0,
    ) -> None:
        """Forward only after `seconds`."""
        self._add(Rule(operation, match, times, share, delay_s=seconds))

    def drop(
        self,
        operation: str | None = None,
        times: int | None = None,
        match: Match | None = None,
        share: float = 1.0,
    ) -> None:
        """Read the request, then close the connection without an answer."""
        self._add(Rule(operation, match, times, share, drop=True))

    def lose(
        self,
        operation: str | None = None,
        times: int | None = None,
        match: Match | None = None,
        after: int = 0,
        share: float = 1.0,
    ) -> None:
        """Forward, and close the connection after `after` bytes of the head of the answer."""
        self._add(Rule(operation, match, times, share, head_limit=after))

    def cut(
        self,
        operation: str | None = None,
        after: int | None = 0,
        times: int | None = None,
        match: Match | None = None,
        share: float = 1.0,
    ) -> None:
        """Forward, but close the connection after `after` bytes of the answer's body.

        A body that is not longer than `after` arrives whole. `after=None` is any byte of it.
        """
        rule = Rule(operation, match, times, share, body_limit=after, cut=after is None)
        self._add(rule)

    def corrupt(
        self,
        operation: str | None = None,
        at: int = 0,
        times: int | None = None,
        match: Match | None = None,
        share: float = 1.0,
    ) -> None:
        """Forward, but change the byte `at` of the answer's body."""
        self._add(Rule(operation, match, times, share, corrupt_at=at))

    def throttle(
        self,
        operation: str | None = None,
        in_flight: int | None = None,
        rate: float | None = None,
        retry_after_s: int | None = None,
    ) -> Gate:
        """Answer 503 SlowDown beyond `in_flight` requests at once or `rate` requests a second.

        Comes before all rules; a delay counts as time in flight. Returns what counts them.
        retry_after_s: goes with the refusals, as Retry-After.
        """
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self._slow_down = Response.of_error(503, "SlowDown", headers)
        self._gate = Gate(operation, in_flight, rate)
        return self._gate

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _record(self, request: Request) -> Rule | None:
        with self._lock:
            self._requests.append(request)
            self._arrived.notify_all()
            identity = request.identity
            nth = self._seen[identity]
            self._seen[identity] += 1
            for index, rule in enumerate(self._rules):
                drawn = draw(self.seed, index, identity, nth) if rule.share < 1 else 0.0
                if rule.applies_to(request, drawn):
                    if rule.times is not None:
                        rule.times -= 1
                    if rule.cut:
                        share = draw(self.seed, index, "cut", identity, nth)
                        return replace(rule, cut_share=share)
                    return rule
            return None

    def _gate_of(self, request: Request) -> Gate | None:
        gate = self._gate
        return gate if gate is not None and gate.operation in (None, request.operation) else None

    def wait_for_connections(self, seconds: float) -> int:
        """Wait until all connections are closed, at most *seconds*; return how many are not."""

        async def wait() -> int:
            if self._connections:
                await asyncio.wait(set(self._connections), timeout=seconds)
            return len(self._connections)

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result()

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
            await _Connection(self, Peer(reader, writer)).run()
        except (OSError, asyncio.IncompleteReadError):
            pass  # either end closed the connection, which closes the other one too
        except asyncio.CancelledError:
            pass  # the proxy stops; asyncio's streams would log a task that was cancelled
        finally:
            writer.close()
            self._connections.discard(task)

    async def _connect(self) -> Peer:
        streams = await asyncio.open_connection(
            self._upstream.hostname,
            self._upstream.port,
            ssl=self._upstream.scheme == "https" or None,
            limit=_MAX_HEAD_SIZE,
        )
        return Peer(*streams)


class _Connection:
    """A client's connection and, once a request is forwarded, its twin to the endpoint."""

    def __init__(self, proxy: FaultProxy, client: Peer) -> None:
        self._proxy = proxy
        self._client = client
        self._upstream: Peer | None = None

    async def run(self) -> None:
        """Serve requests until one of the two ends is done."""
        try:
            while await self._serve_one():
                pass
        finally:
            if self._upstream is not None:
                self._upstream.writer.close()

    async def _serve_one(self) -> bool:
        head = await Head.read(self._client.reader)
        request = head.to_request()
        gate = self._proxy._gate_of(request)
        if gate is None:
            return await self._treat(head, self._proxy._record(request))
        if not gate.enter(request):
            self._proxy._record(request)
            return await self._refuse(head, self._proxy._slow_down)
        try:
            return await self._treat(head, self._proxy._record(request))
        finally:
            gate.leave()

    async def _treat(self, head: Head, rule: Rule | None) -> bool:
        if rule is None:
            return await self._forward(head, _AS_IT_IS)
        if rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        if rule.response is None and not rule.drop:
            return await self._forward(head, rule)
        return await self._refuse(head, rule.response)

    async def _refuse(self, head: Head, response: Response | None) -> bool:
        """Read the request, then send *response* or, without one, close the connection."""
        if head.headers.get("expect", "").lower() == "100-continue":
            await self._client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for _ in self._client.body(head, until_close=False):
            pass
        if response is None:
            return False
        await self._client.send(response.head + (b"" if head.start[0] == "HEAD" else response.body))
        return head.keeps_alive

    async def _forward(self, head: Head, rule: Rule) -> bool:
        if self._upstream is None:
            self._upstream = await self._proxy._connect()
        await self._upstream.send(head.raw)
        upload = asyncio.create_task(self._upload(self._upstream, head))
        try:
            answer = await self._download(self._upstream, head, rule)
            # An answer that came before the whole request leaves the connection of no further use.
            return answer.keeps_alive and head.keeps_alive and upload.done()
        finally:
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await upload

    async def _upload(self, upstream: Peer, head: Head) -> None:
        async for data, _ in self._client.body(head, until_close=False):
            await upstream.send(data)

    async def _download(self, upstream: Peer, request: Head, rule: Rule) -> Head:
        while True:
            head = await Head.read(upstream.reader)
            status = int(head.start[1])
            if rule.head_limit is not None and status >= 200:
                await self._client.send(head.raw[: rule.head_limit])
                raise ConnectionAbortedError("cut by rule")
            await self._client.send(head.raw)
            if status >= 200:
                break
        if request.start[0] == "HEAD" or status in (204, 304):
            return head
        body_limit = rule.body_limit
        if rule.cut_share is not None:
            body_limit = int(rule.cut_share * int(head.headers.get("content-length", 1)))
        sent = 0
        async for data, size in upstream.body(head, until_close=True):
            if body_limit is not None and sent + size > body_limit:
                await self._client.send(data[: body_limit - sent])
                raise ConnectionAbortedError("cut by rule")
            if rule.corrupt_at is not None and 0 <= rule.corrupt_at - sent < size:
                data = _with_change(data, rule.corrupt_at - sent)
            sent += size
            await self._client.send(data)
        return head


_AS_IT_IS = Rule(None, None, None)


def _with_change(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
