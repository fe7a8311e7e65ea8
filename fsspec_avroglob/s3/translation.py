"""Errors on their way to the caller: their type, advice what to do, and no secrets."""

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

from fsspec_avroglob.s3.classification import NO_BUCKET, UNKNOWN_HOST, Rule, rule_for
from fsspec_avroglob.s3.config import S3Config

PRECONDITION_CODES = ("PreconditionFailed", "412")
"""Error codes of a request whose condition is not met. (The answer to HEAD has only a status.)"""

_STOCK_RETRYABLE = frozenset(s3fs.core.S3_RETRYABLE_ERRORS)
_CUSTOM = Rule("s3fs's own list of retryable errors has it", "custom")

# Fields of an error answer about the signature, and parts of URLs.
_SECRET_FIELDS = re.compile(r"StringToSign|CanonicalRequest|Signature|AccessKeyId|Token")
_SECRETS_IN_URL = re.compile(
    r"(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)"
    r"[^&\s\"'<>]+|(?<=://)[^/@\s\"']+(?=@)"
)


def error_code(error: BaseException | None) -> str | None:
    """S3's error code, or the HTTP status without one; None if *error* is no answer of S3."""
    if not isinstance(error, boto.ClientError):
        return None
    code = error.response.get("Error", {}).get("Code")
    return str(code or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def is_precondition(error: BaseException | None) -> bool:
    """Whether S3 rejected a conditional request because its condition is not met."""
    return error_code(error) in PRECONDITION_CODES


def rule_of(error: Exception) -> Rule:
    """The rule that decides about *error*; errors that users added to s3fs's list are transient."""
    rule = rule_for(error)
    if rule.cause is None:
        added = tuple(set(s3fs.core.S3_RETRYABLE_ERRORS) - _STOCK_RETRYABLE)
        if isinstance(error, added) or s3fs.core.CUSTOM_ERROR_HANDLER(error):
            return _CUSTOM
    return rule


def translated_error(error: Exception) -> Exception:
    """The error that s3fs raises for *error*, with the same notes."""
    translated: Exception
    if isinstance(error, ResponseParserError):
        translated = OSError(errno.EIO, str(error))
    else:
        if isinstance(error, boto.ClientError) and not error.response["Error"].get("Code"):
            # A proxy's page: only the status is known.
            error.response["Error"]["Code"] = error_code(error)
        translated = translate_boto_error(error)
    if translated is not error:
        for note in getattr(error, "__notes__", ()):
            translated.add_note(note)
    return translated


def advice(error: Exception, rule: Rule, target: str, config: S3Config) -> str | None:
    """What the user can do about *error*, or None. target: its bucket or bucket/key.

    The text names the source of the credentials, never the credentials.
    """
    bucket, _, key = target.partition("/")
    text = rule.advice
    if isinstance(error, boto.ParamValidationError) and bucket.endswith(":"):
        text = "{bucket}// is not a scheme of S3: write s3://, s3a:// or avroglob:// in lower case"
    elif error_code(error) == "404" and not key:
        text = NO_BUCKET
    elif isinstance(error, boto.EndpointConnectionError) and any(
        isinstance(one, socket.gaierror) for one in _chain(error)
    ):
        text = UNKNOWN_HOST
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    filled = text.format(
        bucket=bucket,
        server=config.endpoint_url or environment or "AWS",
        region=_region_option(error),
        credentials=config.credentials_source,
        max_retries=config.max_retries,
    )
    return filled or None


def without_secrets(error: BaseException, config: S3Config) -> None:
    """Remove credentials, tokens and signatures from *error* and its causes."""
    secrets = sorted(filter(None, (config.secret, config.token)), key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, bytes):
            return value if clean(value.decode("latin-1")) == value.decode("latin-1") else b"***"
        if not isinstance(value, str):
            return value
        for secret in secrets:
            value = value.replace(secret, "***")
        return _SECRETS_IN_URL.sub(lambda found: f"{found[1] or ''}***", value)

    for one in _chain(error):
        one.args = tuple(map(clean, one.args))
        if isinstance(one, boto.HTTPClientError):
            one.request = one.response = None  # their headers hold the signature
        if isinstance(one, boto.BotoCoreError):
            one.kwargs = {name: clean(value) for name, value in one.kwargs.items()}
        if isinstance(one, boto.ClientError) and "Error" in one.response:
            one.response["Error"] = {
                name: clean(value)
                for name, value in one.response["Error"].items()
                if not _SECRET_FIELDS.search(name)
            }


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error*, its causes and contexts, and the errors that botocore wraps; each once."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [one.__cause__, one.__context__, getattr(one, "kwargs", {}).get("error")]


def _region_option(error: Exception) -> str:
    """The option for the bucket's region, with the region if the server names it."""
    region = None
    if isinstance(error, boto.ClientError):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or error.response["Error"].get("Region")
    return f"region={region!r}" if region else "the option region"
