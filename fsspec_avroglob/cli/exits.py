"""What the command line says about a failure, and the exit code that goes with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

EXIT_OK = 0
EXIT_NO_MATCH = EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_STORAGE = 3
EXIT_FOUND = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_CREDENTIALS_HINT = (
    "Give credentials with --profile or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "for a public bucket use --no-sign-request."
)
_REGION_HINT = "Give the bucket's region with --region or AWS_REGION."
_ENDPOINT_HINT = "Check --endpoint-url (or AWS_ENDPOINT_URL) and the network."
_LOG_IN_HINT = "Log in again: aws sso login."
_THROTTLED_HINT = "Try again later, or with a higher --max-retries."

_HINTS_BY_S3_CODE = {
    "NoSuchBucket": "Check the bucket's name, and --endpoint-url if it is not on AWS.",
    "AccessDenied": _CREDENTIALS_HINT,
    "AllAccessDisabled": _CREDENTIALS_HINT,
    "403": _CREDENTIALS_HINT,
    "InvalidAccessKeyId": _CREDENTIALS_HINT,
    "SignatureDoesNotMatch": "The secret key does not belong to the access key; check both.",
    "ExpiredToken": "The session's credentials have expired; renew them (aws sso login).",
    "InvalidToken": "The session token is not valid here; renew it, or check --endpoint-url.",
    "PermanentRedirect": _REGION_HINT,
    "AuthorizationHeaderMalformed": _REGION_HINT,
    "SlowDown": _THROTTLED_HINT,
    "ServiceUnavailable": _THROTTLED_HINT,
    "503": _THROTTLED_HINT,
}
_HINTS_BY_EXCEPTION = {
    "NoCredentialsError": _CREDENTIALS_HINT,
    "PartialCredentialsError": _CREDENTIALS_HINT,
    "CredentialRetrievalError": _CREDENTIALS_HINT,
    "TokenRetrievalError": _LOG_IN_HINT,
    "UnauthorizedSSOTokenError": _LOG_IN_HINT,
    "SSOTokenLoadError": _LOG_IN_HINT,
    "EndpointConnectionError": _ENDPOINT_HINT,
    "ConnectTimeoutError": _ENDPOINT_HINT,
    "ReadTimeoutError": _ENDPOINT_HINT,
    "ConnectionClosedError": _ENDPOINT_HINT,
    "SSLError": "A certificate of your own is named by AWS_CA_BUNDLE.",
    "ProfileNotFound": "Profiles are listed by: aws configure list-profiles.",
}
_WRONG_VALUES = frozenset({"ProfileNotFound", "InvalidRegionError", "ParamValidationError"})


def no_match(*typed: str) -> str:
    """The message that nothing matches what was typed; most that look like keys are local paths."""
    local = "" if any("://" in one for one in typed) else " here; on S3 it is s3://bucket/key"
    return f"nothing matches {' '.join(typed)}{local}"


class UsageProblem(ValueError):
    """A combination of arguments that cannot be followed."""


@dataclass(frozen=True)
class Report:
    """What to tell about an error, and the exit code that goes with it."""

    exit_code: int
    message: str


def fail(code: int, message: str) -> int:
    """Print a message for the user to stderr and return the exit code."""
    print(f"avroglob: {message}", file=sys.stderr)
    return code


def explain(error: Exception) -> Report | None:
    """Explain an error that the user or the storage made; None for one that is a bug of ours."""
    code, kinds = _s3_error_code(error), [type(link).__name__ for link in _chain(error)]
    exit_code = _exit_code(error, code, kinds)
    if exit_code is None:
        return None
    hint = _HINTS_BY_S3_CODE.get(code or "") or next(
        (_HINTS_BY_EXCEPTION[kind] for kind in kinds if kind in _HINTS_BY_EXCEPTION), ""
    )
    lines = [_message(error), *getattr(error, "__notes__", ()), hint]
    return Report(exit_code, "\n".join(line for line in lines if line))


def _s3_error_code(error: BaseException) -> str | None:
    """The S3 error code (``NoSuchBucket``, ``403``) behind an error or its causes, if any."""
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, Mapping) and "Error" in response:
            return str(response["Error"].get("Code"))
    return None


def _exit_code(error: Exception, s3_code: str | None, kinds: list[str]) -> int | None:
    if not _WRONG_VALUES.isdisjoint(kinds):
        return EXIT_USAGE
    if isinstance(error, FileNotFoundError):
        return EXIT_STORAGE if s3_code == "NoSuchBucket" or _unreached(error) else EXIT_NO_MATCH
    if isinstance(error, IsADirectoryError):
        return EXIT_USAGE
    if s3_code or isinstance(error, OSError) or _is_from_a_client(error):
        return EXIT_STORAGE
    return EXIT_USAGE if isinstance(error, ValueError | ImportError) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _unreached(error: FileNotFoundError) -> OSError | None:
    """Why a server could not be asked; fsspec's HTTP filesystem takes that for "not found"."""
    for link in _chain(error):
        if isinstance(link, OSError) and not isinstance(link, FileNotFoundError):
            return link
    return None


def _is_from_a_client(error: BaseException) -> bool:
    modules = ("botocore.exceptions", "aiohttp.client_exceptions")
    return any(base.__module__ in modules for base in type(error).__mro__)


def _message(error: Exception) -> str:
    """Take the message of an error without the number that ``str(OSError)`` puts before it."""
    if isinstance(error, FileNotFoundError) and (reason := _unreached(error)):
        return f"{error}: {reason}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
