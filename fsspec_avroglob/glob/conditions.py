"""Conditions on the time and size of files.

>>> recent = FileConditions.of(modified_after="2026-11-30", max_size=10)
>>> recent.holds({"size": 5, "LastModified": dt.datetime(2026, 12, 1, tzinfo=dt.UTC)})
True
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypedDict

from fsspec_avroglob.glob.times import duration, modified_time

Moment: TypeAlias = dt.datetime | dt.date | dt.timedelta | str
"""A time: a datetime or date, ISO text of one, or how long ago as a timedelta or text like "2d".

Times without a zone are in UTC.
"""


class Conditions(TypedDict, total=False):
    """The conditions as keywords of a call (see :class:`FileConditions`)."""

    modified_after: Moment | None
    modified_before: Moment | None
    min_size: int | None
    max_size: int | None


@dataclass(frozen=True)
class FileConditions:
    """What files must be.

    Attributes
    ----------
    modified_after, modified_before : datetime.datetime or None
        Exclusive bounds of the time of the last modification, in UTC.
    min_size, max_size : int or None
        Inclusive bounds of the size in bytes.
    """

    modified_after: dt.datetime | None = None
    modified_before: dt.datetime | None = None
    min_size: int | None = None
    max_size: int | None = None

    @classmethod
    def of(
        cls,
        modified_after: Moment | None = None,
        modified_before: Moment | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
    ) -> Self:
        """Return the conditions. Raises ValueError for what is no time or no size."""
        for name, size in (("min_size", min_size), ("max_size", max_size)):
            if size is not None and (not isinstance(size, int) or size < 0):
                raise ValueError(f"{name}={size!r} is not a number of bytes")
        after = None if modified_after is None else moment(modified_after)
        before = None if modified_before is None else moment(modified_before)
        return cls(after, before, min_size, max_size)

    @classmethod
    def taken_from(cls, keywords: dict[str, Any]) -> Self | None:
        """Remove the conditions from *keywords* and return them; None if there are none."""
        given = {name: keywords.pop(name) for name in cls.__annotations__ if name in keywords}
        given = {name: value for name, value in given.items() if value is not None}
        return cls.of(**given) if given else None

    def holds(self, info: Mapping[str, Any]) -> bool:
        """Whether the file of an fsspec info fulfils all. A directory fulfils none.

        Raises ValueError if the filesystem does not tell what is asked.
        """
        if info.get("type") == "directory":
            return False
        if self.min_size is not None or self.max_size is not None:
            size = info.get("size")
            if size is None:
                raise ValueError(f"{info['name']}: the filesystem does not tell its size")
            if size < (self.min_size or 0) or (self.max_size is not None and size > self.max_size):
                return False
        if self.modified_after is None and self.modified_before is None:
            return True
        modified = modified_time(info)
        if modified is None:
            raise ValueError(f"{info['name']}: the filesystem does not tell when it was modified")
        if self.modified_after is not None and modified <= self.modified_after:
            return False
        return self.modified_before is None or modified < self.modified_before


def moment(given: Moment, now: dt.datetime | None = None) -> dt.datetime:
    """Return a time in UTC. Raises ValueError for anything else."""
    if isinstance(given, str):
        given = _parsed(given)
    if isinstance(given, dt.timedelta):
        return (now or dt.datetime.now(dt.UTC)) - duration(given)
    if not isinstance(given, dt.datetime):
        if not isinstance(given, dt.date):
            raise ValueError(f"{given!r} is not a time")
        given = dt.datetime.combine(given, dt.time())
    return given.astimezone(dt.UTC) if given.tzinfo else given.replace(tzinfo=dt.UTC)


def _parsed(text: str) -> dt.datetime | dt.timedelta:
    for parse in (dt.datetime.fromisoformat, duration):
        try:
            found: dt.datetime | dt.timedelta = parse(text)
        except ValueError:
            continue
        return found
    raise ValueError(
        f"{text!r} is neither a time such as 2026-11-30 or 2026-11-30T12:00 nor how long ago, such "
        "as 12h or 2d"
    )
