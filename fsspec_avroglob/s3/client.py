"""LISTs and GETs through botocore's S3 client.

Botocore keeps signing, endpoints, credentials and errors. Its ``before-parse`` event hands over the
body of an answer before the XML parser reads it: pages are decoded there, and answers that are not
from S3 are refused there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import botocore.handlers

from fsspec_avroglob.s3.classification import UnexpectedAnswerError

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page

# The headers of a GET that its caller reads.
_READ_HEADERS = ("ETag", "Content-Length", "Content-Range", "x-amz-version-id")


@dataclass
class _List:
    """A LIST in flight: whether its answer has arrived, and the page if it is decoded here."""

    detail: bool
    answered: bool = False
    page: Page | None = None


_listing: ContextVar[_List | None] = ContextVar("_listing", default=None)
_getting: ContextVar[bool] = ContextVar("_getting", default=False)


def prepare_client(client: Any) -> None:
    """Register the handlers of this module with a client; call this once for each client."""
    events = client.meta.events
    events.register("before-parse.s3.*", _refuse_foreign_answer)
    events.register_first("before-parse.s3.GetObject", _leave_out_headers)
    # Botocore's own first handler parses each body to find errors behind status 200. It has to run
    # after _take_page, so it is registered again.
    find_errors = getattr(botocore.handlers, "_handle_200_error", None)
    if find_errors is not None:
        events.unregister("before-parse.s3.*", find_errors)
    events.register_first("before-parse.s3.*", _take_page)
    if find_errors is not None:
        events.register_first("before-parse.s3.*", find_errors)


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
        The answer is not a complete page.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        What botocore raises.
    """
    from fsspec_avroglob.s3.page import page_from_response  # imported with the first LIST

    call = _List(detail)
    token = _listing.set(call)
    try:
        response = await client.list_objects_v2(**arguments)
        return call.page or page_from_response(response)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not call.answered:
            raise
        # Botocore's parser and handlers raise these for missing fields and values of a wrong type.
        path = f"{arguments['Bucket']}/{arguments.get('Prefix', '')}"
        what = f"the answer to ListObjectsV2 of {path!r} is malformed: {error!r}"
        raise UnexpectedAnswerError(what) from error
    finally:
        _listing.reset(token)


async def get_object(client: Any, arguments: Mapping[str, str]) -> Any:
    """Send ``client.get_object(**arguments)``.

    Returns
    -------
    dict
        ``Body``, ``ETag``, ``ContentLength``, ``ContentRange`` and ``VersionId`` of the response.
        Parsing the other headers takes a fifth of the CPU time of a small GET.
    """
    token = _getting.set(True)
    try:
        return await client.get_object(**arguments)
    finally:
        _getting.reset(token)


def _leave_out_headers(response_dict: dict[str, Any], **_: Any) -> None:
    """Remove the headers that the caller of `get_object` does not read."""
    if _getting.get() and response_dict["status_code"] in (200, 206):
        headers = response_dict["headers"]
        kept = {name: headers[name] for name in _READ_HEADERS if name in headers}
        if "Last-Modified" in headers:
            kept["x-last-modified"] = headers["Last-Modified"]  # text, which nobody parses
        response_dict["headers"] = kept


def _take_page(response_dict: dict[str, Any], **_: Any) -> None:
    """Decode a page and leave an empty body to botocore's parsers.

    A body that is not fully understood stays for botocore, which also finds errors in it.
    """
    call = _listing.get()
    if call is None or response_dict["status_code"] != 200:
        return
    from fsspec_avroglob.s3.entries import UnrecognizedPage  # see list_page
    from fsspec_avroglob.s3.page import parse_page

    call.answered = True
    try:
        call.page = parse_page(response_dict["body"], detail=call.detail)
    except UnrecognizedPage:
        return
    response_dict["body"] = b"<ListBucketResult/>"


def _refuse_foreign_answer(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """Raise UnexpectedAnswerError if the body must be XML from S3 and is not.

    Botocore reads an empty body, or XML that it does not know, as an answer without content: a
    listing would seem to be empty.
    """
    body = response_dict["body"]
    if response_dict["status_code"] >= 300 or not isinstance(body, bytes):
        return
    # Some servers send white space to keep a connection alive while they work.
    start = body[:64].lstrip() or body.lstrip()[:64]
    if start[:1] == b"<" and not start[:14].lower().startswith((b"<html", b"<!doctype html")):
        return
    if _answers_in_xml(operation_model):
        what = "is not XML from S3" if start else "is empty"
        raise UnexpectedAnswerError(f"the answer to {operation_model.name} {what}")


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
