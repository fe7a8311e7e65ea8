"""The retry policy, Retry-After, and the retry loop."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import FrozenInstanceError
from email.utils import formatdate
from typing import Any

import botocore.exceptions as boto
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.s3.retry import RetryEvent, RetryPolicy, retry_after, with_retry
from tests.support.errors import client_error
from tests.support.virtual_time import Waits

NOW = 1_700_000_000.0


class Script:
    """An operation with one outcome for each attempt; exceptions are raised."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.attempts = 0

    async def __call__(self) -> object:
        outcome = self.outcomes[min(self.attempts, len(self.outcomes) - 1)]
        self.attempts += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


NOMINAL = RetryPolicy(jitter=0)


# --- policy ---------------------------------------------------------------------------------------


def test_defaults() -> None:
    policy = RetryPolicy()

    assert (policy.max_retries, policy.timeout) == (2, None)
    assert [policy.backoff(n) for n in range(1, policy.max_retries + 1)] == [1.0, 2.0]


def test_waits_double_up_to_maximum() -> None:
    waits = [RetryPolicy().backoff(n) for n in range(1, 8)]

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize("retry", [2000, 10**6])
def test_overflowing_wait_is_max_delay(retry: int) -> None:
    assert RetryPolicy().backoff(retry) == 30.0


@pytest.mark.parametrize("retry", [1, 2, 2000])
@pytest.mark.parametrize("multiplier", [1, 2, math.inf])
def test_no_base_delay_no_wait(retry: int, multiplier: float) -> None:
    assert RetryPolicy(base_delay=0, multiplier=multiplier).backoff(retry) == 0.0


def test_max_delay_bounds_base_delay() -> None:
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
def test_waits_grow_within_bounds(
    base: float, multiplier: float, longest: float, retry: int
) -> None:
    policy = RetryPolicy(base_delay=base, multiplier=multiplier, max_delay=longest)

    assert 0 <= policy.backoff(retry) <= policy.backoff(retry + 1) <= longest


@given(jitter=st.floats(0, 1), retry=st.integers(1, 20))
def test_jitter_shortens_by_its_fraction(jitter: float, retry: int) -> None:
    policy = RetryPolicy(jitter=jitter)
    nominal = policy.backoff(retry)

    assert nominal * (1 - jitter) - 1e-9 <= policy.delay(retry) <= nominal


def test_jitter_varies_wait() -> None:
    assert len({RetryPolicy().delay(3) for _ in range(100)}) > 1


def test_text_and_floats_are_converted() -> None:
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
def test_value_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})  # type: ignore[arg-type]


def test_policy_is_frozen_and_hashable() -> None:
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
def test_policy_from_any_form(value: Any, policy: RetryPolicy) -> None:
    assert RetryPolicy.from_value(value) == policy


@pytest.mark.parametrize("value", [True, 1.5, [2], object(), "often", {"max_retry": 1}, -1])
def test_anything_else_is_not_policy(value: Any) -> None:
    with pytest.raises(ValueError, match="retr"):
        RetryPolicy.from_value(value)


def test_unknown_field_is_named() -> None:
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
def test_policy_round_trips(policy: RetryPolicy) -> None:
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
def test_retry_after_is_seconds_or_date(header: str, seconds: float) -> None:
    error = client_error(headers={"retry-after": header})

    assert retry_after(error, now=NOW) == seconds


@pytest.mark.parametrize("header", ["", "soon", "nan", "Tue, 99 Foo 2023"])
def test_invalid_retry_after_is_ignored(header: str) -> None:
    assert retry_after(client_error(headers={"retry-after": header}), now=NOW) is None


def test_no_response_no_retry_after() -> None:
    assert retry_after(ConnectionResetError()) is None
    assert retry_after(boto.HTTPClientError(error="x")) is None


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (1e9, 30.0), (math.inf, 30.0), (-3, 0)])
def test_retry_after_is_capped(asked: float, waited: float) -> None:
    assert RetryPolicy().delay(1, asked) == waited


async def test_retry_after_replaces_wait() -> None:
    operation = Script(client_error(headers={"retry-after": "11"}), client_error(), "done")

    await with_retry(operation, NOMINAL, sleep=(waits := Waits()))

    assert waits == [11.0, 2.0]


# --- the loop -------------------------------------------------------------------------------------


async def test_success_needs_one_attempt() -> None:
    operation = Script("done")

    assert await with_retry(operation, sleep=(waits := Waits())) == "done"
    assert (operation.attempts, waits) == (1, [])


async def test_default_policy_waits() -> None:
    operation = Script(client_error())

    with pytest.raises(ClientError):
        await with_retry(operation, NOMINAL, sleep=(waits := Waits()))

    assert (operation.attempts, waits) == (3, [1.0, 2.0])


async def test_no_policy_is_default_policy() -> None:
    operation = Script(client_error())

    with pytest.raises(ClientError):
        await with_retry(operation, sleep=(waits := Waits()))

    assert operation.attempts == 3
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0


@pytest.mark.parametrize(
    "policy", [4, {"max_retries": 4, "jitter": 0}, RetryPolicy(max_retries=4)], ids=repr
)
async def test_any_form_of_policy_works(policy: Any) -> None:
    operation = Script(TimeoutError())

    with pytest.raises(TimeoutError):
        await with_retry(operation, policy, sleep=Waits())

    assert operation.attempts == 5


async def test_late_success_returns_result() -> None:
    operation = Script(client_error(), TimeoutError(), {"rows": 3})

    assert await with_retry(operation, sleep=Waits()) == {"rows": 3}


@pytest.mark.parametrize("error", [client_error("NoSuchKey", 404), ValueError("x")])
async def test_final_error_ends_it_at_once(error: Exception) -> None:
    operation = Script(error)

    with pytest.raises(type(error)):
        await with_retry(operation, 5, sleep=(waits := Waits()))

    assert (operation.attempts, waits) == (1, [])


async def test_later_final_error_ends_it() -> None:
    operation = Script(client_error(), client_error("AccessDenied", 403))

    with pytest.raises(ClientError, match="AccessDenied"):
        await with_retry(operation, 5, sleep=Waits())

    assert operation.attempts == 2


async def test_max_retries_zero_tries_once() -> None:
    operation = Script(client_error())

    with pytest.raises(ClientError):
        await with_retry(operation, 0, sleep=(waits := Waits()))

    assert (operation.attempts, waits) == (1, [])


async def test_last_error_is_raised() -> None:
    errors = [client_error(), TimeoutError("second"), ConnectionResetError("third")]

    with pytest.raises(ConnectionResetError) as caught:
        await with_retry(Script(*errors), sleep=Waits())

    assert caught.value is errors[-1]
    assert caught.value.args == ("third",)
    assert caught.value.__cause__ is None


async def test_note_names_attempts() -> None:
    with pytest.raises(ClientError) as caught:
        await with_retry(Script(client_error()), name="HeadObject b/k", sleep=Waits())

    (note,) = caught.value.__notes__
    assert note.startswith("HeadObject b/k: failed after 3 attempts in ")


async def test_repeated_error_gets_one_note() -> None:
    error = client_error("NoSuchKey", 404)

    with pytest.raises(ClientError):
        await with_retry(Script(error), name="GetObject b/k", sleep=Waits())

    (note,) = error.__notes__
    assert note.startswith("GetObject b/k: failed after 1 attempt in ")


async def test_hook_comes_before_the_wait() -> None:
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


async def test_classification_can_be_replaced() -> None:
    operation = Script(KeyError("mine"), "done")

    def mine(error: BaseException) -> str | None:
        return "mine" if isinstance(error, KeyError) else None

    assert await with_retry(operation, classify=mine, sleep=Waits()) == "done"


async def test_progress_resets_the_count() -> None:
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


async def test_timeout_bounds_an_attempt() -> None:
    with pytest.raises(TimeoutError) as caught:
        await with_retry(forever, RetryPolicy(timeout=0.01), name="GetObject b/k")

    assert caught.value.__notes__ == ["GetObject b/k: not done within timeout=0.01 s"]


async def test_timeout_bounds_waits_too() -> None:
    operation = Script(client_error())

    with pytest.raises(TimeoutError):
        await with_retry(operation, RetryPolicy(timeout=0.01), sleep=forever)

    assert operation.attempts == 1


async def test_own_timeout_is_retried() -> None:
    operation = Script(TimeoutError("socket"))

    with pytest.raises(TimeoutError, match="socket") as caught:
        await with_retry(operation, RetryPolicy(timeout=60), sleep=Waits())

    assert operation.attempts == 3
    assert not any("not done within" in note for note in caught.value.__notes__)


async def test_result_comes_within_timeout() -> None:
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
async def test_cancelling_ends_an_attempt(timeout: float | None) -> None:
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
async def test_cancelling_ends_a_wait(timeout: float | None) -> None:
    operation = Script(client_error())

    async def start(there: Callable[[], None]) -> None:
        async def sleep(seconds: float) -> None:
            there()
            await forever()

        await with_retry(operation, RetryPolicy(timeout=timeout), sleep=sleep)

    await cancelled_at(start)

    assert operation.attempts == 1
