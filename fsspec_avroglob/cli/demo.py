"""An S3 endpoint inside this process and sample Avro files for it, behind `avroglob demo`.

Needs the extra ``demo``. Nothing here is imported by the rest of the package.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

BUCKET = "demo"
_YEARS = (2024, 2025)
_MONTHS = range(1, 13)
_DAYS = range(1, 4)
_CODECS = ("snappy", "deflate")  # one part file of each per day
_ROWS_PER_FILE = 50

EVENT_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "namespace": "demo",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "user", "type": "string"},
        {"name": "kind", "type": "string"},
        {"name": "amount", "type": ["null", "double"], "default": None},
    ],
}


class MissingExtraError(ImportError):
    """A package that only the extra ``demo`` brings is not installed."""


_OBJECT_OPERATIONS = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}
_BUCKET_OPERATIONS = {
    "GET": "ListObjects",
    "HEAD": "HeadBucket",
    "PUT": "CreateBucket",
    "DELETE": "DeleteBucket",
}


def s3_operation(method: str, path: str, query: str) -> str:
    """Name the S3 operation of a path-style request, as the S3 API reference spells it.

    Knows the operations that a filesystem sends; any other is ``"METHOD ?subresource"``.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    if not bucket:
        return "ListBuckets"
    if parameters.get("list-type") == "2":
        return "ListObjectsV2"
    if method == "POST" and "delete" in parameters:
        return "DeleteObjects"
    if "uploads" in parameters and method == "POST":
        return "CreateMultipartUpload"
    if "uploadId" in parameters:
        return {
            "PUT": "UploadPart",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
            "GET": "ListParts",
        }.get(method, f"{method} ?uploadId")
    subresource = next((name for name in parameters if name in {"versions", "location"}), None)
    if subresource:
        return f"{method} ?{subresource}"
    return (_OBJECT_OPERATIONS if key else _BUCKET_OPERATIONS).get(method, method)


@dataclass(frozen=True)
class Arrival:
    """A request that reached the endpoint: the S3 operation, and when by `time.monotonic`."""

    operation: str
    at_s: float


class _RecordingApp:
    """WSGI middleware: records requests by S3 operation, answers chosen ones with 503 SlowDown."""

    _SLOW_DOWN = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
    )

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._lock = threading.Lock()
        self.arrivals: list[Arrival] = []
        self.failures: Counter[str] = Counter()
        self.buckets: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        operation = s3_operation(method, path, environ.get("QUERY_STRING", ""))
        with self._lock:
            self.arrivals.append(Arrival(operation, time.monotonic()))
            if operation == "CreateBucket":
                self.buckets.add(path.strip("/"))
            fail = self.failures[operation] > 0
            if fail:
                self.failures[operation] -= 1
        if not fail:
            return self._app(environ, _without_server_headers(start_response))
        body = b"" if method == "HEAD" else self._SLOW_DOWN
        start_response(
            "503 Slow Down",
            [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))],
        )
        return [body]


def _without_server_headers(start_response: StartResponse) -> StartResponse:
    """Leave Server and Date to the HTTP server; aiohttp's development mode refuses them twice."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in {"server", "date"}]
        return start_response(status, kept, *rest)

    return start


class DemoServer:
    """An S3 endpoint (moto) on a free loopback port, for the length of a ``with`` block.

    Objects live in this process's memory. Every bucket made through the endpoint is deleted at the
    end, and all threads of the server end with it. The credentials are made up; the user's are
    never read.

    Parameters
    ----------
    port: TCP port on 127.0.0.1; 0, the default, takes a free one.

    Attributes
    ----------
    endpoint_url, key, secret: what a client needs, also as ``storage_options``
    arrivals, requests: the requests received since `forget_requests`, one by one and counted

    Raises
    ------
    MissingExtraError: moto's server is not installed
    OSError: the port is taken
    """

    key = "demo"
    secret = "demo"
    region = "us-east-1"

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.endpoint_url = ""

    @property
    def storage_options(self) -> dict[str, str]:
        """What to pass as ``storage_options=`` to reach this endpoint."""
        return {"endpoint_url": self.endpoint_url, "key": self.key, "secret": self.secret}

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which any AWS client reaches this endpoint."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
        }

    @property
    def arrivals(self) -> list[Arrival]:
        """Requests received, in their order."""
        return list(self._app.arrivals)

    @property
    def requests(self) -> Counter[str]:
        """Number of requests received, by S3 operation."""
        return Counter(arrival.operation for arrival in self.arrivals)

    def forget_requests(self) -> None:
        """Start counting anew."""
        self._app.arrivals.clear()

    def fail(self, operation: str, times: int = 1) -> None:
        """Answer the next ``times`` requests of an S3 operation with 503 SlowDown."""
        self._app.failures[operation] += times

    def __enter__(self) -> Self:
        try:
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                create_backend_app,
            )
            from werkzeug.serving import WSGIRequestHandler, make_server
        except ImportError as exc:
            raise missing_extra("moto's S3 server") from exc

        class QuietHandler(WSGIRequestHandler):
            timeout = 30  # seconds; a client that connects and says nothing holds no thread

            def log_request(self, *_: object) -> None:
                """Say nothing: requests are counted, not logged."""

        self._app = _RecordingApp(DomainDispatcherApplication(create_backend_app))
        # Given a port, werkzeug ends the process when that is taken; this raises OSError instead.
        with socket.create_server(("127.0.0.1", self._port)) as listener:
            port = listener.getsockname()[1]
            self._server = make_server(
                "127.0.0.1",
                port,
                self._app,
                threaded=True,
                request_handler=QuietHandler,
                fd=listener.fileno(),
            )
        # Handler threads that are not daemons are joined when the server closes.
        self._server.daemon_threads = False  # type: ignore[attr-defined]
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="avroglob-demo-s3", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._delete_buckets()
        finally:
            self._server.shutdown()
            self._thread.join()

    def _delete_buckets(self) -> None:
        """Empty moto's memory of this server's buckets; it is shared by the whole process."""
        if not self._app.buckets:
            return
        import botocore.session
        from botocore.config import Config

        with user_aws_settings_hidden():
            client = botocore.session.get_session().create_client(
                "s3",
                endpoint_url=self.endpoint_url,
                aws_access_key_id=self.key,
                aws_secret_access_key=self.secret,
                region_name=self.region,
                config=Config(s3={"addressing_style": "path"}),
            )
        existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in sorted(existing & self._app.buckets):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                if keys := [{"Key": item["Key"]} for item in page.get("Contents", [])]:
                    client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            client.delete_bucket(Bucket=bucket)
        client.close()


def missing_extra(what: str) -> MissingExtraError:
    """The error that says how to get a package of the extra."""
    return MissingExtraError(
        f"{what} is not installed; get it with: pip install 'fsspec-avroglob[demo]'"
    )


@contextmanager
def user_aws_settings_hidden() -> Iterator[None]:
    """Hide AWS_* variables, AWS files, proxies and fsspec's configuration while the block runs."""
    from fsspec.config import conf

    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    environment, configuration = dict(os.environ), dict(conf)
    for name in environment:
        if name.startswith("AWS_") or name.lower() in proxies:
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    conf.clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        conf.update(configuration)


@dataclass(frozen=True)
class SampleData:
    """What `write_sample_events` wrote."""

    files: int
    rows: int
    size_bytes: int


def write_sample_events(storage_options: Mapping[str, Any]) -> SampleData:
    """Write ``events/year=YYYY/month=MM/day=DD/part-N.avro`` into a new bucket ``demo``.

    The same bytes at every call but for Avro's random sync markers: 2 years x 12 months x 3 days
    x 2 files of 50 rows, one file of each day compressed with snappy and one with deflate.
    """
    import fsspec

    objects = {f"{BUCKET}/{key}": data for key, data in sample_objects()}
    fs = fsspec.filesystem("avroglob", **storage_options)
    fs.mkdir(BUCKET)
    fs.pipe(objects)
    return SampleData(
        files=len(objects),
        rows=len(objects) * _ROWS_PER_FILE,
        size_bytes=sum(map(len, objects.values())),
    )


def sample_objects() -> Iterator[tuple[str, bytes]]:
    """Yield the key and the content of each file that :func:`write_sample_events` writes."""
    from fastavro import parse_schema, writer

    schema = parse_schema(EVENT_SCHEMA)
    numbers = random.Random(20250101)
    days = [dt.date(y, m, d) for y in _YEARS for m in _MONTHS for d in _DAYS]
    next_id = 1
    for day in days:
        for part, codec in enumerate(_CODECS):
            body = io.BytesIO()
            rows = _sample_rows(numbers, day, part, next_id)
            writer(body, schema, rows, codec=codec)
            next_id += len(rows)
            folder = f"year={day.year}/month={day.month:02}/day={day.day:02}"
            yield f"events/{folder}/part-{part}.avro", body.getvalue()


def _sample_rows(
    numbers: random.Random, day: dt.date, part: int, first_id: int
) -> list[dict[str, Any]]:
    half_day_s = 12 * 60 * 60
    midnight = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
    rows = []
    for i in range(_ROWS_PER_FILE):
        kind = numbers.choice(("view", "view", "view", "cart", "purchase"))
        offset_s = part * half_day_s + i * half_day_s // _ROWS_PER_FILE
        rows.append(
            {
                "id": first_id + i,
                "time": midnight + dt.timedelta(seconds=offset_s),
                "user": f"u{numbers.randrange(40):03}",
                "kind": kind,
                "amount": round(numbers.uniform(1, 200), 2) if kind == "purchase" else None,
            }
        )
    return rows
