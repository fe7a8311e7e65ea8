"""Errors as botocore and aiohttp raise them, and what a call gives or raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import s3fs
from botocore.exceptions import ClientError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

URL_TEXT = "http://endpoint.invalid/"


def client_error(
    code: str = "SlowDown", status: int | None = 503, headers: dict[str, str] | None = None
) -> ClientError:
    """The error botocore makes of an S3 error response."""
    metadata: dict[str, Any] = {"HTTPHeaders": headers or {}}
    if status is not None:
        metadata["HTTPStatusCode"] = status
    response = {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": metadata}
    return ClientError(response, "GetObject")


def aiohttp_answer(status: int) -> aiohttp.ClientResponseError:
    """The error aiohttp makes of an answer's status."""
    request = aiohttp.RequestInfo(
        URL(URL_TEXT), "GET", CIMultiDictProxy(CIMultiDict()), URL(URL_TEXT)
    )
    return aiohttp.ClientResponseError(request, (), status=status)


def outcome(call: Callable[[s3fs.S3FileSystem, str], Any], fs: s3fs.S3FileSystem, path: str) -> Any:
    """What a call gives, or the type of the OSError that it raises."""
    try:
        return call(fs, path)
    except OSError as error:
        return type(error)
