"""Whoever is interrupted, cancelled or closed stops at once and leaves nothing running."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.interrupts import (
    BLOCKING,
    COROUTINES,
    Operation,
    interrupt,
    left_by,
    ours,
)
from tests.support.proxy import FaultProxy, Request


@pytest.fixture
def bucket_of_nine(bucket: str, put: PutObjects) -> str:
    put({f"a/{n}": b"content" for n in range(9)})
    return bucket


@pytest.fixture(autouse=True)
def _short_wait_for_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only briefly for the response of a cancelled CreateMultipartUpload."""
    monkeypatch.setattr("fsspec_avroglob.filesystem.recovery.ANSWER_S", 0.1)


@pytest.fixture(autouse=True)
def _nothing_unretrieved(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where asyncio found an exception that nobody asked for, or a task destroyed."""
    caplog.set_level(logging.ERROR, "asyncio")
    yield
    gc.collect()
    records = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    found = [record.getMessage() for record in records if record.name == "asyncio"]
    assert [message for message in found if "proxy.py" not in message] == []


@pytest.mark.parametrize("run", BLOCKING.values(), ids=list(BLOCKING))
def test_ctrl_c_ends_a_request(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str, run: Operation
) -> None:
    fs = make_fs(proxy.storage_options)
    fs.exists(bucket_of_nine)  # starts what stays: the loop's thread and one that reads files
    fs.invalidate_cache()
    threads = threading.active_count()
    main = threading.main_thread().ident
    assert main is not None
    proxy.delay(seconds=3600, match=interrupt(main), times=1)
    proxy.delay(seconds=3600)

    with pytest.raises(KeyboardInterrupt):
        run(fs, bucket_of_nine)

    assert left_by(fs) == ([], 0, 0)
    assert threading.active_count() == threads
    proxy.clear()
    assert fs.exists(f"{bucket_of_nine}/a/1")


@pytest.mark.parametrize("run", BLOCKING.values(), ids=list(BLOCKING))
def test_ctrl_c_ends_a_retry_wait(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str, run: Operation
) -> None:
    fs = make_fs(proxy.storage_options, retry={"base_delay": 3600, "max_delay": 3600})
    fs.connect()
    main = threading.main_thread().ident
    assert main is not None
    waiting = []

    async def sleep(seconds: float) -> None:
        if not waiting:
            signal.pthread_kill(main, signal.SIGINT)
        waiting.append(seconds)
        await asyncio.get_running_loop().create_future()

    fs._sleep = sleep
    proxy.fail()

    with pytest.raises(KeyboardInterrupt):
        run(fs, bucket_of_nine)

    assert left_by(fs) == ([], 0, 0)


@pytest.mark.parametrize("start", COROUTINES.values(), ids=list(COROUTINES))
async def test_cancelling_ends_a_coroutine(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str, start: Callable[..., Any]
) -> None:
    fs = make_fs(proxy.storage_options, asynchronous=True)
    session = await fs.set_session()
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def told(request: Request) -> bool:
        loop.call_soon_threadsafe(arrived.set)
        return True

    proxy.delay(seconds=3600, match=told)
    task = asyncio.ensure_future(start(fs, bucket_of_nine))
    await arrived.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ours(loop) == []
    assert (fs.stats.in_flight, fs.stats.waiting) == (0, 0)
    await session.close()


async def test_cancelling_ends_a_queued_request(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str
) -> None:
    fs = make_fs(proxy.storage_options, asynchronous=True)
    window = fs.requests.window
    slots = [await window.acquire("other") for _ in range(window.congestion.slots)]
    task = asyncio.ensure_future(fs._cat_file(f"{bucket_of_nine}/a/1"))
    while not fs.stats.waiting:
        assert not task.done()
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (fs.stats.waiting, proxy.count()) == (0, 0)
    for slot in slots:
        window.release(slot)
    await (await fs.set_session()).close()


def test_closing_iglob_ends_listing(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({f"{letter}/1": b"" for letter in "abc"})
    fs = make_fs(proxy.storage_options)
    matches = fs.iglob(f"{bucket}/{{a,b}}/*")
    proxy.delay("ListObjectsV2", 3600, match=lambda request: request.query["prefix"] != "a/")
    next(matches)

    matches.close()

    assert left_by(fs) == ([], 0, 0)


def test_dropped_generator_ends_listing(make_fs: MakeFs, bucket_of_nine: str) -> None:
    fs = make_fs()
    next(fs.iglob(f"{bucket_of_nine}/*/*"))
    gc.collect()

    assert left_by(fs) == ([], 0, 0)


def test_first_failure_ends_other_reads(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str
) -> None:
    fs = make_fs(proxy.storage_options)
    fs.connect()
    proxy.fail("GetObject", 403, "AccessDenied", match=lambda request: request.key == "a/5")
    proxy.delay("GetObject", 3600)

    with pytest.raises(PermissionError):
        fs.cat_file(f"{bucket_of_nine}/a/5")
    with pytest.raises(PermissionError):
        fs.get_file(f"{bucket_of_nine}/a/5", "/dev/null")

    assert left_by(fs) == ([], 0, 0)


def test_failed_open_leaves_no_listing(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str
) -> None:
    fs = make_fs(proxy.storage_options)
    fs.connect()
    proxy.fail("ListObjectsV2", 400, "InvalidArgument", times=1)
    proxy.delay("ListObjectsV2", 3600)

    with pytest.raises(OSError, match="InvalidArgument"):
        fs.open(f"{bucket_of_nine}/{{a,b}}/*")

    assert left_by(fs) == ([], 0, 0)


def test_ctrl_c_ends_reads_ahead(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({f"{n}.jsonl.gz": gzip.compress(b"{}") for n in range(3)})
    fs = make_fs(proxy.storage_options)
    file = fs.open(f"{bucket}/*.gz")
    main = threading.main_thread().ident
    assert main is not None
    proxy.delay("GetObject", 3600, match=interrupt(main), times=1)
    proxy.delay("GetObject", 3600)

    with pytest.raises(KeyboardInterrupt):
        file.read()

    for _ in range(100):  # turns of the loop, in which they end
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), fs.loop).result()
    assert left_by(fs) == ([], 0, 0)


LEAVES_IGLOB = """
matches = fs.iglob("{bucket}/*/*")
next(matches)
"""
LEAVES_FILE = """
file = fs.open("{bucket}/new", "wb")
file.write(b"content")
"""


@pytest.mark.parametrize(
    ("code", "told"),
    [(LEAVES_IGLOB, ""), (LEAVES_FILE, "nothing is stored")],
    ids=["iglob", "file"],
)
def test_exit_with_open_iterator_or_file(
    make_fs: MakeFs, bucket_of_nine: str, code: str, told: str
) -> None:
    start = "import sys, fsspec\nfs = fsspec.AbstractFileSystem.from_json(sys.argv[1])\n"
    script = start + code.format(bucket=bucket_of_nine)

    ended = subprocess.run(
        [sys.executable, "-c", script, make_fs().to_json()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert told in ended.stderr
    assert bool(told) == bool(ended.stderr)


def test_ctrl_c_during_upload_closes_file(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str
) -> None:
    fs = make_fs(proxy.storage_options)
    fs.exists(bucket_of_nine)
    main = threading.main_thread().ident
    assert main is not None
    proxy.delay("CreateMultipartUpload", 3600, match=interrupt(main))

    file = fs.open(f"{bucket_of_nine}/new", "wb", block_size=5 * 2**20)
    with pytest.raises(KeyboardInterrupt):
        file.write(b"x" * 6 * 2**20)

    assert file.closed  # so that nothing is sent when it is collected


BEGINNINGS: dict[str, Operation] = {
    "file": lambda fs, bucket: fs.open(f"{bucket}/new", "wb", block_size=5 * 2**20).write(
        b"x" * 6 * 2**20
    ),
    "pipe": lambda fs, bucket: fs.pipe_file(f"{bucket}/new", b"12345678", chunksize=2),
}


@pytest.mark.parametrize("run", BEGINNINGS.values(), ids=list(BEGINNINGS))
def test_ctrl_c_aborts_a_new_upload(
    proxy: FaultProxy,
    make_fs: MakeFs,
    bucket_of_nine: str,
    monkeypatch: pytest.MonkeyPatch,
    run: Operation,
) -> None:
    monkeypatch.setattr("fsspec_avroglob.filesystem.recovery.ANSWER_S", 4.0)
    fs = make_fs(proxy.storage_options)
    fs.exists(bucket_of_nine)
    main = threading.main_thread().ident
    assert main is not None
    proxy.delay("CreateMultipartUpload", 0.3, match=interrupt(main))

    with pytest.raises(KeyboardInterrupt):
        run(fs, bucket_of_nine)

    assert fs.list_multipart_uploads(bucket_of_nine) == []
    assert proxy.count("CreateMultipartUpload") == proxy.count("AbortMultipartUpload") == 1
    assert fs.stats.requests["AbortMultipartUpload"] == 1


async def test_cancelling_aborts_uploads(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str
) -> None:
    fs = make_fs(proxy.storage_options, asynchronous=True)
    session = await fs.set_session()
    loop, both_begun = asyncio.get_running_loop(), asyncio.Event()

    def told(request: Request) -> bool:
        if proxy.count("CreateMultipartUpload") == 2:
            loop.call_soon_threadsafe(both_begun.set)
        return True

    proxy.delay("UploadPart", 3600, match=told)
    contents = {f"{bucket_of_nine}/{name}": b"12345678" for name in ("new", "newer")}
    task = asyncio.ensure_future(fs._pipe(contents, chunksize=2))
    await both_begun.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ours(loop) == []
    assert proxy.count("AbortMultipartUpload") == 2
    await session.close()


async def test_failed_abort_is_named(
    proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsspec_avroglob.filesystem.recovery.ANSWER_S", 4.0)
    fs = make_fs(proxy.storage_options, asynchronous=True)
    session = await fs.set_session()
    began = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def arrived(request: Request) -> bool:
        loop.call_soon_threadsafe(began.set_result, None)
        return True

    proxy.delay("CreateMultipartUpload", 0.3, match=arrived)
    proxy.fail("AbortMultipartUpload")
    upload = asyncio.ensure_future(fs._pipe_file(f"{bucket_of_nine}/new", b"12345678", chunksize=2))
    await began
    upload.cancel()

    with pytest.raises(asyncio.CancelledError) as caught:
        await upload

    await session.close()
    assert any(f"of {bucket_of_nine}/new remain" in note for note in caught.value.__notes__)


def test_closed_loop_is_an_error(proxy: FaultProxy, make_fs: MakeFs, bucket_of_nine: str) -> None:
    fs = make_fs(proxy.storage_options, asynchronous=True, retry=None)

    async def read_one(*, close: bool) -> object:
        content = await fs._cat_file(f"{bucket_of_nine}/a/1")
        if close:
            await (await fs.set_session()).close()
        return content

    assert asyncio.run(read_one(close=True)) == b"content"
    assert asyncio.run(read_one(close=False)) == b"content"
    sessions = fs.s3._endpoint.http_session._sessions.values()
    connectors = [session.connector for session in sessions]
    proxy.clear()
    with pytest.raises(RuntimeError, match="an instance for each loop"):
        asyncio.run(read_one(close=False))

    assert (proxy.requests, fs.stats.retries) == ([], {})
    for session, connector in zip(sessions, connectors, strict=True):
        connector._close()  # what the caller has left open, without its loop
        session.detach()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        del connectors, connector, sessions, session
        gc.collect()


def test_collected_instance_closes() -> None:
    # An endpoint that keeps connections open, which not all servers of the tests do.
    with SyntheticEndpoint({"bucket": ["a"]}) as endpoint:
        fs = AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)
        fs.cat_file("bucket/a")
        loop = fs.loop
        (session,) = fs.s3._endpoint.http_session._sessions.values()

        async def collect() -> None:
            nonlocal fs
            del fs
            gc.collect()
            for _ in range(9):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        busy = threading.Event()
        loop.call_soon_threadsafe(busy.wait)
        asyncio.run(collect())
        busy.set()

    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()  # after what is due there
    assert session.closed
