"""Requests through botocore's S3 client, and which of their answers are S3's.

Botocore keeps signing, endpoints, credentials and errors. Its ``before-parse`` event hands over an
answer before its parsers read it: pages of listings are decoded there, and answers that are not
from S3 are refused there.

A login page or a proxy answers 200 to anything. So an answer counts as S3's only if it has what
every server of S3's API sends for the operation:

- GetObject, HeadObject, PutObject, UploadPart: an ETag. HeadObject also has a length and a date;
- answers in XML: the root element of the operation, which is never ``html``;
- all others: status 204, or a header whose name begins with ``x-amz-`` (``x-goog-`` and
  ``x-guploader-`` at Google). Without them a delete is refused, and a body must be XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import botocore.handlers

from fsspec_avroglob.s3.classification import UnexpectedAnswerError
from fsspec_avroglob.s3.redirects import follow_redirect
from fsspec_avroglob.s3.transport import RequestBody

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page

# The headers of a GET that its caller reads.
_READ_HEADERS = ("ETag", "Content-Length", "Content-Range", "x-amz-version-id")

# What callers read of an answer, by operation.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "GetObject": ("ETag",),
    "HeadObject": ("ETag", "ContentLength", "LastModified"),
    "PutObject": ("ETag",),
    "UploadPart": ("ETag",),
    "CreateMultipartUpload": ("UploadId",),
}
_ROOTS: Mapping[str, tuple[str, ...]] = {
    "CompleteMultipartUpload": ("CompleteMultipartUploadResult", "Error"),
    "CopyObject": ("CopyObjectResult", "Error"),
    "CreateMultipartUpload": ("InitiateMultipartUploadResult",),
    "DeleteObjects": ("DeleteResult", "Error"),
    "ListObjectsV2": ("ListBucketResult", "Error"),
    "UploadPartCopy": ("CopyPartResult", "CopyObjectResult", "Error"),
}
_SIGNS_OF_S3 = ("x-amz-", "x-goog-", "x-guploader-")
_root_element = re.compile(
    rb"(?:\s++|<\?xml[^>]*+>|<!--.*?-->|<!DOCTYPE\s[^>\[]*+(?:\[.*?\]\s*+)?>)*+"
    rb"<(?:[\w.-]+:)?([\w.-]+)",
    re.DOTALL | re.IGNORECASE,
).match

MAX_KEY_BYTES = 1024
"""The longest key that listings accept, in UTF-8. S3 allows no longer one."""


@dataclass
class _Call:
    """A request in flight: what it is, and whether its answer has arrived.

    getting: only the headers of `_READ_HEADERS` are read. listing: pages are decoded here; `detail`
    is that of `list_page`.
    """

    operation: str
    path: str
    getting: bool = False
    listing: bool = False
    detail: bool = False
    answered: bool = False
    page: Page | None = None

    def unexpected(self, what: str) -> UnexpectedAnswerError:
        """Return the error for an answer: *what* continues "the answer to GetObject of 'b/k'"."""
        return UnexpectedAnswerError(f"the answer to {self.operation} of {self.path!r} {what}")


_call: ContextVar[_Call | None] = ContextVar("_call", default=None)


def prepare_client(client: Any) -> None:
    """Register the handlers of this module with a client; call this once for each client."""
    events = client.meta.events
    events.register("before-parse.s3.*", _refuse_foreign_answer)
    events.register_first("before-parse.s3.GetObject", _leave_out_headers)
    events.register_first("needs-retry.s3", follow_redirect)
    # Botocore's own first handler parses each body to find errors behind status 200. It has to run
    # after _take_page, so it is registered again.
    find_errors = getattr(botocore.handlers, "_handle_200_error", None)
    if find_errors is not None:
        events.unregister("before-parse.s3.*", find_errors)
    events.register_first("before-parse.s3.*", _take_page)
    if find_errors is not None:
        events.register_first("before-parse.s3.*", find_errors)


async def send(client: Any, method: str, arguments: Mapping[str, Any]) -> Any:
    """Send ``client.method(**arguments)``, for a client that `prepare_client` has prepared.

    Raises
    ------
    UnexpectedAnswerError
        The answer is not S3's, or it is malformed.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        What botocore raises.
    """
    if isinstance(arguments.get("Body"), bytes):
        arguments = {**arguments, "Body": RequestBody(arguments["Body"])}
    with _calling(client, method, arguments) as call:
        return _complete(call, await getattr(client, method)(**arguments))


async def list_page(client: Any, arguments: Mapping[str, str], *, detail: bool) -> Page:
    """Send ``client.list_objects_v2(**arguments)`` and decode the page.

    Parameters
    ----------
    client
        A client that `prepare_client` has prepared.
    detail
        Whether the caller needs the info dicts of all keys.

    Raises
    ------
    UnexpectedAnswerError
        The answer is not a complete page, or has a key of more than `MAX_KEY_BYTES`.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        What botocore raises.
    """
    from fsspec_avroglob.s3.page import page_from_response  # imported with the first LIST

    with _calling(client, "list_objects_v2", arguments) as call:
        call.listing, call.detail = True, detail
        response = await client.list_objects_v2(**arguments)
        page = call.page or page_from_response(response)
        for keys in (page.keys, page.prefixes):
            _check_lengths(call, keys)
        return page


async def get_object(client: Any, arguments: Mapping[str, str]) -> Any:
    """Send ``client.get_object(**arguments)``.

    Returns
    -------
    dict
        ``Body``, ``ETag``, ``ContentLength``, ``ContentRange`` and ``VersionId`` of the response.
        Parsing the other headers takes a fifth of the CPU time of a small GET.
    """
    with _calling(client, "get_object", arguments) as call:
        call.getting = True
        return _complete(call, await client.get_object(**arguments))


@contextmanager
def _calling(client: Any, method: str, arguments: Mapping[str, Any]) -> Iterator[_Call]:
    """Name the request for the handlers, and an answer that makes botocore's parsers fail."""
    operation = client.meta.method_to_api_mapping.get(method, method)
    name = arguments.get("Key") or arguments.get("Prefix")
    bucket = arguments.get("Bucket") or ""
    call = _Call(operation, f"{bucket}/{name}" if name else bucket)
    token = _call.set(call)
    try:
        yield call
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not call.answered:
            raise
        # Botocore's parsers and handlers raise these for missing fields and values of a wrong type.
        raise call.unexpected(f"is malformed: {error!r}") from error
    except UnexpectedAnswerError as error:
        if call.answered:
            raise
        raise call.unexpected(f"is malformed: {error}") from error
    finally:
        _call.reset(token)


def _complete(call: _Call, response: Any) -> Any:
    """Return *response*. Raises UnexpectedAnswerError if it lacks what S3 always sends."""
    for name in _NEEDED.get(call.operation, ()):
        if response.get(name) is None:
            body = response.get("Body")
            if body is not None:
                body.close()
            raise call.unexpected(f"has no {name}: it is not S3's")
    return response


def _check_lengths(call: _Call, keys: list[str]) -> None:
    longest = max(map(len, keys), default=0)
    if 4 * longest <= MAX_KEY_BYTES:  # a character has at most 4 bytes
        return
    for key in keys:
        size = len(key.encode("utf-8", "surrogatepass"))
        if size > MAX_KEY_BYTES:
            what = f"has a key of {size:,} bytes, {key[:60] + '...'!r}"
            raise call.unexpected(f"{what}; S3's keys have at most {MAX_KEY_BYTES:,}")


def _leave_out_headers(response_dict: dict[str, Any], **_: Any) -> None:
    """Remove the headers that the caller of `get_object` does not read."""
    call = _call.get()
    if call is not None and call.getting and response_dict["status_code"] in (200, 206):
        headers = response_dict["headers"]
        kept = {name: headers[name] for name in _READ_HEADERS if name in headers}
        if "Last-Modified" in headers:
            kept["x-last-modified"] = headers["Last-Modified"]  # text, which nobody parses
        response_dict["headers"] = kept


def _take_page(response_dict: dict[str, Any], **_: Any) -> None:
    """Decode a page and leave an empty body to botocore's parsers.

    A body that is not fully understood stays for botocore, which also finds errors in it.
    """
    call = _call.get()
    if call is None:
        return
    call.answered = True
    if not call.listing or response_dict["status_code"] != 200:
        return
    from fsspec_avroglob.s3.entries import UnrecognizedPage  # see list_page
    from fsspec_avroglob.s3.page import parse_page

    try:
        call.page = parse_page(response_dict["body"], detail=call.detail)
    except UnrecognizedPage:
        return
    response_dict["body"] = b"<ListBucketResult/>"


def _refuse_foreign_answer(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """Raise UnexpectedAnswerError if an answer that tells of success is not S3's."""
    body, status = response_dict["body"], response_dict["status_code"]
    if status >= 300 or not isinstance(body, bytes):
        return
    name = operation_model.name
    what = _foreign(operation_model, status, response_dict["headers"], body)
    if what is not None:
        call = _call.get() or _Call(name, "")
        raise call.unexpected(what)


def _foreign(
    operation_model: Any, status: int, headers: Mapping[str, str], body: bytes
) -> str | None:
    """What shows that an answer is not S3's; None if nothing does."""
    name = operation_model.name
    # Some servers send white space to keep a connection alive while they work.
    root = _root_element(body)
    element = root[1].decode() if root else ""
    if element.lower() == "html" or body[:14].lower() == b"<!doctype html":
        return "is an HTML page: it is not S3's"
    if _answers_in_xml(operation_model):
        if not body.strip():
            return "is empty"
        if not element or (name in _ROOTS and element not in _ROOTS[name]):
            return "is not XML from S3"
        return None
    signed = any(header.lower().startswith(_SIGNS_OF_S3) for header in headers)
    if name in _NEEDED or status == 204 or signed:
        return None  # `_complete` looks for what is needed
    page = name == "HeadBucket" and "html" in headers.get("content-type", "").lower()
    if page or (body and not element) or name.startswith(("Delete", "Abort")):
        return f"has status {status} and no header of S3's"
    return None


@lru_cache
def _answers_in_xml(operation_model: Any) -> bool:
    """Return whether the answer to an operation has XML in its body."""
    shape = operation_model.output_shape
    if shape is None or operation_model.has_event_stream_output:
        return False
    payload = shape.serialization.get("payload")
    if payload is not None:
        return bool(shape.members[payload].type_name == "structure")
    return any("location" not in member.serialization for member in shape.members.values())
