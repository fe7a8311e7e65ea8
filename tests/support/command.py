"""Running the `avroglob` command in tests, in this process or in one of its own."""

from __future__ import annotations

import datetime as dt
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import fsspec

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from fsspec_avroglob.cli import main; sys.exit(main())",
]
SCHEMA = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "note", "type": ["null", "string"]},
    ],
}


class Outcome(NamedTuple):
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Cli = Callable[..., Outcome]


class BrokenFileSystem(fsspec.AbstractFileSystem):
    """A filesystem with a bug."""

    protocol = "broken"

    def glob(self, path: str, **options: Any) -> Any:
        return 1 / 0


fsspec.register_implementation("broken", BrokenFileSystem)


def avro(*ids: int) -> bytes:
    body = io.BytesIO()
    at = dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    rows = [{"id": i, "at": at, "note": None if i % 2 else f"n{i}"} for i in ids]
    fastavro.writer(body, SCHEMA, rows)
    return body.getvalue()


def popen(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment, text=True, stderr=subprocess.PIPE, **options
    )


def read_all(descriptor: int) -> str:
    chunks = []
    with open(descriptor, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                chunks.append(chunk)
        except OSError:  # a terminal whose other end is closed reads as an error on Linux
            pass
    return b"".join(chunks).decode()
