"""Engines: the choice, damaged blocks, and systems without polars-avro."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.errors import BlockDecodeError, BlockTooLargeError, EngineNotAbleError
from tests.support.avro_data import (
    USER_SCHEMA,
    avro_file,
    record_schema,
    user_file,
    users,
)
from tests.support.avro_tables import (
    ENGINES,
    block,
    column,
    decoded,
    decoder_of,
    encoded,
    stored_blocks,
)

NODE = record_schema({"value": "int", "next": ["null", "Node"]}, "Node")
NUMBERS = record_schema({"x": "long"})

# What polars-avro cannot do, each with values.
FOR_FASTAVRO_ALONE: list[tuple[Any, list[Any]]] = [
    (record_schema({"x": "null"}), [{"x": None}]),
    (record_schema({"x": record_schema({}, "Empty"), "y": "int"}), [{"x": {}, "y": 1}]),
    (record_schema({"x": ["null", record_schema({}, "Empty")]}), [{"x": {}}, {"x": None}]),
    (record_schema({"x": {"type": "fixed", "name": "F", "size": 0}}), [{"x": b""}]),
    (record_schema({"x": "boolean"}), [{"x": True}, {"x": False}]),
]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "snappy", "xz", "zstandard"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_codec_is_decoded(engine: str, codec: str) -> None:
    data = user_file(500, codec=codec, block_bytes=1000)

    assert decoded(data, engine=engine).to_pylist() == users(500)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rows", [0, 1, 63, 500, 501])
def test_rows_are_limited(engine: str, rows: int) -> None:
    data = user_file(500, block_bytes=1000)

    assert decoded(data, engine=engine, rows=rows).to_pylist() == users(500)[:rows]


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_blocks_hold_no_rows(engine: str) -> None:
    decode = decoder_of(NUMBERS, engine).decode

    assert decode([]).num_rows == 0
    assert decode(block(0, b"") + block(1, b"\x02") + block(0, b"")).to_pylist() == [{"x": 1}]


def test_unused_default_may_be_wrong() -> None:
    schema = {"type": "record", "name": "R", "fields": []}
    schema["fields"] = [{"name": "x", "type": ["null", "long"], "default": "null"}]

    assert decoder_of(schema).decode(block(1, b"\x02\x0e")).to_pylist() == [{"x": 7}]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_columns_keep_the_rows(engine: str) -> None:
    batch = decoded(user_file(20), columns=[], engine=engine)

    assert (batch.num_rows, batch.num_columns) == (20, 0)


@pytest.mark.needs("polars_avro")
def test_auto_prefers_polars() -> None:
    chosen = decoder_of(USER_SCHEMA)

    assert (chosen.engine, chosen.reason) == ("polars-avro", None)


@pytest.mark.parametrize(("schema", "values"), FOR_FASTAVRO_ALONE, ids=str)
def test_auto_says_why_it_falls_back(
    schema: Any, values: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    data = avro_file(values, schema)
    header = parse_header(data)

    with caplog.at_level(logging.INFO, "fsspec_avroglob"):
        chosen = decoder(header, TableSchema.of(schema))

    assert chosen.engine == "fastavro"
    assert chosen.reason is not None
    assert f"fastavro decodes, not polars-avro: {chosen.reason}" in caplog.text
    assert chosen.decode(stored_blocks(data)).to_pylist() == values
    with pytest.raises(EngineNotAbleError):
        decoder(header, TableSchema.of(schema), "polars-avro")


def test_empty_record_is_not_null() -> None:
    values = column(["null", "string", record_schema({}, "Empty")], ["a", {}, None])

    assert values.to_pylist() == [
        {"string": "a", "Empty": None},
        {"string": None, "Empty": {}},
        None,
    ]


def test_unknown_engine_is_error() -> None:
    with pytest.raises(ValueError, match="auto, fastavro, polars-avro, not 'java'"):
        decoder_of(NUMBERS, "java")


DAMAGED = {
    "record cut short": block(2, encoded("long", 300) + b"\x80"),
    "fewer records than bytes": block(1, b"\x02\x04"),
    "bytes without a record": block(0, b"\x02"),
    "more records than bytes": block(2**40, b"\x02"),
}


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_block_is_error(engine: str, name: str) -> None:
    good = block(2, b"\x02\x04")

    with pytest.raises(BlockDecodeError):
        decoder_of(NUMBERS, engine).decode(good + DAMAGED[name])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("string", b"\x64ab"),
        ("bytes", b"\xfe\xff\xff\xff\xff\xff\xff\x0fab"),
        ("bytes", b"\x01"),
        ({"type": "array", "items": "long"}, b"\xfe\xff\xff\xff\xff\xff\xff\x0f\x02\x02"),
        ({"type": "array", "items": "long"}, b"\x04\x02\x02"),
        ({"type": "map", "values": "long"}, b"\x02\x02k"),
        (["int", "string"], b"\x04\x02"),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc"),
        ("double", b"abc"),
        ("int", b"\xfe\xff\xff\xff\xff\x01"),
    ],
    ids=str,
)
def test_false_length_or_branch_is_error(engine: str, type_: Any, data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the reason is the engine's
        decoder_of(record_schema({"x": type_}), engine).decode(block(1, data))


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_oversized_block_is_refused(engine: str) -> None:
    data = user_file(500, codec="deflate")
    header = parse_header(data)
    table = TableSchema.of(USER_SCHEMA)

    with pytest.raises(BlockTooLargeError, match="max_block_size"):
        decoder(header, table, engine, max_block_size=1000).decode(stored_blocks(data))


def test_endless_nesting_is_refused() -> None:
    data = b"\x02\x02" * 100_000 + b"\x02\x00"
    header = parse_header(avro_file([], NODE))

    with pytest.raises(BlockDecodeError, match="deeper than"):
        decoder(header, TableSchema.of(NODE, ["value"])).decode(block(1, data))


def test_empty_records_are_bounded() -> None:
    empty = decoder_of(record_schema({"x": "null"}))

    assert empty.decode(block(1_000_000, b"")).num_rows == 1_000_000
    with pytest.raises(BlockDecodeError, match="in 0 bytes"):
        empty.decode(block(2**40, b""))


def test_arrays_of_empty_items_refused() -> None:
    with pytest.raises(EngineNotAbleError, match="array of null"):
        decoder_of(record_schema({"x": {"type": "array", "items": "null"}}))


def test_deep_types_are_decoded() -> None:
    type_: Any = "int"
    for _ in range(200):
        type_ = {"type": "array", "items": type_}

    batch = decoder_of(record_schema({"x": type_})).decode(block(1, b"\x00"))

    assert batch.to_pylist() == [{"x": []}]


DEEP: Any = "int"
for _ in range(148):
    DEEP = ["string", {"type": "map", "values": DEEP}]


def test_auto_falls_back_if_too_deep() -> None:
    batch = decoder_of(record_schema({"x": DEEP})).decode(block(1, b"\x00\x02a"))

    assert batch.to_pylist()[0]["x"]["string"] == "a"
    with pytest.raises(EngineNotAbleError, match="polars-avro"):
        decoder_of(record_schema({"x": DEEP}), "polars-avro")


def test_schema_deeper_than_stack_refused() -> None:
    header = parse_header(avro_file([], record_schema({"deep": DEEP})))
    table = TableSchema.of(header.schema)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 250)
    try:
        with pytest.raises(EngineNotAbleError, match="nested deeper"):
            decoder(header, table)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.needs("polars_avro")
def test_auto_falls_back_on_failure(caplog: pytest.LogCaptureFixture) -> None:
    # fastavro alone accepts a negative branch, and counts it from the last.
    schema = record_schema({"x": ["long", "string"]})
    data = block(1, b"\x03\x0e")

    with pytest.raises(BlockDecodeError):
        decoder_of(schema, "polars-avro").decode(data)
    with caplog.at_level(logging.INFO, "fsspec_avroglob"):
        batch = decoder_of(schema).decode(data)

    assert batch.to_pylist() == [{"x": {"long": 7, "string": None}}]
    assert "polars-avro failed where fastavro did not" in caplog.text


def run(program: str) -> str:
    """What a Python program prints to both streams."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_works_without_polars_avro() -> None:
    printed = run(
        """
        import sys
        sys.modules["polars_avro"] = sys.modules["polars"] = None
        from tests.support.avro_tables import decoder_of
        from fsspec_avroglob.errors import EngineNotAbleError

        print(decoder_of("long").engine, decoder_of("long").reason)
        try:
            decoder_of("long", "polars-avro")
        except EngineNotAbleError as error:
            print(error)
        """
    )

    assert printed.startswith("fastavro polars-avro cannot be imported")
    assert printed.count("pip install 'fsspec-avroglob[polars]'") == 2


def test_other_polars_avro_is_not_called() -> None:
    printed = run(
        """
        import sys, types
        module = types.ModuleType("polars_avro._avro_rs")
        module.AvroSource = lambda paths: None
        sys.modules["polars_avro._avro_rs"] = module
        from tests.support.avro_tables import block, decoder_of

        decoder = decoder_of("long")
        print(decoder.engine, decoder.reason)
        print(decoder.decode(block(1, b"\\x02")).to_pylist())
        """
    )

    assert printed.startswith("fastavro polars-avro does not decode the schema")
    assert printed.endswith("[{'value': 1}]\n")


def test_docs_share_a_decoder() -> None:
    one, two = (
        parse_header(avro_file([], {**record_schema({"a": "long"}), "doc": doc})) for doc in "ab"
    )
    table = TableSchema.of(one.schema)

    assert one.schema_text != two.schema_text
    assert decoder(one, table) is decoder(two, table)
