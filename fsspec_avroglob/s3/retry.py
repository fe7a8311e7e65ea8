"""The one retry layer: what is retried, how long is waited, and the loop that does it.

Nothing below this module repeats a request: botocore's retries and s3fs's loops are switched off by
the filesystem, so an operation sends at most ``max_retries + 1`` requests.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, TypeVar

from fsspec_avroglob.s3.classification import is_retryable, retry_cause

__all__ = ["RetryEvent", "RetryPolicy", "convert", "is_retryable", "retry_after", "with_retry"]

logger = logging.getLogger("fsspec_avroglob")

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often and after what waits a failed operation is tried again. All times are in seconds.

    max_retries: retries after the first attempt; 0 switches retrying off.
    base_delay: nominal wait before the first retry.
    multiplier: what the nominal wait grows by with each further retry.
    max_delay: longest wait, also for a server's ``Retry-After``.
    jitter: the fraction of the nominal wait that is random: what is waited lies between
        ``(1 - jitter) * nominal`` and ``nominal``, so that clients do not return in step.
    timeout: bound on a whole operation, its retries and waits included; None is no bound.

    Raises ValueError for values out of range. Text such as ``"2"`` is converted.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.5
    timeout: float | None = None

    def __post_init__(self) -> None:
        convert(self, "max_retries", int, at_least=0)
        for name in ("base_delay", "max_delay"):
            convert(self, name, float, at_least=0)
        convert(self, "multiplier", float, at_least=1)
        convert(self, "jitter", float, at_least=0, at_most=1)
        if self.timeout is not None:
            convert(self, "timeout", float, at_least=0)

    @classmethod
    def from_value(cls, value: RetryPolicy | Mapping[str, Any] | int | str | None) -> RetryPolicy:
        """A policy from a policy, a mapping of its fields, a number of retries, or None."""
        if isinstance(value, RetryPolicy):
            return value
        if value is None:
            return cls()
        if isinstance(value, Mapping):
            known = {field.name for field in fields(cls)}
            if unknown := sorted(set(value) - known):
                raise ValueError(
                    f"retry={dict(value)!r} has unknown field(s) {', '.join(unknown)}; "
                    f"a policy has {', '.join(sorted(known))}"
                )
            return cls(**value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return cls(max_retries=value)  # type: ignore[arg-type]  # text is converted
        raise ValueError(
            f"retry={value!r} is neither a RetryPolicy, a mapping of its fields nor a number"
        )

    def backoff(self, retry: int) -> float:
        """Nominal wait in seconds before the *retry*-th retry (from 1): 1, 2, 4, 8, ... 30."""
        if retry < 1:
            raise ValueError(f"retries are counted from 1, not {retry}")
        if not self.base_delay:
            return 0.0
        try:
            nominal = self.base_delay * self.multiplier ** (retry - 1)
        except OverflowError:
            nominal = self.max_delay
        return min(nominal, self.max_delay)

    def delay(self, retry: int, retry_after: float | None = None) -> float:
        """What is really waited, in seconds: the nominal wait jittered, or the server's wish."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.max_delay)
        return self.backoff(retry) * (1 - self.jitter * random.random())

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON-able fields; :meth:`from_value` takes them back."""
        return asdict(self)


def convert(
    record: Any,
    name: str,
    kind: Callable[[Any], Any],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Convert one numeric field of a frozen dataclass in place, or raise a ValueError naming it."""
    given = getattr(record, name)
    try:
        value = kind(given)
        if isinstance(given, bool) or value != float(given):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name}={given!r} is not {noun}") from None
    if (at_least is not None and value < at_least) or (at_most is not None and value > at_most):
        bounds = f"at least {at_least}" if at_most is None else f"between {at_least} and {at_most}"
        raise ValueError(f"{name}={given!r} must be {bounds}")
    object.__setattr__(record, name, value)


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """The seconds that the server asks to wait (``Retry-After``, a number or a date), or None."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return None
    header = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after")
    if not header:
        return None
    try:
        seconds = float(header)
        return None if math.isnan(seconds) else seconds
    except ValueError:
        pass
    try:
        due = email.utils.parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
    return max(0.0, due - (time.time() if now is None else now))


# --- the loop ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RetryEvent:
    """One retry, as ``on_retry`` hooks receive it before the wait.

    operation: what was tried ("HeadObject"); target: on what ("bucket/key"), "" if not told.
    retry: the number of this retry, from 1, of at most max_retries.
    cause: one word of :func:`~fsspec_avroglob.s3.classification.retry_cause`.
    wait_s: seconds until the retry; elapsed_s: seconds since the first attempt began.
    error: the exception that ended the attempt.
    """

    operation: str
    target: str
    retry: int
    max_retries: int
    cause: str
    wait_s: float
    elapsed_s: float
    error: BaseException

    def __str__(self) -> str:
        return (
            f"{self.operation} {self.target}".rstrip()
            + f": {self.cause}, retry {self.retry} of {self.max_retries} in {self.wait_s:.2f} s"
        )


async def with_retry(
    operation: Callable[[], Awaitable[T]],
    policy: RetryPolicy | Mapping[str, Any] | int | None = None,
    *,
    name: str = "operation",
    target: str = "",
    on_retry: Callable[[RetryEvent], None] | None = None,
    classify: Callable[[BaseException], str | None] = retry_cause,
    progress: Callable[[], int] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Await ``operation()``, again after transient failures, as *policy* says.

    operation: makes a new awaitable for each attempt; it must be safe to repeat.
    policy: a :class:`RetryPolicy`, a mapping of its fields, or a number of retries.
    name, target: what is done to what, for logs, hooks and the note on the error.
    on_retry: called with a :class:`RetryEvent` before each wait.
    classify: tells the cause of a transient failure, None for a final one.
    progress: how far the operation has come, for one that goes on where it stopped (bytes read,
        say); retries are counted anew after an attempt that came further.
    sleep: waits the seconds it is given.

    Returns what the operation returns. Raises what its last attempt raised, with a note that names
    the operation, the attempts and the time; TimeoutError when ``policy.timeout`` ran out, its
    cause the failure of the last attempt that had ended.
    """
    policy = RetryPolicy.from_value(policy)
    attempts = _Attempts(operation, policy, name, target, on_retry, classify, progress, sleep)
    if policy.timeout is None:
        return await attempts.run()
    try:
        async with asyncio.timeout(policy.timeout) as deadline:
            return await attempts.run()
    except TimeoutError as error:
        if not deadline.expired():
            raise
        error.add_note(attempts.note(f"not done within timeout={policy.timeout:g} s"))
        if attempts.error is not None:
            raise error from attempts.error
        raise
    finally:
        attempts.error = None  # its traceback knows the attempts


@dataclass(eq=False, repr=False)
class _Attempts(Generic[T]):
    """The attempts of one operation, with the arguments of :func:`with_retry`."""

    operation: Callable[[], Awaitable[T]]
    policy: RetryPolicy
    name: str
    target: str
    on_retry: Callable[[RetryEvent], None] | None
    classify: Callable[[BaseException], str | None]
    progress: Callable[[], int] | None
    sleep: Callable[[float], Awaitable[object]]
    number: int = 0
    error: Exception | None = None

    async def run(self) -> T:
        started = time.monotonic()
        retry = reached = 0
        while True:
            try:
                self.number += 1
                return await self.operation()
            except Exception as error:
                cause = self.classify(error)
                elapsed = time.monotonic() - started
                if self.progress is not None and self.progress() > reached:
                    retry, reached = 0, self.progress()
                if cause is None or retry >= self.policy.max_retries:
                    plural = "" if self.number == 1 else "s"
                    error.add_note(
                        self.note(f"failed after {self.number} attempt{plural} in {elapsed:.1f} s")
                    )
                    raise
                retry += 1
                wait = self.policy.delay(retry, retry_after(error))
                event = RetryEvent(
                    self.name,
                    self.target,
                    retry,
                    self.policy.max_retries,
                    cause,
                    wait,
                    elapsed,
                    error,
                )
                if self.policy.timeout is not None:
                    self.error = error
            logger.warning("%s", event)
            if self.on_retry is not None:
                self.on_retry(event)
            # aiohttp keeps the error, and with it what its frames hold: all that has been read.
            event.error.__traceback__ = None
            del event
            await self.sleep(wait)

    def note(self, what: str) -> str:
        return f"{self.name} {self.target}".rstrip() + f": {what}"
