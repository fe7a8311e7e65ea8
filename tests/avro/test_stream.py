"""A stream finds the same blocks however the bytes of a file are divided."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.avro.container import (
    Block,
    block_at,
    encode_long,
    leading_blocks,
    parse_header,
    walk_blocks,
)
from fsspec_avroglob.avro.stream import BlockRun, BlockStream, Dropped
from fsspec_avroglob.errors import CorruptBlockError
from tests.support.avro_data import SYNC_MARKER, block, user_file, users

CONTENT = user_file(60, block_bytes=64)
START = parse_header(CONTENT).size_bytes
BODY = CONTENT[START:]
BLOCKS = list(walk_blocks(BODY, SYNC_MARKER, base=START))

CUTS = st.lists(st.integers(0, len(BODY)), max_size=8).map(lambda cuts: [0, *sorted(cuts)])


def data_of(block: Block) -> bytes:
    start = block.data_offset - START
    return BODY[start : start + block.size_bytes]


def feed(
    body: bytes,
    cuts: list[int],
    *,
    dropped: list[Dropped] | None = None,
    known_size: bool = True,
    max_block_bytes: int = 1 << 20,
) -> list[BlockRun]:
    size = START + len(body) if known_size else None
    stream = BlockStream(
        "x", SYNC_MARKER, START, size, dropped=dropped, max_block_bytes=max_block_bytes
    )
    runs = []
    ends = [*cuts[1:], len(body)]
    for number, (start, stop) in enumerate(zip(cuts, ends, strict=True)):
        runs += stream.feed(body[start:stop], last=number == len(cuts) - 1)
    return runs


@given(cuts=CUTS, known_size=st.booleans())
def test_blocks_are_numbered_once(cuts: list[int], known_size: bool) -> None:
    runs = feed(BODY, cuts, known_size=known_size)

    assert [block for run in runs for block in run.blocks] == BLOCKS
    assert [data for run in runs for _, data in run.stored()] == [data_of(one) for one in BLOCKS]
    assert sum(run.size_bytes for run in runs) == len(BODY)
    numbers = [run.index_of(position) for run in runs for position in range(len(run.blocks))]
    assert numbers == list(range(len(BLOCKS)))


@given(cuts=CUTS, position=st.integers(0, len(BODY) - 1), salvage=st.booleans())
def test_damage_costs_only_its_blocks(cuts: list[int], position: int, salvage: bool) -> None:
    body = BODY[:position] + bytes([BODY[position] ^ 0xFF]) + BODY[position + 1 :]
    hit = next(n for n, block in enumerate(BLOCKS) if position + START < block.end)
    dropped: list[Dropped] = []
    inside = BLOCKS[hit].data_offset <= position + START < BLOCKS[hit].end - 16
    if not salvage and not inside and position + START > BLOCKS[hit].offset:
        with pytest.raises(CorruptBlockError) as caught:
            feed(body, cuts)
        error = caught.value
        assert (error.path, error.block_index, error.offset) == ("x", hit, BLOCKS[hit].offset)
        return
    found = feed(body, cuts, dropped=dropped)
    blocks = [block for run in found for block in run.blocks]
    lost = [block.offset for block in BLOCKS if block not in blocks]
    if inside:  # data is not looked at
        assert not lost
    # A damaged count goes unnoticed: the block then differs from the original.
    assert set(lost) <= {block.offset for block in BLOCKS[hit : hit + 2]}
    reported = [range(one.offset, one.offset + one.size_bytes) for one in dropped]
    assert all(
        any(offset in part for part in reported) or offset == BLOCKS[hit].offset for offset in lost
    )


@given(
    cuts=CUTS,
    damage=st.lists(st.tuples(st.integers(0, len(BODY) - 1), st.binary(max_size=40)), max_size=3),
    max_block_bytes=st.sampled_from([1 << 20, 70]),
    known_size=st.booleans(),
)
def test_salvage_ignores_part_bounds(
    cuts: list[int], damage: list[tuple[int, bytes]], max_block_bytes: int, known_size: bool
) -> None:
    body = BODY
    for position, junk in damage:
        body = (body[:position] + junk + body[position + len(junk) :])[: len(BODY)]
    whole: list[Dropped] = []
    runs = feed(body, [0], dropped=whole, max_block_bytes=max_block_bytes)
    blocks = [block for run in runs for block in run.blocks]

    dropped: list[Dropped] = []
    runs = feed(body, cuts, dropped=dropped, max_block_bytes=max_block_bytes, known_size=known_size)

    assert [block for run in runs for block in run.blocks] == blocks
    if known_size:
        assert dropped == whole
    else:  # a claim beyond the end of the file shows only at its end
        assert [(one.offset, one.end) for one in dropped] == [
            (one.offset, one.end) for one in whole
        ]


def test_long_corruption_is_one_report() -> None:
    zeros, count = bytes(1 << 16), 200
    dropped: list[Dropped] = []
    stream = BlockStream("x", SYNC_MARKER, 0, None, dropped=dropped)
    tracemalloc.start()
    try:
        for _ in range(count):
            assert not list(stream.feed(zeros, last=False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (run,) = stream.feed(SYNC_MARKER + BODY, last=True)

    assert len(run.blocks) == len(BLOCKS)
    assert [one.size_bytes for one in dropped] == [count * len(zeros) + len(SYNC_MARKER)]
    assert peak < 10 * len(zeros)


@given(cuts=CUTS)
def test_other_reports_cost_no_block(cuts: list[int]) -> None:
    dropped: list[Dropped] = []
    stream = BlockStream("x", SYNC_MARKER, START, START + len(BODY), dropped=dropped)
    found = []
    for start, stop in zip(cuts, [*cuts[1:], len(BODY)], strict=True):
        for run in stream.feed(BODY[start:stop], last=stop == len(BODY)):
            found += run.blocks
            # Meanwhile, decoding reports corrupt blocks of earlier files.
            dropped.append(Dropped("another", None, 1 << 40, 1 << 20, "damaged"))

    assert found == BLOCKS


@given(cuts=CUTS, length=st.integers(0, len(BODY)))
def test_cut_file_ends_with_error(cuts: list[int], length: int) -> None:
    body = BODY[:length]
    whole = [block for block in BLOCKS if block.end <= START + length]
    cuts = [cut for cut in cuts if cut <= length]
    complete = length == 0 or bool(whole and whole[-1].end == START + length)
    dropped: list[Dropped] = []

    if complete:
        assert [b for run in feed(body, cuts) for b in run.blocks] == whole
    else:
        with pytest.raises(CorruptBlockError):
            feed(body, cuts)
        assert [b for run in feed(body, cuts, dropped=dropped) for b in run.blocks] == whole
        assert sum(one.size_bytes for one in dropped) == len(body) - (
            whole[-1].end - START if whole else 0
        )


def test_oversized_block_is_not_read() -> None:
    lie = encode_long(1) + encode_long(1 << 30) + b"\x00" * 100

    with pytest.raises(CorruptBlockError, match="raise max_block_size"):
        feed(BODY + lie, [0, len(BODY) + 50], known_size=False, max_block_bytes=1000)


def test_false_size_is_skipped() -> None:
    lie = encode_long(1) + encode_long(1 << 40) + b"\x00" * 100 + SYNC_MARKER
    dropped: list[Dropped] = []

    runs = feed(BODY + lie + BODY, [0, len(BODY) + 50], known_size=False, dropped=dropped)

    assert sum(len(run.blocks) for run in runs) == 2 * len(BLOCKS)
    assert dropped[0].offset == START + len(BODY)
    assert sum(one.size_bytes for one in dropped) == len(lie)


@given(stored=st.integers(1, 3000))
def test_split_run_keeps_blocks(stored: int) -> None:
    (run,) = feed(BODY, [0])

    parts = list(run.split(stored))

    assert [block for part in parts for block in part.blocks] == BLOCKS
    sizes = [part.size_bytes for part in parts]
    assert sum(sizes) == run.size_bytes
    assert min(sizes[:-1], default=stored) >= stored


@given(count=st.integers(1, 61))
def test_first_values_are_first_blocks(count: int) -> None:
    (run,) = feed(BODY, [0])

    first = run.first_values(count)

    assert first.value_count >= min(count, len(users(60)))
    assert first.value_count - first.blocks[-1].value_count < count
    assert first.blocks == BLOCKS[: len(first.blocks)]


@given(
    contents=st.lists(st.tuples(st.integers(-2, 70), st.integers(0, 9000)), max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 40),
    max_bytes=st.sampled_from([100, 1 << 20]),
)
def test_leading_blocks_equal_walk(
    contents: list[tuple[int, int]], changes: list[tuple[int, int]], cut: int, max_bytes: int
) -> None:
    data = bytearray(b"".join(block(bytes(size), count) for count, size in contents))
    for position, value in changes:
        data[position % (len(data) or 1) : position % (len(data) or 1) + 1] = bytes([value])
    data = data[: max(len(data) - cut, 0)]

    found, end = leading_blocks(bytes(data), 0, SYNC_MARKER, max_bytes)

    position = 0
    for count, header_bytes, stored in found:
        whole = block_at(bytes(data), position, SYNC_MARKER, max_bytes=max_bytes)
        assert (count, len(stored)) == (whole.value_count, whole.size_bytes)
        assert position + header_bytes == whole.data_offset
        assert stored == bytes(data[whole.data_offset :][: whole.size_bytes])
        position = whole.end
    assert position == end


def test_leading_blocks_take_small_ones() -> None:
    data = block(b"a") + block(bytes(8000), 63) + block(b"c" * 200)

    found, end = leading_blocks(data, 0, SYNC_MARKER, 1 << 20)

    assert [(count, len(stored)) for count, _, stored in found] == [(1, 1), (63, 8000), (1, 200)]
    assert end == len(data)


# --- corrupt parts are skipped ---


def salvaged(data: bytes) -> tuple[list[Block], list[Dropped]]:
    """The good blocks of *data*, which begins at byte 100 of a file, and the skipped parts."""
    dropped: list[Dropped] = []
    stream = BlockStream("f.avro", SYNC_MARKER, 100, 100 + len(data), dropped=dropped)
    return [block for run in stream.feed(data, last=True) for block in run.blocks], dropped


def test_good_file_loses_nothing() -> None:
    data = block(b"a") + block(b"") + block(b"c")

    assert salvaged(data) == (list(walk_blocks(data, SYNC_MARKER, base=100)), [])


def test_blocks_after_corruption_found() -> None:
    first, bad, last = block(b"a" * 9), encode_long(-4) + block(b"b" * 9)[1:], block(b"c" * 9)

    blocks, dropped = salvaged(first + bad + last)

    whole = list(walk_blocks(first + block(b"b" * 9) + last, SYNC_MARKER, base=100))
    assert blocks == [whole[0], whole[2]]
    assert dropped == [
        Dropped("f.avro", 1, whole[1].offset, len(bad), "a block cannot have -4 values in 9 bytes")
    ]
    assert str(dropped[0]).startswith(
        "f.avro: 27 bytes at 127 (block 1) left out: a block cannot have -4"
    )


def test_damaged_marker_costs_next_block() -> None:
    # The end of the first block is then unknown, and so the start of the next.
    data = block(b"a" * 9)[:-1] + b"?" + block(b"b" * 9) + block(b"c" * 9)

    blocks, dropped = salvaged(data)

    assert [b.end for b in blocks] == [100 + len(data)]
    assert [(d.offset, d.size_bytes) for d in dropped] == [(100, 2 * len(data) // 3)]


def test_false_size_hides_no_block() -> None:
    lie = encode_long(1) + encode_long(1 << 40) + b"data" + SYNC_MARKER

    blocks, dropped = salvaged(lie + block(b"good"))

    assert len(blocks) == 1
    assert "claims 1099511627776 bytes" in dropped[0].reason


def test_cut_file_keeps_whole_blocks() -> None:
    whole = block(b"a" * 20) + block(b"b" * 20)

    for cut in range(1, 38):
        blocks, dropped = salvaged(whole[:-cut])
        assert len(blocks) == 1
        assert sum(d.size_bytes for d in dropped) == len(whole) // 2 - cut


def test_report_waits_for_end() -> None:
    bad, good = b"\x01" + block(b"a" * 30)[1:], block(b"b")
    data = bad + good

    for length in range(1, len(data)):
        dropped: list[Dropped] = []
        stream = BlockStream("f.avro", SYNC_MARKER, 0, len(data), dropped=dropped)
        assert not list(stream.feed(data[:length], last=False))
        assert not dropped
        (run,) = stream.feed(data[length:], last=True)
        assert [one.offset for one in run.blocks] == [len(bad)]
        assert [one.size_bytes for one in dropped] == [len(bad)]


@given(
    st.lists(st.binary(max_size=40), max_size=6),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=4),
)
def test_every_byte_is_kept_or_reported(
    contents: list[bytes], changes: list[tuple[int, int]]
) -> None:
    data = bytearray(b"".join(map(block, contents)))
    for position, value in changes:
        if position < len(data):
            data[position] = value

    blocks, dropped = salvaged(bytes(data))

    stretches = [(b.offset, b.end) for b in blocks]
    stretches += [(d.offset, d.offset + d.size_bytes) for d in dropped]
    position = 100
    for start, end in sorted(stretches):
        assert start == position
        assert end > start
        position = end
    assert position == 100 + len(data)
    untouched = list(walk_blocks(b"".join(map(block, contents)), SYNC_MARKER, base=100))
    if not changes:
        assert blocks == untouched


def test_report_pickles() -> None:
    report = Dropped("f", None, 1, 2, "why")

    assert pickle.loads(pickle.dumps(report)) == report
