"""Conditions on time and size, for globs and listings on every filesystem."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from fsspec_avroglob import expand_path, expand_path_async, expand_paths
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.conditions import FileConditions, Moment, moment
from tests.conftest import PutObjects

NOW = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-30", dt.datetime(2026, 11, 30)),
        ("2026-11-30T12:00:00+02:00", dt.datetime(2026, 11, 30, 10)),
        (dt.date(2026, 11, 30), dt.datetime(2026, 11, 30)),
        (dt.datetime(2026, 11, 30, 5), dt.datetime(2026, 11, 30, 5)),
        ("2d", dt.datetime(2026, 11, 29, 12)),
        (dt.timedelta(hours=12), dt.datetime(2026, 12, 1)),
    ],
)
def test_moments(given: Moment, expected: dt.datetime) -> None:
    assert moment(given, NOW) == expected.replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"modified_after": "yesterday"},
        {"modified_before": 5},
        {"min_size": -1},
        {"max_size": "1M"},
        {"modified_after": dt.timedelta(-1)},
    ],
)
def test_wrong_conditions(fs: AvroGlobFileSystem, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"neither a time|not a time|number of bytes|negative"):
        fs.glob("bucket/*", **wrong)


def test_sizes(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({f"d/{size}": b"x" * size for size in (0, 1, 2, 30)})
    middle = [f"{bucket}/d/1", f"{bucket}/d/2"]

    assert fs.glob(f"{bucket}/d/*", min_size=1, max_size=2) == middle
    assert fs.find(bucket, min_size=1, max_size=2) == middle
    assert sorted(fs.iglob(f"{bucket}/**", min_size=1, max_size=2)) == middle
    assert list(fs.glob(f"{bucket}/**", max_size=2, min_size=1, detail=True)) == middle
    assert [i["size"] for i in fs.iglob(f"{bucket}/d/*", detail=True, min_size=3)] == [30]
    assert fs.glob(f"{bucket}/*", max_size=9) == []
    with pytest.raises(TypeError, match="min_siz"):
        fs.iglob(f"{bucket}/*", min_siz=1).__next__()


def test_times(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"a": b"x"})
    assert fs.glob(f"{bucket}/*", modified_after="1h") == [f"{bucket}/a"]
    assert fs.find(bucket, modified_before="1h") == []
    assert fs.find(bucket, modified_before=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))


async def test_expansion(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, tmp_path: Path
) -> None:
    put({f"{size}": b"x" * size for size in (1, 5)})
    url, options = f"s3://{bucket}/*", fs.storage_options
    assert await expand_path_async(url, options, min_size=2) == [f"s3://{bucket}/5"]
    for name, age in (("old", dt.timedelta(days=3)), ("new", dt.timedelta())):
        (tmp_path / name).write_text("x")
        time = (dt.datetime.now(dt.UTC) - age).timestamp()
        os.utime(tmp_path / name, (time, time))
    assert expand_path(f"{tmp_path}/*", modified_after="1d") == [str(tmp_path / "new")]
    both = [tmp_path / "old", tmp_path / "new"]
    assert expand_paths(both, modified_before="1d") == [str(tmp_path / "old")]
    assert expand_paths(both, min_size=9) == []


def test_unknown_times() -> None:
    with pytest.raises(ValueError, match="does not tell when"):
        FileConditions.of(modified_after="1d").holds({"name": "a", "type": "file", "size": 1})
    with pytest.raises(ValueError, match="does not tell its size"):
        FileConditions.of(min_size=1).holds({"name": "a", "type": "file", "size": None})


def test_literal_names(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"a[1].txt": b"x"})
    url = f"s3://{bucket}/a[1].txt"
    assert expand_path(url, fs.storage_options, min_size=2) == []
    assert expand_path(url, fs.storage_options, min_size=1) == [url]
    with pytest.raises(ValueError, match="glob=False"):
        expand_path(url, fs.storage_options, glob=False, min_size=1)
