"""A synthetic S3 endpoint on the loopback interface, in a process of its own.

`with SyntheticEndpoint({"lake": "events:3"}) as endpoint:` starts and ends one; `python -m
benchmarks.endpoint` prints its URL and serves until standard input closes. It checks no signatures.
Tests and benchmarks set and read its state with control requests, which it neither delays nor
counts:

    GET  /-/stats      requests by operation, throttled, peak in flight
    POST /-/reset      start counting anew
    POST /-/configure  {"latency_s": 0.03, "page_size": 1000, "max_in_flight": 8}
    POST /-/buckets    {"lake": "events:3", "small": ["a/b", "a/c"]}
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from http import HTTPStatus
from pathlib import Path
from typing import Any

from benchmarks.content import from_name
from benchmarks.rendering import error_result
from benchmarks.service import Request, Response, Service, json_response

CONTROL = "/-/"
START_TIMEOUT_S = 60.0
SEND_BUFFER_BYTES = 1 << 20


@dataclass
class Conditions:
    """How the endpoint treats S3 requests.

    latency_s: seconds between a request's arrival and its answer. page_size: most entries of a page
    of a listing. max_in_flight: most requests served at a time, the others get 503 SlowDown; None:
    no limit. empty_pages: truncated pages without entries before each page of a listing.
    """

    latency_s: float = 0.0
    page_size: int = 1000
    max_in_flight: int | None = None
    empty_pages: int = 0


class Meter:
    """Counts requests and decides which are throttled."""

    def __init__(self, conditions: Conditions) -> None:
        """Count under `conditions`, which may change meanwhile."""
        self.conditions = conditions
        self.in_flight = 0
        self._admitted = 0
        self.reset()

    def reset(self) -> None:
        """Start counting anew, with the requests that are in flight."""
        self._requests: Counter[str] = Counter()
        self._throttled = 0
        self._peak = self.in_flight

    def arrive(self, operation: str) -> bool:
        """Count a request; return whether it is admitted, rather than throttled."""
        self._requests[operation] += 1
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        limit = self.conditions.max_in_flight
        admitted = limit is None or self._admitted < limit
        self._admitted += admitted
        self._throttled += not admitted
        return admitted

    def leave(self, admitted: bool) -> None:
        """Count an answer."""
        self.in_flight -= 1
        self._admitted -= admitted

    def stats(self) -> dict[str, Any]:
        """Return the figures since the last reset."""
        return {
            "requests": dict(self._requests),
            "throttled": self._throttled,
            "peak_in_flight": self._peak,
        }


class _Connection(asyncio.Protocol):
    """One keep-alive connection: reads requests, answers each after the latency, in order."""

    def __init__(self, service: Service, meter: Meter) -> None:
        self._service = service
        self._meter = meter
        self._buffer = bytearray()
        self._busy = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Room for a whole page, which then leaves in one call.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._serve_next()

    def _serve_next(self) -> None:
        request = _take_request(self._buffer)
        self._busy = request is not None
        if request is None:
            return
        if request.target.startswith(CONTROL):
            self._send(request, self._control(request))
            return
        operation = self._service.operation(request)
        admitted = self._meter.arrive(operation)
        latency_s = self._meter.conditions.latency_s
        if latency_s:
            loop = asyncio.get_running_loop()
            loop.call_later(latency_s, self._answer, request, operation, admitted)
        else:
            self._answer(request, operation, admitted)

    def _answer(self, request: Request, operation: str, admitted: bool) -> None:
        if self._transport is None:  # the client went away meanwhile
            self._meter.leave(admitted)
            return
        if admitted:
            response = self._service.respond(operation, request)
        else:
            body = error_result("SlowDown", "Please reduce your request rate.", request.target)
            response = Response(HTTPStatus.SERVICE_UNAVAILABLE, body)
        self._meter.leave(admitted)
        self._send(request, response)

    def _send(self, request: Request, response: Response) -> None:
        if self._transport is None:
            return
        body = b"" if request.method == "HEAD" else response.body
        self._transport.write(_head(response) + body)
        self._serve_next()

    def _control(self, request: Request) -> Response:
        action = request.target.removeprefix(CONTROL)
        if action == "stats":
            return json_response(self._meter.stats())
        if action == "reset":
            self._meter.reset()
        elif action == "configure":
            for name, value in json.loads(request.body).items():
                if name not in {field.name for field in fields(Conditions)}:
                    return Response(HTTPStatus.BAD_REQUEST, f"no condition {name!r}".encode())
                setattr(self._meter.conditions, name, value)
            self._service.page_size = self._meter.conditions.page_size
            self._service.empty_pages = self._meter.conditions.empty_pages
            self._meter.reset()
        elif action == "buckets":
            self._service.add_buckets(json.loads(request.body))
        else:
            return Response(HTTPStatus.NOT_FOUND, f"no control {action!r}".encode())
        return json_response({})


def _take_request(buffer: bytearray) -> Request | None:
    """Take one whole request off the front of `buffer`, if it holds one."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    start_line, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    size = end + 4 + int(headers.get("content-length", "0"))
    if len(buffer) < size:
        return None
    body = bytes(buffer[end + 4 : size])
    del buffer[:size]
    method, target, _ = start_line.split(" ")
    return Request(method, target, headers, body)


def _head(response: Response) -> bytes:
    status = HTTPStatus(response.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Server: AmazonS3",
        "x-amz-request-id: benchmarks",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def serve(service: Service) -> None:
    """Serve on a free port of 127.0.0.1 and print the URL; end when standard input closes."""
    meter = Meter(Conditions())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(service, meter), "127.0.0.1", 0, backlog=1024
    )
    host, port = server.sockets[0].getsockname()[:2]
    print(f"http://{host}:{port}", flush=True)
    async with server:
        # In a thread, since an event loop cannot watch every kind of standard input.
        await asyncio.to_thread(sys.stdin.buffer.read)


class SyntheticEndpoint:
    """Starts and stops an endpoint process, and sends it control requests."""

    def __init__(
        self, buckets: Mapping[str, str | Sequence[str]], *, content: str = "pattern"
    ) -> None:
        """Serve `buckets`, keyspace specs or explicit keys by name, full of the named `content`."""
        self._buckets = buckets
        self._content = content
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def storage_options(self) -> dict[str, Any]:
        """What s3fs and this package need to reach the endpoint."""
        return {
            "endpoint_url": self.url,
            "key": "benchmarks",
            "secret": "benchmarks",
            "client_kwargs": {"region_name": "us-east-1"},
        }

    def __enter__(self) -> "SyntheticEndpoint":
        """Start the process; return when it serves.

        Raises RuntimeError when it does not start.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.endpoint", self._content],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"the synthetic endpoint ended with status {self._process.wait()}")
        self.add_buckets(self._buckets)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.communicate()  # closes its standard input, on which it ends

    def stats(self) -> dict[str, Any]:
        """Return the counts since the last reset."""
        return control(self.url, "stats")

    def reset(self) -> None:
        """Start counting anew."""
        control(self.url, "reset", {})

    def configure(self, **conditions: float | None) -> None:
        """Set fields of `Conditions` and start counting anew."""
        control(self.url, "configure", conditions)

    def add_buckets(self, buckets: Mapping[str, str | Sequence[str]]) -> None:
        """Add or replace buckets."""
        control(self.url, "buckets", buckets)


def control(url: str, action: str, body: object = None) -> dict[str, Any]:
    """Send a control request to the endpoint at `url`: a POST if there is a `body`."""
    data = None if body is None else json.dumps(body).encode()
    # Without the proxies of the environment, which may not make an exception for the loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + CONTROL + action, data, START_TIMEOUT_S) as response:
        return dict(json.load(response))


def main() -> None:
    """Run an endpoint in this process until standard input closes."""
    service = Service(from_name(sys.argv[1] if len(sys.argv) > 1 else "pattern"))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(service))


if __name__ == "__main__":
    main()
