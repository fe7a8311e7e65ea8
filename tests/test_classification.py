"""Each row of the table decides about what it says, and the documentation shows the table."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
from pathlib import Path

import aiohttp
import botocore.exceptions as boto
import pytest
from aiohttp.client_reqrep import ConnectionKey
from botocore.parsers import ResponseParserError

from fsspec_avroglob.classification import (
    CONNECTION,
    RULES,
    SERVER_ERROR,
    THROTTLED,
    TIMEOUT,
    TRUNCATED,
    UnexpectedAnswerError,
    rule_for,
    table,
)
from tests.test_retry import URL_TEXT, aiohttp_answer, client_error

DOCUMENT = Path(__file__).parents[1] / "docs" / "retries.md"
KEY = ConnectionKey("endpoint.invalid", 443, True, True, None, None, None)
BAD_CERTIFICATE = aiohttp.ClientConnectorCertificateError(
    KEY, ssl.SSLCertVerificationError(1, "self-signed")
)

EXAMPLES: dict[str, tuple[str | None, list[BaseException]]] = {
    "the program wants to stop": (None, [asyncio.CancelledError(), KeyboardInterrupt("503")]),
    "access is refused": (
        None,
        [client_error("AccessDenied", 403), client_error("SignatureDoesNotMatch", 503)],
    ),
    "a token has expired": (None, [client_error("ExpiredToken", 400)]),
    "the clocks differ too much": (None, [client_error("RequestTimeTooSkewed", 403)]),
    "it does not exist": (None, [client_error("NoSuchKey", 404), client_error("NoSuchBucket")]),
    "a condition does not hold": (None, [client_error("PreconditionFailed", 412)]),
    "the server cannot do this": (None, [client_error("NotImplemented", 501)]),
    "the server asks for fewer requests": (
        THROTTLED,
        [client_error("SlowDown", 503), client_error("ThrottlingException", 400)],
    ),
    "the server is in trouble": (
        SERVER_ERROR,
        [client_error("InternalError", 200), client_error("ServiceUnavailable", 503)],
    ),
    "the server waited too long for the request": (TIMEOUT, [client_error("RequestTimeout", 400)]),
    "the request arrived incomplete": (TRUNCATED, [client_error("IncompleteBody", 400)]),
    "too many requests or overload, from whomever": (
        THROTTLED,
        [client_error("", 503), client_error("429", 429), aiohttp_answer(503)],
    ),
    "the server or a proxy failed": (SERVER_ERROR, [client_error("", 500), client_error("", 502)]),
    "the server or a proxy waited too long": (
        TIMEOUT,
        [client_error("", 408), aiohttp_answer(504)],
    ),
    "the server refuses for good": (None, [client_error("", 403), client_error("Unheard", 418)]),
    "the server's certificate is not accepted": (
        None,
        [ssl.SSLCertVerificationError("hostname mismatch"), BAD_CERTIFICATE],
    ),
    "something else about a certificate": (
        None,
        [boto.SSLError(endpoint_url=URL_TEXT, error="certificate verify failed")],
    ),
    "TLS broke down otherwise": (
        CONNECTION,
        [boto.SSLError(endpoint_url=URL_TEXT, error="EOF"), ssl.SSLEOFError(8, "EOF")],
    ),
    "it is there or not, or not yours": (None, [FileNotFoundError("503"), PermissionError()]),
    "connecting, waiting for a connection or reading took too long": (
        TIMEOUT,
        [
            boto.ConnectTimeoutError(endpoint_url=URL_TEXT),
            boto.ReadTimeoutError(endpoint_url=URL_TEXT),
            aiohttp.ConnectionTimeoutError(),
            TimeoutError(),
        ],
    ),
    "an answer that is not S3's, or is empty where it must not be": (
        TRUNCATED,
        [UnexpectedAnswerError("the answer is empty")],
    ),
    "a body or XML was cut short": (
        TRUNCATED,
        [
            boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
            ResponseParserError("no element found"),
            aiohttp.ClientPayloadError(),
            http.client.IncompleteRead(b""),
        ],
    ),
    "an address that is none": (None, [aiohttp.InvalidURL("nowhere")]),
    "a name could not be resolved": (CONNECTION, [socket.gaierror(socket.EAI_AGAIN, "again")]),
    "a connection was refused or dropped": (
        CONNECTION,
        [
            boto.EndpointConnectionError(endpoint_url=URL_TEXT),
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror()),
            aiohttp.ServerDisconnectedError(),
            ConnectionResetError(),
        ],
    ),
    "the system lost the way": (CONNECTION, [OSError(errno.EHOSTUNREACH, "x")]),
    "another error of the system": (None, [OSError(errno.ENOSPC, "timed out")]),
    "missing credentials, invalid parameters": (
        None,
        [boto.NoCredentialsError(), boto.ParamValidationError(report="Missing 503")],
    ),
    "a mistake in a program": (None, [ValueError("503"), TypeError("timeout"), KeyError("503")]),
    "says that it is final": (None, [RuntimeError("403 Forbidden: timed out")]),
    "says that there are too many requests": (THROTTLED, [RuntimeError("please slow down")]),
    "says that the server failed": (SERVER_ERROR, [RuntimeError("HTTP 502 Bad Gateway")]),
    "says that it took too long": (TIMEOUT, [RuntimeError("connect timeout")]),
    "says that the connection broke": (CONNECTION, [RuntimeError("connection reset by peer")]),
    "anything else": (None, [RuntimeError("what"), OSError("something")]),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_the_row_decides_about_its_examples(rule: object) -> None:
    what = rule.what  # type: ignore[attr-defined]
    cause, errors = EXAMPLES[what]

    assert [(rule_for(error).what, rule_for(error).cause) for error in errors] == [
        (what, cause)
    ] * len(errors)


def test_there_is_a_row_for_every_example() -> None:
    assert [rule.what for rule in RULES] == list(EXAMPLES)


def test_the_table_in_the_documentation_is_that_of_the_code() -> None:
    shown = DOCUMENT.read_text().partition("<!-- table")[2].partition("-->\n")[2]

    assert shown.partition("\n<!-- end of table")[0] == table()
