"""Files read ahead of sequential readers, and nothing that random readers do not ask for."""

from __future__ import annotations

import asyncio
import io
import pickle
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3fs.utils import FileExpired

from fsspec_avroglob.filesystem import bodies, readahead
from fsspec_avroglob.filesystem.bodies import Memory
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.filesystem.readahead import ReadAhead
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

CONTENT = bytes(range(1, 251)) * 40
SIZES = {"FIRST_BYTES": 100, "PART_BYTES": 400, "LIMIT_BYTES": 1600, "BEHIND_BYTES": 300}


@pytest.fixture(scope="module", autouse=True)
def _small_windows() -> Iterator[None]:
    """Windows that fit objects of 10 kB."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SIZES.items():
            patch.setattr(readahead, name, value)
        patch.setattr(bodies, "FIRST_BYTES", SIZES["FIRST_BYTES"])
        patch.setattr("fsspec_avroglob.filesystem.reader.FIRST_BYTES", SIZES["FIRST_BYTES"])
        patch.setattr("fsspec_avroglob.filesystem.reader._TAIL_BYTES", 50)
        yield


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


class Reads:
    """Reads CONTENT and keeps the ranges that were read."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    async def chunks(self, start: int, stop: int) -> list[bytes]:
        self.ranges.append((start, stop))
        await asyncio.sleep(0)
        middle = (start + stop) // 2
        return [piece for piece in (CONTENT[start:middle], CONTENT[middle:stop]) if piece]

    async def into(self, start: int, stop: int, memory: Memory) -> None:
        self.ranges.append((start, stop))
        memory.write(start, CONTENT[start:stop])


steps = st.lists(
    st.tuples(st.integers(0, len(CONTENT) + 50), st.integers(0, 1_500), st.booleans()), max_size=30
)


@given(steps, st.booleans())
def test_any_reads_are_exact(
    loop: asyncio.AbstractEventLoop, steps: list[tuple[int, int, bool]], keep: bool
) -> None:
    reads = Reads()
    cache = ReadAhead(loop, len(CONTENT), reads.chunks, reads.into)
    if keep:
        cache.keep(CONTENT[:100])
    position = 0
    for offset, size, seeks in steps:
        position = offset if seeks else position
        assert cache._fetch(position, position + size) == CONTENT[position : position + size]
        position += size
        window = sum(map(len, cache._chunks))
        assert window <= 3 * SIZES["LIMIT_BYTES"]
    cache.close()


def test_a_random_reader_gets_what_it_asks(loop: asyncio.AbstractEventLoop) -> None:
    reads = Reads()
    cache = ReadAhead(loop, len(CONTENT), reads.chunks, reads.into)

    for start in (9_000, 300, 5_000, 7_777):
        assert cache._fetch(start, start + 50) == CONTENT[start : start + 50]

    assert reads.ranges == [(9_000, 9_050), (300, 350), (5_000, 5_050), (7_777, 7_827)]


def test_the_window_grows_and_ends_at_a_seek(loop: asyncio.AbstractEventLoop) -> None:
    reads = Reads()
    cache = ReadAhead(loop, len(CONTENT), reads.chunks, reads.into)

    for start in range(0, 3_000, 50):
        cache._fetch(start, start + 50)
    ahead = max(stop for _, stop in reads.ranges)
    assert 3_000 + 800 < ahead <= 3_000 + 1_600 + 400
    cache._fetch(8_000, 8_010)

    assert reads.ranges[-1] == (8_000, 8_010)


# --- files ----------------------------------------------------------------------------------------


def sent(proxy: FaultProxy) -> list[str]:
    return [f"{r.operation} {r.headers.get('range', '')}".strip() for r in proxy.requests]


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_small_file_costs_one_get(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects, size: int
) -> None:
    put({"k": CONTENT[:size]})

    with counted.open(f"{bucket}/k") as file:
        assert file.read() == CONTENT[:size]
        assert file.read() == b""
        assert file.seek(0, 2) == file.size == size

    assert sent(proxy) == ["GetObject bytes=0-99"]


def test_the_first_get_is_used(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"k": CONTENT})

    with counted.open(f"{bucket}/k") as file:
        assert file.read() == CONTENT

    assert sent(proxy) == ["GetObject bytes=0-99", "GetObject bytes=100-9999"]


def test_a_listed_file_is_opened_for_nothing(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"k": CONTENT})
    counted.find(bucket)
    proxy.clear()

    with counted.open(f"{bucket}/k") as file:
        assert proxy.count() == 0
        assert file.seek(-8, 2) == len(CONTENT) - 8
        assert file.read(8) == CONTENT[-8:]

    # The end is read when the reader goes there: it may have been replaced.
    assert sent(proxy) == ["GetObject bytes=9950-9999"]


def test_an_overwritten_file_is_opened_again(
    counted: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"k": CONTENT})
    counted.find(bucket)
    put({"k": b"new"})

    with counted.open(f"{bucket}/k") as file:
        assert file.read() == b"new"
    counted.find(bucket)
    put({"k": b"newer"})
    with counted.open(f"{bucket}/k") as file:
        file.seek(-1, 2)
        assert file.read(1) == b"r"


def test_a_file_overwritten_while_read_expires(
    counted: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"k": CONTENT})

    with counted.open(f"{bucket}/k") as file:
        file.read(1)
        put({"k": CONTENT[::-1]})
        with pytest.raises(FileExpired):
            file.read()


def test_a_missing_object_is_not_opened(counted: AvroGlobFileSystem, bucket: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{bucket}/k"):
        counted.open(f"{bucket}/k")


def test_a_size_beyond_the_end_is_an_error(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"k": CONTENT})

    for read in (lambda f: f.read(), lambda f: f.seek(9_990) and f.read(50)):
        with (
            fs.open(f"{bucket}/k", size=20_000) as file,
            pytest.raises(OSError, match="has 10000 bytes, not 20000 as the caller stated"),
        ):
            read(file)


OPTIONS: dict[str, Callable[[AvroGlobFileSystem, str], io.IOBase]] = {
    "block_size": lambda fs, path: fs.open(path, block_size=500),
    "cache_type": lambda fs, path: fs.open(path, cache_type="readahead"),
}


@pytest.mark.parametrize("opened", OPTIONS.values(), ids=list(OPTIONS))
def test_a_given_cache_is_used(
    fs: AvroGlobFileSystem,
    bucket: str,
    put: PutObjects,
    opened: Callable[[AvroGlobFileSystem, str], io.IOBase],
) -> None:
    put({"k": CONTENT})

    with opened(fs, f"{bucket}/k") as file:
        assert file.read() == CONTENT
        assert file.cache.name == "readahead"  # type: ignore[attr-defined]


def test_lines_and_pickles(make_fs: MakeFs, bucket: str, put: PutObjects) -> None:
    text = b"".join(b"line %d\n" % number for number in range(2_000))
    put({"k": text})
    fs = make_fs()

    with fs.open(f"{bucket}/k") as file:
        assert list(file) == text.splitlines(keepends=True)
        file.seek(7)
        with pickle.loads(pickle.dumps(file)) as copy:
            assert copy.read() == text[7:]
    with fs.open(f"{bucket}/k", "rt") as lines:
        assert lines.read().encode() == text
