"""The tour that `avroglob demo` gives: write, glob, read and retry, with measured figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from fsspec_avroglob.cli.demo import (
    BUCKET,
    DemoServer,
    missing_extra,
    user_aws_settings_hidden,
    write_sample_events,
)

TOUR_PATTERN = f"avroglob://{BUCKET}/events/year=2025/month=*/day=01/part-*.avro"
COMPARED_PATTERNS = (
    TOUR_PATTERN.removeprefix("avroglob://"),
    f"{BUCKET}/events/year=*/month=12/day=03/part-0.avro",
    f"{BUCKET}/events/year=2024/month=03/day=02/*",
)

Say = Callable[[Literal["title", "code", "text"], str], None]


def print_plainly(kind: Literal["title", "code", "text"], text: str) -> None:
    """Print a part of the tour as text without colour; code is indented."""
    if kind == "title":
        text = f"\n{text}\n{'-' * len(text)}"
    elif kind == "code":
        text = "\n".join(f"    {line}" if line else "" for line in text.splitlines())
    print(text, flush=True)


def run_tour(say: Say = print_plainly) -> None:
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
        raise missing_extra("pandas") from exc
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
    from fsspec_avroglob.readers.read import read_avro

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
