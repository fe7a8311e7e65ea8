"""Incremental globs: every file at least once, none twice without a failure between."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from fsspec_avroglob import IncrementalGlob, StateConflictError
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.readers.name_order import NameOrder, order_of
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class Lake:
    """A local directory in which files appear, with times that the test sets."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, moment: dt.datetime, text: str = "x") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (moment.timestamp(), moment.timestamp()))

    def glob(self) -> IncrementalGlob:
        return IncrementalGlob(f"{self.root}/**/*.avro", self.root / "state.json")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def names(found: list[str]) -> list[str]:
    return [Path(name).name for name in found]


# --- what is new ----------------------------------------------------------------------------------


def test_only_what_is_new(lake: Lake) -> None:
    lake.write("a/2.avro", START + HOUR)
    lake.write("a/1.avro", START + 2 * HOUR)
    with lake.glob() as glob:
        assert names(glob.new()) == ["2.avro", "1.avro"]
    assert lake.glob().new() == []

    lake.write("b/3.avro", START + 3 * HOUR)
    lake.write("a/2.avro", START + 4 * HOUR, "changed")
    glob = lake.glob()
    assert names(glob.new()) == ["3.avro", "2.avro"]
    assert [file.size for file in glob.files] == [1, 7]
    assert glob.commit() == 2
    assert glob.commit() == 0
    assert lake.glob().new() == []


def test_without_commit_all_again(lake: Lake) -> None:
    lake.write("1.avro", START)
    with pytest.raises(ZeroDivisionError), lake.glob() as glob:
        glob.new()[1 // 0]
    assert names(lake.glob().new()) == ["1.avro"]
    assert not (lake.root / "state.json").exists()


def test_batches(lake: Lake) -> None:
    for number in range(5):
        lake.write(f"{number}.avro", START + number * HOUR, "x" * 10)
    glob = lake.glob()
    assert names(glob.new(max_files=2)) == ["0.avro", "1.avro"]
    assert names(glob.new(max_files=2)) == ["0.avro", "1.avro"]
    glob.commit()
    assert names(glob.new(max_bytes=25)) == ["2.avro", "3.avro"]
    glob.commit()
    assert names(lake.glob().new(max_bytes=1)) == ["4.avro"]
    with pytest.raises(ValueError, match="max_files=0"):
        glob.new(max_files=0)


def test_an_older_file_that_appears_later(lake: Lake) -> None:
    lake.write("now.avro", START)
    with lake.glob() as glob:
        glob.new()
    lake.write("uploaded-for-long.avro", START - HOUR)
    lake.write("too-old.avro", START - 1.01 * HOUR)
    assert names(lake.glob().new()) == ["uploaded-for-long.avro"]


async def test_coroutines(lake: Lake) -> None:
    lake.write("1.avro", START)
    async with lake.glob() as glob:
        assert names(await glob.new_async()) == ["1.avro"]
    assert await lake.glob().new_async() == []


@pytest.mark.parametrize("seed", range(8))
def test_hourly_runs_with_kills(lake: Lake, seed: int) -> None:
    draw = random.Random(seed)
    processed: Counter[tuple[str, str]] = Counter()
    written: dict[str, str] = {}
    uncertain: set[tuple[str, str]] = set()
    all_versions: set[tuple[str, str]] = set()

    def store(name: str, moment: dt.datetime) -> None:
        written[name] = f"{moment} {draw.random()}"
        lake.write(name, moment, written[name])

    late: list[tuple[str, dt.datetime]] = []
    for run in range(50):
        now = START + run * HOUR
        for name, begun in late:
            store(name, begun)
        late = [
            (f"{run}-late-{n}.avro", now - draw.random() * HOUR / 2)
            for n in range(draw.randint(0, 2))
        ]
        for n in range(draw.randint(0, 4)):
            store(f"{run}-{n}.avro", now - draw.random() * HOUR / 2)
        if written and draw.random() < 0.5:
            store(draw.choice(sorted(written)), now)
        all_versions |= set(written.items())
        glob = lake.glob()
        while found := glob.new(max_files=draw.choice([None, 1, 3])):
            versions = [(name, written[name]) for name in names(found)]
            processed.update(versions)
            if draw.random() < 0.2:  # killed before the commit
                uncertain |= set(versions)
                break
            glob.commit()
    while found := (glob := lake.glob()).new():
        processed.update((name, written[name]) for name in names(found))
        glob.commit()

    assert set(written.items()) <= processed.keys() <= all_versions
    assert {version for version, count in processed.items() if count > 1} <= uncertain


# --- the state ------------------------------------------------------------------------------------


def test_two_runs_cannot_both_commit(lake: Lake) -> None:
    lake.write("1.avro", START)
    one, other = lake.glob(), lake.glob()
    one.new(), other.new()
    one.commit()
    with pytest.raises(StateConflictError, match="another run"):
        other.commit()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "seen": []}'])
def test_a_damaged_state(lake: Lake, content: str) -> None:
    (lake.root / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json is no state of an incremental glob"):
        lake.glob().new()


def test_the_state_of_another_pattern(lake: Lake) -> None:
    lake.write("1.avro", START)
    with lake.glob() as glob:
        glob.new()
    with pytest.raises(ValueError, match="a state of its own"):
        IncrementalGlob(f"{lake.root}/*.csv", lake.root / "state.json").new()


def test_the_state_stays_small(lake: Lake) -> None:
    for number in range(100):
        lake.write(f"{number}.avro", START + number * HOUR / 10)
    with lake.glob() as glob:
        glob.new()
    assert len(json.loads((lake.root / "state.json").read_text())["seen"]) == 11


# --- on S3 ----------------------------------------------------------------------------------------


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/lake/day=*/*.avro"


@pytest.fixture
def counted_glob(make_fs: MakeFs, proxy: FaultProxy, bucket: str, url: str) -> IncrementalGlob:
    return IncrementalGlob(
        url, f"s3://{bucket}/state.json", storage_options=proxy.storage_options, late="2d"
    )


def today(days: int = 0) -> str:
    return (dt.datetime.now(dt.UTC) - dt.timedelta(days=days)).strftime("%Y-%m-%d")


def test_old_days_are_not_listed(
    counted_glob: IncrementalGlob, put: PutObjects, proxy: FaultProxy, bucket: str
) -> None:
    put({f"lake/day={today(days)}/{n}.avro": b"x" for days in range(40) for n in range(3)})
    assert len(counted_glob.new()) == 120
    counted_glob.commit()
    # Only new files tell whether dates are those of the days on which files arrive.
    put({f"lake/day={today()}/next.avro": b"y"})
    assert len(counted_glob.new()) == 1
    counted_glob.commit()
    put({f"lake/day={today()}/new.avro": b"y", f"lake/day={today(2)}/late.avro": b"z"})
    proxy.clear()

    assert sorted(counted_glob.new()) == [
        f"s3://{bucket}/lake/day={today(2)}/late.avro",
        f"s3://{bucket}/lake/day={today()}/new.avro",
    ]
    starts = [request.query.get("start-after") for request in proxy.requests]
    assert f"lake/day={today(3)}" in starts
    assert f"after lake/day={today(3)}" in counted_glob.explain()


def test_backfills_are_found(
    counted_glob: IncrementalGlob, put: PutObjects, proxy: FaultProxy, bucket: str
) -> None:
    put({"lake/day=2020-01-02/1.avro": b"x", "lake/day=2020-01-03/1.avro": b"x"})
    assert len(counted_glob.new()) == 2
    counted_glob.commit()
    put({"lake/day=2020-01-01/1.avro": b"x"})
    assert len(counted_glob.new()) == 1


def test_names_out_of_order(counted_glob: IncrementalGlob, put: PutObjects, bucket: str) -> None:
    put({f"lake/day={today()}/1.avro": b"x"})
    counted_glob.new()
    counted_glob.commit()
    put({"lake/day=unknown/2.avro": b"x", "lake/day=0/3.avro": b"x"})
    assert len(counted_glob.new()) == 2


def test_conditional_commit(
    counted_glob: IncrementalGlob, put: PutObjects, proxy: FaultProxy, fs: AvroGlobFileSystem
) -> None:
    put({f"lake/day={today()}/1.avro": b"x"})
    counted_glob.new()
    counted_glob.commit()
    put({f"lake/day={today()}/2.avro": b"x"})
    counted_glob.new()
    proxy.clear()
    proxy.lose("PutObject", times=1)

    assert counted_glob.commit() == 1

    puts = [request for request in proxy.requests if request.operation == "PutObject"]
    # Ceph does not know the condition, and gets the state again without it.
    assert 2 <= len(puts) <= 3
    assert all(request.headers["if-match"] for request in puts[:2])
    assert counted_glob.new() == []


def test_conflict_on_the_server(fs: AvroGlobFileSystem, put: PutObjects, bucket: str) -> None:
    put({"1.avro": b"x"})
    pattern, state = f"s3://{bucket}/*.avro", f"s3://{bucket}/state.json"
    one, other = (
        IncrementalGlob(pattern, state, storage_options=fs.storage_options) for _ in range(2)
    )
    assert len(one.new()) == len(other.new()) == 1
    one.commit()
    with pytest.raises(StateConflictError, match=state):
        other.commit()


@pytest.mark.parametrize(("status", "code"), [(412, "PreconditionFailed"), (501, "NotImplemented")])
def test_a_server_without_conditions(
    counted_glob: IncrementalGlob, put: PutObjects, proxy: FaultProxy, status: int, code: str
) -> None:
    put({f"lake/day={today()}/1.avro": b"x"})
    counted_glob.new()
    counted_glob.commit()
    put({f"lake/day={today()}/2.avro": b"x"})
    counted_glob.new()
    proxy.fail("PutObject", status, code, times=1)
    assert counted_glob.commit() == 1
    assert counted_glob.new() == []


def test_the_state_is_no_match(fs: AvroGlobFileSystem, put: PutObjects, bucket: str) -> None:
    put({"1.avro": b"x"})
    for expected in ([f"s3://{bucket}/1.avro"], []):
        glob = IncrementalGlob(
            f"s3://{bucket}/*", f"s3://{bucket}/bucket", storage_options=fs.storage_options
        )
        assert glob.new() == expected
        glob.commit()


@pytest.mark.parametrize(("pattern", "state"), [("{}/*", "no-{}/s"), ("no-{}/*", "{}/s")])
def test_a_missing_bucket(fs: AvroGlobFileSystem, bucket: str, pattern: str, state: str) -> None:
    glob = IncrementalGlob(
        f"s3://{pattern.format(bucket)}",
        f"s3://{state.format(bucket)}",
        storage_options=fs.storage_options,
    )
    with pytest.raises(FileNotFoundError, match=f"no-{bucket}"):
        glob.new()


# --- dates in names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("b/2026-11-28T03.avro", NameOrder("b/", "%Y-%m-%d")),
        ("b/20261128/x", NameOrder("b/", "%Y%m%d")),
        ("b/2026/11/28/03/x", NameOrder("b/", "%Y/%m/%d")),
        ("b/year=2026/month=11/day=28/x", NameOrder("b/year=", "%Y/month=%m/day=%d")),
        ("b/t/dt=2026-11-28", NameOrder("b/t/dt=", "%Y-%m-%d")),
        ("b/2026-13-28", None),
        ("b/part-0.avro", None),
    ],
)
def test_order_of_names(path: str, order: NameOrder | None) -> None:
    assert order_of(path) == order


def test_day_of_a_name() -> None:
    order = NameOrder("b/", "%Y-%m-%d")
    assert order.day("b/2026-11-28/x") == dt.date(2026, 11, 28)
    assert order.first(dt.datetime(2026, 11, 28, 12)) == "b/2026-11-28"
    for path in ("b/2026/11/28", "b/x/2026-11-28", "b/2026-11-31"):
        assert order.day(path) is None
