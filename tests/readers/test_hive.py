"""``key=value`` directories become typed values, and filters on them narrow patterns."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.readers.hive import PartitionFilter, column_kinds, partition_of, typed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("b/year=2024/month=03/x.avro", {"year": "2024", "month": "03"}),
        ("b/a=1/a=2/x=3.avro", {"a": "2"}),
        ("b/k=__HIVE_DEFAULT_PARTITION__/x", {"k": None}),
        ("b/a%20b=c%2Fd/x", {"a b": "c/d"}),
        ("b/=1/plain/e=/x", {"e": ""}),
    ],
)
def test_directories_make_a_partition(path: str, expected: Any) -> None:
    assert partition_of(path) == expected


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "02", None], "int64"),
        (["1", "x"], "string"),
        (["1" * 19], "string"),
        (["2024-01-31", "2024-02-29"], "date"),
        (["2024-02-30"], "string"),
        ([None], "string"),
        (["", "1"], "string"),
    ],
)
def test_column_type_fits_all_texts(texts: Any, kind: str) -> None:
    assert column_kinds({"k": text} for text in texts) == {"k": kind}


def test_values_get_the_column_type() -> None:
    assert typed("03", "int64") == 3
    assert typed("2024-02-29", "date") == datetime.date(2024, 2, 29)
    assert typed("03", "string") == "03"
    assert typed(None, "int64") is None


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ([("m", "=", 3)], ["3", "03"]),
        ([("m", "==", "03")], ["03"]),
        ([("m", "!=", 3)], ["12"]),
        ([("m", ">=", 3), ("m", "<", 10)], ["3", "03"]),
        ([("m", "in", [3, 12])], ["3", "03", "12"]),
        ([("m", "not in", ["3", "12"])], ["03", "x"]),
        ([[("m", "=", 12)], [("m", "=", "x")]], ["12", "x"]),
        ([("m", "=", None)], [None]),
        ([("m", "!=", None)], ["3", "03", "12", "x"]),
    ],
)
def test_filters_compare_as_values(filters: Any, kept: list[str | None]) -> None:
    chosen = PartitionFilter.parse(filters)

    assert [m for m in ("3", "03", "12", "x", None) if chosen.keeps({"m": m})] == kept


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([], "has no condition"),
        ([[]], "has no condition"),
        (["x"], r"write \[\(key, operator, value\)\]"),
        ("m = 1", r"'m = 1' is not a list of conditions"),
        (("m", "=", 1), r"\('m', '=', 1\) is not a list of conditions"),
        ([("m", "~", 1)], "operator '~'"),
        ([("m", "in", "text")], "list of values"),
        ([("m", "=")], r"\('m', '='\) is not a condition"),
    ],
)
def test_invalid_filters_are_refused(filters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PartitionFilter.parse(filters)


@pytest.mark.parametrize(
    ("filters", "narrowed"),
    [
        ([("year", "=", 2024)], "b/year=2024/month=*/*.avro"),
        ([("year", "in", [2023, 2024]), ("month", "=", 3)], "b/year={2023,2024}/month=*3/*.avro"),
        ([("month", "=", "a,b")], "b/year=*/month={a%2Cb,a[,]b}/*.avro"),
        ([("year", ">", 2023)], "b/year=*/month=*/*.avro"),
        ([[("year", "=", 2023)], [("year", "=", 2024)]], "b/year={2023,2024}/month=*/*.avro"),
        ([[("year", "=", 2023)], [("month", "=", 3)]], "b/year=*/month=*/*.avro"),
    ],
)
def test_equality_narrows_the_pattern(filters: Any, narrowed: str) -> None:
    assert PartitionFilter.parse(filters).narrowed("b/year=*/month=*/*.avro") == narrowed


VALUES = st.one_of(
    st.integers(-50, 3000),
    st.text(alphabet="ab3{}[],*?=% ", min_size=1, max_size=4),
    st.none(),
    st.dates(),
)


@given(value=VALUES, more=VALUES, text=st.text(alphabet="0123ab-{}[],*?=% ", max_size=5))
def test_narrowing_loses_nothing(value: Any, more: Any, text: str) -> None:
    chosen = PartitionFilter.parse([("k", "in", [value, more])])
    texts = [text, str(value), f"00{value}"]
    pattern = GlobPattern.parse(chosen.narrowed("b/k=*/x.avro"))

    for one in texts:
        path = f"b/k={one}/x.avro"
        if one and chosen.keeps(partition_of(path)) and "/" not in one:
            assert pattern.matches(path), (pattern.text, path)
