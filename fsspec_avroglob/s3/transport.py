"""aiobotocore's HTTP session, with bounds: one attempt, no redirects, and answers that end.

What an answer may take, besides the connect and read time-outs of botocore's configuration:

- a name look-up: the connect time-out;
- the head of an answer: the time-outs and 30 s, and a second for each KiB that the request sends;
- its body: at least 1 KiB/s over 30 s of waiting (`MinimumSpeed`), or over twice the read
  time-out if that is less and the body is no object;
- a body that is no object, such as a page of a listing: 64 MiB; that of an error is cut at 1 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp.abc import AbstractResolver, ResolveResult
from botocore.exceptions import HTTPClientError

from fsspec_avroglob.s3.classification import UnexpectedAnswerError

SPEED_BYTES, SPEED_SECONDS = 1024, 30.0
"""An answer that brings fewer bytes a second, over as many seconds of waiting, has timed out.

Like curl's ``--speed-limit`` and ``--speed-time``."""

MAX_ANSWER_BYTES = 2**26
"""The largest body of an answer that is no object. A page of 1,000 long keys has about 5 MB."""

_MAX_ERROR_BYTES = 2**20
_CHUNK_BYTES = 2**16

# S3 sends white space while it copies or joins parts, so that connections stay open.
_KEPT_ALIVE_SECONDS, _XML_DECLARATION_BYTES = 600.0, 64


class MinimumSpeed:
    """The time and the bytes of one answer. Make one for each answer.

    Only waiting counts: a caller may pause between two reads.

    Examples
    --------
    >>> async def copy(body, file):
    ...     speed = MinimumSpeed()
    ...     while chunk := await speed.read(body.read(2**18)):
    ...         file.write(chunk)
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, seconds: float = SPEED_SECONDS
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waited_s = 0.0
        self._received = 0

    async def read(self, chunk: Awaitable[bytes]) -> bytes:
        """Await the next chunk of the answer. Raises TimeoutError if the answer is too slow."""
        started = self._clock()
        data = await chunk
        self._waited_s += self._clock() - started
        self._received += len(data)
        if self._waited_s >= self._seconds and data:
            if self._received < SPEED_BYTES * self._waited_s:
                raise TimeoutError(
                    f"{self._received:,} bytes arrived in {self._waited_s:.0f} s: "
                    f"less than {SPEED_BYTES:,} bytes a second"
                )
            self._waited_s, self._received = 0.0, 0
        return data


class BoundedAnswer(aiohttp.ClientResponse):
    """An answer whose ``read()`` is limited in time and size. Bodies of objects do not use it."""

    speed_seconds = SPEED_SECONDS  # _Sender lowers it with the read time-out

    async def read(self) -> bytes:
        """Return the whole body, or the first 1 MiB of an error.

        Raises
        ------
        TimeoutError
            It arrives too slowly.
        UnexpectedAnswerError
            It is larger than `MAX_ANSWER_BYTES`.
        """
        if self._body is None:
            most = MAX_ANSWER_BYTES if self.status < 300 else _MAX_ERROR_BYTES
            try:
                body = await self._read_most(most + 1)
            except BaseException:
                self.close()
                raise
            if len(body) > most:
                self.close()
                if self.status < 300:
                    raise UnexpectedAnswerError(f"an answer has more than {most:,} bytes")
                del body[most:]
            self._body = bytes(body)
        return self._body

    async def _read_most(self, most: int) -> bytearray:
        body, speed = bytearray(), MinimumSpeed(seconds=self.speed_seconds)
        may_wait, started = self.method in ("POST", "PUT"), time.monotonic()
        while len(body) < most:
            chunk = self.content.read(min(_CHUNK_BYTES, most - len(body)))
            data = await chunk if may_wait else await speed.read(chunk)
            if not data:
                break
            body += data
            may_wait = (
                may_wait
                and time.monotonic() - started < _KEPT_ALIVE_SECONDS
                and len(body) < _CHUNK_BYTES
                and len(b"".join(body.split())) < _XML_DECLARATION_BYTES
            )
        return body


class RequestBody(BytesIO):
    """Bytes to send, as a file that is never copied.

    botocore makes a BytesIO of a body. aiohttp asks it for its buffer, and thereby copies all of
    it; each read for a hash or for the socket copies the bytes again.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._view = memoryview(data)

    def getbuffer(self) -> memoryview:
        """Return the bytes. The caller may release the view."""
        return self._view[:]

    def read(self, size: int | None = -1, /) -> memoryview:  # type: ignore[override]
        """Return the next *size* bytes, by default all that follow."""
        start = self.tell()
        stop = len(self._view) if size is None or size < 0 else start + size
        part = self._view[start:stop]
        self.seek(start + len(part))
        return part


class Resolver(AbstractResolver):
    """Looks up host names, each in a thread that the program's end does not wait for."""

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As aiohttp's. Raises aiohttp.ServerTimeoutError after the connect time-out."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        look_up = threading.Thread(target=_look_up, args=(host, port, family, answer), daemon=True)
        look_up.start()
        try:
            found = await asyncio.wait_for(answer, self._timeout_s)
        except TimeoutError:
            what = f"Connection timeout: the name of {host} is not known after {self._timeout_s} s"
            raise aiohttp.ServerTimeoutError(what) from None
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Do nothing: a look-up in flight ends on its own."""


def _look_up(host: str, port: int, family: int, answer: asyncio.Future[list[Any]]) -> None:
    try:
        found: object = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except Exception as error:
        found = error

    def tell() -> None:
        if answer.done():
            return
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)  # type: ignore[arg-type]

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        answer.get_loop().call_soon_threadsafe(tell)


class S3Session(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's HTTP session with the bounds of this module.

    aiohttp neither repeats a request nor follows a redirect: it would send the body and the
    session token to whatever host the answer names.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connector_args: dict[str, Any] = {
            "resolver": Resolver(self._timeout.sock_connect),
            **self._connector_args,
        }

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        session._response_class = BoundedAnswer
        return _Sender(session, self._timeout)

    async def send(self, request: Any) -> Any:
        """As aiobotocore's. Raises UnexpectedAnswerError for an answer that is not HTTP."""
        try:
            return await super().send(request)
        except HTTPClientError as error:
            unexpected = _unexpected(error.kwargs.get("error"))
            if unexpected is None:
                raise
        raise unexpected  # without aiohttp's error, which holds the request and its signature


def _unexpected(error: object) -> UnexpectedAnswerError | None:
    if isinstance(error, UnexpectedAnswerError):
        return error
    if isinstance(error, aiohttp.ClientResponseError | UnicodeDecodeError):
        what = str(getattr(error, "message", error)).partition("\n")[0]
        return UnexpectedAnswerError(f"an answer is not valid HTTP: {what}")
    return None


class _Sender:
    """The one method of aiohttp's session that aiobotocore uses."""

    def __init__(self, session: aiohttp.ClientSession, timeout: aiohttp.ClientTimeout) -> None:
        self._session = session
        self._timeout = timeout

    async def request(self, method: str, **kwargs: Any) -> aiohttp.ClientResponse:
        """Send a request; return when the head of the answer has arrived."""
        async with asyncio.timeout(self._limit(kwargs)):
            answer = await self._session.request(method, allow_redirects=False, **kwargs)
        if isinstance(answer, BoundedAnswer) and self._timeout.sock_read:
            answer.speed_seconds = min(SPEED_SECONDS, 2 * self._timeout.sock_read)
        return answer

    def _limit(self, request: Mapping[str, Any]) -> float | None:
        connect_s, read_s = self._timeout.sock_connect, self._timeout.sock_read
        if not connect_s or not read_s:
            return None
        headers, size = request["headers"], 0
        if request.get("data") is not None:
            size = int(
                headers.get("X-Amz-Decoded-Content-Length") or headers.get("Content-Length") or 0
            )
        # A name look-up and a connection may take the connect time-out each.
        return 2 * connect_s + read_s + SPEED_SECONDS + size / SPEED_BYTES
