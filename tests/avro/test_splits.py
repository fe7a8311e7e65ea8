"""Files divide into ranges. Each decodes alone; together they hold each block once."""

from __future__ import annotations

import io
from itertools import pairwise

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.avro.container import (
    Block,
    ByteRange,
    NeedMoreBytes,
    blocks_in_range,
    encode_long,
    find_block,
    parse_header,
    split_ranges,
    walk_blocks,
)
from fsspec_avroglob.errors import CorruptBlockError, UncertainBlockError
from tests.support.avro_data import (
    SYNC_MARKER,
    block,
    header,
    user_file,
    users,
)

HEADER = header("bytes")
START = len(HEADER)


def walked(file: bytes) -> list[Block]:
    """The slow twin: all blocks, by the chain from the header."""
    return list(walk_blocks(file, SYNC_MARKER, start=START))


def read_alone(file: bytes, part: ByteRange) -> list[Block]:
    """A range as one worker reads it: the bytes needed and no more, and nothing known."""
    base, stop = part.start - 16, part.stop
    while True:
        try:
            return blocks_in_range(
                file[base:stop], SYNC_MARKER, part, base=base, file_bytes=len(file)
            )
        except NeedMoreBytes as more:
            stop = base + more.size_bytes


def read_with_neighbours(file: bytes, ranges: list[ByteRange]) -> list[Block]:
    """All ranges, each found alone and read again where it does not continue the one before."""
    blocks: list[Block] = []
    expected = START
    for part in ranges:
        try:
            found = read_alone(file, part)
        except CorruptBlockError:
            found = []
        starts = expected < part.stop
        if (found[0].offset != expected) if found else starts:
            found = blocks_in_range(file, SYNC_MARKER, part, base=0, first=expected)
        blocks += found
        expected = found[-1].end if found else expected
    return blocks


INNOCENT = st.lists(
    st.tuples(
        st.integers(0, 5), st.binary(max_size=60).filter(lambda data: b"\x00\x01" not in data)
    )
)


@given(INNOCENT, st.integers(1, 200))
def test_ranges_have_each_block_once(contents: list[tuple[int, bytes]], split_bytes: int) -> None:
    file = HEADER + b"".join(block(data, count) for count, data in contents)

    ranges = split_ranges(len(file), START, split_bytes)

    assert [b for part in ranges for b in read_alone(file, part)] == walked(file)


@given(INNOCENT, st.data())
def test_any_cover_of_ranges_works(contents: list[tuple[int, bytes]], data: st.DataObject) -> None:
    file = HEADER + b"".join(block(content, count) for count, content in contents)
    bounds = data.draw(st.lists(st.integers(START, len(file)), max_size=8))
    ranges = [ByteRange(*pair) for pair in pairwise(sorted([START, *bounds, len(file)]))]

    assert [b for part in ranges for b in read_alone(file, part)] == walked(file)


EMBEDDED = HEADER + block(b"inner", 2) + block(b"") + block(b"more of it", 7)
TRICKY = st.lists(
    st.lists(
        st.sampled_from(
            [
                SYNC_MARKER,
                SYNC_MARKER[:9],
                SYNC_MARKER[9:],
                EMBEDDED,
                EMBEDDED[START:],
                block(b"x" * 20),
                encode_long(3),
                b"plain",
            ]
        )
        | st.binary(max_size=4),
        max_size=5,
    ).map(b"".join),
    max_size=6,
)


@given(TRICKY, st.integers(1, 300))
def test_neighbours_correct_false_markers(contents: list[bytes], split_bytes: int) -> None:
    file = HEADER + b"".join(map(block, contents))
    ranges = split_ranges(len(file), START, split_bytes)

    assert read_with_neighbours(file, ranges) == walked(file)


def test_false_marker_is_noticed() -> None:
    file = HEADER + block(b"a" * 50 + SYNC_MARKER + b"\x01 no block") + block(b"b")
    part = ByteRange(START + 40, len(file))

    with pytest.raises(UncertainBlockError, match="no chain of blocks follows"):
        read_alone(file, part)

    assert blocks_in_range(file, SYNC_MARKER, part, base=0, first=walked(file)[1].offset) == [
        walked(file)[1]
    ]


def test_embedded_file_is_noticed() -> None:
    file = HEADER + block(b"a" * 50 + EMBEDDED + b"!" * 50) + block(b"b")

    with pytest.raises(UncertainBlockError):
        read_alone(file, ByteRange(START + 40, len(file)))


def test_damaged_block_is_an_error() -> None:
    blocks = [block(b"a" * 30), b"\x01" + block(b"b" * 30)[1:], block(b"c" * 30)]
    file = HEADER + b"".join(blocks)

    for split_bytes in range(1, len(file), 7):
        ranges = split_ranges(len(file), START, split_bytes)
        with pytest.raises(CorruptBlockError):
            [read_alone(file, part) for part in ranges]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard"])
def test_ranges_decode_alone(codec: str) -> None:
    file = user_file(2000, codec=codec, block_bytes=700)
    start = parse_header(file).size_bytes

    rows = []
    for part in split_ranges(len(file), start, 5000):
        for one in read_alone(file, part):
            stream = io.BytesIO(file[:start] + file[one.offset : one.end])
            rows += fastavro.reader(stream)

    assert rows == users(2000)


@given(st.integers(0, 5000), st.integers(0, 200), st.integers(1, 6000))
def test_splits_are_even_and_complete(body: int, header_bytes: int, split_bytes: int) -> None:
    ranges = split_ranges(header_bytes + body, header_bytes, split_bytes)

    sizes = [part.stop - part.start for part in ranges]
    assert sum(sizes) == body
    assert [part.start for part in ranges[1:]] == [part.stop for part in ranges[:-1]]
    assert not ranges or (ranges[0].start == header_bytes and min(sizes) > 0)
    assert max(sizes, default=0) <= split_bytes
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_empty_split_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        split_ranges(100, 10, 0)


def test_straddling_marker_is_found() -> None:
    file = HEADER + block(b"one") + block(b"two")
    second = walked(file)[1].offset

    for place in range(START + 1, second + 1):
        assert find_block(file, SYNC_MARKER, base=0, at_or_after=place) == second
    assert find_block(file, SYNC_MARKER, base=0, at_or_after=second + 1) == len(file)
    assert find_block(file, SYNC_MARKER, base=0, at_or_after=len(file) + 1) is None


def test_cut_block_asks_for_more() -> None:
    file = block(b"first") + block(b"second")
    first = len(block(b"first"))

    for length in range(first + 1, len(file)):
        blocks = walk_blocks(file[:length], SYNC_MARKER)
        assert next(blocks).end == first
        with pytest.raises(NeedMoreBytes) as caught:
            next(blocks)
        assert length < caught.value.size_bytes <= len(file)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_long(1) + encode_long(1 << 50), "claims 1125899906842624 bytes of data, but"),
        (encode_long(-1) + encode_long(3) + b"abc" + SYNC_MARKER, "-1 values in 3 bytes"),
        (encode_long(1) + encode_long(-3) + b"abc" + SYNC_MARKER, "1 values in -3 bytes"),
        (b"\xff" * 30, "longer than 64 bits"),
        (encode_long(1) + encode_long(3) + b"abc" + bytes(16), "no sync marker follows its 3"),
        (b"\x80", "the file ends within its header"),
        (block(b"cut short")[:-1], "file ends at byte"),
    ],
    ids=["size", "count", "negative size", "number", "marker", "header", "cut"],
)
def test_impossible_block_has_an_offset(data: bytes, reason: str) -> None:
    file = block(b"good") + data
    blocks = walk_blocks(file, SYNC_MARKER, base=1000, file_bytes=1000 + len(file))
    good = next(blocks)

    with pytest.raises(CorruptBlockError, match=reason) as caught:
        next(blocks)

    assert caught.value.offset == good.end
    error = caught.value.at("b/file.avro", 1)
    assert str(error).startswith(f"b/file.avro: block 1 at byte {good.end} is corrupt: ")
