"""Multipart uploads: the size of parts, and parts that are sent while more are produced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_PUT_BYTES = 5 * 2**30
"""The most bytes of one PutObject, and of one part."""

MAX_PARTS = 10_000
"""The most parts of one upload."""

PART_BYTES = 8 * 2**20
"""The size of a part, unless the caller or the number of parts asks for another."""

IN_FLIGHT_BYTES = 64 * 2**20
"""The most bytes of the parts of one upload that are sent at a time, unless the caller sets it."""


def part_size(size: int, chunksize: int | None) -> int:
    """Return the size of the parts of *size* bytes: equal parts, which Cloudflare R2 needs.

    Raises ValueError if *chunksize* is not the size of a part.
    """
    if chunksize is not None and not 0 < chunksize <= MAX_PUT_BYTES:
        raise ValueError(f"chunksize={chunksize!r} must be between 1 byte and 5 GiB")
    return max(chunksize or PART_BYTES, -(-size // MAX_PARTS))


def parts_at_once(part_bytes: int, most: int) -> int:
    """Return how many parts to send at a time, at most *most*, in IN_FLIGHT_BYTES."""
    return max(1, min(most, IN_FLIGHT_BYTES // part_bytes))


def part_entry(number: int, answer: Mapping[str, Any], algorithm: str | None) -> dict[str, Any]:
    """Return the entry of a part in CompleteMultipartUpload.

    *answer* is the response that the part got. *algorithm* is the checksum that the upload was
    created with; S3 then asks for the checksums of all parts.
    """
    answer = answer.get("CopyPartResult", answer)
    entry = {"PartNumber": number, "ETag": answer["ETag"]}
    checksum = f"Checksum{algorithm}"
    return {**entry, checksum: answer[checksum]} if checksum in answer else entry


@dataclass(eq=False)
class PartQueue:
    """The parts of one upload in flight. Use it in one event loop only."""

    send: Callable[[int, bytes], Awaitable[Any]]  # sends the part of a number
    abort: Callable[[BaseException], Awaitable[None]]  # aborts the upload after an error
    concurrency: int
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def put(self, number: int, body: bytes) -> None:
        """Begin to send a part when there is room for it. Raises the failure of an earlier one."""
        await self._wait(self.concurrency - 1)
        self._tasks.add(asyncio.create_task(self._one(number, body)))

    async def _one(self, number: int, body: bytes) -> None:
        await self.send(number, body)

    async def join(self) -> None:
        """Wait until all parts are sent. Raises the first failure."""
        await self._wait(0)

    async def _wait(self, most: int) -> None:
        while len(self._tasks) > most:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._tasks.discard(task)
                task.result()

    async def discard(self, error: BaseException) -> None:
        """Stop sending and abort the upload, because of *error*."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.abort(error)
