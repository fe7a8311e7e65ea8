"""Errors that reach the caller have a text, and arrive whole from another process."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterator
from string import Formatter
from typing import Any

import aiohttp
import botocore.exceptions as boto
import pytest

from fsspec_avroglob.s3.classification import RedirectRefusedError, UnexpectedAnswerError
from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.requests import Requests, S3Request
from tests.conftest import MakeFs
from tests.support.errors import aiohttp_answer, client_error
from tests.support.proxy import FaultProxy
from tests.support.virtual_time import run_in_virtual_time

RESPONSE: Any = socket  # a module cannot be pickled


def kinds(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def of_botocore(kind: type[BaseException]) -> BaseException:
    names = [name for _, name, _, _ in Formatter().parse(kind.fmt) if name]  # type: ignore[attr-defined]
    values: dict[str, Any] = dict.fromkeys(names, aiohttp_answer(500))
    if issubclass(kind, boto.HTTPClientError):
        values |= {"request": RESPONSE, "response": RESPONSE}
    return kind(**values)


CONSTRUCTORS = (boto.BotoCoreError.__init__, boto.HTTPClientError.__init__)
ERRORS = [
    *(of_botocore(kind) for kind in kinds(boto.BotoCoreError) if kind.__init__ in CONSTRUCTORS),
    boto.HTTPClientError(error=ValueError("x"), request=RESPONSE, response=RESPONSE),
    boto.EndpointConnectionError(endpoint_url="http://x", error=aiohttp_answer(500)),
    client_error(),
    client_error("403", 403),
    UnexpectedAnswerError("an answer is empty"),
    RedirectRefusedError("a redirects GetObject to b"),
    TimeoutError("too slow"),
    TimeoutError(),
    aiohttp.ClientPayloadError("cut"),
    ConnectionResetError(104, "reset"),
    OSError(5, "wrong", "bucket/key"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_is_pickled_whole(error: Exception) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(Exception, match=r"\w") as failure:
        run_in_virtual_time(
            lambda: Requests(S3Config()).run(S3Request("GetObject", "bucket/key"), fail)
        )
    raised = failure.value
    again = pickle.loads(pickle.dumps(raised))

    assert type(again) is type(raised)
    assert str(again) == str(raised)
    assert again.__notes__ == raised.__notes__ != []
    pickle.dumps(raised.__reduce__())  # what tblib does, for Dask


@pytest.mark.parametrize(
    "fail",
    [
        lambda proxy: proxy.fail(None, 408, "RequestTimeout"),
        lambda proxy: proxy.fail(None, 408, ""),
        lambda proxy: proxy.fail(None, 502, body=b"<html>"),
        lambda proxy: proxy.fail(None, 503, body=b""),
        lambda proxy: proxy.drop(None),
    ],
)
@pytest.mark.parametrize("call", ["ls", "cat_file", "info", "rm_file"])
def test_error_has_a_text(
    make_fs: MakeFs, proxy: FaultProxy, path: str, fail: Callable[[FaultProxy], None], call: str
) -> None:
    fail(proxy)
    fs = make_fs(proxy.storage_options, max_retries=1)

    with pytest.raises(Exception, match=r"\w{3}") as failure:
        getattr(fs, call)(path)

    assert any("2 attempts" in note for note in failure.value.__notes__)
    assert "max retries: 0" not in str(failure.value)
    assert pickle.loads(pickle.dumps(failure.value)).__notes__ == failure.value.__notes__


def test_policy_timeout_says_what_was_done(make_fs: MakeFs, proxy: FaultProxy, path: str) -> None:
    proxy.delay("GetObject", 0.5)
    fs = make_fs(proxy.storage_options, retry={"timeout": 0.05})

    with pytest.raises(TimeoutError, match=f"GetObject {path}: not done within timeout=0.05 s"):
        fs.cat_file(path)
