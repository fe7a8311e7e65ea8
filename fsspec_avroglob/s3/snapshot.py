"""The figures of an instance at one moment, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class StatsSnapshot:
    """The figures at one moment; ``a + b`` adds those of two instances or two times.

    requests: requests sent, by operation ("ListObjectsV2"), each attempt counted.
    retries: attempts after the first ones, by the cause of the failure before ("throttled").
    failures: operations given up, by operation.
    throttles: answers by which the server asked for fewer requests.
    keys: keys that listings have brought. bytes_read: bytes of object bodies that arrived.
    window: requests that may be in flight now; in_flight: that are; waiting: that wait for leave.
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

    def __post_init__(self) -> None:
        for name in ("requests", "retries", "failures"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[type[StatsSnapshot], tuple[object, ...]]:
        return type(self), tuple(self.to_dict().values())

    def __add__(self, other: StatsSnapshot) -> StatsSnapshot:
        if not isinstance(other, StatsSnapshot):
            return NotImplemented
        return StatsSnapshot(
            **{name: _sum(value, getattr(other, name)) for name, value in vars(self).items()}
        )

    def __radd__(self, other: object) -> StatsSnapshot:
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON-able values by name."""
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in vars(self).items()
        }


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return {**one, **{key: one.get(key, 0) + number for key, number in other.items()}}
    return one + other
