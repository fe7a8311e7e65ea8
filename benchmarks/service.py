"""The S3 operations of the synthetic endpoint: they turn an HTTP request into a response."""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from benchmarks.content import Repeated, from_name
from benchmarks.keyspace import Keyspace, Listing, from_spec
from benchmarks.rendering import Objects, Query, error_result, list_result

PAGE_SIZE_LIMIT = 1000
_RANGE = re.compile(r"bytes=(?=.*\d)(\d*)-(\d*)")


class _Refusal(Exception):
    """S3 would answer the request with an error document."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Service:
    """Buckets of generated keys behind the read-only part of S3's interface, path style."""

    def __init__(self, content: Repeated) -> None:
        """Start without buckets. Objects hold `content` unless the spec of their bucket has one."""
        self.page_size = PAGE_SIZE_LIMIT
        self.empty_pages = 0
        self.buckets: dict[str, Keyspace] = {}
        self._default = (content, Objects(content.size))
        self._stored: dict[str, tuple[Repeated, Objects]] = {}  # by bucket

    def add_buckets(self, buckets: Mapping[str, str | list[str]]) -> None:
        """Add or replace buckets, by name: the spec of a keyspace or the list of the keys.

        The part of a spec after `@` is the content of the objects: `counters:64@avro:rows=20000`.
        """
        for name, keys in buckets.items():
            spec, _, content = keys.partition("@") if isinstance(keys, str) else ("", "", "")
            self.buckets[name] = from_spec(spec) if spec else Keyspace.of(keys)
            self._stored.pop(name, None)
            if content:
                made = from_name(content)
                self._stored[name] = (made, Objects(made.size))

    def operation(self, request: web.BaseRequest) -> str:
        """Return S3's name of the operation, or the method if this service does not know it."""
        path, _, query = request.raw_path.partition("?")
        _, _, key = path.lstrip("/").partition("/")
        if request.method == "HEAD":
            return "HeadObject" if key else "HeadBucket"
        if request.method != "GET":
            return request.method
        if key:
            return "GetObject"
        return "ListObjectsV2" if "list-type=2" in query else "ListObjects"

    def respond(self, operation: str, request: web.BaseRequest) -> web.Response:
        """Answer a request for `operation` with the result or an error document."""
        path, _, query = request.raw_path.partition("?")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        try:
            if operation not in ("ListObjectsV2", "HeadBucket", "HeadObject", "GetObject"):
                message = "The endpoint of the benchmarks lists and reads."
                raise _Refusal(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message)
            if bucket not in self.buckets:
                message = "The specified bucket does not exist"
                raise _Refusal(HTTPStatus.NOT_FOUND, "NoSuchBucket", message)
            if operation == "ListObjectsV2":
                body = self._list(bucket, dict(parse_qsl(query, keep_blank_values=True)))
                return web.Response(body=body, content_type="application/xml")
            if operation == "HeadBucket":
                return web.Response(headers={"x-amz-bucket-region": "us-east-1"})
            return self._read(bucket, key, request.headers.get("Range", ""))
        except _Refusal as refusal:
            body = error_result(refusal.code, str(refusal), path)
            return web.Response(body=body, status=refusal.status, content_type="application/xml")

    def _list(self, bucket: str, parameters: Mapping[str, str]) -> bytes:
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
        empty, marker = _parse_token(token) if token else (self.empty_pages, query.start_after)
        if empty:
            listing = Listing([], [], truncated=True, next_marker=marker)
            next_token = _token(empty - 1, marker)
        else:
            keyspace = self.buckets[bucket]
            listing = keyspace.page(query.prefix, query.delimiter, marker, query.max_keys)
            following = listing.next_marker
            next_token = "" if following is None else _token(self.empty_pages, following)
        _, objects = self._stored.get(bucket, self._default)
        return list_result(query, listing, next_token, objects)

    def _read(self, bucket: str, key: str, range_header: str) -> web.Response:
        if key not in self.buckets[bucket]:
            message = "The specified key does not exist."
            raise _Refusal(HTTPStatus.NOT_FOUND, "NoSuchKey", message)
        content, objects = self._stored.get(bucket, self._default)
        metadata = objects.of(key)
        start, stop = _range(range_header, metadata.size)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": "binary/octet-stream",
            "ETag": f'"{metadata.etag}"',
            "Last-Modified": metadata.http_modified,
        }
        status = HTTPStatus.OK
        if stop - start != metadata.size:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{metadata.size}"
        return web.Response(body=content.read(start, stop), status=status, headers=headers)


def _range(header: str, size: int) -> tuple[int, int]:
    """Return the bounds of a Range header; the whole object unless it is one range of bytes."""
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
    """Return an opaque token, as AWS does, so that a client that uses it as a key fails.

    empty: number of pages without entries before the page that follows `marker`.
    """
    return f"{empty}." + urlsafe_b64encode(marker.encode()).decode()


def _parse_token(token: str) -> tuple[int, str]:
    empty, _, marker = token.partition(".")
    try:
        return int(empty), b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        message = "The continuation token provided is incorrect"
        raise _Refusal(HTTPStatus.BAD_REQUEST, "InvalidArgument", message) from None
