"""Errors on their way to the user: what failed, whether s3fs's users asked for a retry, as what."""

from __future__ import annotations

import s3fs.core
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error

from fsspec_avroglob.classification import retry_cause

_STOCK_RETRYABLE = frozenset(s3fs.core.S3_RETRYABLE_ERRORS)


PRECONDITION_CODES = ("PreconditionFailed", "412")
"""Error codes with which S3 refuses a request whose condition does not hold (HEAD has no body)."""


def error_code(error: BaseException | None) -> str | None:
    """The error code that S3 answered with, None for other errors."""
    if not isinstance(error, ClientError):
        return None
    return str(error.response.get("Error", {}).get("Code", ""))


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
    translated: Exception = translate_boto_error(error)
    if translated is not error:
        for note in getattr(error, "__notes__", ()):
            translated.add_note(note)
    return translated
