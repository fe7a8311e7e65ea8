"""Counters, logs and hooks of the requests of an instance."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import FrozenInstanceError

import fsspec
import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.retry import RetryEvent
from fsspec_avroglob.s3.stats import StatsSnapshot
from tests.conftest import MakeFs
from tests.support.proxy import FaultProxy

HEARD: list[RetryEvent] = []


def listen(event: RetryEvent) -> None:
    """A hook that can be imported."""
    HEARD.append(event)


@pytest.fixture(autouse=True)
def _heard_nothing() -> None:
    HEARD.clear()


# --- figures --------------------------------------------------------------------------------------


def test_everything_is_counted(proxy: FaultProxy, make_fs: MakeFs, path: str) -> None:
    fs = make_fs(proxy.storage_options)
    proxy.fail("GetObject", 503, times=1)
    proxy.drop("ListObjectsV2", times=1)

    fs.glob(path.replace("/dir/", "/*/"))
    fs.cat_file(path, start=0, end=4)

    assert fs.stats.requests == {"ListObjectsV2": 2, "GetObject": 2}
    assert fs.stats.retries == {"throttled": 1, "connection": 1}
    assert (fs.stats.throttles, fs.stats.keys, fs.stats.bytes_read) == (1, 1, 4)
    assert (fs.stats.in_flight, fs.stats.waiting) == (0, 0)
    assert sum(fs.stats.requests.values()) == proxy.count()


def test_check_after_loss_is_counted(proxy: FaultProxy, make_fs: MakeFs, path: str) -> None:
    fs = make_fs(proxy.storage_options)
    proxy.lose("PutObject", times=1)

    fs.pipe_file(path + "-new", b"content", mode="create")

    assert fs.stats.requests["HeadObject"] == proxy.count("HeadObject") == 1
    assert sum(fs.stats.requests.values()) == proxy.count()


def test_missing_object_is_no_failure(proxy: FaultProxy, make_fs: MakeFs, path: str) -> None:
    fs = make_fs(proxy.storage_options)
    fs.exists(path + "-not")
    proxy.fail("GetObject", 500)

    with pytest.raises(OSError, match=r"."):
        fs.cat_file(path)

    assert fs.stats.failures == {"GetObject": 1}


def test_reset_returns_figures(make_fs: MakeFs, path: str) -> None:
    fs = make_fs()
    fs.cat_file(path)

    before = fs.stats.reset()

    assert before.requests == {"GetObject": 1}
    assert fs.stats.snapshot() == StatsSnapshot(window=fs.stats.window)


def test_snapshot_stays_as_it_is(make_fs: MakeFs, path: str) -> None:
    fs = make_fs()
    snapshot = fs.stats.snapshot()

    fs.cat_file(path)

    assert snapshot.requests == {}
    with pytest.raises(FrozenInstanceError):
        snapshot.keys = 5  # type: ignore[misc]


def test_snapshots_of_copies_add_up(make_fs: MakeFs, path: str) -> None:
    fs = make_fs()
    copy = pickle.loads(pickle.dumps(fs))
    copy.stats.reset()  # fsspec may have had such an instance already
    fs.cat_file(path)
    fs.info(path)
    copy.cat_file(path)

    total = sum(pickle.loads(pickle.dumps([fs.stats.snapshot(), copy.stats.snapshot()])))

    assert isinstance(total, StatsSnapshot)
    assert total.requests == {"GetObject": 2, "HeadObject": 1}
    assert (total.bytes_read, total.window) == (24, fs.stats.window + copy.stats.window)
    assert json.loads(json.dumps(total.to_dict()))["bytes_read"] == 24


def test_snapshot_adds_to_nothing_else() -> None:
    with pytest.raises(TypeError):
        StatsSnapshot() + 1  # type: ignore[operator]


# --- logs -----------------------------------------------------------------------------------------


def test_requests_are_logged(
    proxy: FaultProxy, make_fs: MakeFs, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    fs = make_fs(proxy.storage_options)
    proxy.fail("GetObject", 503, times=1)
    caplog.set_level(logging.DEBUG, "fsspec_avroglob")

    fs.cat_file(path)

    levels = [(r.levelname, r.getMessage().rpartition(" in ")[0]) for r in caplog.records]
    assert levels == [
        ("DEBUG", f"GetObject {path}: ClientError"),
        ("WARNING", f"GetObject {path}: throttled, retry 1 of 2"),
        ("DEBUG", f"GetObject {path}: done"),
    ]


# --- hooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hook", [listen, "tests.s3.test_stats:listen", [listen]], ids=["itself", "name", "list"]
)
def test_hook_receives_each_retry(
    proxy: FaultProxy, make_fs: MakeFs, path: str, hook: object
) -> None:
    fs = make_fs(proxy.storage_options, on_retry=hook)
    proxy.fail("GetObject", 503, times=2)

    fs.cat_file(path)

    told = [(e.operation, e.target, e.retry, e.max_retries, e.cause, e.wait_s) for e in HEARD]
    assert told == [("GetObject", path, retry, 2, "throttled", 0.0) for retry in (1, 2)]


def test_hooks_travel_with_copies(make_fs: MakeFs) -> None:
    fs = make_fs(on_retry=[listen, "tests.s3.test_stats:listen"])

    assert pickle.loads(pickle.dumps(fs)).config.on_retry == (listen, listen)
    assert AvroGlobFileSystem.from_json(fs.to_json()).config.on_retry == (listen,)


def test_json_omits_callable_hook(make_fs: MakeFs) -> None:
    fs = make_fs(on_retry=listen)

    assert AvroGlobFileSystem.from_json(fs.to_json()).config.on_retry == ()


def test_failing_hook_is_logged(
    proxy: FaultProxy, make_fs: MakeFs, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(event: RetryEvent) -> None:
        raise ValueError("no such metric")

    fs = make_fs(proxy.storage_options, on_retry=[failing, listen])
    proxy.fail("GetObject", 503, times=1)

    content = fs.cat_file(path)

    assert content == b"some content"
    assert len(HEARD) == 1
    assert "no such metric" in caplog.text


@pytest.mark.parametrize("hook", [5, "nowhere:nothing", "json", ["tests.s3.test_stats:path2"]])
def test_invalid_hook_is_rejected(hook: object) -> None:
    with pytest.raises(ValueError, match="on_retry"):
        fsspec.filesystem("avroglob", on_retry=hook, skip_instance_cache=True)
