"""Records and tables of any pair of schemas have equal values, or fail in the same block."""

from __future__ import annotations

import copy
import itertools
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsspec_avroglob import iter_avro_batches, iter_avro_records, read_avro_table
from fsspec_avroglob.avro.arrow import member_name
from fsspec_avroglob.avro.schema import ParsedSchema, kind_of, parse_schema
from fsspec_avroglob.errors import (
    AvroDecodeError,
    InvalidSchemaError,
    SchemaMismatchError,
    UnsupportedTypeError,
)
from tests.support.avro_data import avro_file, logical
from tests.support.avro_kinds import records

ERRORS = (AvroDecodeError, InvalidSchemaError, SchemaMismatchError, UnsupportedTypeError)

WIDER = {
    "int": ["long", "float", "double"],
    "long": ["float", "double"],
    "float": ["double"],
    "string": ["bytes"],
    "bytes": ["string"],
}
LOGICAL = {
    "timestamp-millis": logical("long", "timestamp-micros"),
    "time-millis": logical("long", "time-micros"),
    "decimal": logical("bytes", "decimal", precision=12, scale=4),
}


@st.composite
def changed(draw: st.DrawFn, type_: Any) -> Any:
    """A type that may read what was written as *type_*."""
    change = draw(st.integers(0, 3))
    match kind_of(type_):
        case "union":
            branches = [draw(changed(branch)) for branch in type_]
            branches = [one for one in branches if not isinstance(one, list)]
            keep = draw(st.integers(1, max(len(branches), 1)))
            unique = {member_name(one): one for one in draw(st.permutations(branches))[:keep]}
            return list(unique.values()) or type_
        case "record":
            return draw(changed_record(type_))
        case "array":
            return {**type_, "items": draw(changed(type_["items"]))}
        case "map":
            return {**type_, "values": draw(changed(type_["values"]))}
        case "enum" if change == 1:
            return {**type_, "symbols": ["C", "A"], "default": "A"}
        case "enum" if change == 2:
            return {**type_, "symbols": ["D", "B", "A"]}
        case kind if change == 1 and isinstance(type_, str):
            return draw(st.sampled_from(WIDER.get(kind, [kind])))
        case _ if change == 1:
            return LOGICAL.get(type_.get("logicalType"), type_)
        case _ if change == 2 and isinstance(type_, dict):
            return {key: value for key, value in type_.items() if key != "logicalType"}
    return ["null", type_] if change == 3 and type_ != "null" else type_


@st.composite
def changed_record(draw: st.DrawFn, record: Any) -> Any:
    fields: list[Any] = []
    for field in draw(st.permutations(record["fields"])):
        new = {**field, "type": draw(changed(field["type"]))}
        match draw(st.integers(0, 5)):
            case 0:
                continue
            case 1:
                new |= {"name": f"new_{field['name']}", "aliases": [field["name"]]}
            case 2:
                fields.append({**copy.deepcopy(field), "name": f"two_{field['name']}"})
                fields[-1]["aliases"] = [field["name"]]
                fields[-1]["type"] = "long" if field["type"] == "int" else field["type"]
                if not isinstance(fields[-1]["type"], str):
                    fields.pop()  # a named type would be defined twice, in different ways
        fields.append(new)
    default = draw(st.sampled_from([["a"], [], [None]]))
    added = {"name": "added", "type": {"type": "array", "items": ["null", "string"]}}
    return {**record, "fields": [*fields, {**added, "default": default}]}


def as_records(schema: ParsedSchema, type_: Any, value: Any) -> Any:
    """A value of a table as records have it."""
    type_ = schema.definition(type_)
    kind = kind_of(type_)
    if value is None:
        return None
    if kind == "union":
        branches = [schema.definition(one) for one in type_ if one != "null"]
        if len(branches) == 1:
            return as_records(schema, branches[0], value)
        [(name, found)] = [(n, v) for n, v in value.items() if v is not None]
        return as_records(schema, next(b for b in branches if member_name(b) == name), found)
    if kind == "record":
        types = {field["name"]: field["type"] for field in type_["fields"]}
        return {name: as_records(schema, types[name], found) for name, found in value.items()}
    if kind == "array":
        return [as_records(schema, type_["items"], one) for one in value]
    if kind == "map":
        return {key: as_records(schema, type_["values"], found) for key, found in value}
    if "uuid" in str(type_):
        return UUID(value)
    return value.value if "nanos" in str(type_) else value  # pandas' for nanoseconds


def outcome(read: Any) -> Any:
    try:
        return read()
    except AvroDecodeError as error:
        return type(error), error.block_index
    except ERRORS as error:
        return type(error)


def assert_equal(path: str, reader: Any) -> None:
    """Check that all readers give the same values, or raise the same error."""
    parsed = parse_schema(reader)

    def rows(values: list[Any]) -> list[Any]:
        return [as_records(parsed, parsed.root, value) for value in values]

    found = outcome(lambda: list(iter_avro_records(path, schema=reader)))
    for engine in ("fastavro", "auto"):
        table = outcome(
            lambda e=engine: rows(read_avro_table(path, schema=reader, engine=e).to_pylist())
        )
        assert found == table
    assert found == outcome(
        lambda: rows([r for b in iter_avro_batches(path, schema=reader) for r in b.to_pylist()])
    )


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_readers_agree_on_pairs_of_schemas(data: st.DataObject) -> None:
    kind = data.draw(records(itertools.count(), 3))
    values = data.draw(st.lists(kind.values, min_size=1, max_size=5))
    reader = data.draw(changed_record(kind.schema))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.avro")
        path.write_bytes(avro_file(values, kind.schema, block_bytes=1))
        for schema in (reader, kind.schema):
            assert_equal(str(path), schema)
