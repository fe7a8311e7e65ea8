"""A glob of files of lines, plain or compressed, opens as one file with one header line."""

from __future__ import annotations

import gzip
import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from fsspec_avroglob.errors import HeaderLinesDifferError
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem


def test_missing_newlines_are_added(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"1.log": b"a\nb", "2.log": b"", "3.log": b"c\n", "4.log": b"d"})

    with fs.open(f"{bucket}/*.log") as file:
        assert file.read() == b"a\nb\nc\nd"
    with fs.open(f"{bucket}/*.log", "r") as text:
        assert text.readlines() == ["a\n", "b\n", "c\n", "d"]


def test_csv_keeps_one_header(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    head = b'id,"the\nname"\n'
    put(
        {
            "1.csv": head + b"1,x",
            "2.csv": b"\xef\xbb\xbf" + head.replace(b'"\n', b'"\r\n') + b"2,y\n",
            "3.csv": head,
            "4.csv": head[:-1],
            "5.csv": b"",
            "6.csv": head + b'3,"z\n"',
        }
    )

    with fs.open(f"{bucket}/*.csv") as file:
        assert file.read() == head + b'1,x\n2,y\n3,"z\n"'


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_other_header_is_an_error(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, suffix: str
) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if suffix.endswith("gz") else bytes
    put({f"1.{suffix}": pack(b"a,b\n1,2\n"), f"2.{suffix}": pack(b"a,c\n1,2\n")})

    with pytest.raises(
        HeaderLinesDifferError, match=r"2\.csv.* is 'a,c', that of .*1\.csv.* 'a,b'"
    ):
        fs.open(f"{bucket}/*.{suffix}").read()


def test_open_quote_is_no_quote(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"1.tsv": b'5" disk\tb\n1\t2\n', "2.tsv": b'5" disk\tb\n3\t4\n'})

    with fs.open(f"{bucket}/*.tsv") as file:
        assert file.read() == b'5" disk\tb\n1\t2\n3\t4\n'


def test_long_header_is_read_whole(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    head = b",".join(b"column-%d" % i for i in range(20_000)) + b"\n"
    row = b",".join([b"1"] * 20_000) + b"\n"
    put({"1.csv": head + row, "2.csv": head + row})

    with fs.open(f"{bucket}/*.csv") as file:
        assert file.read() == head + row + row


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd.compress}
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.decompress, "zst": zstd.decompress}


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_lines_join(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, suffix: str
) -> None:
    pack, lines = PACK[suffix], b"".join(b'{"n": %d}\n' % i for i in range(200_000))
    parts = [lines, b"{}", b"", b'{"last": true}']
    put({f"{i}.jsonl.{suffix}": pack(part) for i, part in enumerate(parts)})
    put({f"4.jsonl.{suffix}": pack(b"\n") + pack(b"more\n")})

    with fs.open(f"{bucket}/*.jsonl.{suffix}") as file:
        content = file.read()
        assert UNPACK[suffix](content) == lines + b'{}\n{"last": true}\n\nmore\n'
        assert file.seek(0, 2) == len(content)
        file.seek(10)
        assert file.read(5) == content[10:15]
        copy = pickle.loads(pickle.dumps(file))
        assert copy.read() == content[15:]
        copy.close()
    with fs.open(f"{bucket}/*.jsonl.{suffix}", "r", compression="infer") as text:
        assert text.readline() == '{"n": 0}\n'


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_csv_keeps_one_header(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, suffix: str
) -> None:
    parts = [b"a,b\n1,2", b"a,b\n", b"a,b\r\n3,4\n", b"a,b", b"a,b\n5,6\n"]
    put({f"{i}.csv.{suffix}": PACK[suffix](part) for i, part in enumerate(parts)})

    with fs.open(f"{bucket}/*.csv.{suffix}") as file:
        assert UNPACK[suffix](file.read()) == b"a,b\n1,2\n3,4\n5,6\n"


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize(
    ("cut", "message"), [(slice(-9), "ends before its"), (slice(3, None), "is not")]
)
def test_damaged_compression_is_named(
    fs: AvroGlobFileSystem,
    bucket: str,
    put: PutObjects,
    suffix: str,
    cut: slice,
    message: str,
) -> None:
    pack = PACK[suffix]
    put({f"1.txt.{suffix}": pack(b"one\n"), f"2.txt.{suffix}": pack(b"two " * 50)[cut]})

    with pytest.raises(ValueError, match=rf"2\.txt\.{suffix} {message}"):
        fs.open(f"{bucket}/*.txt.{suffix}").read()


def test_failed_read_is_not_the_end(
    put: PutObjects, bucket: str, proxy: FaultProxy, make_fs: MakeFs
) -> None:
    put({f"{n}.jsonl.gz": gzip.compress(b"{}\n") for n in range(2)})
    with make_fs(proxy.storage_options).open(f"{bucket}/*.gz") as file:
        proxy.fail("GetObject", 403, "AccessDenied", times=1)
        with pytest.raises(PermissionError):
            file.read()
        with pytest.raises(OSError, match="an earlier read failed"):
            file.read()

        file.seek(0)
        assert gzip.decompress(file.read()) == b"{}\n{}\n"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_small_files_are_read_once(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, suffix: str
) -> None:
    lines = {"csv": b"a\n%d", "jsonl": b'{"a": %d}\n'}[suffix]
    put({f"{number}.{suffix}": lines % number for number in range(5)})
    fs.stats.reset()

    with fs.open(f"{bucket}/*.{suffix}") as file:
        content = file.read()

    assert content.count(b"\n") == 5
    assert fs.stats.requests == {"ListObjectsV2": 1, "GetObject": 5}


def test_kept_bytes_are_bounded(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsspec_avroglob.filesystem.join_text._KEPT_BYTES", 8)
    put({f"{number}.log": b"line %d\n" % number for number in range(3)})

    with fs.open(f"{bucket}/*.log") as file:
        content = file.read()

    assert content == b"line 0\nline 1\nline 2\n"
    # The first is kept; of the second the last byte is read, then both of the others.
    assert fs.stats.requests["GetObject"] == 4
