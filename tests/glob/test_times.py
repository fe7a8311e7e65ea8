"""Lengths of time, and times of modification."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import fsspec
import pytest

from fsspec_avroglob.glob.times import duration, modified_time


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("30s", dt.timedelta(seconds=30)),
        ("5m", dt.timedelta(minutes=5)),
        ("12h", dt.timedelta(hours=12)),
        ("2d", dt.timedelta(days=2)),
        ("1w", dt.timedelta(weeks=1)),
        (dt.timedelta(days=3), dt.timedelta(days=3)),
    ],
)
def test_duration(given: str | dt.timedelta, expected: dt.timedelta) -> None:
    assert duration(given) == expected


@pytest.mark.parametrize("given", ["", "1", "h", "-1h", "1 h", "1y", dt.timedelta(-1)])
def test_wrong_duration(given: str | dt.timedelta) -> None:
    with pytest.raises(ValueError, match=r"length of time|negative"):
        duration(given)


def test_modified_times(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
    stored = moment.astimezone(dt.timezone(dt.timedelta(hours=5)))
    assert modified_time({"LastModified": stored}) == moment
    assert modified_time({"mtime": moment.timestamp()}) == moment
    assert modified_time({"updated": "2026-11-30T12:00:00Z"}) == moment
    assert modified_time({"created": moment.replace(tzinfo=None)}) == moment
    assert modified_time({"name": "a", "size": 1, "updated": "yesterday"}) is None
    fs = fsspec.filesystem("memory")
    fs.pipe("/times/a", b"")
    assert modified_time(fs.info("/times/a")) is not None
    fs.rm("/times/a")
