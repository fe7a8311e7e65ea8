"""Files that other implementations write: Apache Avro's own for Python, and polars-avro."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import avro.datafile
import avro.io
import avro.schema
import fastavro
import pyarrow as pa
import pytest

from tests.support.avro_data import logical, record_schema
from tests.support.avro_tables import ENGINES, assert_same, decoded

SCHEMA = record_schema(
    {
        "boolean": "boolean",
        "int": "int",
        "long": "long",
        "float": "float",
        "double": "double",
        "bytes": "bytes",
        "string": "string",
        "fixed": {"type": "fixed", "name": "F", "size": 3},
        "enum": {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        "array": {"type": "array", "items": ["null", "long"]},
        "map": {"type": "map", "values": {"type": "array", "items": "E"}},
        "record": record_schema({"a": "int", "f": "F"}, "S"),
        "nullable": ["null", "S"],
        "union": ["null", "string", {"type": "map", "values": "double"}, "F"],
        "date": logical("int", "date"),
        "time_millis": logical("int", "time-millis"),
        "time_micros": logical("long", "time-micros"),
        "timestamp_millis": logical("long", "timestamp-millis"),
        "timestamp_micros": logical("long", "timestamp-micros"),
        "decimal": logical("bytes", "decimal", precision=10, scale=2),
        "uuid": logical("string", "uuid"),
    },
    namespace="org.example",
)


def record(number: int) -> dict[str, Any]:
    unions = [None, "text", {"k": 0.5}, b"xyz"]
    return {
        "boolean": number % 2 == 0,
        "int": -number,
        "long": number * 2**40,
        "float": number / 2,
        "double": number / 4,
        "bytes": bytes(number % 5),
        "string": "é" * (number % 4),
        "fixed": b"abc",
        "enum": "AB"[number % 2],
        "array": [None, number][: number % 3],
        "map": {"x": ["A", "B"], "y": []},
        "record": {"a": number, "f": b"123"},
        "nullable": None if number % 3 else {"a": 1, "f": b"456"},
        "union": unions[number % 4],
        "date": date(2024, 1, 1 + number % 28),
        "time_millis": time(1, 2, 3, 4000),
        "time_micros": time(1, 2, 3, 4567),
        "timestamp_millis": datetime(2024, 1, 2, 3, 4, 5, 6000, UTC),
        "timestamp_micros": datetime(2024, 1, 2, 3, 4, 5, 678901, UTC),
        "decimal": Decimal(number * 125 - 5000).scaleb(-2),
        "uuid": str(UUID(int=number)),
    }


def apache_file(schema: Any, records: list[Any], codec: str) -> bytes:
    out = io.BytesIO()
    parsed = avro.schema.parse(json.dumps(schema))
    writer = avro.datafile.DataFileWriter(out, avro.io.DatumWriter(), parsed, codec=codec)
    for number, item in enumerate(records):
        writer.append(item)
        if number % 40 == 39:
            writer.sync()
    writer.flush()
    return out.getvalue()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2"])
def test_apache_avro_files_are_read(engine: str, codec: str) -> None:
    records = [record(number) for number in range(100)]
    data = apache_file(SCHEMA, records, codec)

    rows = decoded(data, engine=engine).to_pylist()

    schema = fastavro.parse_schema(SCHEMA)
    for expected, row in zip(fastavro.reader(io.BytesIO(data)), rows, strict=True):
        for field in fastavro.schema.expand_schema(schema)["fields"]:  # type: ignore[index,call-overload]
            assert_same(field["type"], expected[field["name"]], row[field["name"]])  # type: ignore[index,call-overload]


@pytest.mark.needs("polars_avro")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("codec", [None, "Bzip2", "Deflate", "Snappy", "Xz", "Zstandard"])
def test_polars_avro_files_are_read(engine: str, codec: str | None) -> None:
    import polars
    import polars_avro

    frame = polars.DataFrame(
        {
            "n": [1, None, 3],
            "text": ["a", "é", None],
            "at": [datetime(2024, 1, 1), None, datetime(1969, 1, 1)],
            "list": [[1.5], [], None],
            "struct": [{"a": 1}, {"a": None}, None],
            "amount": [Decimal("1.25"), None, Decimal("-3.00")],
        },
        schema_overrides={"amount": polars.Decimal(9, 2)},
    )
    out = io.BytesIO()
    polars_avro.write_avro(frame, out, codec=codec and getattr(polars_avro.Codec, codec))

    batch = decoded(out.getvalue(), engine=engine)

    assert polars.from_arrow(pa.table(batch)).equals(frame)
