"""A synthetic S3 endpoint on the loopback interface, in its own process.

`with SyntheticEndpoint({"lake": "events:3"}) as endpoint:` starts and stops one. `python -m
benchmarks.endpoint` prints the URL and serves until standard input closes. The endpoint does not
check signatures. Tests and benchmarks control it with requests that it neither delays nor counts:

    GET  /-/stats      requests by operation, throttled, peak in flight
    POST /-/reset      start counting from zero
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.content import from_name
from benchmarks.rendering import error_result
from benchmarks.service import Service

KEY, SECRET, REGION = "benchmarks", "benchmarks", "us-east-1"
CONTROL = "/-/"
START_TIMEOUT_S = 60.0
SEND_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Conditions:
    """How the endpoint treats S3 requests.

    latency_s: seconds between a request's arrival and its answer. page_size: most entries of a page
    of a listing. max_in_flight: most requests that are served at a time; the others get 503
    SlowDown; None is no limit. empty_pages: number of truncated pages without entries before each
    page of a listing.
    """

    latency_s: float = 0.0
    page_size: int = 1000
    max_in_flight: int | None = None
    empty_pages: int = 0


class Meter:
    """Counts requests and decides which are throttled."""

    def __init__(self, conditions: Conditions) -> None:
        """Start with no requests; `conditions` may be replaced at any time."""
        self.conditions = conditions
        self.in_flight = 0
        self._admitted = 0
        self.reset()

    def reset(self) -> None:
        """Start counting from zero; the peak starts at the requests in flight."""
        self._requests: Counter[str] = Counter()
        self._throttled = 0
        self._peak = self.in_flight

    def arrive(self, operation: str) -> bool:
        """Count a request; return whether it is served, not throttled."""
        self._requests[operation] += 1
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        limit = self.conditions.max_in_flight
        admitted = limit is None or self._admitted < limit
        self._admitted += admitted
        self._throttled += not admitted
        return admitted

    def leave(self, admitted: bool) -> None:
        """Count the end of a request."""
        self.in_flight -= 1
        self._admitted -= admitted

    def stats(self) -> dict[str, Any]:
        """Return the figures since the last reset."""
        return {
            "requests": dict(self._requests),
            "throttled": self._throttled,
            "peak_in_flight": self._peak,
        }


class _Server:
    """Answers requests, each after the latency."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._meter = Meter(Conditions())

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a control request at once, and an S3 request as the conditions say."""
        if request.raw_path.startswith(CONTROL):
            return self._control(request.raw_path.removeprefix(CONTROL), await request.read())
        operation = self._service.operation(request)
        admitted = self._meter.arrive(operation)
        try:
            await asyncio.sleep(self._meter.conditions.latency_s)
            if admitted:
                return self._service.respond(operation, request)
            body = error_result("SlowDown", "Please reduce your request rate.", request.raw_path)
            return web.Response(body=body, status=503, content_type="application/xml")
        finally:
            self._meter.leave(admitted)

    def _control(self, action: str, body: bytes) -> web.Response:
        conditions = self._meter.conditions
        if action == "stats":
            return web.json_response(self._meter.stats())
        if action == "reset":
            self._meter.reset()
        elif action == "configure":
            self._meter.conditions = conditions = replace(conditions, **json.loads(body))
            self._service.page_size = conditions.page_size
            self._service.empty_pages = conditions.empty_pages
            self._meter.reset()
        elif action == "buckets":
            self._service.add_buckets(json.loads(body))
        else:
            raise web.HTTPNotFound(text=f"no control {action!r}")
        return web.json_response({})


async def serve(service: Service) -> None:
    """Serve on a free port of 127.0.0.1 and print the URL; end when standard input closes."""
    runner = web.ServerRunner(web.Server(_Server(service).answer, access_log=None))
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # Connections inherit a buffer that takes a whole page, so clients read pages in large parts.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    await web.SockSite(runner, listener).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    # In a thread, since an event loop cannot watch every kind of standard input.
    await asyncio.to_thread(sys.stdin.buffer.read)


class SyntheticEndpoint:
    """Starts and stops an endpoint process, and sends it control requests."""

    def __init__(
        self, buckets: Mapping[str, str | Sequence[str]], *, content: str = "pattern"
    ) -> None:
        """Serve `buckets`, by name: keyspace specs or lists of keys. `content`: of all objects."""
        self._buckets = buckets
        self._content = content
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def storage_options(self) -> dict[str, Any]:
        """Storage options of s3fs and this package for the endpoint."""
        return s3fs_options(self.url)

    def __enter__(self) -> "SyntheticEndpoint":
        """Start the process and wait until it serves.

        Raises RuntimeError if the process ends instead.
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
            self._process.communicate()  # closes its standard input: the process ends

    def stats(self) -> dict[str, Any]:
        """Return the counts since the last reset."""
        return control(self.url, "stats")

    def reset(self) -> None:
        """Start counting from zero."""
        control(self.url, "reset", {})

    def configure(self, **conditions: float | None) -> None:
        """Set fields of `Conditions` and start counting from zero."""
        control(self.url, "configure", conditions)

    def add_buckets(self, buckets: Mapping[str, str | Sequence[str]]) -> None:
        """Add or replace buckets."""
        control(self.url, "buckets", buckets)


def s3fs_options(url: str) -> dict[str, Any]:
    """Return the storage options of s3fs, which has no option for the region."""
    region = {"region_name": REGION}
    return {"endpoint_url": url, "key": KEY, "secret": SECRET, "client_kwargs": region}


def control(url: str, action: str, body: object = None) -> dict[str, Any]:
    """Send a control request to the endpoint at `url`: a POST if there is a `body`."""
    data = None if body is None else json.dumps(body).encode()
    # Ignores the environment's proxies: they may not be able to reach this machine.
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
