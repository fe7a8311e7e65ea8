"""Blocks are inflated within bounds, checked, and salvaged from damaged files."""

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

from fsspec_avroglob.avro.blocks import Dropped, decompress, salvage_blocks
from fsspec_avroglob.avro.container import (
    Block,
    NeedMoreBytes,
    encode_long,
    parse_header,
    walk_blocks,
)
from fsspec_avroglob.errors import BlockTooLargeError, CodecError
from tests.support.avro_data import SYNC_MARKER, avro_file, block

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
def test_data_comes_back_as_it_was(codec: str) -> None:
    for data in (b"", b"a", bytes(range(256)) * 5000):
        assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
def test_blocks_that_fastavro_wrote_are_inflated(codec: str) -> None:
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
def test_one_byte_more_than_allowed_is_refused(codec: str) -> None:
    data = compress(codec, b"x" * 10_000)

    with pytest.raises(BlockTooLargeError, match="more than 9999 bytes; raise max_block_size"):
        decompress(codec, data, 9_999)


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
def test_a_bomb_is_refused_in_little_memory(codec: str) -> None:
    data = compress(codec, bytes(BOMB_BYTES))
    tracemalloc.start()
    try:
        with pytest.raises(BlockTooLargeError):
            decompress(codec, data, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < BOMB_BYTES / 2  # xz alone takes a window of 8 MiB


def test_a_snappy_length_that_lies_is_refused_before_memory_is_taken_for_it() -> None:
    lie = b"\xff\xff\xff\xff\x0f" + b"\x00a" + bytes(4)

    with pytest.raises(BlockTooLargeError):
        decompress("snappy", lie, 1 << 20)
    with pytest.raises(CodecError, match="not snappy"):
        decompress("snappy", b"\x20\x00a" + bytes(4), 1 << 20)


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
def test_data_cut_short_is_refused(codec: str) -> None:
    data = compress(codec, bytes(range(256)) * 10)

    for length in range(0, len(data), 1 + len(data) // 50):
        with pytest.raises(CodecError):
            decompress(codec, data[:length])


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "snappy", "xz", "zstandard"])
@given(junk=st.binary(max_size=200))
def test_junk_inflates_to_little_or_is_refused(codec: str, junk: bytes) -> None:
    with suppress(CodecError):
        assert len(decompress(codec, junk, 1000)) <= 1000


def test_a_wrong_checksum_is_refused() -> None:
    data = compress("snappy", b"content")

    with pytest.raises(CodecError, match="checksum"):
        decompress("snappy", data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("codec", ["bzip2", "xz", "zstandard"])
def test_several_streams_in_one_block_are_one(codec: str) -> None:
    assert decompress(codec, compress(codec, b"one ") + compress(codec, b"two")) == b"one two"


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(CodecError, match="'lzo' is none of Avro's"):
        decompress("lzo", b"")


def test_a_codec_that_is_not_installed_names_what_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cramjam", None)

    with pytest.raises(CodecError, match=r"pip install 'fastavro\[snappy\]'"):
        decompress("snappy", compress("null", b"12345678"))


# --- salvage ---


def salvaged(data: bytes, **options: object) -> tuple[list[Block], list[Dropped]]:
    dropped: list[Dropped] = []
    arguments = {"path": "f.avro", "base": 100, "dropped": dropped, **options}
    return list(salvage_blocks(data, SYNC_MARKER, **arguments)), dropped  # type: ignore[arg-type]


def test_a_good_file_loses_nothing() -> None:
    data = block(b"a") + block(b"") + block(b"c")

    assert salvaged(data) == (list(walk_blocks(data, SYNC_MARKER, base=100)), [])


def test_blocks_after_a_damaged_one_are_found_and_it_is_reported() -> None:
    first, bad, last = block(b"a" * 9), encode_long(-4) + block(b"b" * 9)[1:], block(b"c" * 9)

    blocks, dropped = salvaged(first + bad + last)

    whole = list(walk_blocks(first + block(b"b" * 9) + last, SYNC_MARKER, base=100))
    assert blocks == [whole[0], whole[2]]
    assert dropped == [
        Dropped("f.avro", 1, whole[1].offset, len(bad), "a block of -4 values in 9 bytes cannot be")
    ]
    assert str(dropped[0]).startswith("f.avro: 27 bytes at 127 (block 1) left out: a block of -4")


def test_a_damaged_marker_takes_the_next_block_with_it() -> None:
    # Where the first block ends is then not known, and its own bytes are not trusted.
    data = block(b"a" * 9)[:-1] + b"?" + block(b"b" * 9) + block(b"c" * 9)

    blocks, dropped = salvaged(data)

    assert [b.end for b in blocks] == [100 + len(data)]
    assert [(d.offset, d.size_bytes) for d in dropped] == [(100, 2 * len(data) // 3)]


def test_a_size_that_lies_does_not_swallow_the_blocks_after_it() -> None:
    lie = encode_long(1) + encode_long(1 << 40) + b"data" + SYNC_MARKER

    blocks, dropped = salvaged(lie + block(b"good"))

    assert len(blocks) == 1
    assert "claims 1099511627776 bytes" in dropped[0].reason


def test_a_file_cut_short_keeps_its_whole_blocks() -> None:
    whole = block(b"a" * 20) + block(b"b" * 20)

    for cut in range(1, 38):
        blocks, dropped = salvaged(whole[:-cut])
        assert len(blocks) == 1
        assert sum(d.size_bytes for d in dropped) == len(whole) // 2 - cut


def test_salvage_asks_for_more_of_the_file_before_it_gives_up() -> None:
    bad, good = b"\x01" + block(b"a" * 30)[1:], block(b"b")
    data = bad + good

    for length in range(1, len(data)):
        with pytest.raises(NeedMoreBytes):
            salvaged(data[:length], file_bytes=100 + len(data))
    blocks, dropped = salvaged(data, file_bytes=100 + len(data))
    assert [b.offset for b in blocks] == [100 + len(bad)]
    assert dropped[0].size_bytes == len(bad)


@given(
    st.lists(st.binary(max_size=40), max_size=6),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4),
)
def test_every_byte_is_in_a_good_block_or_reported(
    contents: list[bytes], changes: list[tuple[int, int]]
) -> None:
    data = bytearray(b"".join(map(block, contents)))
    for place, value in changes:
        if place < len(data):
            data[place] = value

    blocks, dropped = salvaged(bytes(data))

    stretches = [(b.offset, b.end) for b in blocks]
    stretches += [(d.offset, d.offset + d.size_bytes) for d in dropped]
    place = 100
    for start, end in sorted(stretches):
        assert start == place
        assert end > start
        place = end
    assert place == 100 + len(data)
    untouched = list(walk_blocks(b"".join(map(block, contents)), SYNC_MARKER, base=100))
    if not changes:
        assert blocks == untouched


def test_errors_and_reports_travel_between_processes() -> None:
    report = Dropped("f", None, 1, 2, "why")

    assert pickle.loads(pickle.dumps(report)) == report
    error = pickle.loads(pickle.dumps(BlockTooLargeError("xz", 5)))
    assert (error.codec, error.max_bytes) == ("xz", 5)
