"""Every S3 request of an instance passes here: admitted, counted, logged, retried, translated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple

from fsspec_avroglob.aio.tasks import in_scope
from fsspec_avroglob.errors import printable
from fsspec_avroglob.s3.classification import THROTTLED, Rule
from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.pickling import make_picklable
from fsspec_avroglob.s3.retry import RetryEvent, with_retry
from fsspec_avroglob.s3.secrets import redact, removable
from fsspec_avroglob.s3.stats import Stats
from fsspec_avroglob.s3.translation import advice, complete, rule_of, translated_error
from fsspec_avroglob.s3.window import RequestWindow

logger = logging.getLogger("fsspec_avroglob")

PROGRESS_BYTES = 2**20
"""A body that is cut or stalls again and again is read on, if it brings as much between failures.

With less, the retries end: a body that is cut after each byte would take a request for each.
"""


class S3Request(NamedTuple):
    """A request for logs and counters: the operation in S3's API, and the bucket or bucket/key."""

    operation: str
    target: str

    @classmethod
    def of(cls, method: str, arguments: Mapping[str, Any]) -> S3Request:
        """The request that the S3 client's *method* sends for *arguments*."""
        name = arguments.get("Key") or arguments.get("Prefix")
        bucket = arguments.get("Bucket") or ""
        operation = method.title().replace("_", "")  # ListObjectsV2 for list_objects_v2
        return cls(operation, f"{bucket}/{name}" if name else bucket)

    def __str__(self) -> str:
        return printable(f"{self.operation} {self.target}".rstrip())


class Requests:
    """The requests of one instance. clock: returns seconds.

    credentials: botocore's credentials of the last client, None without any.
    credentials_failed_s: when they were last missing or expired, by the clock.
    """

    credentials: Any = None
    credentials_failed_s: float | None = None

    def __init__(self, config: S3Config, clock: Callable[[], float] = monotonic) -> None:
        self.config = config
        self.clock = clock
        self.window = RequestWindow(config.max_pool_connections, clock)
        self.stats = Stats(self.window)

    async def run(
        self,
        request: S3Request,
        attempt: Callable[[], Awaitable[Any]],
        *,
        progress: Callable[[], int] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> Any:
        """Await ``attempt()``, which sends one request, and retry it by the policy.

        An attempt keeps its slot in the window until it returns. So it must read the body itself,
        and must not wait for another request of the instance. progress: returns the bytes received
        so far; each further `PROGRESS_BYTES` reset the count of retries.

        Raises the errors that s3fs raises.
        """
        operation = _Operation(self, request, attempt)
        steps = None if progress is None else lambda: progress() // PROGRESS_BYTES
        try:
            with in_scope():
                return await with_retry(
                    operation,
                    self.config.retry,
                    name=request.operation,
                    target=request.target,
                    on_retry=self._on_retry,
                    classify=operation.cause,
                    progress=steps,
                    sleep=sleep,
                )
        except Exception as error:
            rule = operation.rule or rule_of(error)
            if rule.cause is not None:
                self.stats.failures[request.operation] += 1
            if rule.blames_credentials:
                self.credentials_failed_s = self.clock()
            hint = advice(error, rule, request.target, self.config, self.credentials)
            if hint is not None:
                error.add_note(hint)
            make_picklable(error)
            translated = translated_error(error)
            if not str(translated):
                translated.args = (f"{request}: {rule.cause or type(error).__name__}",)
            try:
                if translated is error:
                    raise
                raise translated from error
            finally:
                del translated  # its traceback refers to this frame

    def count(self, request: S3Request) -> None:
        """Count a request that is about to be sent."""
        self.stats.requests[request.operation] += 1

    def redact(self, error: BaseException) -> None:
        """Remove secrets from *error*, those of the credentials in use included."""
        config = self.config
        redact(error, removable(config.secret, config.token, credentials=self.credentials))

    def _on_retry(self, event: RetryEvent) -> None:
        self.stats.retries[event.cause] += 1
        for hook in self.config.on_retry:
            try:
                hook(event)
            except Exception:
                logger.exception("on_retry hook %r failed; the request goes on", hook)


@dataclass(slots=True)
class _Operation:
    """An operation: each call is one attempt, with a slot of the window.

    rule: what decides about the failure of the last attempt that failed.
    """

    requests: Requests
    request: S3Request
    attempt: Callable[[], Awaitable[Any]]
    refusals: int = 0
    rule: Rule | None = None

    def cause(self, error: BaseException) -> str | None:
        """Why another attempt may succeed after the failure of the last one."""
        return self.rule and self.rule.cause

    async def __call__(self) -> Any:
        window, stats = self.requests.window, self.requests.stats
        slot = await window.acquire(self.request.operation, self.refusals)
        accepted = throttled = False
        outcome: object = "done"
        self.requests.count(self.request)
        try:
            result = await self.attempt()
            accepted = True
            return result
        except BaseException as error:
            outcome = type(error).__name__
            complete(error, str(self.request))
            self.requests.redact(error)
            if isinstance(error, Exception):
                self.rule = rule_of(error)
                throttled = self.rule.cause == THROTTLED
                accepted = self.rule.cause is None  # the server had time for a final answer
            self.refusals += throttled
            stats.throttles += throttled
            raise
        finally:
            window.release(slot, accepted=accepted, throttled=throttled)
            elapsed_s = self.requests.clock() - slot.started
            logger.debug("%s: %s in %.3f s", self.request, outcome, elapsed_s)
