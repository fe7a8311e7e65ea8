"""Matches found on a page the short way, beside a look at every key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.glob.fetch import SUFFIX_SHARE, _ending_in

_key = st.text("ab\n/", max_size=4)


@given(st.lists(_key, max_size=40), st.text("ab\n", max_size=3))
def test_suffix_search_equals_a_filter(keys: list[str], suffix: str) -> None:
    found = _ending_in(suffix, keys)

    expected = [index for index, key in enumerate(keys) if key.endswith(suffix)]
    assert found is None or found == expected


def test_suffix_search_finds_few_keys() -> None:
    keys = [f"{number:03}.avro" for number in range(10 * SUFFIX_SHARE)]

    assert _ending_in(".avro", keys) is None
    assert _ending_in("77.avro", keys) == [77]
    assert _ending_in("", keys) is None
