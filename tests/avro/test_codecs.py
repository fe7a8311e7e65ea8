"""Blocks are decompressed within bounds, and checked."""

from __future__ import annotations

import bz2
import lzma
import pickle
import sys
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from cramjam import snappy
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.avro.codecs import decompress
from fsspec_avroglob.avro.container import parse_header, walk_blocks
from fsspec_avroglob.errors import BlockTooLargeError, CodecError
from tests.support.avro_data import SYNC_MARKER, avro_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODECS = ["null", "deflate", "bzip2", "snappy", "xz", "zstandard"]
BOMB_BYTES = 32 << 20


def compress(codec: str, data: bytes) -> bytes:
    match codec:
        case "deflate":
            stream = zlib.compressobj(wbits=-15)
            return stream.compress(data) + stream.flush()
        case "bzip2":
            return bz2.compress(data)
        case "snappy":
            return bytes(snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big")
        case "xz":
            return lzma.compress(data)
        case "zstandard":
            return zstd.compress(data)
    return data


@pytest.mark.parametrize("codec", CODECS)
def test_data_survive_compression(codec: str) -> None:
    for data in (b"", b"a", bytes(range(256)) * 5000):
        assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
def test_fastavro_blocks_decompress(codec: str) -> None:
    file = avro_file(["some text"] * 1000, "string", codec=codec)
    plain = avro_file(["some text"] * 1000, "string")
    start = parse_header(file).size_bytes

    inflated = [
        decompress(codec, file[b.data_offset :][: b.size_bytes])
        for b in walk_blocks(file, SYNC_MARKER, start=start)
    ]

    assert b"".join(inflated) == b"".join(
        plain[b.data_offset :][: b.size_bytes]
        for b in walk_blocks(plain, SYNC_MARKER, start=parse_header(plain).size_bytes)
    )


@pytest.mark.parametrize("codec", CODECS)
def test_one_byte_over_limit_is_refused(codec: str) -> None:
    data = compress(codec, b"x" * 10_000)

    with pytest.raises(BlockTooLargeError, match="more than 9999 bytes; raise max_block_size"):
        decompress(codec, data, 9_999)


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
def test_bomb_is_refused_in_little_memory(codec: str) -> None:
    data = compress(codec, bytes(BOMB_BYTES))
    tracemalloc.start()
    try:
        with pytest.raises(BlockTooLargeError):
            decompress(codec, data, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < BOMB_BYTES / 2  # xz alone takes a window of 8 MiB


def test_false_snappy_length_is_refused() -> None:
    lie = b"\xff\xff\xff\xff\x0f" + b"\x00a" + bytes(4)

    with pytest.raises(BlockTooLargeError):
        decompress("snappy", lie, 1 << 20)
    with pytest.raises(CodecError, match="not snappy"):
        decompress("snappy", b"\x20\x00a" + bytes(4), 1 << 20)


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
def test_cut_data_is_refused(codec: str) -> None:
    data = compress(codec, bytes(range(256)) * 10)

    for length in range(0, len(data), 1 + len(data) // 50):
        with pytest.raises(CodecError):
            decompress(codec, data[:length])


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
@given(junk=st.binary(max_size=200))
def test_junk_stays_within_bounds(codec: str, junk: bytes) -> None:
    with suppress(CodecError):
        assert len(decompress(codec, junk, 1000)) <= 1000


def test_wrong_checksum_is_refused() -> None:
    data = compress("snappy", b"content")

    with pytest.raises(CodecError, match="checksum"):
        decompress("snappy", data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("codec", ["bzip2", "xz", "zstandard"])
def test_streams_in_a_block_are_joined(codec: str) -> None:
    assert decompress(codec, compress(codec, b"one ") + compress(codec, b"two")) == b"one two"


def test_unknown_codec_is_named() -> None:
    with pytest.raises(CodecError, match="'lzo' is none of Avro's"):
        decompress("lzo", b"")


def test_missing_codec_names_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cramjam", None)

    with pytest.raises(CodecError, match=r"pip install 'fastavro\[snappy\]'"):
        decompress("snappy", compress("null", b"12345678"))


def test_error_pickles() -> None:
    error = pickle.loads(pickle.dumps(BlockTooLargeError("xz", 5)))
    assert (error.codec, error.max_bytes) == ("xz", 5)
