"""For any schema and records both engines give the same table, with the values fastavro reads."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

import fastavro
import pyarrow as pa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.avro.physical import endless_array
from fsspec_avroglob.avro.schema import kind_of, parse_schema
from fsspec_avroglob.errors import BlockDecodeError, ConversionError, EngineNotAbleError
from tests.support.avro_data import avro_file, logical, record_schema
from tests.support.avro_tables import assert_same, block, decoder_of, stored_blocks


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


@st.composite
def files(draw: st.DrawFn) -> tuple[Any, bytes]:
    """A schema, and a file of some records in blocks of some size."""
    kind = draw(records(itertools.count(), 3))
    assume(endless_array(parse_schema(kind.schema)) is None)  # refused
    values = draw(st.lists(kind.values, max_size=8))
    codec = draw(st.sampled_from(["null", "deflate"]))
    return kind.schema, avro_file(values, kind.schema, codec=codec, block_bytes=draw(BLOCK_BYTES))


BLOCK_BYTES = st.sampled_from([1, 20, 16_000])


def decoded_by(engine: str, schema: Any, data: bytes) -> pa.RecordBatch:
    header = parse_header(data)
    table = TableSchema.of(schema)
    batch = decoder(header, table, engine).decode(stored_blocks(data))
    batch.validate(full=True)
    assert batch.schema.equals(table.arrow)
    return batch


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(files())
def test_engines_equal_fastavro(
    file: tuple[Any, bytes],
) -> None:
    schema, data = file
    expected = list(fastavro.reader(io.BytesIO(data)))

    batch = decoded_by("fastavro", schema, data)

    for avro, arrow in zip(expected, batch.to_pylist(), strict=True):
        assert_same(schema, avro, arrow)
    try:
        other = decoded_by("polars-avro", schema, data)
    except EngineNotAbleError:
        return
    assert other.equals(batch)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(files(), st.data())
def test_chosen_columns_equal_the_table(file: tuple[Any, bytes], data: st.DataObject) -> None:
    schema, content = file
    names = data.draw(st.lists(st.sampled_from([f["name"] for f in schema["fields"]]), unique=True))
    header = parse_header(content)
    table = TableSchema.of(schema, names)

    batch = decoder(header, table).decode(stored_blocks(content))

    assert batch.equals(decoded_by("auto", schema, content).select(names))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(files(), st.integers(0, 2**32))
def test_damage_never_adds_rows(file: tuple[Any, bytes], seed: int) -> None:
    schema, content = file
    header = parse_header(content)
    chance = random.Random(seed)
    data = bytearray(content[header.size_bytes :][:4000])
    for _ in range(min(len(data), chance.randint(1, 3))):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 2, 0x7F, 0x80, 0xFF])
    count = chance.randint(0, 9)

    for engine in ("fastavro", "polars-avro"):
        try:
            chosen = decoder_of(schema, engine)
        except EngineNotAbleError:
            continue
        with suppress(BlockDecodeError, ConversionError):
            assert chosen.decode(block(count, bytes(data))).num_rows == count
