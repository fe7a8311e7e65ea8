"""Bodies hold exactly what was asked for, or the read fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from s3fs.utils import FileExpired

from fsspec_avroglob.filesystem.bodies import Memory, Version
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects, new_bucket
from tests.support.calls import read_file
from tests.support.proxy import FaultProxy
from tests.support.servers import LOOPBACK, Endpoint

CONTENT = bytes(range(1, 251)) * 40  # no zeros: a hole would show
PARTS = {"chunksize": 3_000}


class Server(ThreadingHTTPServer):
    """Answers each GET with what ``answer(first, last)`` returns; no range is None, None."""

    daemon_threads = True
    answer: Callable[[int | None, int | None], tuple[int, dict[str, Any], bytes]]
    ranges: list[str | None]

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients leave in the middle of an answer."""

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        first = last = None
        if asked:
            start, _, stop = asked.removeprefix("bytes=").partition("-")
            first, last = (int(start) if start else None), (int(stop) if stop else None)
        status, headers, body = self.server.answer(first, last)
        self.send_response(status)
        for name, value in {"ETag": '"e"', **headers}.items():
            self.send_header(name, str(value))
        if not {"Content-Length", "Transfer-Encoding"} & headers.keys():
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server((LOOPBACK, 0), Handler) as running:
        running.ranges = []
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def foreign(server: Server, make_fs: MakeFs) -> AvroGlobFileSystem:
    return make_fs(endpoint_url=server.url)


def part(first: int, stop: int, **headers: Any) -> tuple[int, dict[str, Any], bytes]:
    """Answer with the bytes [first, stop)."""
    usual = {
        "Content-Length": stop - first,
        "Content-Range": f"bytes {first}-{stop - 1}/{len(CONTENT)}",
    }
    return 206, usual | headers, CONTENT[first:stop]


def end_of(last: int | None) -> int:
    return len(CONTENT) if last is None else min(last + 1, len(CONTENT))


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def get(fs: AvroGlobFileSystem, tmp_path: Path, **options: Any) -> bytes:
    fs.get_file("b/k", str(tmp_path / "k"), **options)
    return (tmp_path / "k").read_bytes()


READS: dict[str, Callable[[AvroGlobFileSystem, Path], bytes]] = {
    "cat_file": lambda fs, tmp_path: fs.cat_file("b/k"),
    "cat_file by parts": lambda fs, tmp_path: fs.cat_file("b/k", **PARTS),
    "all by range": lambda fs, tmp_path: fs.cat_file("b/k", start=0, end=len(CONTENT)),
    "get_file": lambda fs, tmp_path: get(fs, tmp_path),
    "get_file by parts": lambda fs, tmp_path: get(fs, tmp_path, **PARTS),
}
every_read = pytest.mark.parametrize("read", READS.values(), ids=list(READS))


# --- short, long and wrong ------------------------------------------------------------------------


@every_read
def test_short_parts_are_completed(
    server: Server, foreign: AvroGlobFileSystem, tmp_path: Path, read: Callable[..., bytes]
) -> None:
    server.answer = lambda first, last: part(
        first or 0, min(end_of(last), (first or 0) + max(1_000, end_of(last) // 2))
    )

    assert read(foreign, tmp_path) == CONTENT


@every_read
def test_short_chunked_parts_fail(
    server: Server, foreign: AvroGlobFileSystem, tmp_path: Path, read: Callable[..., bytes]
) -> None:
    def answer(first: int | None, last: int | None) -> tuple[int, dict[str, Any], bytes]:
        status, headers, _ = part(first or 0, end_of(last))
        del headers["Content-Length"]
        return status, headers | {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n"

    server.answer = answer

    with pytest.raises(OSError, match=r"sends only \d+ of the .* GET of bytes=.*'b/k'"):
        read(foreign, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", ["nothing", "chunked"])
@every_read
def test_an_unknown_length_is_refused(
    server: Server,
    foreign: AvroGlobFileSystem,
    tmp_path: Path,
    read: Callable[..., bytes],
    length: str,
) -> None:
    body = CONTENT[:300]
    if length == "nothing":
        server.answer = lambda *_: (200, {}, body)
    else:
        server.answer = lambda *_: (200, {"Transfer-Encoding": "chunked"}, chunked(body))

    with pytest.raises(OSError, match="does not say how long the object is: 'b/k'"):
        read(foreign, tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f"bytes 0-4/{len(CONTENT)}", "has 10 bytes and the Content-Range 'bytes 0-4/"),
        (f"bytes 5-14/{len(CONTENT)}", "has 10 bytes from byte 5 on instead of bytes=0-9"),
        ("bytes 0-9/5", "the impossible Content-Range"),
        ("bytes 0-9", "has the Content-Range 'bytes 0-9'"),
    ],
)
def test_a_lying_content_range_is_refused(
    server: Server, foreign: AvroGlobFileSystem, header: str, message: str
) -> None:
    server.answer = lambda *_: part(0, 10, **{"Content-Range": header})

    with pytest.raises(OSError, match=r"GET of bytes=0-9 .*'b/k'") as caught:
        foreign.cat_file("b/k", start=0, end=10)

    assert message in str(caught.value)


@pytest.mark.parametrize("limits", [(0, 100), (-100, None)])
def test_more_than_asked_is_not_read(
    server: Server, foreign: AvroGlobFileSystem, limits: tuple[int, int | None]
) -> None:
    first = 0 if limits[1] else len(CONTENT) - 100
    headers = {
        "Content-Range": f"bytes {first}-{first + 99}/{len(CONTENT)}",
        "Transfer-Encoding": "chunked",
    }
    server.answer = lambda *_: (206, headers, chunked(CONTENT * 400))

    with pytest.raises(OSError, match="sends more than the 100 bytes"):
        foreign.cat_file("b/k", start=limits[0], end=limits[1])
    assert foreign.stats.bytes_read == 0


def test_an_ignored_suffix_is_refused(server: Server, foreign: AvroGlobFileSystem) -> None:
    server.answer = lambda *_: (200, {"Content-Length": len(CONTENT)}, CONTENT)

    with pytest.raises(OSError, match=r"10000 bytes from byte 0 on instead of bytes=-10"):
        foreign.cat_file("b/k", start=-10)
    assert foreign.cat_file("b/k", start=-len(CONTENT)) == CONTENT
    assert foreign.cat_file("b/k", **PARTS) == CONTENT


@pytest.mark.parametrize("changed", ["Last-Modified", "size"])
@pytest.mark.parametrize("read", list(READS.values())[1::3], ids=list(READS)[1::3])
def test_one_etag_may_hide_two_objects(
    server: Server,
    foreign: AvroGlobFileSystem,
    tmp_path: Path,
    read: Callable[..., bytes],
    changed: str,
) -> None:
    def answer(first: int | None, last: int | None) -> tuple[int, dict[str, Any], bytes]:
        start, stop = first or 0, end_of(last)
        later, size = start > 0, len(CONTENT)
        if changed == "size":
            return part(
                start, stop, **{"Content-Range": f"bytes {start}-{stop - 1}/{size + later}"}
            )
        return part(start, stop, **{"Last-Modified": f"Mon, 30 Nov 2026 00:00:0{later:d} GMT"})

    server.answer = answer

    with pytest.raises(FileExpired):
        read(foreign, tmp_path)


@pytest.fixture(scope="module")
def sliced(endpoint: Endpoint, shared_fs: AvroGlobFileSystem) -> Iterator[str]:
    """The path of an object with CONTENT."""
    with new_bucket(endpoint) as bucket:
        shared_fs.pipe_file(f"{bucket}/k", CONTENT)
        yield f"{bucket}/k"


# --- large objects --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2_999, 3_000, 3_001, 9_000, 10_000])
def test_parts_cost_one_get_each(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    bucket: str,
    put: PutObjects,
    tmp_path: Path,
    size: int,
) -> None:
    put({"k": CONTENT[:size]})
    gets = max(1, -(-size // 3_000))

    assert counted.cat_file(f"{bucket}/k", **PARTS) == CONTENT[:size]
    assert [r.operation for r in proxy.requests] == ["GetObject"] * gets
    counted.get_file(f"{bucket}/k", str(tmp_path / "k"), **PARTS)
    assert (tmp_path / "k").read_bytes() == CONTENT[:size]
    assert proxy.count() == 2 * gets
    if size:
        assert counted.cat_file(f"{bucket}/k", start=0, end=10**6, **PARTS) == CONTENT[:size]
        assert proxy.count() == 3 * gets


@pytest.mark.parametrize("start", [None, 0, 5, 2_999, 9_999, -1, -7_000])
@pytest.mark.parametrize("end", [None, 0, 5, 6_001, 10_000, 20_000, -1, -7_000])
def test_limits_mean_what_slices_do(
    shared_fs: AvroGlobFileSystem, sliced: str, start: int | None, end: int | None
) -> None:
    assert shared_fs.cat_file(sliced, start=start, end=end, **PARTS) == CONTENT[start:end]


def test_a_pipe_receives_bytes_in_order(
    counted: AvroGlobFileSystem, bucket: str, put: PutObjects, tmp_path: Path
) -> None:
    put({"k": CONTENT})
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()

    counted.get_file(f"{bucket}/k", str(tmp_path / "pipe"), **PARTS)

    reader.join()
    assert received == [CONTENT]


def test_faults_everywhere_change_no_byte(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects, tmp_path: Path
) -> None:
    put({"k": CONTENT})
    fs = make_fs(proxy.storage_options, retry={"base_delay": 0, "max_retries": 8})
    proxy.fail("GetObject", 503, share=0.10)
    proxy.cut("GetObject", after=None, share=0.05)
    proxy.drop("GetObject", share=0.01)

    for _ in range(10):
        assert fs.cat_file(f"{bucket}/k", **PARTS) == CONTENT
        fs.get_file(f"{bucket}/k", str(tmp_path / "k"), **PARTS)
        assert (tmp_path / "k").read_bytes() == CONTENT
        assert read_file(fs, f"{bucket}/k") == CONTENT

    assert sum(fs.stats.retries.values()) > 0
    assert (fs.stats.in_flight, fs.stats.waiting) == (0, 0)
    assert os.listdir(tmp_path) == ["k"]


# --- parts ----------------------------------------------------------------------------------------


def test_versions_take_over_what_is_new() -> None:
    version = Version(etag='"e"')

    assert version.admits(Version("e", "Monday", 3))
    assert version == Version('"e"', "Monday", 3)
    assert version.admits(Version(None, None, None))
    assert not version.admits(Version("e", "Tuesday", 3))
    assert not version.admits(Version("f", "Monday", 3))


def test_memory_takes_bytes_in_any_order() -> None:
    memory = Memory(start=10)
    memory.begin(6)

    for at in (14, 10, 12):
        memory.write(at, b"%d" % at)

    assert memory.take() == b"101214"
