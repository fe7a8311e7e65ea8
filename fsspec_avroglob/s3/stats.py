"""Counters of an instance's requests: running, and as values at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fsspec_avroglob.s3.window import RequestWindow

_COUNTERS = ("requests", "retries", "failures")


@dataclass(frozen=True)
class StatsSnapshot:
    """The figures at one moment; ``a + b`` adds those of two instances or two times.

    Attributes
    ----------
    requests : mapping of str to int
        Requests sent, by operation (``"ListObjectsV2"``); each attempt counts.
    retries : mapping of str to int
        Retries, by the cause of the failure before (``"throttled"``).
    failures : mapping of str to int
        Operations that failed after their retries, by operation.
    throttles : int
        Answers by which the server asked for fewer requests.
    keys, bytes_read : int
        Keys listed, and bytes of object bodies received.
    window : float
        Limit for requests in flight.
    in_flight, waiting : int
        Requests in flight, and requests that wait for the window.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    throttles: int = 0
    keys: int = 0
    bytes_read: int = 0
    window: float = 0.0
    in_flight: int = 0
    waiting: int = 0

    def __add__(self, other: StatsSnapshot) -> StatsSnapshot:
        if not isinstance(other, StatsSnapshot):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        summed: dict[str, Any] = {
            name: dict(Counter(mine[name]) + Counter(theirs[name]))
            if name in _COUNTERS
            else mine[name] + theirs[name]
            for name in mine
        }
        return StatsSnapshot(**summed)

    def __radd__(self, other: object) -> StatsSnapshot:
        return self if other == 0 else NotImplemented  # sum() starts with 0

    def to_dict(self) -> dict[str, Any]:
        """The figures by name, ready for JSON."""
        return asdict(self)


class Stats:
    """The running figures of one instance, named as in :class:`StatsSnapshot`."""

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
        """Limit for requests in flight."""
        return self._window.congestion.limit

    @property
    def in_flight(self) -> int:
        """Requests in flight."""
        return self._window.in_flight

    @property
    def waiting(self) -> int:
        """Requests that wait for the window."""
        return self._window.waiting

    def snapshot(self) -> StatsSnapshot:
        """The figures now, as a value that can be pickled and added to others."""
        values = {name: getattr(self, name) for name in StatsSnapshot.__dataclass_fields__}
        return StatsSnapshot(**values | {name: dict(values[name]) for name in _COUNTERS})

    def reset(self) -> StatsSnapshot:
        """Set the counters to zero, and return the figures from before. The window stays."""
        snapshot = self.snapshot()
        self._clear()
        return snapshot

    def __repr__(self) -> str:
        return repr(self.snapshot()).replace("StatsSnapshot", "Stats", 1)
