"""Avro types and values of them, generated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fsspec_avroglob.avro.schema import kind_of
from tests.support.avro_data import logical, record_schema


class Kind(NamedTuple):
    """A type and values of it, as fastavro writes them."""

    schema: Any
    values: st.SearchStrategy[Any]


INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
MILLIS = TIMES.map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
DECIMALS = st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: Decimal(n).scaleb(-2))

PRIMITIVES = [
    Kind("null", st.none()),
    Kind("boolean", st.booleans()),
    Kind("int", INTS),
    Kind("long", LONGS),
    Kind("float", st.floats(width=32, allow_nan=False)),
    Kind("double", st.floats(allow_nan=False)),
    Kind("bytes", st.binary(max_size=5)),
    Kind("string", st.text(max_size=5)),
]
LOGICAL = [
    Kind(logical("bytes", "decimal", precision=9, scale=2), DECIMALS),
    Kind(logical("string", "uuid"), st.uuids()),
    Kind(logical("int", "date"), st.dates()),
    Kind(logical("int", "time-millis"), st.just(time(1, 2, 3, 4000))),
    Kind(logical("long", "time-micros"), st.times()),
    Kind(logical("long", "timestamp-millis"), MILLIS.map(lambda t: t.replace(tzinfo=UTC))),
    Kind(logical("long", "timestamp-micros"), TIMES.map(lambda t: t.replace(tzinfo=UTC))),
    Kind(logical("long", "local-timestamp-micros"), TIMES),
    Kind(logical("long", "timestamp-nanos"), LONGS),
    Kind(logical("int", "no-such-type"), INTS),
]


def _named(names: Iterator[int]) -> list[Kind]:
    """An enum and fixed types with names of their own."""
    enum = {"type": "enum", "name": f"E{next(names)}", "symbols": ["A", "B", "C"]}
    fixed = {"type": "fixed", "name": f"F{next(names)}", "size": 5}
    decimal = {**fixed, "name": f"F{next(names)}", "logicalType": "decimal", "precision": 9}
    return [
        Kind(enum, st.sampled_from(enum["symbols"])),
        Kind(fixed, st.binary(min_size=5, max_size=5)),
        Kind({**decimal, "scale": 2}, DECIMALS),
    ]


@st.composite
def kinds(draw: st.DrawFn, names: Iterator[int], depth: int, plain: bool = False) -> Kind:
    """A type, made of others up to a depth; with *plain* without logical types anywhere."""
    form = draw(st.sampled_from(["leaf", "nullable", "array", "map", "record", "union"]))
    if depth == 0 or form == "leaf":
        enum, fixed, decimal = _named(names)
        logical = [] if plain else [*LOGICAL, decimal]
        return draw(st.sampled_from([*PRIMITIVES, enum, fixed, *logical]))
    if form == "record":
        return draw(records(names, depth, plain))
    if form == "union":
        return draw(unions(names, depth))
    inner = draw(kinds(names, depth - 1, plain))
    if form == "nullable" and kind_of(inner.schema) not in ("null", "union"):
        branches = draw(st.permutations(["null", inner.schema]))
        return Kind(branches, st.none() | inner.values)
    if form == "map":
        keys = st.text(max_size=3)
        return Kind(
            {"type": "map", "values": inner.schema},
            st.dictionaries(keys, inner.values, max_size=3),
        )
    return Kind({"type": "array", "items": inner.schema}, st.lists(inner.values, max_size=3))


@st.composite
def records(draw: st.DrawFn, names: Iterator[int], depth: int, plain: bool = False) -> Kind:
    name = f"R{next(names)}"
    count = draw(st.integers(1, 4))
    fields = {f"f{i}": draw(kinds(names, depth - 1, plain)) for i in range(count)}
    schema = record_schema({field: kind.schema for field, kind in fields.items()}, name)
    return Kind(schema, st.fixed_dictionaries({f: kind.values for f, kind in fields.items()}))


@st.composite
def unions(draw: st.DrawFn, names: Iterator[int], depth: int) -> Kind:
    found: dict[str, Kind] = {}
    for _ in range(draw(st.integers(1, 3))):
        # To find a value's branch fastavro tries them all, and fails in those of logical types.
        kind = draw(kinds(names, depth - 1, plain=True))
        if kind_of(kind.schema) != "union":
            # fastavro writes bytes to the first branch of either kind, so there is one of them.
            name = kind_of(kind.schema)
            found.setdefault("bytes" if name == "fixed" else name, kind)
    if not found:
        return PRIMITIVES[2]
    return Kind([k.schema for k in found.values()], st.one_of([k.values for k in found.values()]))
