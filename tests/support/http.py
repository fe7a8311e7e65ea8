"""HTTP/1.1 messages as they pass through the fault proxy: heads, bodies, chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.faults import Request
from tests.support.operations import operation_name

_READ_SIZE = 1 << 16


@dataclass(frozen=True)
class Head:
    """First line and headers of a message, and the bytes that they were."""

    raw: bytes
    start: list[str]
    headers: dict[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Head:
        raw = await reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        return cls(raw, first.split(" ", 2), headers)

    def to_request(self) -> Request:
        method, target = self.start[0], urlsplit(self.start[1])
        path = unquote(target.path)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        operation = operation_name(method, path, query, self.headers)
        return Request(method, path, query, operation, self.headers)

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def keeps_alive(self) -> bool:
        version = self.start[0] if self.start[0].startswith("HTTP/") else self.start[-1]
        default = "close" if version == "HTTP/1.0" else "keep-alive"
        return self.headers.get("connection", default).lower() != "close"


@dataclass(frozen=True)
class Peer:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def body(self, head: Head, *, until_close: bool) -> AsyncIterator[tuple[bytes, int]]:
        """Yield the body as (bytes on the wire, how many of them are content)."""
        if head.chunked:
            async for piece in self._chunks():
                yield piece
        elif "content-length" in head.headers:
            remaining = int(head.headers["content-length"])
            while remaining:
                data = await self._read(min(remaining, _READ_SIZE))
                remaining -= len(data)
                yield data, len(data)
        elif until_close:
            while data := await self.reader.read(_READ_SIZE):
                yield data, len(data)

    async def _chunks(self) -> AsyncIterator[tuple[bytes, int]]:
        while True:
            line = await self.reader.readuntil(b"\r\n")
            yield line, 0
            remaining = int(line.partition(b";")[0], 16)
            if not remaining:
                break
            while remaining:
                data = await self._read(min(remaining, _READ_SIZE))
                remaining -= len(data)
                yield data, len(data)
            yield await self.reader.readuntil(b"\r\n"), 0
        while line != b"\r\n":
            line = await self.reader.readuntil(b"\r\n")
            yield line, 0

    async def _read(self, size: int) -> bytes:
        data = await self.reader.read(size)
        if not data:
            raise asyncio.IncompleteReadError(b"", size)
        return data
