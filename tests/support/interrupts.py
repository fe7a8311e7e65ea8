"""Operations that are interrupted or cancelled, and what an instance has left after them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.support.proxy import Request

Operation = Callable[[AvroGlobFileSystem, str], object]


def read(fs: AvroGlobFileSystem, bucket: str) -> bytes:
    with fs.open(f"{bucket}/a/1") as file:
        content: bytes = file.read()
    return content


BLOCKING: dict[str, Operation] = {
    "glob": lambda fs, bucket: fs.glob(f"{bucket}/*/*"),
    "iglob": lambda fs, bucket: list(fs.iglob(f"{bucket}/*/*")),
    "find": lambda fs, bucket: fs.find(bucket),
    "walk": lambda fs, bucket: list(fs.walk(bucket)),
    "cat": lambda fs, bucket: fs.cat([f"{bucket}/a/{n}" for n in range(9)]),
    "info": lambda fs, bucket: fs.info(f"{bucket}/a/1"),
    "get": lambda fs, bucket: fs.get_file(f"{bucket}/a/1", "/dev/null"),
    "open": read,
    "pipe": lambda fs, bucket: fs.pipe_file(f"{bucket}/new", b"content"),
    "pipe parts": lambda fs, bucket: fs.pipe_file(
        f"{bucket}/new", b"12345678", chunksize=2, max_concurrency=3
    ),
    "put": lambda fs, bucket: fs.put([__file__] * 3, [f"{bucket}/{n}" for n in range(3)]),
    "copy": lambda fs, bucket: fs.copy(f"{bucket}/a/", f"{bucket}/b/", recursive=True),
    "rm": lambda fs, bucket: fs.rm(bucket, recursive=True),
}
COROUTINES: dict[str, Callable[[AvroGlobFileSystem, str], Any]] = {
    "glob": lambda fs, bucket: fs._glob(f"{bucket}/*/*"),
    "iglob": lambda fs, bucket: first_of(fs._iglob(f"{bucket}/*/*")),
    "cat": lambda fs, bucket: fs._cat([f"{bucket}/a/{n}" for n in range(9)]),
    "info": lambda fs, bucket: fs._info(f"{bucket}/a/1"),
    "pipe": lambda fs, bucket: fs._pipe_file(f"{bucket}/new", b"content"),
}


async def first_of(matches: Any) -> object:
    return await anext(matches)


def ours(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Tasks of the package that are not done."""
    return [
        task
        for task in asyncio.all_tasks(loop)
        if "fsspec_avroglob" in task.get_coro().cr_code.co_filename  # type: ignore[union-attr]
    ]


def left_by(fs: AvroGlobFileSystem) -> tuple[list[object], int, int]:
    """What the instance has left: tasks, requests in flight, connections in use."""
    connectors = [s.connector for s in fs.s3._endpoint.http_session._sessions.values()]
    in_use = sum(len(connector._acquired) for connector in connectors)
    return list(ours(fs.loop)), fs.stats.in_flight + fs.stats.waiting, in_use


def interrupt(main: int) -> Callable[[Request], bool]:
    """A condition that, when a request meets it, interrupts the main thread as Ctrl-C does."""

    def arrived(request: Request) -> bool:
        signal.pthread_kill(main, signal.SIGINT)
        return True

    return arrived
