"""The search for a suffix in a whole page finds the same keys as a test of each key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.glob.fetch import SUFFIX_SHARE, _ending_in

_key = st.text("ab\n/", max_size=4)


@given(st.lists(_key, max_size=40), st.text("ab\n", max_size=3))
def test_the_keys_found_by_suffix_are_those_that_end_in_it(keys: list[str], suffix: str) -> None:
    found = _ending_in(suffix, keys)

    expected = [index for index, key in enumerate(keys) if key.endswith(suffix)]
    assert found is None or found == expected


def test_the_suffix_is_searched_for_only_if_few_keys_have_it() -> None:
    keys = [f"{number:03}.avro" for number in range(10 * SUFFIX_SHARE)]

    assert _ending_in(".avro", keys) is None
    assert _ending_in("77.avro", keys) == [77]
    assert _ending_in("", keys) is None
