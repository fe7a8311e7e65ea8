"""The retry policy: its waits, its forms, and Retry-After."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from email.utils import formatdate
from typing import Any

import botocore.exceptions as boto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.s3.retry import RetryPolicy, retry_after
from tests.support.errors import client_error

NOW = 1_700_000_000.0
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
@pytest.mark.parametrize("multiplier", [1, 2, 1000])
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
    multiplier=st.floats(1, 1000),
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
        ("multiplier", 1001),
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
