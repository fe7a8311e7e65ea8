"""Times: how long ago, and when a file was modified."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")


def duration(given: str | dt.timedelta) -> dt.timedelta:
    """Return a length of time, given as itself or as text such as 30s, 5m, 12h, 1d or 2w.

    Raises
    ------
    ValueError
        The text is no length of time, or the time is negative.
    """
    if isinstance(given, dt.timedelta):
        if given < dt.timedelta():
            raise ValueError(f"{given!r} is negative")
        return given
    found = _DURATION.fullmatch(given)
    if found is None:
        raise ValueError(f"{given!r} is not a length of time such as 30s, 5m, 12h, 1d or 2w")
    return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})


def modified_time(info: Mapping[str, Any]) -> dt.datetime | None:
    """Return when a file was last modified, in UTC, from its fsspec info; None if unknown.

    Filesystems name it differently: ``LastModified`` on S3, ``mtime`` for local files, ``created``
    in memory, and others. A time without a zone is UTC.
    """
    for name in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        if isinstance(value, str):
            try:
                value = dt.datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return None
