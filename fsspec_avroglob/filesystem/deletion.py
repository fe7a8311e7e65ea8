"""Removing keys one by one, for servers and policies that refuse DeleteObjects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from botocore.exceptions import ClientError

from fsspec_avroglob.aio.tasks import for_each
from fsspec_avroglob.s3.translation import error_code

# Google's and older servers do not know the request, or want a Content-MD5 that botocore does not
# send; others check its signature wrongly. Policies may allow only DeleteObject.
_REFUSALS = (
    "AccessDenied",
    "BadDigest",
    "InvalidArgument",
    "InvalidDigest",
    "InvalidRequest",
    "MalformedXML",
    "MethodNotAllowed",
    "MissingContentMD5",
    "MissingDigest",
    "NotImplemented",
    "SignatureDoesNotMatch",
    "UnsupportedOperation",
    "XNotImplemented",
    "400",
    "403",
    "405",
    "411",
    "501",
)


def refuses_bulk_deletion(error: OSError) -> bool:
    """Whether the server refused the whole of a DeleteObjects, not single keys."""
    cause = error.__cause__
    answered = isinstance(cause, ClientError) and "ResponseMetadata" in cause.response
    return answered and error_code(cause) in _REFUSALS


async def delete_singly(
    paths: Sequence[str],
    delete: Callable[[str], Awaitable[object]],
    concurrency: int,
    refusal: OSError | None,
) -> list[str]:
    """Delete each of *paths*; return those that were deleted.

    *refusal* is the error of the bulk request, raised if the first key may not be deleted either.
    Otherwise the error of the first key that failed is raised at the end, and names all that
    remain.
    """
    removed: list[str] = []
    failures: dict[str, OSError] = {}

    async def one(path: str) -> None:
        try:
            await delete(path)
            removed.append(path)
        except OSError as error:
            failures[path] = error

    first = paths[:1] if refusal is not None else []
    await for_each(first, one, 1)
    if failures and refusal is not None:
        raise refusal
    await for_each(paths[len(first) :], one, concurrency)
    if failures:
        error = next(iter(failures.values()))
        error.add_note(f"{len(failures)} not deleted: {', '.join(list(failures)[:20])}")
        raise error
    return removed
