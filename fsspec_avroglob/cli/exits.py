"""Exit codes, and what the command line prints about a failure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

EXIT_OK = 0
EXIT_NO_MATCH = EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_STORAGE = 3
EXIT_FOUND = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

# By names: of the code of an S3 error, or of an exception's class.
_HINTS = {
    "Check the bucket's name, and --endpoint-url if it is not on AWS.": "NoSuchBucket",
    "Give credentials with --profile or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "for a public bucket use --no-sign-request.": "AccessDenied AllAccessDisabled 403 "
    "InvalidAccessKeyId NoCredentialsError PartialCredentialsError CredentialRetrievalError",
    "The secret key does not belong to the access key; check both.": "SignatureDoesNotMatch",
    "The session's credentials have expired; renew them (aws sso login).": "ExpiredToken",
    "The session token is not valid here; renew it, or check --endpoint-url.": "InvalidToken",
    "Give the bucket's region with --region or AWS_REGION.": "PermanentRedirect "
    "AuthorizationHeaderMalformed",
    "Try again later, or with a higher --max-retries.": "SlowDown ServiceUnavailable 503",
    "Log in again: aws sso login.": "TokenRetrievalError UnauthorizedSSOTokenError "
    "SSOTokenLoadError",
    "Check --endpoint-url (or AWS_ENDPOINT_URL) and the network.": "EndpointConnectionError "
    "ConnectTimeoutError ReadTimeoutError ConnectionClosedError",
    "Name your own certificates with AWS_CA_BUNDLE.": "SSLError",
    "List the profiles with: aws configure list-profiles.": "ProfileNotFound",
}
_HINT_BY_NAME = {name: hint for hint, names in _HINTS.items() for name in names.split()}
_WRONG_VALUES = frozenset({"ProfileNotFound", "InvalidRegionError", "ParamValidationError"})


class Report(NamedTuple):
    """What to print about an error, and the exit code that goes with it."""

    exit_code: int
    message: str


def no_match(*patterns: str) -> str:
    """The message that nothing matches; a local path may be a key without its ``s3://``."""
    local = "" if any("://" in one for one in patterns) else " here; on S3 it is s3://bucket/key"
    return f"nothing matches {' '.join(patterns)}{local}"


def fail(code: int, message: str) -> int:
    """Print a message for the user to stderr and return the exit code."""
    print(f"avroglob: {message}", file=sys.stderr)
    return code


def explain(error: Exception) -> Report | None:
    """Explain an error that the user or the storage caused; None for a bug of this package."""
    code, kinds = _s3_error_code(error), [type(link).__name__ for link in _chain(error)]
    exit_code = _exit_code(error, code, kinds)
    if exit_code is None:
        return None
    hint = next((_HINT_BY_NAME[name] for name in [code, *kinds] if name in _HINT_BY_NAME), "")
    lines = [_message(error), *getattr(error, "__notes__", ()), hint]
    return Report(exit_code, "\n".join(filter(None, lines)))


def _s3_error_code(error: BaseException) -> str | None:
    """The S3 error code (``NoSuchBucket``, ``403``) of an error or one of its causes, if any."""
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
    """The connection error behind a "not found", as fsspec's HTTP filesystem reports both."""
    for link in _chain(error):
        if isinstance(link, OSError) and not isinstance(link, FileNotFoundError):
            return link
    return None


def _is_from_a_client(error: BaseException) -> bool:
    modules = ("botocore.exceptions", "aiohttp.client_exceptions")
    return any(base.__module__ in modules for base in type(error).__mro__)


def _message(error: Exception) -> str:
    """The message of an error, without the number that ``str(OSError)`` starts with."""
    if isinstance(error, FileNotFoundError) and (reason := _unreached(error)):
        return f"{error}: {reason}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
