"""Lasting faults of a server, and how many requests each operation then sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.support.proxy import FaultProxy


class Fault(NamedTuple):
    """What always happens to an operation, and how many requests it then makes of one."""

    inject: Callable[[FaultProxy, str], None]
    requests: int
    where: Callable[[str], bool] = lambda operation: True


def answers(status: int, code: str = "Unheard") -> Callable[[FaultProxy, str], None]:
    return lambda proxy, operation: proxy.fail(operation, status, code)


def sends(status: int, body: bytes) -> Callable[[FaultProxy, str], None]:
    return lambda proxy, operation: proxy.fail(operation, status, body=body)


def has_body(operation: str) -> bool:
    """Whether the operation's answer is XML."""
    return operation in (
        "CopyObject",
        "CreateMultipartUpload",
        "DeleteObjects",
        "GetBucketVersioning",
        "GetObjectTagging",
        "ListBuckets",
        "ListMultipartUploads",
        "ListObjectsV2",
    )


def is_no_head(operation: str) -> bool:
    """False where botocore asks once more, since the bucket may be in another region."""
    return operation != "HeadObject"


PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Hello</body></html>"
WELL_FORMED_PAGE = b"<html><body><h1>Sorry</h1></body></html>"
FAULTS: dict[str, Fault] = {
    **{f"status {status}": Fault(answers(status), 3) for status in (408, 429, 500, 502, 503, 504)},
    **{f"status {status}": Fault(answers(status), 1) for status in (403, 404, 409, 418, 501)},
    "status 400": Fault(answers(400), 1, is_no_head),
    "SlowDown": Fault(answers(503, "SlowDown"), 3),
    "InternalError": Fault(answers(500, "InternalError"), 3),
    "access denied": Fault(answers(403, "AccessDenied"), 1),
    "token expired": Fault(answers(400, "ExpiredToken"), 1, is_no_head),
    "clock skew": Fault(answers(403, "RequestTimeTooSkewed"), 1),
    "dropped": Fault(lambda proxy, operation: proxy.drop(operation), 3),
    "a proxy's 502": Fault(sends(502, PAGE), 3),
    "a proxy's 403": Fault(sends(403, WELL_FORMED_PAGE), 1),
    "an error behind 200": Fault(answers(200, "InternalError"), 3, has_body),
    "a final error behind 200": Fault(answers(200, "AccessDenied"), 1, has_body),
    "a page for an answer": Fault(sends(200, PAGE), 3),
    "a well-formed page": Fault(sends(200, WELL_FORMED_PAGE), 3),
    "text for an answer": Fault(sends(200, b"OK"), 3),
    "nothing for an answer": Fault(sends(200, b""), 3, has_body),
    "XML cut short": Fault(
        sends(200, b"<?xml version='1.0'?>\n<ListBucketResult><Name>b</Na"), 3, has_body
    ),
}
