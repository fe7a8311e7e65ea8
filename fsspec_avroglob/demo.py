"""An S3 endpoint inside this process, sample Avro files in it, and the tour behind `avroglob demo`.

Needs the extra ``demo``. Nothing here is imported by the rest of the package.
"""

from __future__ import annotations

import datetime as dt
import io
import logging
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
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

BUCKET = "demo"
TOUR_PATTERN = f"avroglob://{BUCKET}/events/year=2025/month=*/day=01/part-*.avro"
COMPARED_PATTERNS = (
    TOUR_PATTERN.removeprefix("avroglob://"),
    f"{BUCKET}/events/year=*/month=12/day=03/part-0.avro",
    f"{BUCKET}/events/year=2024/month=03/day=02/*",
)

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
            raise _missing_extra("moto's S3 server") from exc

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


def _missing_extra(what: str) -> MissingExtraError:
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

    objects = dict(_sample_objects())
    fs = fsspec.filesystem("avroglob", **storage_options)
    fs.mkdir(BUCKET)
    fs.pipe(objects)
    return SampleData(
        files=len(objects),
        rows=len(objects) * _ROWS_PER_FILE,
        size_bytes=sum(map(len, objects.values())),
    )


def _sample_objects() -> Iterator[tuple[str, bytes]]:
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
            yield f"{BUCKET}/events/{folder}/part-{part}.avro", body.getvalue()


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


Say = Callable[[Literal["title", "code", "text"], str], None]


def print_plainly(kind: Literal["title", "code", "text"], text: str) -> None:
    """Print a part of the tour as text without colour; code is indented."""
    if kind == "title":
        text = f"\n{text}\n{'-' * len(text)}"
    elif kind == "code":
        text = "\n".join(f"    {line}" if line else "" for line in text.splitlines())
    print(text, flush=True)


def run_demo(say: Say = print_plainly) -> None:
    """Take the tour: write, glob, read and retry against an endpoint that ends with the call.

    Every figure is measured during the call.

    Parameters
    ----------
    say: called with the kind of a text ("title", "code" or "text") and the text

    Raises
    ------
    MissingExtraError: moto's server or pandas is not installed
    """
    try:
        import pandas  # noqa: F401
    except ImportError as exc:
        raise _missing_extra("pandas") from exc
    with user_aws_settings_hidden(), DemoServer() as server:
        options = {**server.storage_options, "skip_instance_cache": True}
        _show_setup(say, server, options)
        _show_glob(say, server, options)
        _show_pandas(say, server)
        _show_retry(say, server, options)
        _show_next_steps(say)


def _show_setup(say: Say, server: DemoServer, options: dict[str, Any]) -> None:
    started = time.perf_counter()
    sample = write_sample_events(options)
    elapsed_s = time.perf_counter() - started
    say("title", "An S3 endpoint in this process, with Avro files in it")
    say(
        "text",
        f"moto answers at {server.endpoint_url} until the tour ends. Your own AWS settings are not "
        f"read.\nWrote {sample.files} files, {sample.rows:,} rows, {sample.size_bytes / 1024:,.0f} "
        f"KiB in {elapsed_s:.1f} s:\n"
        f"  avroglob://{BUCKET}/events/year=YYYY/month=MM/day=DD/part-N.avro",
    )


def _show_glob(say: Say, server: DemoServer, options: dict[str, Any]) -> None:
    import fsspec
    from s3fs import S3FileSystem

    say("title", "Glob it")
    say(
        "code",
        "import fsspec\n"
        f"storage_options = {server.storage_options!r}\n"
        'fs = fsspec.filesystem("avroglob", **storage_options)\n'
        f'paths = fs.glob("{TOUR_PATTERN}")',
    )
    systems = {
        "avroglob": fsspec.filesystem("avroglob", **options),
        "s3fs": S3FileSystem(**options),
    }
    for pattern in COMPARED_PATTERNS:
        say("text", pattern)
        results = []
        for name, fs in systems.items():
            server.forget_requests()
            fs.invalidate_cache()
            started = time.perf_counter()
            results.append(fs.glob(pattern))
            elapsed_ms = (time.perf_counter() - started) * 1000
            requests = _requests(server.requests)
            found = f"{len(results[-1])} paths"
            say("text", f"  {name:<9} {found:<9} {requests:<18} {elapsed_ms:5.0f} ms")
        if results[0] != results[1]:
            raise RuntimeError(f"avroglob and s3fs disagree about {pattern}")
    say("text", "Both find the same paths. Every request is a round trip to the server.")


def _show_pandas(say: Say, server: DemoServer) -> None:
    from fsspec_avroglob.avro.read import read_avro

    say("title", "Read it into pandas")
    say(
        "code",
        "from fsspec_avroglob import read_avro\n"
        f'df = read_avro("{TOUR_PATTERN}",\n'
        "               storage_options=storage_options)\n"
        'df.groupby("kind")["amount"].agg(["size", "sum"])',
    )
    server.forget_requests()
    started = time.perf_counter()
    frame = read_avro(TOUR_PATTERN, storage_options=server.storage_options)
    elapsed_ms = (time.perf_counter() - started) * 1000
    say("text", str(frame.groupby("kind")["amount"].agg(["size", "sum"])))
    say(
        "text",
        f"{len(frame):,} rows x {len(frame.columns)} columns, {_requests(server.requests)}, "
        f"{elapsed_ms:.0f} ms. The first rows:",
    )
    say("text", frame.head(3).to_string())


def _show_retry(say: Say, server: DemoServer, options: dict[str, Any]) -> None:
    import fsspec

    say("title", "Retry what is worth retrying")
    say(
        "text",
        "The endpoint answers the next LIST with 503 SlowDown, once. The default policy waits up\n"
        "to 1 s before the first retry and 2 s before the second; here it waits less:",
    )
    say(
        "code",
        'fs = fsspec.filesystem("avroglob", **storage_options,\n'
        '                       retry={"base_delay": 0.25, "jitter": 0})\n'
        f'fs.glob("{TOUR_PATTERN}")',
    )
    fs = fsspec.filesystem("avroglob", **options, retry={"base_delay": 0.25, "jitter": 0})
    server.fail("ListObjectsV2")
    server.forget_requests()
    with _captured_log() as messages:
        paths = fs.glob(TOUR_PATTERN)
    refused, retried = server.arrivals[:2]
    for message in messages:
        say("text", f"  log: {message}")
    say(
        "text",
        f"{len(paths)} paths, {_requests(server.requests)}; the second arrived "
        f"{retried.at_s - refused.at_s:.2f} s after the first.",
    )


def _show_next_steps(say: Say) -> None:
    say("title", "On your own data")
    say(
        "code",
        "from fsspec_avroglob import read_avro\n"
        'df = read_avro("s3://my-bucket/events/year=2025/month={01..06}/**/*.avro")\n'
        "\n"
        "import pandas as pd\n"
        'pd.read_csv("avroglob://my-bucket/table.csv")   # any fsspec-aware library',
    )
    say("text", "\nand in a shell")
    say("code", "avroglob ls -l 's3://my-bucket/events/year=2025/month=0[1-3]/*/*.avro'")
    say(
        "text",
        "\n`avroglob demo --serve` keeps this endpoint running, to try the README's examples.",
    )


def _requests(counts: Mapping[str, int]) -> str:
    return " + ".join(f"{n} {operation}" for operation, n in sorted(counts.items())) or "no request"


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what the package logs instead of passing it on to the log's usual handlers."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("fsspec_avroglob")
    collector, level, propagate = Collector(), logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate
