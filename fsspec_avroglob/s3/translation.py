"""Errors on their way to the user: as which type, with what advice, and without any secret."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

import botocore.exceptions as boto
import s3fs.core
from botocore.parsers import ResponseParserError
from s3fs.errors import translate_boto_error

from fsspec_avroglob.s3.classification import (
    THROTTLED,
    UnexpectedAnswerError,
    retry_cause,
    rule_for,
)
from fsspec_avroglob.s3.config import S3Config

_STOCK_RETRYABLE = frozenset(s3fs.core.S3_RETRYABLE_ERRORS)

_REFUSED = (
    "AccessDenied",
    "AllAccessDisabled",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "403",
)
_EXPIRED = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_ELSEWHERE = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "301",
    "307",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
)

# What servers tell about the signature that they expected, and what signed URLs hold.
_TELLING_FIELDS = r"StringToSign|CanonicalRequest|Signature|AccessKeyId|Token"
_SECRET_IN_URL = (
    r"(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)"
    r"[^&\s\"'<>]+|(?<=://)[^/@\s\"']+(?=@)"
)


PRECONDITION_CODES = ("PreconditionFailed", "412")
"""Error codes with which S3 refuses a request whose condition does not hold (HEAD has no body)."""


def error_code(error: BaseException | None) -> str | None:
    """The error code that S3 answered with, else the HTTP status, None for other errors."""
    if not isinstance(error, boto.ClientError):
        return None
    code = error.response.get("Error", {}).get("Code")
    return str(code or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def is_precondition(error: BaseException | None) -> bool:
    """Whether S3 refused a conditional request because its condition does not hold."""
    return error_code(error) in PRECONDITION_CODES


def classify(error: BaseException) -> str | None:
    """The cause of a transient failure; what users added to s3fs's own list counts too."""
    cause = retry_cause(error)
    if cause is None and isinstance(error, Exception):
        added = tuple(set(s3fs.core.S3_RETRYABLE_ERRORS) - _STOCK_RETRYABLE)
        if isinstance(error, added) or s3fs.core.CUSTOM_ERROR_HANDLER(error):
            return "custom"
    return cause


def translated_error(error: Exception) -> Exception:
    """The error that s3fs's users know, with the notes of the original."""
    translated: Exception
    if isinstance(error, ResponseParserError):
        translated = OSError(errno.EIO, str(error))
    else:
        if isinstance(error, boto.ClientError) and not error.response["Error"].get("Code"):
            # Some page of a proxy's: the status is all that is known.
            error.response["Error"]["Code"] = error_code(error)
        translated = translate_boto_error(error)
    if translated is not error:
        for note in getattr(error, "__notes__", ()):
            translated.add_note(note)
    return translated


def advice(error: BaseException, target: str, config: S3Config) -> str | None:
    """What the user can do about *error*, or None. target: bucket or bucket/key that it met.

    For credentials it says where they were looked for, never what they are.
    """
    code = error_code(error)
    server = config.endpoint_url or _endpoint_of_the_environment() or "AWS"
    if code in _EXPIRED:
        return f"the credentials have expired: renew them; {config.credentials_source}"
    if code in _REFUSED or isinstance(error, _NO_CREDENTIALS):
        return config.credentials_source
    if code in _ELSEWHERE:
        region = _region(error)
        return (
            f"the bucket is in another region: give region={region!r}"
            if region
            else "the bucket is in another region: give the option region"
        )
    bucket, _, key = target.partition("/")
    if isinstance(error, boto.ParamValidationError) and bucket.endswith(":"):
        return f"{bucket}// is no scheme of S3: write s3://, s3a:// or avroglob://, in lower case"
    if code == "NoSuchBucket" or (code == "404" and not key):
        return f"there is no bucket {bucket!r} at {server}: check its name and endpoint_url"
    if code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong: set it (the server compares it with its own)"
    if "certificate" in rule_for(error).what:
        return (
            f"the certificate of {server} is not trusted: client_kwargs={{'verify': 'ca.pem'}} "
            f"names the authority that signed it"
        )
    if isinstance(error, boto.SSLError):
        return f"{server} does not speak TLS as it should: is its endpoint_url http, not https?"
    if isinstance(error, ValueError | boto.EndpointResolutionError) and "endpoint" in str(error):
        return (
            "an endpoint is a URL such as http://127.0.0.1:9000 or https://HOST: check "
            "endpoint_url and AWS_ENDPOINT_URL"
        )
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | ConnectionError):
        return _unreachable(error, server)
    if isinstance(error, UnexpectedAnswerError):
        return f"is a proxy or a login page answering in place of {server}?"
    if retry_cause(error) == THROTTLED:
        return (
            f"the server asks for fewer requests: a larger max_retries (now {config.max_retries}) "
            f"gives it more time"
        )
    return None


def without_secrets(error: BaseException, config: S3Config) -> None:
    """Take credentials, tokens and signatures out of what *error* and its causes say and hold."""
    secrets = sorted(filter(None, (config.secret, config.token)), key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, bytes):
            return value if clean(value.decode("latin-1")) == value.decode("latin-1") else b"***"
        if not isinstance(value, str):
            return value
        for secret in secrets:
            value = value.replace(secret, "***")
        return re.sub(_SECRET_IN_URL, lambda found: f"{found[1] or ''}***", value)

    for one in _chain(error):
        one.args = tuple(map(clean, one.args))
        if isinstance(one, boto.HTTPClientError):
            one.request = one.response = None  # its headers hold the signature
        if isinstance(one, boto.BotoCoreError):
            one.kwargs = {name: clean(value) for name, value in one.kwargs.items()}
        if isinstance(one, boto.ClientError):
            told = one.response.get("Error", {})
            for name in [name for name in told if re.search(_TELLING_FIELDS, name)]:
                del told[name]
            told.update({name: clean(value) for name, value in told.items()})


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error* and what led to it, once each."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__]
        wrapped = getattr(one, "kwargs", {}).get("error") if isinstance(one, Exception) else None
        left.append(wrapped if isinstance(wrapped, BaseException) else None)


def _region(error: BaseException) -> str | None:
    """The region that the server says the bucket is in."""
    if not isinstance(error, boto.ClientError):
        return None
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = headers.get("x-amz-bucket-region") or error.response["Error"].get("Region")
    return region


def _endpoint_of_the_environment() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _unreachable(error: BaseException, server: str) -> str:
    if any(isinstance(one, socket.gaierror) for one in _chain(error)):
        return f"the name of {server} is not known to the DNS: check endpoint_url and region"
    return (
        f"nothing answers at {server}: check endpoint_url (host, port, http or https) "
        f"and that the server runs"
    )
