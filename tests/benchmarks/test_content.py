"""What the benchmarks' endpoint serves as Avro is Avro, of the size and shape asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.content import Repeated, from_name
from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob import read_avro_table


@given(
    start=st.binary(max_size=5),
    unit=st.binary(min_size=1, max_size=5),
    count=st.integers(0, 4),
    bounds=st.tuples(st.integers(0, 25), st.integers(0, 25)),
)
def test_any_range_of_bytes(start: bytes, unit: bytes, count: int, bounds: tuple[int, int]) -> None:
    whole = start + unit * count
    first, last = sorted(min(bound, len(whole)) for bound in bounds)
    content = Repeated(start, unit, count)

    assert content.size == len(whole)
    assert content.read(first, last) == whole[first:last]


def test_bucket_holds_specified_files() -> None:
    spec = "counters:3@avro:rows=10,codec=snappy,fields=8,repeat=2"
    with SyntheticEndpoint({"b": spec, "plain": "counters:1"}) as endpoint:
        table = read_avro_table("s3://b/data/*.avro", endpoint.storage_options)

    assert table.num_rows == 3 * 10 * 2
    assert len(table.column_names) == 8


def test_unknown_content_is_refused() -> None:
    with pytest.raises(ValueError, match="is neither pattern nor avro"):
        from_name("parquet")
