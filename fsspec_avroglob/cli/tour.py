"""`demo`: a tour (write, glob, explain, read, retry) on an endpoint inside this process."""

from __future__ import annotations

import shlex
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import click
from rich.syntax import Syntax
from rich.text import Text
from s3fs import S3FileSystem

from fsspec_avroglob.cli.command import command
from fsspec_avroglob.cli.exits import EXIT_OK
from fsspec_avroglob.cli.output import CONSOLE, human_size
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

if TYPE_CHECKING:
    from fsspec_avroglob.cli.demo import DemoServer

TOUR_PATTERN = "avroglob://demo/events/year=2025/month=*/day=01/part-*.avro"
COMPARED_PATTERNS = (
    TOUR_PATTERN.removeprefix("avroglob://"),
    "demo/events/year=*/month=12/day=03/part-0.avro",
    "demo/events/year=2024/month=03/day=02/*",
)
# The tour prints a title and code, runs that code, and prints its output, requests and time.
_STEPS = (
    (
        "Glob it",
        f"""\
import fsspec
fs = fsspec.filesystem("avroglob", **storage_options)
paths = fs.glob("{TOUR_PATTERN}")
print(len(paths), "paths")""",
    ),
    ("Explain it", f'print(fs.explain("{TOUR_PATTERN}"))'),
    (
        "Read it into pandas",
        f"""\
from fsspec_avroglob import read_avro
df = read_avro("{TOUR_PATTERN}",
               storage_options=storage_options)
print(df.groupby("kind")["amount"].agg(["size", "sum"]))
print(f"{{len(df):,}} rows x {{len(df.columns)}} columns. The first rows:")
print(df.head(3).to_string())""",
    ),
    (
        "Retry what is worth retrying",
        f"""\
server.failures["ListObjectsV2"] = 1   # the endpoint answers the next LIST with 503 SlowDown
fs = fsspec.filesystem("avroglob", **storage_options,
                       retry={{"base_delay": 0.25, "jitter": 0}})   # by default up to 1 s, 2 s
print(len(fs.glob("{TOUR_PATTERN}")), "paths")""",
    ),
)
_OWN_DATA = """\
from fsspec_avroglob import read_avro
df = read_avro("s3://my-bucket/events/year=2025/month={01..06}/**/*.avro")

import pandas as pd
pd.read_csv("avroglob://my-bucket/table.csv")   # any fsspec-aware library"""
_SHELL = "avroglob ls -l 's3://my-bucket/events/year=2025/month=0[1-3]/*/*.avro'"


@command("avroglob demo", "avroglob demo --serve --port 5555", s3=False)
@click.option("--serve", is_flag=True, help="Keep the endpoint and its data until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; by default a free one.")
def demo(serve: bool, port: int | None) -> int:
    """Take a tour on an S3 endpoint inside this process (extra: demo).

    Writes sample Avro files, globs them, reads them into pandas and shows the requests. Leaves
    nothing behind and does not read your AWS settings.
    """
    if port is not None and not serve:
        raise click.UsageError("--port goes with --serve; the tour takes a free port")
    if serve:
        _serve(port or 0)
    else:
        run_tour()
    return EXIT_OK


def _serve(port: int) -> None:
    from fsspec_avroglob.cli.demo import DemoServer, user_aws_settings_hidden, write_sample_events

    with ExitStack() as stack:
        try:
            server = stack.enter_context(DemoServer(port))
        except OSError as error:
            raise click.UsageError(f"--port {port}: {error.strerror}") from error
        with user_aws_settings_hidden():
            sample = write_sample_events(server.storage_options)
        for name, value in server.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"avroglob ls 'avroglob://demo/events/**/*.avro'   # {sample.files} files")
        print("Serving until Ctrl-C.", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def run_tour() -> None:
    """Take the tour against an endpoint that ends with the call; it measures every figure it shows.

    Raises
    ------
    ImportError: moto's server or pandas is not installed
    """
    from fsspec_avroglob.cli.demo import DemoServer, user_aws_settings_hidden, write_sample_events

    with user_aws_settings_hidden(), DemoServer() as server:
        options = {**server.storage_options, "skip_instance_cache": True}
        sample = write_sample_events(options)
        _title("An S3 endpoint in this process, with Avro files in it")
        _say(
            f"moto answers at {server.endpoint_url} until the tour ends. The tour does not read "
            f"your AWS settings.\nIt wrote {sample.files} files, {sample.rows:,} rows, "
            f"{human_size(sample.size_bytes)}B:\n"
            "  avroglob://demo/events/year=YYYY/month=MM/day=DD/part-N.avro"
        )
        shown = {name: options[name] for name in ("endpoint_url", "key", "secret")}
        _code(f"storage_options = {shown!r}")
        names = {"server": server, "storage_options": options, "print": _say}
        for title, code in _STEPS:
            _title(title)
            _code(code)
            _, cost = _measured(server, exec, code, names)
            _say(cost)
        _title("Compare it with s3fs")
        _compare(server, options)
        _title("On your own data")
        _code(_OWN_DATA)
        _say("\nand in a shell")
        _code(_SHELL)
        _say("\n`avroglob demo --serve` keeps this endpoint running for the README's examples.")


def _compare(server: DemoServer, options: dict[str, Any]) -> None:
    for pattern in COMPARED_PATTERNS:
        _say(pattern)
        found = []
        for name, system in (("avroglob", AvroGlobFileSystem), ("s3fs", S3FileSystem)):
            paths, cost = _measured(server, system(**options).glob, pattern)
            found.append(paths)
            _say(f"  {name:<9} {len(paths)} paths   {cost}")
        if found[0] != found[1]:
            raise RuntimeError(f"avroglob and s3fs disagree about {pattern}")
    _say("Both find the same paths. Every request is a round trip to the server.")


def _measured(server: DemoServer, call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Call a function; return its result, and its requests and time as text."""
    server.requests.clear()
    started = time.perf_counter()
    result = call(*arguments)
    elapsed_ms = (time.perf_counter() - started) * 1000
    requests = " + ".join(f"{n} {name}" for name, n in sorted(server.requests.items()))
    return result, f"{requests or 'no request'} {elapsed_ms:.0f} ms"


def _title(text: str) -> None:
    CONSOLE.print(Text(f"\n{text}\n{'-' * len(text)}", style="bold cyan"))


def _code(text: str) -> None:
    text = textwrap.indent(text, "    ")
    part = Syntax(text, "python", theme="ansi_dark").highlight(text)
    part.rstrip()
    CONSOLE.print(part)


def _say(*values: object) -> None:
    CONSOLE.print(Text(" ".join(map(str, values))))
