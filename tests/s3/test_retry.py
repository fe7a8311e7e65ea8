"""The retry loop: attempts, waits, notes, hooks, time-outs and cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fsspec_avroglob.s3.retry import RetryEvent, RetryPolicy, with_retry
from tests.support.errors import client_error
from tests.support.virtual_time import Waits


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


# --- the loop -------------------------------------------------------------------------------------


async def test_retry_after_replaces_wait() -> None:
    operation = Script(client_error(headers={"retry-after": "11"}), client_error(), "done")

    await with_retry(operation, NOMINAL, sleep=(waits := Waits()))

    assert waits == [11.0, 2.0]


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

    assert str(caught.value) == "GetObject b/k: not done within timeout=0.01 s"


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
