"""An S3 endpoint (moto) inside this process, and sample Avro files for it.

Needs the extra ``demo``; importing this module without it raises ImportError.

>>> with DemoServer() as server:
...     sample = write_sample_events(server.storage_options)
...     paths = AvroGlobFileSystem(**server.storage_options).glob("demo/events/**/*.avro")
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from unittest.mock import patch

import fastavro
import fsspec
import fsspec.config

try:
    import pandas  # noqa: F401  # the tour reads into it
    from moto.backends import get_backend
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server
except ImportError as error:
    raise ImportError(
        "the demo needs moto's server and pandas; get them with: "
        "pip install 'fsspec-avroglob[demo]'"
    ) from error

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

BUCKET = "demo"
_FIELDS = {
    "id": "long",
    "time": {"type": "long", "logicalType": "timestamp-millis"},
    "user": "string",
    "kind": "string",
    "amount": ["null", "double"],
}
_DAYS = [dt.date(y, m, d) for y in (2024, 2025) for m in range(1, 13) for d in range(1, 4)]
_CODECS = ("snappy", "deflate")  # one part file of each a day
_ROWS_PER_FILE = 50
_HALF_DAY_S = 12 * 60 * 60
_HOST = "127.0.0.1"
_CONNECT_TIMEOUT_S = 120  # s3fs allows 5 s, too short where client and server share a busy CPU
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


def s3_operation(method: str, path: str, query: str) -> str:
    """The S3 API's name of a path-style listing or operation on an object; else PutBucket, ..."""
    if "list-type=2" in query:
        return "ListObjectsV2"
    _, _, key = path.lstrip("/").partition("/")
    return method.title() + ("Object" if key else "Bucket")


class _Handler(WSGIRequestHandler):
    timeout = 30  # seconds; a client that connects and sends nothing then frees its thread

    def log_request(self, *_: object) -> None:
        """Log nothing: the server counts requests."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """Send no Server and Date headers: moto does, and aiohttp may refuse duplicates."""
        self.log_request(code)
        self.send_response_only(code, message)


class DemoServer:
    """An S3 endpoint (moto) on a loopback port, for the length of a ``with`` block.

    Objects live in this process's memory. At the end the server resets moto's S3 state, which the
    whole process shares, and joins its threads. It never reads the user's credentials.

    Parameters
    ----------
    port: TCP port on 127.0.0.1; 0, the default, takes a free one.

    Attributes
    ----------
    endpoint_url, key, secret, region: what a client needs, also as ``storage_options``
    requests: number of requests received, by S3 operation; ``clear()`` it to count anew
    failures: how many of the next requests of an S3 operation to answer with 503 SlowDown

    Raises
    ------
    OSError: the port is taken
    """

    key = secret = "demo"
    region = "us-east-1"

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.endpoint_url = ""
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    @property
    def storage_options(self) -> dict[str, Any]:
        """What to pass as ``storage_options=`` to reach this endpoint, on a busy machine too."""
        patience = {"connect_timeout": _CONNECT_TIMEOUT_S, "read_timeout": _CONNECT_TIMEOUT_S}
        named = {"endpoint_url": self.endpoint_url, "key": self.key, "secret": self.secret}
        return {**named, "config_kwargs": patience}

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which any AWS client reaches this endpoint."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
        }

    def __enter__(self) -> Self:
        # Given a port, werkzeug ends the process when that is taken; this raises OSError instead.
        with socket.create_server((_HOST, self._port)) as listener:
            port = listener.getsockname()[1]
            self._server = make_server(
                _HOST, port, self._answer, True, request_handler=_Handler, fd=listener.fileno()
            )
        # server_close joins only handler threads that are not daemons.
        self._server.daemon_threads = False  # type: ignore[attr-defined]
        self.endpoint_url = f"http://{_HOST}:{port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="avroglob-demo-s3", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for account in get_backend("s3").values():
            account.reset()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Count a request and let moto answer it, unless it is to fail."""
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        operation = s3_operation(method, environ["PATH_INFO"], query)
        with self._lock:
            self.requests[operation] += 1
            fails = self.failures[operation] > 0
            self.failures[operation] -= fails
        if fails:
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [] if method == "HEAD" else [_SLOW_DOWN]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


@contextmanager
def user_aws_settings_hidden() -> Iterator[None]:
    """Hide AWS_* variables, AWS files, proxies and fsspec's configuration while the block runs."""
    hidden = {"http_proxy", "https_proxy", "all_proxy"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and name.lower() not in hidden
    }
    kept["AWS_CONFIG_FILE"] = kept["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    with patch.dict(os.environ, kept, clear=True), patch.dict(fsspec.config.conf, clear=True):
        yield


class SampleData(NamedTuple):
    """What :func:`write_sample_events` wrote."""

    files: int
    rows: int
    size_bytes: int


def write_sample_events(storage_options: Mapping[str, Any]) -> SampleData:
    """Write ``events/year=YYYY/month=MM/day=DD/part-N.avro`` into a new bucket ``demo``.

    2 years x 12 months x 3 days x 2 files (snappy, deflate) of 50 rows. Every call writes the same
    bytes, except for Avro's random sync markers.
    """
    objects = {f"{BUCKET}/{key}": data for key, data in sample_objects()}
    fs = fsspec.filesystem("avroglob", **storage_options)
    fs.mkdir(BUCKET)
    fs.pipe(objects)
    rows, size_bytes = len(objects) * _ROWS_PER_FILE, sum(map(len, objects.values()))
    return SampleData(len(objects), rows, size_bytes)


def sample_objects() -> Iterator[tuple[str, bytes]]:
    """Yield the key and the content of each file that :func:`write_sample_events` writes."""
    fields = [{"name": name, "type": type_} for name, type_ in _FIELDS.items()]
    schema = {"type": "record", "name": "Event", "namespace": "demo", "fields": fields}
    numbers, ids = random.Random(20250101), itertools.count(1)
    for day in _DAYS:
        midnight = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
        for part, codec in enumerate(_CODECS):
            rows = [_sample_row(numbers, midnight, part, i) for i in range(_ROWS_PER_FILE)]
            body = io.BytesIO()
            fastavro.writer(body, schema, ({"id": next(ids), **row} for row in rows), codec=codec)
            folder = f"year={day.year}/month={day.month:02}/day={day.day:02}"
            yield f"events/{folder}/part-{part}.avro", body.getvalue()


def _sample_row(numbers: random.Random, midnight: dt.datetime, part: int, i: int) -> dict[str, Any]:
    kind = numbers.choice(("view", "view", "view", "cart", "purchase"))
    offset_s = (part * _ROWS_PER_FILE + i) * _HALF_DAY_S // _ROWS_PER_FILE
    return {
        "time": midnight + dt.timedelta(seconds=offset_s),
        "user": f"u{numbers.randrange(40):03}",
        "kind": kind,
        "amount": round(numbers.uniform(1, 200), 2) if kind == "purchase" else None,
    }
