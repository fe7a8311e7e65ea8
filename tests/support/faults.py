"""The faults that the proxy injects: rules that pick requests, and gates that throttle them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True)
class Request:
    """One request as it reached the proxy."""

    method: str
    path: str
    """Path of the URL, percent-decoded: `/bucket/key`."""
    query: dict[str, str]
    operation: str
    headers: dict[str, str] = field(repr=False)
    """Header values by lower-case name."""

    @property
    def bucket(self) -> str:
        """Bucket in the path, "" when there is none."""
        return self.path[1:].partition("/")[0]

    @property
    def key(self) -> str:
        """Key in the path, "" when there is none."""
        return self.path[1:].partition("/")[2]

    @property
    def identity(self) -> tuple[object, ...]:
        """What is equal for a request and its repetitions."""
        query = tuple(sorted(self.query.items()))
        return self.method, self.path, query, self.headers.get("range")


Match = Callable[[Request], bool]


@dataclass(frozen=True)
class Response:
    """An answer of the proxy's own."""

    head: bytes
    body: bytes

    @classmethod
    def of(cls, status: int, body: bytes, headers: Mapping[str, str]) -> Response:
        """An answer with these headers besides Content-Type (XML, if they have none) and length."""
        fields = {"Content-Type": "application/xml", "Content-Length": str(len(body)), **headers}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return cls("\r\n".join([*lines, "", ""]).encode("latin-1"), body)

    @classmethod
    def of_error(cls, status: int, code: str, headers: Mapping[str, str]) -> Response:
        """An S3 error document."""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>Injected {code}</Message>"
            "<RequestId>0</RequestId></Error>"
        )
        return cls.of(status, body.encode(), headers)


@dataclass
class Rule:
    """What happens to some of the requests.

    operation: S3's name of what they ask, None for any. match: a further condition.
    times: to how many more of them, None for all. share: to which fraction of those that are left,
    drawn by the request and how often it came before, not by when it comes.
    response: is sent in the endpoint's stead. delay_s: is waited before anything else.
    drop: the connection is closed instead of forwarding.
    head_limit, body_limit: it is closed after so many bytes of the answer's head, of its body.
    cut: it is closed at a byte of the body that is drawn, after `cut_share` of it.
    corrupt_at: the byte of the body that is changed.
    """

    operation: str | None
    match: Match | None
    times: int | None
    share: float = 1.0
    response: Response | None = None
    delay_s: float = 0.0
    drop: bool = False
    head_limit: int | None = None
    body_limit: int | None = None
    cut: bool = False
    cut_share: float | None = None
    corrupt_at: int | None = None

    def applies_to(self, request: Request, drawn: float) -> bool:
        """Whether *request*, with a number from [0, 1) drawn for it, is one of them."""
        return (
            self.times != 0
            and self.operation in (None, request.operation)
            and (self.match is None or self.match(request))
            and drawn < self.share
        )


@dataclass
class Gate:
    """Lets requests through up to a limit; the others are to be told to slow down.

    in_flight: most of them at once. rate: most of them a second, with *rate* at once after a pause.
    clock: tells the time in seconds.
    """

    operation: str | None
    in_flight: int | None
    rate: float | None
    clock: Callable[[], float] = time.monotonic
    peak: int = 0
    refused: int = 0
    _inside: int = 0
    _tokens: float = field(default=0.0, init=False)
    _filled: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tokens, self._filled = self.rate or 0.0, self.clock()

    def enter(self, request: Request) -> bool:
        """Count a request in; False if it is one too many. Otherwise :meth:`leave` must follow."""
        if (self.in_flight is not None and self._inside >= self.in_flight) or not self._take():
            self.refused += 1
            return False
        self._inside += 1
        self.peak = max(self.peak, self._inside)
        return True

    def leave(self) -> None:
        """Count a request out."""
        self._inside -= 1

    def _take(self) -> bool:
        if self.rate is None:
            return True
        now = self.clock()
        self._tokens = min(self.rate, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def draw(*what: object) -> float:
    """A number from [0, 1) that follows from *what* alone."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
