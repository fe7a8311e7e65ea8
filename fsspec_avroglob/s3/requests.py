"""Where every S3 request of an instance passes: admitted, counted, logged, repeated, translated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from time import monotonic
from typing import Any, NamedTuple

from fsspec_avroglob.aio.tasks import in_scope
from fsspec_avroglob.s3.classification import THROTTLED
from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.retry import RetryEvent, with_retry
from fsspec_avroglob.s3.stats import Stats
from fsspec_avroglob.s3.translation import advice, classify, translated_error, without_secrets
from fsspec_avroglob.s3.window import RequestWindow

logger = logging.getLogger("fsspec_avroglob")


class S3Request(NamedTuple):
    """What is asked of what: the operation's name in the S3 API, and the bucket or bucket/key."""

    operation: str
    target: str

    @classmethod
    def of(cls, method: str, arguments: Mapping[str, Any]) -> S3Request:
        """The request that the S3 client's *method* makes of *arguments*."""
        name = arguments.get("Key") or arguments.get("Prefix")
        bucket = arguments.get("Bucket") or ""
        return cls(_operation(method), f"{bucket}/{name}" if name else bucket)

    def __str__(self) -> str:
        return f"{self.operation} {self.target}".rstrip()


@cache
def _operation(method: str) -> str:
    """``ListObjectsV2`` for ``list_objects_v2``."""
    return "".join(word.capitalize() for word in method.split("_"))


class Requests:
    """The requests of one instance.

    config: its policy, hooks and most connections. clock: tells seconds.
    """

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
        """Await ``attempt()``, which sends one request, again as the policy says.

        An attempt holds its place in the window until it returns, so bodies are to be read within
        it, and no attempt may wait for another request of the instance.

        Raises the errors that s3fs's users know.
        """
        try:
            with in_scope():
                return await with_retry(
                    _Admitted(self, request, attempt),
                    self.config.retry,
                    name=request.operation,
                    target=request.target,
                    on_retry=self._on_retry,
                    classify=classify,
                    progress=progress,
                    sleep=sleep,
                )
        except Exception as error:
            if classify(error) is not None:
                self.stats.failures[request.operation] += 1
            hint = advice(error, request.target, self.config)
            if hint is not None:
                error.add_note(hint)
            translated = translated_error(error)
            try:
                if translated is error:
                    raise
                raise translated from error
            finally:
                del translated  # its traceback knows this frame

    def count(self, request: S3Request) -> None:
        """Count a request that is sent now."""
        self.stats.requests[request.operation] += 1

    def _on_retry(self, event: RetryEvent) -> None:
        self.stats.retries[event.cause] += 1
        for hook in self.config.on_retry:
            try:
                hook(event)
            except Exception:
                logger.exception("on_retry hook %r failed; the request goes on", hook)


class _Admitted:
    """Attempts of one operation, each with leave of the window."""

    __slots__ = ("_attempt", "_refusals", "_request", "_requests")

    def __init__(
        self, requests: Requests, request: S3Request, attempt: Callable[[], Awaitable[Any]]
    ) -> None:
        self._requests = requests
        self._request = request
        self._attempt = attempt
        self._refusals = 0

    async def __call__(self) -> Any:
        operation = self._request.operation
        window, stats = self._requests.window, self._requests.stats
        slot = await window.acquire(operation, self._refusals)
        accepted = throttled = False
        outcome: object = "done"
        self._requests.count(self._request)
        try:
            result = await self._attempt()
            accepted = True
            return result
        except BaseException as error:
            outcome = type(error).__name__
            without_secrets(error, self._requests.config)
            cause = classify(error)
            throttled = cause == THROTTLED
            # What is final was a proper answer, of a server that was not too busy to give it.
            accepted = cause is None and isinstance(error, Exception)
            if throttled:
                self._refusals += 1
                stats.throttles += 1
            raise
        finally:
            window.release(slot, accepted=accepted, throttled=throttled)
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug(
                    "%s: %s in %.3f s", self._request, outcome, self._requests.clock() - slot.since
                )
