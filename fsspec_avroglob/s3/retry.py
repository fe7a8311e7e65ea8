"""The retry layer: the policy, and the loop that follows it.

Nothing below this module repeats a request: the filesystem switches off the retries of botocore and
s3fs, so an operation sends at most ``max_retries + 1`` requests. ``classification.RULES`` says what
is retried.

Examples
--------
>>> [RetryPolicy().backoff(retry) for retry in (1, 2, 3)]
[1.0, 2.0, 4.0]
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from fsspec_avroglob.errors import OptionError, printable
from fsspec_avroglob.s3.classification import is_retryable as is_retryable
from fsspec_avroglob.s3.classification import retry_cause

logger = logging.getLogger("fsspec_avroglob")

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often a failed operation is retried, and after which waits. Times are in seconds.

    Numbers may be given as text (``"2"``).

    Attributes
    ----------
    max_retries : int
        Retries after the first attempt; 0 switches retries off.
    base_delay : float
        Nominal wait before the first retry.
    multiplier : float
        Factor of the nominal wait from one retry to the next, at most 1,000.
    max_delay : float
        Longest wait, also for a server's ``Retry-After``.
    jitter : float
        Random fraction of the wait: it lies between ``(1 - jitter) * nominal`` and ``nominal``, so
        that clients do not return at the same time.
    timeout : float or None
        Limit for the whole operation with its retries and waits; None for no limit.

    Raises
    ------
    OptionError
        If a value is out of range; it is a ValueError.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 30.0
    jitter: float = 0.5
    timeout: float | None = None

    def __post_init__(self) -> None:
        values = {
            "max_retries": number("max_retries", self.max_retries, int, at_least=0),
            "base_delay": number("base_delay", self.base_delay, at_least=0),
            "multiplier": number("multiplier", self.multiplier, at_least=1, at_most=1_000),
            "max_delay": number("max_delay", self.max_delay, at_least=0),
            "jitter": number("jitter", self.jitter, at_least=0, at_most=1),
        }
        if self.timeout is not None:
            values["timeout"] = number("timeout", self.timeout, at_least=0)
        for name, value in values.items():
            object.__setattr__(self, name, value)

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
                raise OptionError(
                    f"retry={dict(value)!r} has the unknown field(s) {', '.join(unknown)}; "
                    f"use {', '.join(sorted(known))}"
                )
            return cls(**value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return cls(max_retries=value)  # type: ignore[arg-type]  # text is converted
        raise OptionError(
            f"retry={value!r} is not valid: give a RetryPolicy, a mapping of its fields or a number"
        )

    def backoff(self, retry: int) -> float:
        """Nominal wait in seconds before retry number *retry*, from 1: 1, 2, 4, 8, ... 30."""
        if retry < 1:
            raise ValueError(f"retries are counted from 1, not {retry}")
        growth = self.multiplier ** min(retry - 1, 99)  # at most 1e297, a finite number
        return min(self.base_delay * growth, self.max_delay)

    def delay(self, retry: int, retry_after: float | None = None) -> float:
        """The wait in seconds: *retry_after* if the server asks for it, else with jitter."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.max_delay)
        return self.backoff(retry) * (1 - self.jitter * random.random())

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON; :meth:`from_value` reads them."""
        return asdict(self)


def number(
    name: str,
    given: Any,
    kind: Callable[[Any], Any] = float,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> Any:
    """Convert the option *name* to an int or float. Raises OptionError with its name."""
    try:
        value = kind(given)
        if isinstance(given, bool) or value != float(given):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a number"
        raise OptionError(f"{name}={given!r} is not {noun}") from None
    if not at_least <= value <= at_most:
        bounds = f"at least {at_least}" if at_most == math.inf else f"from {at_least} to {at_most}"
        raise OptionError(f"{name}={given!r} must be {bounds}")
    return value


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Seconds to wait by the server's ``Retry-After``, a number or a date; None without one."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return None
    header = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after")
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            due = email.utils.parsedate_to_datetime(header).timestamp()
        except ValueError:
            return None
        seconds = max(0.0, due - (time.time() if now is None else now))
    return None if math.isnan(seconds) else seconds


@dataclass(frozen=True)
class RetryEvent:
    """One retry; ``on_retry`` hooks receive it before the wait.

    Attributes
    ----------
    operation, target : str
        What is retried (``"HeadObject"``) and its object (``"bucket/key"``, ``""`` if unknown).
    retry, max_retries : int
        Number of this retry, from 1, and the largest number.
    cause : str
        Why the attempt failed, such as ``"throttled"`` or ``"timeout"``.
    wait_s, elapsed_s : float
        Seconds until the retry, and since the first attempt began.
    error : BaseException
        The exception that ended the attempt.
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
            printable(f"{self.operation} {self.target}".rstrip())
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
    """Await ``operation()``, retry it after transient failures, and return its result.

    Parameters
    ----------
    operation : callable
        Makes a new awaitable for each attempt. It must be safe to repeat.
    policy : RetryPolicy or mapping or int, optional
        The policy, its fields, or the number of retries.
    name, target : str
        The operation and its object, for logs, hooks and the note on the error.
    on_retry : callable, optional
        Receives a :class:`RetryEvent` before each wait.
    classify : callable
        Returns the cause of a transient failure, None for a final one.
    progress : callable, optional
        Returns how far the operation has come, for example the bytes read. An attempt that comes
        further resets the count of retries.
    sleep : callable
        Waits for a number of seconds.

    Raises
    ------
    TimeoutError
        If ``policy.timeout`` is over; the cause is the failure of the last attempt, if any.
    Exception
        What the last attempt raised, with a note of the operation, the attempts and the time.
    """
    policy = RetryPolicy.from_value(policy)
    failures = _Failures(policy, name, target, classify, progress, on_retry)
    try:
        async with asyncio.timeout(policy.timeout) as deadline:
            while True:
                try:
                    return await operation()
                except Exception as error:
                    if (wait := failures.wait_after(error)) is None:
                        raise
                await sleep(wait)
    except TimeoutError as error:
        if not deadline.expired():
            raise
        what = f"{failures.label}: not done within timeout={policy.timeout:g} s"
        raise TimeoutError(what) from (failures.last or error)
    finally:
        failures.last = None  # its traceback refers to this frame


@dataclass
class _Failures:
    """The failed attempts of one operation."""

    policy: RetryPolicy
    name: str
    target: str
    classify: Callable[[BaseException], str | None]
    progress: Callable[[], int] | None
    on_retry: Callable[[RetryEvent], None] | None
    last: Exception | None = None
    attempts: int = 0
    retry: int = 0
    reached: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def label(self) -> str:
        """The operation and its object."""
        return printable(f"{self.name} {self.target}".rstrip())

    def wait_after(self, error: Exception) -> float | None:
        """Return the seconds to wait before the next attempt, or None if *error* is final."""
        cause, elapsed = self.classify(error), time.monotonic() - self.started
        self.attempts += 1
        if self.progress is not None and (reached := self.progress()) > self.reached:
            self.retry, self.reached = 0, reached
        most = self.policy.max_retries
        if cause is None or self.retry >= most:
            count = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
            error.add_note(f"{self.label}: failed after {count} in {elapsed:.1f} s")
            return None
        self.retry += 1
        wait = self.policy.delay(self.retry, retry_after(error))
        event = RetryEvent(self.name, self.target, self.retry, most, cause, wait, elapsed, error)
        logger.warning("%s", event)
        if self.on_retry is not None:
            self.on_retry(event)
        # aiohttp keeps the error, and its frames would keep everything read so far.
        error.__traceback__ = None
        self.last = error
        return wait
