"""Blocks decoded together have the values that each has alone."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.avro.resolution import resolve
from fsspec_avroglob.avro.schema import parse_schema
from fsspec_avroglob.avro.values import ValueDecoder
from fsspec_avroglob.errors import BlockDecodeError


def value_decoder(schema: object) -> ValueDecoder:
    parsed = parse_schema(schema)
    step = resolve(parsed, parsed, writer_path="file", reader_path="table")
    return ValueDecoder(parsed, parsed, step)


LONGS, NULLS = value_decoder("long"), value_decoder("null")


@given(st.lists(st.lists(st.integers(-(1 << 40), 1 << 40), max_size=3000), max_size=8))
def test_blocks_together_equal_each(blocks: list[list[int]]) -> None:
    stored = [(len(values), b"".join(map(encode_long, values))) for values in blocks]

    assert LONGS.of_blocks(stored) == [value for values in blocks for value in values]


@given(st.lists(st.integers(0, 50), max_size=5))
def test_values_without_bytes_together(counts: list[int]) -> None:
    assert NULLS.of_blocks([(count, b"") for count in counts]) == [None] * sum(counts)


def test_false_counts_are_found() -> None:
    one = encode_long(1 << 40)

    with pytest.raises(BlockDecodeError):
        LONGS.of_blocks([(1, one), (2, one), (1, one)])
    with pytest.raises(BlockDecodeError, match="claims 9 values in 6 bytes"):
        LONGS.of_blocks([(1, one), (9, one)])


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collector_stays(enabled: bool) -> None:
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(BlockDecodeError):
            LONGS.values(3, b"\x80\x80\x80")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
