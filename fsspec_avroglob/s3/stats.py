"""What an instance has asked of S3 and what came of it, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fsspec_avroglob.s3.window import RequestWindow

if TYPE_CHECKING:
    from fsspec_avroglob.s3.snapshot import StatsSnapshot


class Stats:
    """The running figures of one instance.

    :class:`~fsspec_avroglob.s3.snapshot.StatsSnapshot` explains their names.
    """

    def __init__(self, window: RequestWindow) -> None:
        self._window = window
        self._clear()

    def _clear(self) -> None:
        self.requests: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.throttles = self.keys = self.bytes_read = 0

    @property
    def window(self) -> float:
        """Requests that may be in flight now; below 1 there are pauses between them."""
        return self._window.congestion.limit

    @property
    def in_flight(self) -> int:
        """Requests in flight."""
        return self._window.in_flight

    @property
    def waiting(self) -> int:
        """Requests that wait for leave."""
        return self._window.waiting

    def snapshot(self) -> StatsSnapshot:
        """The figures now, which do not change, can be pickled and be added to others."""
        from fsspec_avroglob.s3.snapshot import StatsSnapshot  # see filesystem

        return StatsSnapshot(
            requests=self.requests,
            retries=self.retries,
            failures=self.failures,
            throttles=self.throttles,
            keys=self.keys,
            bytes_read=self.bytes_read,
            window=self.window,
            in_flight=self.in_flight,
            waiting=self.waiting,
        )

    def reset(self) -> StatsSnapshot:
        """Count from zero again; returns the figures until now. The window stays as it is."""
        snapshot = self.snapshot()
        self._clear()
        return snapshot

    def __repr__(self) -> str:
        return repr(self.snapshot()).replace("StatsSnapshot", "Stats", 1)
