"""Which failures are transient, and what to do about the others.

One table, :data:`RULES`. The first row that matches an error decides.

Examples
--------
>>> rule_for(TimeoutError()).cause
'timeout'
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import re
import socket
import ssl
from collections.abc import Mapping
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

NO_BUCKET = "there is no bucket {bucket!r} at {server}: check its name and endpoint_url"
UNKNOWN_HOST = "the DNS does not know the name of {server}: check endpoint_url and region"
_UNREACHABLE = (
    "nothing answers at {server}: check endpoint_url (host, port, http or https) "
    "and that the server runs"
)
_CERTIFICATE = (
    "the certificate of {server} is not trusted: client_kwargs={{'verify': 'ca.pem'}} "
    "names the authority that signed it"
)
_FEWER_REQUESTS = (
    "the server asks for fewer requests: a larger max_retries (now {max_retries}) "
    "gives it more time"
)
_TLS_TYPES = (boto.SSLError, ssl.SSLError, aiohttp.ClientSSLError)


class UnexpectedAnswerError(ResponseParserError):  # type: ignore[misc]  # botocore has no types
    """An answer is not what S3 sends: it is empty, malformed, too large, or a proxy's page.

    It stays within the package: callers get an OSError.
    """


class RedirectRefusedError(ResponseParserError):  # type: ignore[misc]  # botocore has no types
    """An answer redirects to a host that is not S3's. Callers get an OSError."""


class Rule(NamedTuple):
    """A row of the table: an error matches if it meets every condition that is given.

    what: the row in words. cause: why another attempt may succeed; None if the error is final.
    codes: patterns of S3's error codes, separated by blanks. statuses: of the HTTP answer.
    types: of the exception. errnos: of an OSError. message: a regular expression for its
    text. advice: what the user can do; ``advice()`` of translation fills it in.
    blames_credentials: whether other credentials may be found if they are searched again.
    """

    what: str
    cause: str | None = None
    codes: str = ""
    statuses: tuple[int, ...] = ()
    types: tuple[type[BaseException], ...] = ()
    errnos: tuple[int, ...] = ()
    message: str = ""
    advice: str = ""
    blames_credentials: bool = False

    def matches(self, error: BaseException, answer: tuple[str, int | None] | None) -> bool:
        """Whether *error*, with the error code and status of *answer*, meets the conditions."""
        if (self.codes or self.statuses) and answer is None:
            return False
        code, status = answer or ("", None)
        number = error.errno if isinstance(error, OSError) else None
        return (
            (not self.codes or any(fnmatchcase(code, known) for known in self.codes.split()))
            and (not self.statuses or status in self.statuses)
            and (not self.types or isinstance(error, self.types))
            and (not self.errnos or number in self.errnos)
            and (not self.message or re.search(self.message, str(error), re.I) is not None)
        )


RULES: tuple[Rule, ...] = (
    Rule(
        "the program is being stopped",
        types=(asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit),
    ),
    # Answers of a server: by error code, whatever the status; then by status.
    Rule(
        "access is denied",
        codes="AccessDenied AllAccessDisabled AccountProblem InvalidAccessKeyId "
        "SignatureDoesNotMatch",
        advice="{credentials}",
    ),
    Rule(
        "the credentials have expired",
        codes="ExpiredToken InvalidToken TokenRefreshRequired",
        advice="the credentials have expired: renew them; {credentials}",
        blames_credentials=True,
    ),
    Rule(
        "the clocks differ too much",
        codes="RequestTimeTooSkewed",
        advice="the clock of this machine is wrong: set it (the server compares it with its own)",
    ),
    Rule(
        "the bucket is in another region",
        codes="PermanentRedirect TemporaryRedirect Redirect 301 307 "
        "AuthorizationHeaderMalformed IllegalLocationConstraintException",
        advice="the bucket is in another region: give {region}",
    ),
    Rule("the bucket does not exist", codes="NoSuchBucket", advice=NO_BUCKET),
    Rule("the object does not exist", codes="NoSuchKey NoSuchUpload NoSuchVersion"),
    Rule("a condition is not met", codes="PreconditionFailed"),
    Rule("the server does not support the operation", codes="NotImplemented"),
    Rule(
        "the server asks for fewer requests",
        THROTTLED,
        codes="SlowDown Throttl* TooManyRequests* RequestLimitExceeded "
        "BandwidthLimitExceeded LimitExceededException PriorRequestNotComplete",
        advice=_FEWER_REQUESTS,
    ),
    Rule(
        "the server failed", SERVER_ERROR, codes="InternalError InternalFailure ServiceUnavailable"
    ),
    Rule(
        "the server timed out before the request was complete",
        TIMEOUT,
        codes="RequestTimeout RequestTimeoutException",
    ),
    Rule(
        "the request arrived incomplete",
        TRUNCATED,
        codes="IncompleteBody XAmzContentSHA256Mismatch",
    ),
    Rule(
        "the server or a proxy is overloaded",
        THROTTLED,
        statuses=(429, 503),
        advice=_FEWER_REQUESTS,
    ),
    Rule("the server or a proxy failed", SERVER_ERROR, statuses=(500, 502)),
    Rule("the server or a proxy timed out", TIMEOUT, statuses=(408, 504)),
    Rule("access is denied, without a known code", statuses=(403,), advice="{credentials}"),
    Rule("the server rejects the request", codes="*"),
    # Without an answer: by the type of the exception.
    Rule(
        "the server's certificate is not trusted",
        types=(ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError),
        advice=_CERTIFICATE,
    ),
    Rule(
        "another problem with a certificate",
        types=_TLS_TYPES,
        message="certificate",
        advice=_CERTIFICATE,
    ),
    Rule(
        "another failure of TLS",
        CONNECTION,
        types=_TLS_TYPES,
        advice="{server} does not answer in TLS: should its endpoint_url be http, not https?",
    ),
    Rule(
        "the path is missing, exists, or may not be used",
        types=(FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError),
    ),
    Rule("connecting timed out", TIMEOUT, types=(boto.ConnectTimeoutError,), advice=_UNREACHABLE),
    Rule(
        "waiting for a connection, or reading, timed out",
        TIMEOUT,
        types=(boto.ReadTimeoutError, TimeoutError),
    ),
    Rule(
        "the server redirects to another host",
        types=(RedirectRefusedError,),
        advice="check endpoint_url: the other host gets no request, unless you name it there",
    ),
    Rule(
        "an answer is not S3's, or is malformed",
        TRUNCATED,
        types=(UnexpectedAnswerError,),
        advice="does a proxy or a login page answer in place of {server}?",
    ),
    Rule(
        "a body or XML is cut short",
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
    Rule("the URL is invalid", types=(aiohttp.InvalidURL,)),
    Rule(
        "a host name cannot be resolved", CONNECTION, types=(socket.gaierror,), advice=UNKNOWN_HOST
    ),
    Rule(
        "the endpoint cannot be reached",
        CONNECTION,
        types=(boto.EndpointConnectionError, ConnectionError),
        advice=_UNREACHABLE,
    ),
    Rule(
        "another failure of a connection",
        CONNECTION,
        types=(boto.ConnectionError, boto.HTTPClientError, aiohttp.ClientError),
    ),
    Rule(
        "the network is unreachable",
        CONNECTION,
        types=(OSError,),
        errnos=(errno.EHOSTUNREACH, errno.ENETUNREACH),
    ),
    Rule("another error of the operating system", types=(OSError,), errnos=tuple(errno.errorcode)),
    Rule(
        "there are no credentials",
        types=(
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.ProfileNotFound,
        ),
        advice="{credentials}",
        blames_credentials=True,
    ),
    Rule(
        "the endpoint is invalid",
        types=(ValueError, boto.EndpointResolutionError),
        message="endpoint",
        advice="an endpoint is a URL such as http://127.0.0.1:9000 or https://HOST: check "
        "endpoint_url and AWS_ENDPOINT_URL",
    ),
    Rule("invalid parameters, and other errors of botocore", types=(boto.BotoCoreError,)),
    Rule(
        "an error in a program",
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
    # Other types: by the text of the exception.
    Rule(
        "the text says that the error is final",
        message=r"\b40[1-7]\b|not found|no such key|no such bucket|NoSuch|access denied|forbidden"
        r"|credential|signature",
    ),
    Rule(
        "the text asks for fewer requests",
        THROTTLED,
        message=r"slow ?down|reduce your request rate|throttl|too many requests",
        advice=_FEWER_REQUESTS,
    ),
    Rule(
        "the text says that the server failed",
        SERVER_ERROR,
        message=r"\b50[0234]\b|internal ?error|service unavailable|bad gateway",
    ),
    Rule("the text speaks of a timeout", TIMEOUT, message=r"timed? ?out"),
    Rule(
        "the text says that the connection failed",
        CONNECTION,
        message=r"dispatch failure|connection reset|connection closed|connection aborted"
        r"|connection refused",
    ),
    Rule("anything else"),
)
"""What is retried, and what the user can do; docs/retries.md shows this table."""


def rule_for(error: BaseException) -> Rule:
    """The row of :data:`RULES` that decides about *error*."""
    answer = _answer(error)
    return next(rule for rule in RULES if rule.matches(error, answer))


def retry_cause(error: BaseException) -> str | None:
    """Why another attempt may succeed, in one or two words; None if *error* is final."""
    return rule_for(error).cause


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed after *error*.

    True for timeouts, refused and dropped connections, bodies cut short, throttling and the
    statuses 408, 429, 500, 502, 503, 504. False for missing objects and buckets, denied access,
    missing credentials, every other 4xx status, invalid parameters and cancellation.
    """
    return retry_cause(error) is not None


def _answer(error: BaseException) -> tuple[str, int | None] | None:
    """Error code and HTTP status of the server's answer behind *error*; None without an answer."""
    for raised in (error, error.__cause__ if isinstance(error, OSError) else None):
        if isinstance(raised, boto.ClientError):
            response: Mapping[str, Any] = raised.response
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return code, int(code) if status is None and code.isdigit() else status
    if isinstance(error, aiohttp.ClientResponseError) and error.status:
        return "", error.status
    return None
