"""The S3 operations of the synthetic endpoint: from an HTTP request to its response."""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from benchmarks.content import Repeated, from_name
from benchmarks.keyspace import Keyspace, Listing, from_spec
from benchmarks.rendering import (
    Objects,
    Query,
    error_result,
    list_result,
)

PAGE_SIZE_LIMIT = 1000
_RANGE = re.compile(r"bytes=(?=.*\d)(\d*)-(\d*)")


class Request(NamedTuple):
    """An HTTP request; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


class Response(NamedTuple):
    """An HTTP response; a HEAD's has the Content-Length of the body that it leaves out."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/xml"


class _Refusal(Exception):
    """A request that S3 answers with an error document."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Stored:
    """The content and the metadata of the objects of a bucket."""

    def __init__(self, content: Repeated) -> None:
        self.content = content
        self.objects = Objects(content.size)


class Service:
    """Buckets of generated keys behind the read-only part of S3's interface, path style."""

    def __init__(self, content: Repeated) -> None:
        """Start without buckets; objects of buckets that do not say otherwise hold `content`."""
        self.page_size = PAGE_SIZE_LIMIT
        self.empty_pages = 0
        self.buckets: dict[str, Keyspace] = {}
        self._stored = _Stored(content)
        self._stored_in: dict[str, _Stored] = {}

    def add_buckets(self, buckets: Mapping[str, str | list[str]]) -> None:
        """Add or replace buckets, each given as a keyspace's spec or as the list of its keys.

        A spec may say after an `@` what the objects hold: `counters:64@avro:rows=20000`.
        """
        for name, keys in buckets.items():
            spec, _, content = keys.partition("@") if isinstance(keys, str) else ("", "", "")
            self.buckets[name] = from_spec(spec) if spec else Keyspace.of(keys)
            self._stored_in.pop(name, None)
            if content:
                self._stored_in[name] = _Stored(from_name(content))

    def _of(self, bucket: str) -> _Stored:
        return self._stored_in.get(bucket, self._stored)

    def operation(self, request: Request) -> str:
        """Return S3's name for what `request` asks, or its method when it is no operation here."""
        path, _, query = request.target.partition("?")
        _, _, key = path.lstrip("/").partition("/")
        if request.method == "HEAD":
            return "HeadObject" if key else "HeadBucket"
        if request.method != "GET":
            return request.method
        if key:
            return "GetObject"
        return "ListObjectsV2" if "list-type=2" in query else "ListObjects"

    def respond(self, operation: str, request: Request) -> Response:
        """Answer `request`, which asks for `operation`, with the result or an error document."""
        path, _, query = request.target.partition("?")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        try:
            if operation not in ("ListObjectsV2", "HeadBucket", "HeadObject", "GetObject"):
                message = "The endpoint of the benchmarks lists and reads."
                raise _Refusal(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message)
            if bucket not in self.buckets:
                message = "The specified bucket does not exist"
                raise _Refusal(HTTPStatus.NOT_FOUND, "NoSuchBucket", message)
            if operation == "ListObjectsV2":
                return self._list(bucket, dict(parse_qsl(query, keep_blank_values=True)))
            if operation == "HeadBucket":
                return Response(200, headers=(("x-amz-bucket-region", "us-east-1"),))
            return self._read(bucket, key, request)
        except _Refusal as refusal:
            body = error_result(refusal.code, str(refusal), path)
            return Response(refusal.status, body)

    def _list(self, bucket: str, parameters: Mapping[str, str]) -> Response:
        token = parameters.get("continuation-token", "")
        requested = parameters.get("max-keys", "1000")
        if not requested.isdecimal():
            message = "Argument max-keys must be an integer between 0 and 2147483647"
            raise _Refusal(HTTPStatus.BAD_REQUEST, "InvalidArgument", message)
        query = Query(
            bucket,
            prefix=parameters.get("prefix", ""),
            delimiter=parameters.get("delimiter", ""),
            start_after=parameters.get("start-after", ""),
            continuation_token=token,
            max_keys=min(int(requested), self.page_size),
            url=parameters.get("encoding-type") == "url",
        )
        empty, marker = _place(token) if token else (self.empty_pages, query.start_after)
        if empty:
            listing = Listing([], [], truncated=True, next_marker=marker)
            next_token = _token(empty - 1, marker)
        else:
            space = self.buckets[bucket]
            listing = space.page(query.prefix, query.delimiter, marker, query.max_keys)
            following = listing.next_marker
            next_token = "" if following is None else _token(self.empty_pages, following)
        return Response(200, list_result(query, listing, next_token, self._of(bucket).objects))

    def _read(self, bucket: str, key: str, request: Request) -> Response:
        if key not in self.buckets[bucket]:
            message = "The specified key does not exist."
            raise _Refusal(HTTPStatus.NOT_FOUND, "NoSuchKey", message)
        stored = self._of(bucket)
        metadata = stored.objects.of(key)
        start, stop = _range(request.headers.get("range", ""), metadata.size)
        headers = [
            ("Accept-Ranges", "bytes"),
            ("ETag", f'"{metadata.etag}"'),
            ("Last-Modified", metadata.http_modified),
        ]
        status = HTTPStatus.OK
        if stop - start != metadata.size:
            status = HTTPStatus.PARTIAL_CONTENT
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{metadata.size}"))
        body = stored.content.read(start, stop)
        return Response(status, body, tuple(headers), "binary/octet-stream")


def _range(header: str, size: int) -> tuple[int, int]:
    """Return the bounds that a Range header asks for; any but one of bytes is ignored."""
    asked = _RANGE.fullmatch(header)
    if asked is None:
        return 0, size
    first, last = asked.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        message = "The requested range is not satisfiable"
        raise _Refusal(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange", message)
    return start, stop


def _token(empty: int, marker: str) -> str:
    """Return an opaque token, as AWS's are: clients that take it for a key fail here as there.

    empty: pages without entries before the one that follows `marker`.
    """
    return f"{empty}." + urlsafe_b64encode(marker.encode()).decode()


def _place(token: str) -> tuple[int, str]:
    empty, _, marker = token.partition(".")
    try:
        return int(empty), b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        message = "The continuation token provided is incorrect"
        raise _Refusal(HTTPStatus.BAD_REQUEST, "InvalidArgument", message) from None


def json_response(value: object) -> Response:
    """Return the answer of a control request."""
    return Response(200, json.dumps(value).encode(), content_type="application/json")
