"""The retry policy, what it holds for transient, and the loop that follows it."""

from __future__ import annotations

import asyncio
import errno
import http.client
import logging
import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import FrozenInstanceError
from email.utils import formatdate
from typing import Any

import aiohttp
import botocore.exceptions as boto
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from fsspec.exceptions import FSTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from s3fs.errors import translate_boto_error
from yarl import URL

from fsspec_avroglob.classification import retry_cause
from fsspec_avroglob.retry import (
    RetryEvent,
    RetryPolicy,
    is_retryable,
    retry_after,
    with_retry,
)

URL_TEXT = "http://endpoint.invalid/"
NOW = 1_700_000_000.0


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
    request = aiohttp.RequestInfo(
        URL(URL_TEXT), "GET", CIMultiDictProxy(CIMultiDict()), URL(URL_TEXT)
    )
    return aiohttp.ClientResponseError(request, (), status=status)


class Script:
    """An operation that goes through a list of outcomes, errors raised and others returned."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.attempts = 0

    async def __call__(self) -> object:
        outcome = self.outcomes[min(self.attempts, len(self.outcomes) - 1)]
        self.attempts += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Waits(list[float]):
    """Stands in for sleeping: keeps the seconds that were asked for."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


NOMINAL = RetryPolicy(jitter=0)


# --- policy ---------------------------------------------------------------------------------------


def test_defaults_are_two_retries_after_one_and_two_seconds() -> None:
    policy = RetryPolicy()

    assert (policy.max_retries, policy.timeout) == (2, None)
    assert [policy.backoff(n) for n in range(1, policy.max_retries + 1)] == [1.0, 2.0]


def test_nominal_waits_double_up_to_thirty_seconds() -> None:
    waits = [RetryPolicy().backoff(n) for n in range(1, 8)]

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize("retry", [2000, 10**6])
def test_a_wait_too_large_for_a_float_is_the_longest_wait(retry: int) -> None:
    assert RetryPolicy().backoff(retry) == 30.0


@pytest.mark.parametrize("retry", [1, 2, 2000])
@pytest.mark.parametrize("multiplier", [1, 2, math.inf])
def test_without_base_delay_no_wait_is_nominal(retry: int, multiplier: float) -> None:
    assert RetryPolicy(base_delay=0, multiplier=multiplier).backoff(retry) == 0.0


def test_base_delay_is_bounded_by_max_delay() -> None:
    assert RetryPolicy(base_delay=5, max_delay=3).backoff(1) == 3.0


@pytest.mark.parametrize("retry", [0, -1])
def test_retries_are_counted_from_one(retry: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        RetryPolicy().backoff(retry)


@given(
    base=st.floats(0, 1e6),
    multiplier=st.floats(1, 1e6),
    longest=st.floats(0, 1e6),
    retry=st.integers(1, 10_000),
)
def test_nominal_waits_never_shrink_and_stay_in_bounds(
    base: float, multiplier: float, longest: float, retry: int
) -> None:
    policy = RetryPolicy(base_delay=base, multiplier=multiplier, max_delay=longest)

    assert 0 <= policy.backoff(retry) <= policy.backoff(retry + 1) <= longest


@given(jitter=st.floats(0, 1), retry=st.integers(1, 20))
def test_jitter_only_shortens_and_by_no_more_than_its_fraction(jitter: float, retry: int) -> None:
    policy = RetryPolicy(jitter=jitter)
    nominal = policy.backoff(retry)

    assert nominal * (1 - jitter) - 1e-9 <= policy.delay(retry) <= nominal


def test_jitter_varies_the_wait() -> None:
    assert len({RetryPolicy().delay(3) for _ in range(100)}) > 1


def test_text_and_whole_floats_are_converted() -> None:
    policy = RetryPolicy(
        max_retries="3",  # type: ignore[arg-type]
        base_delay="0.5",  # type: ignore[arg-type]
        timeout="60",  # type: ignore[arg-type]
    )

    assert policy == RetryPolicy(max_retries=3, base_delay=0.5, timeout=60.0)
    assert type(policy.max_retries) is int
    assert RetryPolicy(max_retries=2.0).max_retries == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_retries", "many"),
        ("max_retries", True),
        ("max_retries", None),
        ("max_retries", math.inf),
        ("base_delay", -0.1),
        ("base_delay", math.nan),
        ("base_delay", [1]),
        ("max_delay", -1),
        ("multiplier", 0.5),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("timeout", -1),
        ("timeout", "soon"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})  # type: ignore[arg-type]


def test_a_policy_is_frozen_and_hashable() -> None:
    policy = RetryPolicy()

    with pytest.raises(FrozenInstanceError):
        policy.max_retries = 5  # type: ignore[misc]
    assert len({policy, RetryPolicy()}) == 1


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (None, RetryPolicy()),
        (0, RetryPolicy(max_retries=0)),
        ("4", RetryPolicy(max_retries=4)),
        ({}, RetryPolicy()),
        ({"max_retries": "4", "jitter": 0}, RetryPolicy(max_retries=4, jitter=0)),
        (RetryPolicy(base_delay=3), RetryPolicy(base_delay=3)),
    ],
)
def test_a_policy_is_made_from_any_of_its_forms(value: Any, policy: RetryPolicy) -> None:
    assert RetryPolicy.from_value(value) == policy


@pytest.mark.parametrize("value", [True, 1.5, [2], object(), "often", {"max_retry": 1}, -1])
def test_anything_else_is_not_a_policy(value: Any) -> None:
    with pytest.raises(ValueError, match="retr"):
        RetryPolicy.from_value(value)


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"max_retry.*max_retries"):
        RetryPolicy.from_value({"max_retry": 1})


policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 100),
    base_delay=st.floats(0, 100),
    multiplier=st.floats(1, 10),
    max_delay=st.floats(0, 100),
    jitter=st.floats(0, 1),
    timeout=st.none() | st.floats(0, 1000),
)


@given(policies)
def test_a_policy_survives_its_dict(policy: RetryPolicy) -> None:
    assert RetryPolicy.from_value(policy.to_dict()) == policy


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (formatdate(NOW + 12, usegmt=True), 12.0),
        (formatdate(NOW - 12, usegmt=True), 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str, seconds: float) -> None:
    error = client_error(headers={"retry-after": header})

    assert retry_after(error, now=NOW) == seconds


@pytest.mark.parametrize("header", ["", "soon", "nan", "Tue, 99 Foo 2023"])
def test_a_retry_after_that_makes_no_sense_is_ignored(header: str) -> None:
    assert retry_after(client_error(headers={"retry-after": header}), now=NOW) is None


def test_errors_without_response_ask_for_no_wait() -> None:
    assert retry_after(ConnectionResetError()) is None
    assert retry_after(boto.HTTPClientError(error="x")) is None


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (1e9, 30.0), (math.inf, 30.0), (-3, 0)])
def test_the_wait_that_a_server_asks_for_is_not_jittered_but_capped(
    asked: float, waited: float
) -> None:
    assert RetryPolicy().delay(1, asked) == waited


async def test_retry_after_replaces_the_nominal_wait() -> None:
    operation = Script(client_error(headers={"retry-after": "11"}), client_error(), "done")

    await with_retry(operation, NOMINAL, sleep=(waits := Waits()))

    assert waits == [11.0, 2.0]


# --- classification -------------------------------------------------------------------------------

RETRYABLE_ERROR_CODES = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "TooManyRequestsException",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
]
FINAL_ERRORS = [
    ("NoSuchKey", 404),
    ("NoSuchBucket", 404),
    ("404", 404),
    ("AccessDenied", 403),
    ("403", 403),
    ("InvalidAccessKeyId", 403),
    ("SignatureDoesNotMatch", 403),
    ("ExpiredToken", 400),
    ("InvalidToken", 400),
    ("RequestTimeTooSkewed", 403),
    ("InvalidRange", 416),
    ("InvalidArgument", 400),
    ("MethodNotAllowed", 405),
    ("OperationAborted", 409),
    ("PreconditionFailed", 412),
    ("NotImplemented", 501),
    ("PermanentRedirect", 301),
]


@pytest.mark.parametrize("code", RETRYABLE_ERROR_CODES)
@pytest.mark.parametrize("status", [200, 400, 503, None])
def test_codes_for_transient_trouble_are_retryable_whatever_the_status(
    code: str, status: int | None
) -> None:
    assert is_retryable(client_error(code, status))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("code", ["", "Unheard", None])
def test_transient_statuses_are_retryable_where_the_code_says_nothing(
    status: int, code: str | None
) -> None:
    assert is_retryable(client_error(str(status) if code is None else code, status))


def test_a_status_given_as_code_alone_counts() -> None:
    assert is_retryable(client_error("503", status=None))
    assert not is_retryable(client_error("404", status=None))


@pytest.mark.parametrize(("code", "status"), FINAL_ERRORS)
def test_what_no_retry_can_mend_is_final(code: str, status: int) -> None:
    assert not is_retryable(client_error(code, status))


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", "ExpiredToken", "NoSuchUpload"])
def test_a_final_code_is_final_with_a_transient_status_too(code: str) -> None:
    assert not is_retryable(client_error(code, 503))


@pytest.mark.parametrize("status", range(400, 500))
def test_every_4xx_but_timeout_and_throttling_is_final(status: int) -> None:
    assert is_retryable(client_error("Unheard", status)) == (status in (408, 429))


TRANSIENT = [
    (boto.ConnectTimeoutError(endpoint_url=URL_TEXT), "timeout"),
    (boto.ReadTimeoutError(endpoint_url=URL_TEXT), "timeout"),
    (boto.EndpointConnectionError(endpoint_url=URL_TEXT), "connection"),
    (boto.ConnectionClosedError(endpoint_url=URL_TEXT), "connection"),
    (boto.ProxyConnectionError(proxy_url=URL_TEXT), "connection"),
    (boto.HTTPClientError(error="broken"), "connection"),
    (boto.SSLError(endpoint_url=URL_TEXT, error="EOF in violation of protocol"), "connection"),
    (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), "truncated"),
    (boto.ResponseStreamingError(error="cut"), "truncated"),
    (ResponseParserError("no element found"), "truncated"),
    (aiohttp.ClientPayloadError("not completed"), "truncated"),
    (aiohttp.ServerDisconnectedError(), "connection"),
    (aiohttp.ClientOSError(errno.ECONNRESET, "reset"), "connection"),
    (aiohttp.ServerTimeoutError(), "timeout"),
    (aiohttp_answer(503), "throttled"),
    (asyncio.IncompleteReadError(b"", 5), "truncated"),
    (http.client.IncompleteRead(b"abc", 5), "truncated"),
    (urllib3.exceptions.IncompleteRead(1, 2), "truncated"),
    (TimeoutError(), "timeout"),
    (FSTimeoutError(), "timeout"),
    (ConnectionRefusedError(), "connection"),
    (ConnectionResetError(), "connection"),
    (BrokenPipeError(), "connection"),
    (http.client.RemoteDisconnected("no answer"), "connection"),
    (socket.gaierror(socket.EAI_AGAIN, "again"), "connection"),
    (OSError(errno.ETIMEDOUT, "x"), "timeout"),
    (OSError(errno.EHOSTUNREACH, "x"), "connection"),
    (OSError(errno.ENETUNREACH, "x"), "connection"),
    (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "connection"),
]


@pytest.mark.parametrize(("error", "cause"), TRANSIENT, ids=lambda value: repr(value)[:50])
def test_transient_failures_are_told_by_type(error: Exception, cause: str) -> None:
    assert retry_cause(error) == cause


FINAL = [
    boto.NoCredentialsError(),
    boto.PartialCredentialsError(provider="env", cred_var="secret"),
    boto.CredentialRetrievalError(provider="p", error_msg="timed out"),
    boto.ProfileNotFound(profile="x"),
    boto.ParamValidationError(report="Missing 503"),
    boto.SSLError(endpoint_url=URL_TEXT, error="certificate verify failed"),
    ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed"),
    ssl.SSLCertVerificationError("hostname mismatch"),
    aiohttp.InvalidURL("nowhere"),
    aiohttp_answer(403),
    aiohttp_answer(404),
    FileNotFoundError("503"),
    PermissionError("503 timeout"),
    FileExistsError("503"),
    IsADirectoryError("503"),
    OSError(errno.ENOSPC, "timed out"),
    ValueError("503"),
    TypeError("timeout"),
    KeyError("timeout"),
    AttributeError("'Client' object has no attribute 'timeout'"),
    NameError("name 'timeout' is not defined"),
    NotImplementedError("timeout is not supported"),
    AssertionError("500 == 503"),
    asyncio.CancelledError("timeout"),
    KeyboardInterrupt("503"),
]


@pytest.mark.parametrize("error", FINAL, ids=lambda value: repr(value)[:50])
def test_final_failures_are_told_by_type_whatever_they_say(error: BaseException) -> None:
    assert not is_retryable(error)


def test_translated_errors_are_judged_by_the_response_behind_them() -> None:
    assert is_retryable(translate_boto_error(client_error("SlowDown", 503)))
    assert not is_retryable(translate_boto_error(client_error("InvalidRange", 416)))
    assert not is_retryable(translate_boto_error(client_error("NoSuchKey", 404)))


@pytest.mark.parametrize(
    "message",
    [
        "Generic S3 error: 503 Service Unavailable",
        "HTTP status 500",
        "Please reduce your request rate",
        "SlowDown",
        "Too Many Requests",
        "operation timed out",
        "connect timeout",
        "dispatch failure",
        "connection reset by peer",
        "Connection refused",
        "502 Bad Gateway",
    ],
)
def test_messages_decide_where_nothing_better_is_known(message: str) -> None:
    assert is_retryable(RuntimeError(message))
    assert is_retryable(OSError(message))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "something else",
        "404 Not Found",
        "403 Forbidden: timed out",
        "No such bucket",
        "NoSuchKey",
        "Access denied after 503",
        "could not load credentials: timed out",
        "signature does not match, timeout",
        "wrote 1500 rows",
    ],
)
def test_other_messages_are_final(message: str) -> None:
    assert not is_retryable(RuntimeError(message))


# --- the loop -------------------------------------------------------------------------------------


async def test_success_needs_one_attempt_and_no_wait() -> None:
    operation = Script("done")

    assert await with_retry(operation, sleep=(waits := Waits())) == "done"
    assert (operation.attempts, waits) == (1, [])


async def test_the_default_policy_tries_three_times_with_waits_of_one_and_two_seconds() -> None:
    operation = Script(client_error())

    with pytest.raises(ClientError):
        await with_retry(operation, NOMINAL, sleep=(waits := Waits()))

    assert (operation.attempts, waits) == (3, [1.0, 2.0])


async def test_no_policy_is_the_default_policy() -> None:
    operation = Script(client_error())

    with pytest.raises(ClientError):
        await with_retry(operation, sleep=(waits := Waits()))

    assert operation.attempts == 3
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0


@pytest.mark.parametrize(
    "policy", [4, {"max_retries": 4, "jitter": 0}, RetryPolicy(max_retries=4)], ids=repr
)
async def test_every_form_of_a_policy_is_accepted(policy: Any) -> None:
    operation = Script(TimeoutError())

    with pytest.raises(TimeoutError):
        await with_retry(operation, policy, sleep=Waits())

    assert operation.attempts == 5


async def test_success_after_failures_returns_the_result() -> None:
    operation = Script(client_error(), TimeoutError(), {"rows": 3})

    assert await with_retry(operation, sleep=Waits()) == {"rows": 3}


@pytest.mark.parametrize("error", [client_error("NoSuchKey", 404), ValueError("x")])
async def test_a_final_error_ends_it_at_once(error: Exception) -> None:
    operation = Script(error)

    with pytest.raises(type(error)):
        await with_retry(operation, 5, sleep=(waits := Waits()))

    assert (operation.attempts, waits) == (1, [])


async def test_a_final_error_after_a_transient_one_ends_it_too() -> None:
    operation = Script(client_error(), client_error("AccessDenied", 403))

    with pytest.raises(ClientError, match="AccessDenied"):
        await with_retry(operation, 5, sleep=Waits())

    assert operation.attempts == 2


async def test_max_retries_zero_tries_once() -> None:
    operation = Script(client_error())

    with pytest.raises(ClientError):
        await with_retry(operation, 0, sleep=(waits := Waits()))

    assert (operation.attempts, waits) == (1, [])


async def test_the_error_of_the_last_attempt_surfaces_itself() -> None:
    errors = [client_error(), TimeoutError("second"), ConnectionResetError("third")]

    with pytest.raises(ConnectionResetError) as caught:
        await with_retry(Script(*errors), sleep=Waits())

    assert caught.value is errors[-1]
    assert caught.value.args == ("third",)
    assert caught.value.__cause__ is None


async def test_a_note_tells_operation_and_attempts() -> None:
    with pytest.raises(ClientError) as caught:
        await with_retry(Script(client_error()), name="HeadObject b/k", sleep=Waits())

    (note,) = caught.value.__notes__
    assert note.startswith("HeadObject b/k: failed after 3 attempts in ")


async def test_one_and_the_same_error_raised_again_gets_one_note() -> None:
    error = client_error("NoSuchKey", 404)

    with pytest.raises(ClientError):
        await with_retry(Script(error), name="GetObject b/k", sleep=Waits())

    (note,) = error.__notes__
    assert note.startswith("GetObject b/k: failed after 1 attempt in ")


async def test_hooks_hear_of_each_retry_before_its_wait() -> None:
    story: list[object] = []
    error = client_error()

    async def sleep(seconds: float) -> None:
        story.append(seconds)

    with pytest.raises(ClientError):
        await with_retry(Script(error), NOMINAL, name="LIST b", on_retry=story.append, sleep=sleep)

    first, wait, second, last_wait = story
    assert isinstance(first, RetryEvent)
    assert isinstance(second, RetryEvent)
    assert (wait, last_wait) == (1.0, 2.0)
    assert (first.operation, first.retry, first.cause) == ("LIST b", 1, "throttled")
    assert (first.wait_s, second.wait_s, second.retry) == (1.0, 2.0, 2)
    assert first.error is error
    assert 0 <= first.elapsed_s <= second.elapsed_s


async def test_each_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fsspec_avroglob"):
        await with_retry(Script(client_error(), 1), NOMINAL, name="GET b/k", sleep=Waits())

    assert caplog.messages == ["GET b/k: throttled, retry 1 of 2 in 1.00 s"]


async def test_another_classification_can_be_put_in() -> None:
    operation = Script(KeyError("mine"), "done")

    def mine(error: BaseException) -> str | None:
        return "mine" if isinstance(error, KeyError) else None

    assert await with_retry(operation, classify=mine, sleep=Waits()) == "done"


async def test_retries_are_counted_anew_after_progress() -> None:
    lengths = iter([0, 0, 7, 7, 9, 9, 9, 9])
    length = 0

    async def read() -> None:
        nonlocal length
        length = next(lengths)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError) as caught:
        await with_retry(read, NOMINAL, progress=lambda: length, sleep=(waits := Waits()))

    assert waits == [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]
    assert "7 attempts" in caught.value.__notes__[0]


# --- time-out and cancellation --------------------------------------------------------------------


async def forever(*_: object) -> None:
    await asyncio.get_running_loop().create_future()


async def test_timeout_bounds_a_single_attempt() -> None:
    with pytest.raises(TimeoutError) as caught:
        await with_retry(forever, RetryPolicy(timeout=0.01), name="GetObject b/k")

    assert caught.value.__notes__ == ["GetObject b/k: not done within timeout=0.01 s"]


async def test_timeout_bounds_the_waits_too() -> None:
    operation = Script(client_error())

    with pytest.raises(TimeoutError):
        await with_retry(operation, RetryPolicy(timeout=0.01), sleep=forever)

    assert operation.attempts == 1


async def test_a_timeout_of_the_operation_itself_is_retried_within_the_bound() -> None:
    operation = Script(TimeoutError("socket"))

    with pytest.raises(TimeoutError, match="socket") as caught:
        await with_retry(operation, RetryPolicy(timeout=60), sleep=Waits())

    assert operation.attempts == 3
    assert not any("not done within" in note for note in caught.value.__notes__)


async def test_the_result_comes_back_when_there_is_time() -> None:
    assert await with_retry(Script("done"), RetryPolicy(timeout=60)) == "done"


async def cancelled_at(
    start: Callable[[Callable[[], None]], Awaitable[object]],
) -> asyncio.CancelledError:
    """Start an operation in a task, cancel it once it says that it is there."""
    reached = asyncio.Event()
    task = asyncio.ensure_future(start(reached.set))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


@pytest.mark.parametrize("timeout", [None, 60])
async def test_cancellation_ends_an_attempt_at_once(timeout: float | None) -> None:
    attempts = 0

    async def start(there: Callable[[], None]) -> None:
        async def operation() -> None:
            nonlocal attempts
            attempts += 1
            there()
            await forever()

        await with_retry(operation, RetryPolicy(timeout=timeout), sleep=Waits())

    await cancelled_at(start)

    assert attempts == 1


@pytest.mark.parametrize("timeout", [None, 60])
async def test_cancellation_ends_a_wait_at_once(timeout: float | None) -> None:
    operation = Script(client_error())

    async def start(there: Callable[[], None]) -> None:
        async def sleep(seconds: float) -> None:
            there()
            await forever()

        await with_retry(operation, RetryPolicy(timeout=timeout), sleep=sleep)

    await cancelled_at(start)

    assert operation.attempts == 1
