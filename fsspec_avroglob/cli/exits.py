"""Exit codes, and what the command prints about a failure."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator

import aiohttp
import botocore.exceptions as boto

from fsspec_avroglob.errors import PatternError, RefusedKeysError, printable
from fsspec_avroglob.s3.translation import error_code

NEWLINE = "\n"
_OF_SEVERAL_LINES = (PatternError, RefusedKeysError)

EXIT_OK = 0
EXIT_NO_MATCH = EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_STORAGE = 3
EXIT_FOUND = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_WRONG_VALUES = (boto.ProfileNotFound, boto.InvalidRegionError, boto.ParamValidationError)
_CLIENT_ERRORS = (boto.BotoCoreError, boto.ClientError, aiohttp.ClientError)
# Notes name storage options; this line names the matching command-line options.
_OPTIONS = (
    "Storage options on the command line: --endpoint-url, --profile, --region, --no-sign-request, "
    "--max-retries, and -o NAME=VALUE for any other."
)


def no_match(*patterns: str) -> str:
    """Return the message for patterns without a match; a local path may lack its ``s3://``."""
    local = "" if any("://" in one for one in patterns) else " here; on S3 it is s3://bucket/key"
    return f"nothing matches {' '.join(patterns)}{local}"


def tell(message: str) -> None:
    """Print a message for the user to stderr, without what a terminal obeys or hides."""
    print(f"avroglob: {printable(message, keep=NEWLINE)}", file=sys.stderr)


def fail(code: int, message: str) -> int:
    """Print a message for the user to stderr and return the exit code."""
    tell(message)
    return code


def report(error: Exception, debug: bool) -> int:
    """Print the error that is being handled, with its advice, and return the exit code."""
    code = exit_code(error)
    if code is None or debug:
        print(printable(traceback.format_exc(), keep=NEWLINE), end="", file=sys.stderr)
    if code is None:
        return fail(EXIT_BUG, "this is a bug; please report it with the lines above")
    notes = dict.fromkeys(
        printable(note) for link in _chain(error) for note in getattr(link, "__notes__", ())
    )
    options = [_OPTIONS] if notes and code == EXIT_STORAGE else []
    return fail(code, "\n".join([_message(error), *notes, *options]))


def exit_code(error: Exception) -> int | None:
    """The exit code for an error of the user or the storage; None for a bug of this package."""
    chain = list(_chain(error))
    s3_codes = list(filter(None, map(error_code, chain)))
    if any(isinstance(link, _WRONG_VALUES) for link in chain):
        return EXIT_USAGE
    if isinstance(error, FileNotFoundError):
        return EXIT_STORAGE if "NoSuchBucket" in s3_codes or _unreached(error) else EXIT_NO_MATCH
    if isinstance(error, IsADirectoryError):
        return EXIT_USAGE
    if s3_codes or isinstance(error, (OSError, *_CLIENT_ERRORS)):
        return EXIT_STORAGE
    return EXIT_USAGE if isinstance(error, ValueError | ImportError) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _unreached(error: FileNotFoundError) -> OSError | None:
    """The connection error behind a "not found": fsspec's HTTP filesystem raises one for both."""
    for link in _chain(error):
        if isinstance(link, OSError) and not isinstance(link, FileNotFoundError):
            return link
    return None


def _message(error: Exception) -> str:
    """The message of an error, without the number that ``str(OSError)`` starts with.

    Only errors that quote what they name have more than one line.
    """
    text = _plain_message(error)
    return text if isinstance(error, _OF_SEVERAL_LINES) else printable(text)


def _plain_message(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and (reason := _unreached(error)):
        return f"{error}: {reason}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
