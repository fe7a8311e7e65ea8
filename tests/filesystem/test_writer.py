"""Files that are written: whole or not at all, in parts of equal size, sent concurrently."""

from __future__ import annotations

import gc
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from fsspec_avroglob.filesystem import writer
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs
from tests.filesystem.test_writing import stored, uploads
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

MB = 2**20
BLOCK = 5 * MB

SMALL, LARGE = "half", "x" * (6 * MB)


class Unexpected(Exception):
    """The error of these tests."""


Half = Callable[[AvroGlobFileSystem, str, str], None]


def as_text(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    with fs.open(path, "w", block_size=BLOCK) as file:
        file.write(half)
        raise Unexpected


def compressed(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    with fs.open(path, "wb", block_size=BLOCK, compression="gzip") as file:
        file.write(half.encode())
        raise Unexpected


def compressed_text(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    with fs.open(path, "w", block_size=BLOCK, compression="bz2") as file:
        file.write(half)
        raise Unexpected


def open_file(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    options = fs.storage_options
    with fsspec.open(f"avroglob://{path}", "wt", compression="gzip", **options) as file:
        file.write(half)
        raise Unexpected


def in_finally(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    file = fs.open(path, "wb", block_size=BLOCK)
    try:
        file.write(half.encode())
        raise Unexpected
    finally:
        file.close()


def pandas_csv(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    import pandas as pd

    class Cell:
        def __str__(self) -> str:
            raise Unexpected

    frame = pd.DataFrame({"a": [half, Cell()]})
    frame.to_csv(f"avroglob://{path}", chunksize=1, storage_options=fs.storage_options)


def arrow_writer(fs: AvroGlobFileSystem, path: str, half: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"a": [half]})
    with pq.ParquetWriter(path, table.schema, filesystem=fs) as writer:
        writer.write_table(table)
        raise Unexpected


HALVES = [
    as_text,
    compressed,
    compressed_text,
    open_file,
    in_finally,
    pandas_csv,
    arrow_writer,
]


@pytest.mark.parametrize("half", [SMALL, LARGE], ids=["small", "parts"])
@pytest.mark.parametrize("write", HALVES)
def test_half_a_file_is_not_stored(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str, write: Half, half: str
) -> None:
    endpoint.client().put_object(Bucket=bucket, Key="key", Body=b"precious")

    with pytest.raises(Unexpected):
        write(fs, f"{bucket}/key", half)
    gc.collect()

    assert stored(endpoint, f"{bucket}/key") == b"precious"
    assert uploads(endpoint, bucket) == []


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "zip"])
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_closing_stores_what_is_compressed(
    fs: AvroGlobFileSystem, bucket: str, compression: str, mode: str
) -> None:
    content: Any = "whole" if mode == "w" else b"whole"

    with fs.open(f"{bucket}/key", mode, compression=compression) as file:
        file.write(content)

    with fs.open(f"{bucket}/key", mode.replace("w", "r"), compression=compression) as file:
        assert file.read() == content


def binary(fs: AvroGlobFileSystem, path: str) -> Any:
    return fs.open(path, "wb", block_size=BLOCK)


def text(fs: AvroGlobFileSystem, path: str) -> Any:
    return io.TextIOWrapper(binary(fs, path), write_through=True)


def buffered(fs: AvroGlobFileSystem, path: str) -> Any:
    return io.BufferedWriter(binary(fs, path))


def gzipped(fs: AvroGlobFileSystem, path: str) -> Any:
    return fs.open(path, "wb", compression="gzip")


@pytest.mark.parametrize("open_it", [binary, text, buffered, gzipped])
def test_a_lost_file_is_not_stored(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, open_it: Callable[..., Any]
) -> None:
    file = open_it(counted, f"{bucket}/key")
    file.write("half" if open_it is text else b"half")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del file
        gc.collect()

    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == [
        f"{bucket}/key was not closed; nothing is stored. Close files, or use 'with'."
    ]
    assert proxy.count("PutObject") == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_upload_of_a_lost_file_is_aborted(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str
) -> None:
    file = binary(fs, f"{bucket}/key")
    file.write(LARGE.encode())
    queue = file._queue
    assert queue is not None
    abort, aborted = queue.abort, []

    async def wait(error: BaseException) -> None:
        await abort(error)
        aborted.append(error)

    queue.abort = wait
    del file, queue
    gc.collect()
    while not aborted:
        fs.exists(bucket)  # the abort runs on the same loop

    assert uploads(endpoint, bucket) == []


def test_a_handler_may_store_a_file(fs: AvroGlobFileSystem, bucket: str) -> None:
    def fail() -> None:
        try:
            raise Unexpected
        except Unexpected as error:
            with fs.open(f"{bucket}/report", "w") as report:
                report.write(repr(error))
            raise

    with pytest.raises(Unexpected):
        fail()

    assert fs.cat_file(f"{bucket}/report") == b"Unexpected()"


def test_a_discarded_file_is_not_committed(fs: AvroGlobFileSystem, bucket: str) -> None:
    file = fs.open(f"{bucket}/key", "wb", autocommit=False)
    file.write(b"half")
    file.close()
    file.discard()

    with pytest.raises(ValueError, match="it was discarded"):
        file.commit()
    assert not fs.exists(f"{bucket}/key")


# --- parts ----------------------------------------------------------------------------------------


def sizes(proxy: FaultProxy) -> list[int]:
    """Return the sizes of the parts that were sent, in their order."""
    sent = [request for request in proxy.requests if request.operation == "UploadPart"]
    sent.sort(key=lambda request: int(request.query["partNumber"]))
    return [int(request.headers["content-length"]) for request in sent]


CONTENT = bytes(range(256)) * (48 * MB // 1024)  # 12 MB


@pytest.mark.parametrize(
    ("step", "kind"),
    [(777_777, bytes), (777_777, bytearray), (BLOCK, bytes), (BLOCK, memoryview), (12 * MB, bytes)],
)
def test_parts_have_one_size(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    bucket: str,
    step: int,
    kind: Callable[..., Any],
) -> None:
    with counted.open(f"{bucket}/key", "wb", block_size=BLOCK) as file:
        for at in range(0, len(CONTENT), step):
            assert file.write(kind(CONTENT[at : at + step])) == len(CONTENT[at : at + step])

    assert counted.cat_file(f"{bucket}/key") == CONTENT
    assert sizes(proxy) == [BLOCK, BLOCK, 2 * MB]


def test_a_changed_buffer_is_not_sent(fs: AvroGlobFileSystem, bucket: str) -> None:
    buffer = bytearray(b"a" * BLOCK)
    with fs.open(f"{bucket}/key", "wb", block_size=BLOCK) as file:
        file.write(buffer)
        buffer[:] = b"b" * BLOCK

    assert fs.cat_file(f"{bucket}/key") == b"a" * BLOCK


def test_any_contiguous_or_strided_data(fs: AvroGlobFileSystem, bucket: str) -> None:
    import array

    with fs.open(f"{bucket}/key", "wb") as file:
        assert file.write(array.array("H", [1, 2])) == 4
        assert file.write(memoryview(b"abcdef")[::2]) == 3

    assert fs.cat_file(f"{bucket}/key")[4:] == b"ace"


def test_parts_are_sent_while_written(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str
) -> None:
    with counted.open(f"{bucket}/key", "wb", block_size=BLOCK) as file:
        file.write(CONTENT)
        assert proxy.count("CreateMultipartUpload") == 1
        assert len(file.parts or ()) == 2

    assert counted.cat_file(f"{bucket}/key") == CONTENT


def test_a_part_is_repeated_alone(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str
) -> None:
    proxy.fail("UploadPart", 503, times=1)

    with counted.open(f"{bucket}/key", "wb", block_size=BLOCK) as file:
        file.write(CONTENT)

    assert counted.cat_file(f"{bucket}/key") == CONTENT
    assert proxy.count("UploadPart") == 4


def test_a_failed_part_fails_the_file(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    proxy.fail("UploadPart", 403, "AccessDenied")

    with (
        pytest.raises(PermissionError),
        counted.open(f"{bucket}/key", "wb", block_size=BLOCK) as file,
    ):
        file.write(CONTENT)

    assert not counted.exists(f"{bucket}/key")
    assert uploads(endpoint, bucket) == []


def test_later_parts_of_long_files_grow(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_EQUAL_PARTS", 1)
    monkeypatch.setattr(writer, "_LATER_PARTS", 2)

    with counted.open(f"{bucket}/key", "wb", block_size=BLOCK) as file:
        file.write(CONTENT)

    assert sizes(proxy) == [BLOCK, 7 * MB]


def test_too_many_parts_are_refused(
    fs: AvroGlobFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_PARTS", 1)

    with (
        pytest.raises(OSError, match="larger block_size"),
        fs.open(f"{bucket}/key", "wb", block_size=BLOCK) as file,
    ):
        file.write(CONTENT)

    assert not fs.exists(f"{bucket}/key")


# --- put_file -------------------------------------------------------------------------------------


def shrink(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(BLOCK)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def change(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"b" * len(CONTENT))


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(CONTENT)
    other.replace(path)


def remove(path: Path) -> None:
    path.unlink()


CHANGES = {
    shrink: "is shorter|instead of",
    grow: "instead of",
    change: "written to",
    replace: "replaced",
    remove: "removed",
}


@pytest.mark.parametrize("alter", CHANGES)
def test_a_file_that_changes_is_refused(
    fs: AvroGlobFileSystem,
    endpoint: Endpoint,
    bucket: str,
    tmp_path: Path,
    alter: Callable[[Path], None],
) -> None:
    local = tmp_path / "local"
    local.write_bytes(CONTENT)

    class Alter(fsspec.Callback):
        def relative_update(self, inc: int = 1) -> None:
            if local.exists() and self.value == 0:
                alter(local)
            super().relative_update(inc)

    with pytest.raises(OSError, match=CHANGES[alter]):
        fs.put_file(local, f"{bucket}/key", callback=Alter(), chunksize=BLOCK, max_concurrency=1)

    assert not fs.exists(f"{bucket}/key")
    assert uploads(endpoint, bucket) == []


def test_a_pipe_is_sent_whole(make_fs: MakeFs, bucket: str, tmp_path: Path) -> None:
    import os
    import threading

    fs, pipe = make_fs(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"content",))
    writer.start()
    fs.put_file(pipe, f"{bucket}/key")
    writer.join()

    assert fs.cat_file(f"{bucket}/key") == b"content"


def test_files_of_unknown_size_are_refused(fs: AvroGlobFileSystem, bucket: str) -> None:
    with pytest.raises(OSError, match="has more than 0 bytes"):
        fs.put_file("/proc/self/status", f"{bucket}/key")
