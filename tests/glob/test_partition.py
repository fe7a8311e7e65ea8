"""Positions in key space preserve the order of keys, and a division lies within its range."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.glob.partition import SAMPLE, WIDTH, KeySpace, middle, sample

texts = st.one_of(
    st.text(max_size=50),
    st.text(st.sampled_from("ab09AFz-./é\U0001f600\0"), max_size=WIDTH + 5),
)
prefixes = st.sampled_from(["", "a/", "é/x-"])


def space_of(prefix: str, seen: list[str]) -> KeySpace:
    space = KeySpace(prefix)
    space.observe(prefix + text for text in seen)
    return space


@settings(max_examples=150)
@given(prefixes, st.lists(texts, max_size=8), st.lists(texts, min_size=2, max_size=8))
def test_positions_keep_key_order(prefix: str, seen: list[str], others: list[str]) -> None:
    space = space_of(prefix, seen)
    positions = [space.position(prefix + text) for text in sorted(seen + others)]
    assert positions == sorted(positions)
    assert all(0 <= position < space.size for position in positions)


@settings(max_examples=150)
@given(prefixes, st.lists(texts, min_size=1, max_size=8), st.data())
def test_key_is_not_beyond_its_position(prefix: str, seen: list[str], data: st.DataObject) -> None:
    space = space_of(prefix, seen)
    position = data.draw(st.integers(0, space.size - 1))
    key = space.key(position)
    assert key.startswith(prefix)
    assert space.position(key) <= position
    assert space.key(space.position(key)) == key


@settings(max_examples=150)
@given(prefixes, st.lists(texts, min_size=1, max_size=8))
def test_seen_keys_keep_their_positions(prefix: str, seen: list[str]) -> None:
    space = space_of(prefix, seen)
    for text in seen:
        assert space.key(space.position(prefix + text)) == prefix + text[:WIDTH]


@settings(max_examples=200)
@given(
    prefixes,
    st.lists(texts, min_size=1, max_size=8),
    st.lists(texts, min_size=2, max_size=2, unique=True),
    st.booleans(),
    st.integers(1, 10**40),
    st.integers(1, 100),
)
def test_division_lies_within_bounds(
    prefix: str, seen: list[str], bounds: list[str], bounded: bool, stride: int, reach: int
) -> None:
    after, until = sorted(prefix + text for text in bounds)
    key = middle(space_of(prefix, seen), after, until if bounded else None, stride, reach)
    assume(key is not None)
    assert key is not None
    assert key.startswith(prefix)
    assert after < key
    if bounded:
        assert key < until


def test_short_range_is_not_divided() -> None:
    space = space_of("", [f"{number:02}" for number in range(100)])
    stride = space.position("10") - space.position("00")
    assert middle(space, "00", "19", stride, reach=8) is None
    assert middle(space, "00", "30", stride, reach=8) is not None


@pytest.mark.parametrize(
    "keys",
    [
        [f"{i:08}" for i in range(0, 100_000, 7)],
        [uuid.UUID(int=i * 0x1234567890ABCDEF1234567890AB).hex for i in range(1_000)],
        [f"2024-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 29)],
    ],
)
def test_even_keys_divide_in_the_middle(keys: list[str]) -> None:
    keys = sorted(keys)
    space = KeySpace("")
    space.observe(sample(keys))
    key = middle(space, keys[0], keys[-1], 1, reach=space.size)
    assert key is not None
    share = sum(k <= key for k in keys) / len(keys)
    assert 0.2 < share < 0.8


@pytest.mark.parametrize("until", [None, "9999", "0900"])
def test_long_range_divides_pages_ahead(until: str | None) -> None:
    space = space_of("", [f"{i:04}" for i in range(0, 10_000, 9)])
    stride = space.position("0010") - space.position("0000")
    key = middle(space, "0100", until, stride, reach=8)
    assert key is not None
    assert "0170" <= key <= "0190"


def test_sample_holds_first_and_last() -> None:
    for count in (1, 2, 3, 4, 5, 1_000):
        keys = [f"{i:04}" for i in range(count)]
        taken = sample(keys)
        assert (taken[0], taken[-1]) == (keys[0], keys[-1])
        assert len(taken) <= 2 * SAMPLE + 1
