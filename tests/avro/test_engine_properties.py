"""For any schema and records both engines give the same table, with the values fastavro reads."""

from __future__ import annotations

import io
import itertools
import random
from contextlib import suppress
from typing import Any

import fastavro
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.errors import BlockDecodeError, ConversionError, EngineNotAbleError
from tests.support.avro_data import avro_file
from tests.support.avro_kinds import records
from tests.support.avro_tables import assert_same, block, decoder_of, stored_blocks


@st.composite
def files(draw: st.DrawFn) -> tuple[Any, bytes]:
    """A schema, and a file of some records in blocks of some size."""
    kind = draw(records(itertools.count(), 3))
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
