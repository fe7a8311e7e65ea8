"""Sync markers are exchanged where they end a block, and nowhere else, in any range."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.filesystem.join_avro import RemarkedBlocks
from tests.support.avro_data import block, header

OWN, OTHER = b"B" * 16, b"A" * 16
HEADER = header("bytes")[:-16] + OWN


class Stored(NamedTuple):
    """A file in memory that is read as an object is."""

    data: bytes
    path: str = "bucket/2.avro"

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    async def read(self, fs: Any, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= len(self.data)
        return self.data[start:stop]


def exchanged(contents: list[bytes]) -> tuple[RemarkedBlocks, bytes]:
    """The blocks of a file of these contents, and what they are to be read as."""
    stored = Stored(HEADER + b"".join(block(content, 1, OWN) for content in contents))
    blocks = RemarkedBlocks(stored, len(HEADER), OWN, OTHER)  # type: ignore[arg-type]
    return blocks, b"".join(block(content, 1, OTHER) for content in contents)


def read(blocks: RemarkedBlocks, ranges: list[tuple[int, int]]) -> list[bytes]:
    async def all_ranges() -> list[bytes]:
        return [await blocks.read(None, *bounds) for bounds in ranges]  # type: ignore[arg-type]

    return asyncio.run(all_ranges())


def ranges_within(size: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    places = st.integers(0, size)
    return st.lists(st.tuples(places, places).map(lambda pair: (min(pair), max(pair))), max_size=8)


PLAIN = st.lists(st.binary(max_size=90).filter(lambda data: b"B" not in data), max_size=6)
STRAY = st.sampled_from(
    [OWN, OWN[:5], OTHER, block(b"in", 1, OWN), b"\x02\x04", b"plain", b"z" * 60]
)
TRICKY = st.lists(st.lists(STRAY, max_size=4).map(b"".join), max_size=6)


@given(PLAIN, st.data())
def test_ranges_in_any_order(contents: list[bytes], data: st.DataObject) -> None:
    blocks, whole = exchanged(contents)
    ranges = data.draw(ranges_within(len(whole)))

    assert read(blocks, ranges) == [whole[start:stop] for start, stop in ranges]


@given(TRICKY, st.lists(st.integers(1, 120), min_size=1))
def test_steps_of_any_size(contents: list[bytes], steps: list[int]) -> None:
    blocks, whole = exchanged(contents)
    bounds = [0]
    while bounds[-1] < len(whole):
        bounds.append(min(bounds[-1] + steps[len(bounds) % len(steps)], len(whole)))
    ranges = list(pairwise(bounds))

    assert b"".join(read(blocks, ranges)) == whole


@given(TRICKY, st.data())
def test_any_range_once_read(contents: list[bytes], data: st.DataObject) -> None:
    blocks, whole = exchanged(contents)
    ranges = [(0, len(whole)), *data.draw(ranges_within(len(whole)))]

    assert read(blocks, ranges) == [whole[start:stop] for start, stop in ranges]


def test_doubt_reads_from_known_blocks() -> None:
    blocks, whole = exchanged([b"x" * 200 + OWN + b"no block follows" * 20] * 3)

    for start, stop in [(900, 1200), (230, 250), (len(whole) - 700, len(whole))]:
        assert read(blocks, [(start, stop)]) == [whole[start:stop]]
