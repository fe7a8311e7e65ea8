"""One instance in many threads, copies of it in other processes, two event loops: no deadlock."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.calls import read_file

THREADS = 200
PROCESS_TIMEOUT_S = 60


def exercise(fs: AvroGlobFileSystem, bucket: str, number: int) -> bool:
    """One of several operations, and whether it gave what it should."""
    own = f"{bucket}/own/{number}"
    operations: list[Callable[[], bool]] = [
        lambda: fs.glob(f"{bucket}/in/*") == [f"{bucket}/in/{name}" for name in "abc"],
        lambda: fs.cat_file(f"{bucket}/in/a") == b"a" * 1_000,
        lambda: fs.info(f"{bucket}/in/b")["size"] == 1_000,
        lambda: fs.pipe_file(own, b"own") is not None and fs.cat_file(own) == b"own",
        lambda: len(fs.cat([f"{bucket}/in/{name}" for name in "abc"])) == 3,
        lambda: list(fs.iglob(f"{bucket}/in/c")) == [f"{bucket}/in/c"],
        lambda: not fs.exists(f"{bucket}/in/none"),
        lambda: read_file(fs, f"{bucket}/in/c") == b"c" * 1_000,
        lambda: fs.invalidate_cache() is None,
    ]
    return operations[number % len(operations)]()


@pytest.fixture
def fs(make_fs: MakeFs, put: PutObjects) -> AvroGlobFileSystem:
    put({f"in/{name}": name.encode() * 1_000 for name in "abc"})
    return make_fs()


def test_many_threads_share_an_instance(fs: AvroGlobFileSystem, bucket: str) -> None:
    start = threading.Barrier(THREADS)

    def work(number: int) -> bool:
        start.wait()
        return exercise(fs, bucket, number)

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(THREADS)))


def _in_process(pickled: bytes, bucket: str, number: int) -> None:
    fs = pickle.loads(pickled)
    if not all(exercise(fs, bucket, n) for n in range(number, number + 9)):
        raise SystemExit(3)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_copies_work_in_other_processes(fs: AvroGlobFileSystem, bucket: str, method: str) -> None:
    fs.glob(f"{bucket}/**")
    context = multiprocessing.get_context(method)
    arguments = (pickle.dumps(fs), bucket)
    processes = [context.Process(target=_in_process, args=(*arguments, n * 9)) for n in range(2)]
    for process in processes:
        process.start()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda number: exercise(fs, bucket, number), range(40)))
    for process in processes:
        process.join(PROCESS_TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            process.join()

    assert [process.exitcode for process in processes] == [0, 0]


def test_fork_is_refused(fs: AvroGlobFileSystem, bucket: str) -> None:
    fs._pid += 1  # as it is in a process that was forked from this one

    with pytest.raises(RuntimeError, match="not fork-safe"):
        fs.cat_file(f"{bucket}/in/a")


def test_works_on_several_event_loops(fs: AvroGlobFileSystem, make_fs: MakeFs, bucket: str) -> None:
    async def main() -> int:
        own = make_fs(asynchronous=True)
        session = await own.set_session()
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(own._cat_file(f"{bucket}/in/a")) for _ in range(20)]
            globs = [group.create_task(own._glob(f"{bucket}/in/*")) for _ in range(5)]
        await session.close()
        return sum(len(task.result()) for task in reads) + sum(len(t.result()) for t in globs)

    with ThreadPoolExecutor(3) as pool:
        loops = [pool.submit(asyncio.run, main()) for _ in range(2)]
        threads = [pool.submit(exercise, fs, bucket, number) for number in range(20)]

        assert [loop.result() for loop in loops] == [20 * 1_000 + 5 * 3] * 2
        assert all(thread.result() for thread in threads)
