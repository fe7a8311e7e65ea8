"""Errors on their way to the caller: their text, their type, and advice what to do."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Any

import botocore.exceptions as boto
import s3fs.core
from botocore.parsers import ResponseParserError
from s3fs.errors import translate_boto_error

from fsspec_avroglob.s3.classification import NO_BUCKET, UNKNOWN_HOST, Rule, rule_for
from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.secrets import chain, redacted

PRECONDITION_CODES = ("PreconditionFailed", "412")
"""Error codes of a request whose condition is not met. (The answer to HEAD has only a status.)"""

# Where credentials were found, by botocore's name of the method.
_SOURCES = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
    "shared-credentials-file": "AWS's credentials file",
    "config-file": "AWS's configuration file",
    "assume-role": "a role that AWS's configuration files name",
    "assume-role-with-web-identity": "a role with web identity (AWS_ROLE_ARN)",
    "sso": "a session of IAM Identity Center (aws sso login)",
    "custom-process": "the credential_process of AWS's configuration files",
    "container-role": "the container's role",
    "iam-role": "the machine's role",
}
_ANY_SOURCE = "the environment (AWS_ACCESS_KEY_ID), AWS's configuration files or the machine's role"

_STOCK_RETRYABLE = frozenset(s3fs.core.S3_RETRYABLE_ERRORS)
_BOTOCORE_RETRIES = re.compile(r" \(reached max retries: \d+\)")
_CUSTOM = Rule("s3fs's own list of retryable errors has it", "custom")


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
        complete(error, getattr(error, "operation_name", ""))
        # Botocore counts its own retries, which are off.
        if isinstance(error, boto.ClientError):
            error.response.get("ResponseMetadata", {}).pop("MaxAttemptsReached", None)
        error.args = tuple(
            _BOTOCORE_RETRIES.sub("", one) if isinstance(one, str) else one for one in error.args
        )
        translated = translate_boto_error(error)
    if translated is not error:
        for note in getattr(error, "__notes__", ()):
            translated.add_note(note)
    return translated


def complete(error: BaseException, doing: str) -> None:
    """Give an answer of S3 without an error code or message both. doing: the request, in words.

    Ceph sends errors without a message, and proxies send pages without a code.
    """
    if not isinstance(error, boto.ClientError):
        return
    answer = error.response.setdefault("Error", {})
    if answer.get("Code") and answer.get("Message"):
        return
    answer["Code"] = error_code(error) or "Unknown"
    answer["Message"] = answer.get("Message") or f"{answer['Code']} ({doing})"
    error.args = (
        f"An error occurred ({answer['Code']}) when calling the {error.operation_name} operation: "
        f"{answer['Message']}",
    )


def advice(
    error: Exception, rule: Rule, target: str, config: S3Config, credentials: Any = None
) -> str | None:
    """What the user can do about *error*, or None.

    The text names the source of the credentials, never the credentials.

    Parameters
    ----------
    target
        The bucket or bucket/key of the request.
    credentials
        Botocore's credentials of the request, or None.
    """
    bucket, _, key = target.partition("/")
    text = rule.advice
    if isinstance(error, boto.ParamValidationError) and bucket.endswith(":"):
        text = "{bucket}// is not a scheme of S3: write s3://, s3a:// or avroglob:// in lower case"
    elif error_code(error) == "404" and not key:
        text = NO_BUCKET
    elif isinstance(error, boto.EndpointConnectionError) and any(
        isinstance(one, socket.gaierror) for one in chain(error)
    ):
        text = UNKNOWN_HOST
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    filled = text.format(
        bucket=bucket,
        server=redacted(str(config.endpoint_url or environment or "AWS")),
        region=_region_option(error),
        credentials=credentials_source(error, config, credentials),
        max_retries=config.max_retries,
    )
    return filled or None


def credentials_source(error: Exception, config: S3Config, credentials: Any) -> str:
    """Where the credentials come from, in words."""
    if config.anon:
        source = "requests have no credentials (anon=True)"
    elif config.key is not None:
        token = ", secret and token" if config.token is not None else " and secret"
        source = f"the credentials come from the options key{token}"
    elif config.profile is not None:
        source = f"the credentials come from the profile {config.profile!r} of AWS's files"
    elif isinstance(error, boto.NoCredentialsError):
        source = (
            "no key was given: there is no option key, and none in the environment "
            "(AWS_ACCESS_KEY_ID), AWS's configuration files or the machine's role"
        )
    else:
        method = getattr(credentials, "method", "")
        source = f"the credentials come from {_SOURCES.get(method, _ANY_SOURCE)}"
    return f"{source}; options come from storage_options and fsspec's configuration"


def _region_option(error: Exception) -> str:
    """The option for the bucket's region, with the region if the server names it."""
    region = None
    if isinstance(error, boto.ClientError):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or error.response["Error"].get("Region")
    return f"region={region!r}" if region else "the option region"
