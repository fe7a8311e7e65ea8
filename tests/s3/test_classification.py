"""Which failures are transient: each row of the table; codes, types, messages."""

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
import urllib3.exceptions
from aiohttp.client_reqrep import ConnectionKey
from botocore.parsers import ResponseParserError
from fsspec.exceptions import FSTimeoutError
from s3fs.errors import translate_boto_error

from fsspec_avroglob.s3.classification import (
    CONNECTION,
    RULES,
    SERVER_ERROR,
    THROTTLED,
    TIMEOUT,
    TRUNCATED,
    RedirectRefusedError,
    UnexpectedAnswerError,
    retry_cause,
    rule_for,
)
from fsspec_avroglob.s3.retry import is_retryable
from tests.support.errors import URL_TEXT, aiohttp_answer, client_error
from tests.support.retry_table import table

DOCUMENT = Path(__file__).parents[2] / "docs" / "retries.md"
KEY = ConnectionKey("endpoint.invalid", 443, True, True, None, None, None)
BAD_CERTIFICATE = aiohttp.ClientConnectorCertificateError(
    KEY, ssl.SSLCertVerificationError(1, "self-signed")
)


# --- the table ------------------------------------------------------------------------------------

EXAMPLES: dict[str, tuple[str | None, list[BaseException]]] = {
    "the program is being stopped": (None, [asyncio.CancelledError(), KeyboardInterrupt("503")]),
    "access is denied": (
        None,
        [client_error("AccessDenied", 403), client_error("SignatureDoesNotMatch", 503)],
    ),
    "the credentials have expired": (None, [client_error("ExpiredToken", 400)]),
    "the clocks differ too much": (None, [client_error("RequestTimeTooSkewed", 403)]),
    "the bucket is in another region": (
        None,
        [client_error("PermanentRedirect", 301), client_error("301", 301)],
    ),
    "the bucket does not exist": (None, [client_error("NoSuchBucket")]),
    "the object does not exist": (None, [client_error("NoSuchKey", 404)]),
    "a condition is not met": (None, [client_error("PreconditionFailed", 412)]),
    "the server does not support the operation": (None, [client_error("NotImplemented", 501)]),
    "the server asks for fewer requests": (
        THROTTLED,
        [client_error("SlowDown", 503), client_error("ThrottlingException", 400)],
    ),
    "the server failed": (
        SERVER_ERROR,
        [client_error("InternalError", 200), client_error("ServiceUnavailable", 503)],
    ),
    "the server timed out before the request was complete": (
        TIMEOUT,
        [client_error("RequestTimeout", 400)],
    ),
    "the request arrived incomplete": (TRUNCATED, [client_error("IncompleteBody", 400)]),
    "the server or a proxy is overloaded": (
        THROTTLED,
        [client_error("", 503), client_error("429", 429), aiohttp_answer(503)],
    ),
    "the server or a proxy failed": (SERVER_ERROR, [client_error("", 500), client_error("", 502)]),
    "the server or a proxy timed out": (
        TIMEOUT,
        [client_error("", 408), aiohttp_answer(504)],
    ),
    "access is denied, without a known code": (
        None,
        [client_error("", 403), client_error("403", 403), aiohttp_answer(403)],
    ),
    "the server rejects the request": (None, [client_error("", 400), client_error("Unheard", 418)]),
    "the server's certificate is not trusted": (
        None,
        [ssl.SSLCertVerificationError("hostname mismatch"), BAD_CERTIFICATE],
    ),
    "another problem with a certificate": (
        None,
        [boto.SSLError(endpoint_url=URL_TEXT, error="certificate verify failed")],
    ),
    "another failure of TLS": (
        CONNECTION,
        [boto.SSLError(endpoint_url=URL_TEXT, error="EOF"), ssl.SSLEOFError(8, "EOF")],
    ),
    "the path is missing, exists, or may not be used": (
        None,
        [FileNotFoundError("503"), PermissionError()],
    ),
    "connecting timed out": (TIMEOUT, [boto.ConnectTimeoutError(endpoint_url=URL_TEXT)]),
    "waiting for a connection, or reading, timed out": (
        TIMEOUT,
        [
            boto.ReadTimeoutError(endpoint_url=URL_TEXT),
            aiohttp.ConnectionTimeoutError(),
            TimeoutError(),
        ],
    ),
    "the server redirects to another host": (
        None,
        [RedirectRefusedError("a redirects GetObject to b, which is not S3's own redirect")],
    ),
    "an answer is not S3's, or is malformed": (
        TRUNCATED,
        [UnexpectedAnswerError("the answer is empty")],
    ),
    "a body or XML is cut short": (
        TRUNCATED,
        [
            boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
            ResponseParserError("no element found"),
            aiohttp.ClientPayloadError(),
            http.client.IncompleteRead(b""),
        ],
    ),
    "the URL is invalid": (None, [aiohttp.InvalidURL("nowhere")]),
    "a host name cannot be resolved": (CONNECTION, [socket.gaierror(socket.EAI_AGAIN, "again")]),
    "the endpoint cannot be reached": (
        CONNECTION,
        [boto.EndpointConnectionError(endpoint_url=URL_TEXT), ConnectionResetError()],
    ),
    "another failure of a connection": (
        CONNECTION,
        [
            boto.ConnectionClosedError(endpoint_url=URL_TEXT),
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror()),
            aiohttp.ServerDisconnectedError(),
        ],
    ),
    "the network is unreachable": (CONNECTION, [OSError(errno.EHOSTUNREACH, "x")]),
    "another error of the operating system": (None, [OSError(errno.ENOSPC, "timed out")]),
    "there are no credentials": (None, [boto.NoCredentialsError()]),
    "the endpoint is invalid": (None, [ValueError("Invalid endpoint: here:9000")]),
    "invalid parameters, and other errors of botocore": (
        None,
        [boto.ParamValidationError(report="Missing 503")],
    ),
    "an error in a program": (None, [ValueError("503"), TypeError("timeout"), KeyError("503")]),
    "the text says that the error is final": (None, [RuntimeError("403 Forbidden: timed out")]),
    "the text asks for fewer requests": (THROTTLED, [RuntimeError("please slow down")]),
    "the text says that the server failed": (SERVER_ERROR, [RuntimeError("HTTP 502 Bad Gateway")]),
    "the text speaks of a timeout": (TIMEOUT, [RuntimeError("connect timeout")]),
    "the text says that the connection failed": (
        CONNECTION,
        [RuntimeError("connection reset by peer")],
    ),
    "anything else": (None, [RuntimeError("what"), OSError("something")]),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_row_decides_its_examples(rule: object) -> None:
    what = rule.what  # type: ignore[attr-defined]
    cause, errors = EXAMPLES[what]

    assert [(rule_for(error).what, rule_for(error).cause) for error in errors] == [
        (what, cause)
    ] * len(errors)


def test_every_row_has_example() -> None:
    assert [rule.what for rule in RULES] == list(EXAMPLES)


def test_documentation_has_the_table() -> None:
    shown = DOCUMENT.read_text().partition("<!-- table")[2].partition("-->\n")[2]

    assert shown.partition("\n<!-- end of table")[0] == table()


# --- codes and statuses ---------------------------------------------------------------------------

RETRYABLE_ERROR_CODES = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "TooManyRequestsException",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
]
FINAL_ERRORS = [
    ("NoSuchKey", 404),
    ("NoSuchBucket", 404),
    ("404", 404),
    ("AccessDenied", 403),
    ("403", 403),
    ("InvalidAccessKeyId", 403),
    ("SignatureDoesNotMatch", 403),
    ("ExpiredToken", 400),
    ("InvalidToken", 400),
    ("RequestTimeTooSkewed", 403),
    ("InvalidRange", 416),
    ("InvalidArgument", 400),
    ("MethodNotAllowed", 405),
    ("OperationAborted", 409),
    ("PreconditionFailed", 412),
    ("NotImplemented", 501),
    ("PermanentRedirect", 301),
]


@pytest.mark.parametrize("code", RETRYABLE_ERROR_CODES)
@pytest.mark.parametrize("status", [200, 400, 503, None])
def test_transient_code_is_retryable(code: str, status: int | None) -> None:
    assert is_retryable(client_error(code, status))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("code", ["", "Unheard", None])
def test_transient_status_is_retryable(status: int, code: str | None) -> None:
    assert is_retryable(client_error(str(status) if code is None else code, status))


def test_status_as_code_counts() -> None:
    assert is_retryable(client_error("503", status=None))
    assert not is_retryable(client_error("404", status=None))


@pytest.mark.parametrize(("code", "status"), FINAL_ERRORS)
def test_permanent_failure_is_final(code: str, status: int) -> None:
    assert not is_retryable(client_error(code, status))


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", "ExpiredToken", "NoSuchUpload"])
def test_final_code_beats_the_status(code: str) -> None:
    assert not is_retryable(client_error(code, 503))


def test_other_4xx_are_final() -> None:
    retryable = [s for s in range(400, 500) if is_retryable(client_error("Unheard", s))]
    assert retryable == [408, 429]


# --- types ----------------------------------------------------------------------------------------

TRANSIENT = [
    (boto.ConnectTimeoutError(endpoint_url=URL_TEXT), "timeout"),
    (boto.ReadTimeoutError(endpoint_url=URL_TEXT), "timeout"),
    (boto.EndpointConnectionError(endpoint_url=URL_TEXT), "connection"),
    (boto.ConnectionClosedError(endpoint_url=URL_TEXT), "connection"),
    (boto.ProxyConnectionError(proxy_url=URL_TEXT), "connection"),
    (boto.HTTPClientError(error="broken"), "connection"),
    (boto.SSLError(endpoint_url=URL_TEXT, error="EOF in violation of protocol"), "connection"),
    (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), "truncated"),
    (boto.ResponseStreamingError(error="cut"), "truncated"),
    (ResponseParserError("no element found"), "truncated"),
    (aiohttp.ClientPayloadError("not completed"), "truncated"),
    (aiohttp.ServerDisconnectedError(), "connection"),
    (aiohttp.ClientOSError(errno.ECONNRESET, "reset"), "connection"),
    (aiohttp.ServerTimeoutError(), "timeout"),
    (aiohttp_answer(503), "throttled"),
    (asyncio.IncompleteReadError(b"", 5), "truncated"),
    (http.client.IncompleteRead(b"abc", 5), "truncated"),
    (urllib3.exceptions.IncompleteRead(1, 2), "truncated"),
    (TimeoutError(), "timeout"),
    (FSTimeoutError(), "timeout"),
    (ConnectionRefusedError(), "connection"),
    (ConnectionResetError(), "connection"),
    (BrokenPipeError(), "connection"),
    (http.client.RemoteDisconnected("no answer"), "connection"),
    (socket.gaierror(socket.EAI_AGAIN, "again"), "connection"),
    (OSError(errno.ETIMEDOUT, "x"), "timeout"),
    (OSError(errno.EHOSTUNREACH, "x"), "connection"),
    (OSError(errno.ENETUNREACH, "x"), "connection"),
    (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "connection"),
]


@pytest.mark.parametrize(("error", "cause"), TRANSIENT, ids=lambda value: repr(value)[:50])
def test_transient_type_has_its_cause(error: Exception, cause: str) -> None:
    assert retry_cause(error) == cause


FINAL = [
    boto.NoCredentialsError(),
    boto.PartialCredentialsError(provider="env", cred_var="secret"),
    boto.CredentialRetrievalError(provider="p", error_msg="timed out"),
    boto.ProfileNotFound(profile="x"),
    boto.ParamValidationError(report="Missing 503"),
    boto.SSLError(endpoint_url=URL_TEXT, error="certificate verify failed"),
    ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed"),
    ssl.SSLCertVerificationError("hostname mismatch"),
    aiohttp.InvalidURL("nowhere"),
    aiohttp_answer(403),
    aiohttp_answer(404),
    FileNotFoundError("503"),
    PermissionError("503 timeout"),
    FileExistsError("503"),
    IsADirectoryError("503"),
    OSError(errno.ENOSPC, "timed out"),
    ValueError("503"),
    TypeError("timeout"),
    KeyError("timeout"),
    AttributeError("'Client' object has no attribute 'timeout'"),
    NameError("name 'timeout' is not defined"),
    NotImplementedError("timeout is not supported"),
    AssertionError("500 == 503"),
    asyncio.CancelledError("timeout"),
    KeyboardInterrupt("503"),
]


@pytest.mark.parametrize("error", FINAL, ids=lambda value: repr(value)[:50])
def test_final_type_beats_the_text(error: BaseException) -> None:
    assert not is_retryable(error)


def test_response_judges_the_error() -> None:
    assert is_retryable(translate_boto_error(client_error("SlowDown", 503)))
    assert not is_retryable(translate_boto_error(client_error("InvalidRange", 416)))
    assert not is_retryable(translate_boto_error(client_error("NoSuchKey", 404)))


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "Generic S3 error: 503 Service Unavailable",
        "HTTP status 500",
        "Please reduce your request rate",
        "SlowDown",
        "Too Many Requests",
        "operation timed out",
        "connect timeout",
        "dispatch failure",
        "connection reset by peer",
        "Connection refused",
        "502 Bad Gateway",
    ],
)
def test_text_judges_unknown_types(message: str) -> None:
    assert is_retryable(RuntimeError(message))
    assert is_retryable(OSError(message))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "something else",
        "404 Not Found",
        "403 Forbidden: timed out",
        "No such bucket",
        "NoSuchKey",
        "Access denied after 503",
        "could not load credentials: timed out",
        "signature does not match, timeout",
        "wrote 1500 rows",
    ],
)
def test_other_text_is_final(message: str) -> None:
    assert not is_retryable(RuntimeError(message))
