"""Which failures are transient: one table, looked through from above, the first row decides."""

from __future__ import annotations

import asyncio
import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import aiohttp
import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

THROTTLED = "throttled"
SERVER_ERROR = "server error"
TIMEOUT = "timeout"
CONNECTION = "connection"
TRUNCATED = "truncated"


class UnexpectedAnswerError(ResponseParserError):  # type: ignore[misc]  # botocore has no types
    """A successful answer whose body is not what S3 sends: empty, or some proxy's page."""


class Rule(NamedTuple):
    """A row: failures that meet every condition given, and their cause; None makes them final.

    what: the row in words. codes: S3 error codes, "*" for any rest. statuses: of the HTTP answer.
    answered: whether the server has answered with an error at all. types: of the exception.
    errnos: of an OSError; any_errno: whether it has one. message: what its text holds.
    """

    what: str
    cause: str | None = None
    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    answered: bool = False
    types: tuple[type[BaseException], ...] = ()
    errnos: tuple[int, ...] = ()
    any_errno: bool = False
    message: str = ""

    def matches(self, error: BaseException) -> bool:
        """Whether *error* meets every condition of the row."""
        answer = _answer(error)
        if (self.codes or self.statuses or self.answered) and answer is None:
            return False
        code, status = answer or ("", None)
        number = error.errno if isinstance(error, OSError) else None
        return (
            (not self.codes or any(fnmatchcase(code, known) for known in self.codes))
            and (not self.statuses or status in self.statuses)
            and (not self.types or isinstance(error, self.types))
            and (not self.errnos or number in self.errnos)
            and (not self.any_errno or number is not None)
            and (not self.message or re.search(self.message, str(error), re.I) is not None)
        )

    def conditions(self) -> Iterator[str]:
        """The conditions as Markdown."""
        if self.codes:
            yield ", ".join(f"`{code}`" for code in self.codes)
        if self.statuses:
            yield "status " + ", ".join(map(str, self.statuses))
        if self.answered:
            yield "any other error code or status"
        if self.types:
            yield ", ".join(f"`{_qualified(kind)}`" for kind in self.types)
        if self.errnos:
            yield ", ".join(f"`{errno.errorcode[number]}`" for number in self.errnos)
        if self.any_errno:
            yield "any other errno"
        if self.message:
            yield "text: " + ", ".join(f"`{part}`" for part in self.message.split("|"))


RULES: tuple[Rule, ...] = (
    Rule(
        "the program wants to stop",
        types=(asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit),
    ),
    # What a server answers, by its error code whatever the status, then by the status.
    Rule(
        "access is refused",
        codes=(
            "AccessDenied",
            "AllAccessDisabled",
            "AccountProblem",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
        ),
    ),
    Rule("a token has expired", codes=("ExpiredToken", "InvalidToken", "TokenRefreshRequired")),
    Rule("the clocks differ too much", codes=("RequestTimeTooSkewed",)),
    Rule("it does not exist", codes=("NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion")),
    Rule("a condition does not hold", codes=("PreconditionFailed",)),
    Rule("the server cannot do this", codes=("NotImplemented",)),
    Rule(
        "the server asks for fewer requests",
        THROTTLED,
        codes=(
            "SlowDown",
            "Throttl*",
            "TooManyRequests*",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "PriorRequestNotComplete",
        ),
    ),
    Rule(
        "the server is in trouble",
        SERVER_ERROR,
        codes=("InternalError", "InternalFailure", "ServiceUnavailable"),
    ),
    Rule(
        "the server waited too long for the request",
        TIMEOUT,
        codes=("RequestTimeout", "RequestTimeoutException"),
    ),
    Rule(
        "the request arrived incomplete",
        TRUNCATED,
        codes=("IncompleteBody", "XAmzContentSHA256Mismatch"),
    ),
    Rule("too many requests or overload, from whomever", THROTTLED, statuses=(429, 503)),
    Rule("the server or a proxy failed", SERVER_ERROR, statuses=(500, 502)),
    Rule("the server or a proxy waited too long", TIMEOUT, statuses=(408, 504)),
    Rule("the server refuses for good", answered=True),
    # Without an answer, by the exception's type.
    Rule(
        "the server's certificate is not accepted",
        types=(ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError),
    ),
    Rule(
        "something else about a certificate",
        types=(boto.SSLError, ssl.SSLError, aiohttp.ClientSSLError),
        message="certificate",
    ),
    Rule(
        "TLS broke down otherwise",
        CONNECTION,
        types=(boto.SSLError, ssl.SSLError, aiohttp.ClientSSLError),
    ),
    Rule(
        "it is there or not, or not yours",
        types=(FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError),
    ),
    Rule(
        "connecting, waiting for a connection or reading took too long",
        TIMEOUT,
        types=(boto.ConnectTimeoutError, boto.ReadTimeoutError, TimeoutError),
    ),
    Rule(
        "an answer that is not S3's, or is empty where it must not be",
        TRUNCATED,
        types=(UnexpectedAnswerError,),
    ),
    Rule(
        "a body or XML was cut short",
        TRUNCATED,
        types=(
            boto.IncompleteReadError,
            boto.ResponseStreamingError,
            ResponseParserError,
            aiohttp.ClientPayloadError,
            asyncio.IncompleteReadError,
            http.client.IncompleteRead,
        ),
    ),
    Rule("an address that is none", types=(aiohttp.InvalidURL,)),
    Rule("a name could not be resolved", CONNECTION, types=(socket.gaierror,)),
    Rule(
        "a connection was refused or dropped",
        CONNECTION,
        types=(boto.ConnectionError, boto.HTTPClientError, aiohttp.ClientError, ConnectionError),
    ),
    Rule(
        "the system lost the way",
        CONNECTION,
        types=(OSError,),
        errnos=(errno.EHOSTUNREACH, errno.ENETUNREACH),
    ),
    Rule("another error of the system", types=(OSError,), any_errno=True),
    Rule("missing credentials, invalid parameters", types=(boto.BotoCoreError,)),
    Rule(
        "a mistake in a program",
        types=(
            ArithmeticError,
            AssertionError,
            AttributeError,
            ImportError,
            LookupError,
            MemoryError,
            NameError,
            NotImplementedError,
            RecursionError,
            SyntaxError,
            TypeError,
            ValueError,
        ),
    ),
    # Of no telling type: other libraries' errors, by what they say.
    Rule(
        "says that it is final",
        message=r"\b40[1-7]\b|not found|no such key|no such bucket|NoSuch|access denied|forbidden"
        r"|credential|signature",
    ),
    Rule(
        "says that there are too many requests",
        THROTTLED,
        message=r"slow ?down|reduce your request rate|throttl|too many requests",
    ),
    Rule(
        "says that the server failed",
        SERVER_ERROR,
        message=r"\b50[0234]\b|internal ?error|service unavailable|bad gateway",
    ),
    Rule("says that it took too long", TIMEOUT, message=r"timed? ?out"),
    Rule(
        "says that the connection broke",
        CONNECTION,
        message=r"dispatch failure|connection reset|connection closed|connection aborted"
        r"|connection refused",
    ),
    Rule("anything else"),
)
"""What is retried and what is final."""


def rule_for(error: BaseException) -> Rule:
    """The row of :data:`RULES` that decides about *error*."""
    return next(rule for rule in RULES if rule.matches(error))


def retry_cause(error: BaseException) -> str | None:
    """Why a later attempt may succeed, in a word for logs and counters; None if none can."""
    return rule_for(error).cause


def is_retryable(error: BaseException) -> bool:
    """Whether a later attempt may succeed where this one failed with *error*.

    True for time-outs, refused and dropped connections, bodies cut short, throttling and the
    statuses 408, 429, 500, 502, 503, 504; False for missing objects and buckets, refused or missing
    credentials, every other 4xx, invalid parameters and cancellation.
    """
    return retry_cause(error) is not None


def table() -> str:
    """:data:`RULES` in Markdown, as docs/retries.md shows them."""
    rows = (
        f"| {rule.what} | {'; '.join(rule.conditions())} | {rule.cause or '**final**'} |"
        for rule in RULES
    )
    return "\n".join(
        ["| what happened | how it is told | cause, if retried |", "|---|---|---|", *rows]
    )


def _answer(error: BaseException) -> tuple[str, int | None] | None:
    """Error code and HTTP status of the answer that *error* stands for, None if there is none."""
    for raised in (error, error.__cause__ if isinstance(error, OSError) else None):
        if isinstance(raised, boto.ClientError):
            response: Mapping[str, Any] = raised.response
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return code, int(code) if status is None and code.isdigit() else status
    if isinstance(error, aiohttp.ClientResponseError) and error.status:
        return "", error.status
    return None


def _qualified(kind: type[BaseException]) -> str:
    module = kind.__module__.partition(".")[0]
    return (
        kind.__name__ if module in ("builtins", "fsspec_avroglob") else f"{module}.{kind.__name__}"
    )
