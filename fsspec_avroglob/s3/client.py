"""Takes listing pages and objects from botocore before its parsers spend their time on them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import botocore.handlers

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page
    from fsspec_avroglob.s3.prepared import PreparedRequests

_PAGE = "fsspec_avroglob.s3.page"

_wanted: ContextVar[str | None] = ContextVar("wanted", default=None)

_READ_HEADERS = ("ETag", "Content-Length", "Content-Range", "x-amz-version-id")


class PageReader:
    """Gets pages of listings through clients of S3, each of which it makes ready once."""

    def __init__(self) -> None:
        self.clients: WeakKeyDictionary[Any, PreparedRequests] = WeakKeyDictionary()

    async def page(self, client: Any, arguments: Mapping[str, str], *, detail: bool) -> Page:
        """The page that ``client.list_objects_v2(**arguments)`` brings, from its bytes if possible.

        detail: whether the info dicts of all keys will be asked for. Raises what botocore raises.
        """
        lists = self.clients.get(client)
        if lists is None:
            from fsspec_avroglob.s3.prepared import LISTS, PreparedRequests  # see filesystem

            _take_pages_of(client)
            lists = self.clients[client] = PreparedRequests(client, LISTS)
        before = _wanted.set("infos" if detail else "keys")
        try:
            response = await lists.send(client, arguments)
        finally:
            _wanted.reset(before)
        from fsspec_avroglob.s3.page import page_from_response  # see lists

        page: Page | None = response.get(_PAGE)
        return page_from_response(response) if page is None else page


class ObjectReader:
    """Sends GETs of objects through clients of S3, each of which it makes ready once."""

    def __init__(self) -> None:
        self.clients: WeakKeyDictionary[Any, PreparedRequests] = WeakKeyDictionary()

    async def get(self, client: Any, arguments: Mapping[str, str]) -> Any:
        """As ``client.get_object(**arguments)``, without what the answer tells but of the bytes.

        It has ``Body``, ``ETag``, ``ContentLength``, ``ContentRange`` and ``VersionId`` alone.
        """
        gets = self.clients.get(client)
        if gets is None:
            from fsspec_avroglob.s3.prepared import GETS, PreparedRequests  # see filesystem

            client.meta.events.register_first("before-parse.s3.GetObject", _leave_out_headers)
            gets = self.clients[client] = PreparedRequests(client, GETS)
        before = _wanted.set("object")
        try:
            return await gets.send(client, arguments)
        finally:
            _wanted.reset(before)


def _leave_out_headers(response_dict: dict[str, Any], **_: Any) -> None:
    """Botocore's ``before-parse`` handler: leave its parser the headers that are read.

    It looks for some forty, and takes long over a date.
    """
    if _wanted.get() == "object" and response_dict["status_code"] in (200, 206):
        headers = response_dict["headers"]
        response_dict["headers"] = {
            name: headers[name] for name in _READ_HEADERS if name in headers
        }


def _take_pages_of(client: Any) -> None:
    """Have :func:`_take_page` see the responses of *client* before botocore's handlers do.

    Botocore parses each body once more beforehand, to find errors behind status 200. Handlers run
    in the order in which they registered as first, so its own is taken out and put back behind
    ours.
    """
    events, event = client.meta.events, "before-parse.s3.*"
    seeks_errors = getattr(botocore.handlers, "_handle_200_error", None)
    if seeks_errors is not None:
        events.unregister(event, seeks_errors)
    events.register_first(event, _take_page)
    if seeks_errors is not None:
        events.register_first(event, seeks_errors)


def _take_page(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Botocore's ``before-parse`` handler: read the page here, leave its parser next to nothing.

    A body that is not fully understood is left as it is, for botocore to parse or to find the
    error in.
    """
    wanted = _wanted.get()
    if wanted not in ("infos", "keys") or response_dict["status_code"] != 200:
        return
    from fsspec_avroglob.s3.page import UnrecognizedPage, parse_page  # see lists

    try:
        page = parse_page(response_dict["body"], detail=wanted == "infos")
    except UnrecognizedPage:
        return
    customized_response_dict[_PAGE] = page
    response_dict["body"] = b"<ListBucketResult/>"
