"""Records and tables of any pair of schemas have equal values, or fail in the same block."""

from __future__ import annotations

import copy
import itertools
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsspec_avroglob import iter_avro_batches, iter_avro_records, read_avro_table
from fsspec_avroglob.avro.arrow import member_name
from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.avro.schema import ParsedSchema, kind_of, parse_schema
from fsspec_avroglob.errors import (
    AvroDecodeError,
    InvalidSchemaError,
    SchemaMismatchError,
    UnsupportedTypeError,
)
from tests.support.avro_data import avro_file, block, enum, header, logical, record_schema
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


NUMBER = "without this logicalType to read its number"


@pytest.mark.parametrize(
    ("type_", "data", "reason"),
    [
        (logical("bytes", "decimal", precision=4, scale=2), b"\x06\x01\x00\x00", "4 digits"),
        (logical("bytes", "decimal", precision=4, scale=2), b"\x04\xc0\x00", "4 digits"),
        ("string", b"\x02\xff", "not UTF-8; .* with the type bytes"),
        (logical("string", "uuid"), b"\x02\xff", "not UTF-8"),
        (logical("int", "time-millis"), encode_long(86_400_000), NUMBER),
        (logical("int", "time-millis"), b"\x01", NUMBER),
        (logical("long", "time-micros"), b"\x01", NUMBER),
        (enum("A", "B"), b"\x04", "not a symbol of an enum of 2"),
        ({"type": "map", "values": "int"}, b"\x02\x02\xff\x02\x00", "not UTF-8"),
        (["null", "string"], b"\x02\x02\xff", "not UTF-8"),
    ],
    ids=str,
)
def test_wrong_value_names_block_and_field(
    tmp_path: Path, type_: Any, data: bytes, reason: str
) -> None:
    schema = record_schema({"x": type_, "n": "long"})
    path = tmp_path / "x.avro"
    path.write_bytes(header(schema) + block(data + b"\x02"))

    for read in (iter_avro_records, iter_avro_batches, read_avro_table):
        with pytest.raises(AvroDecodeError, match=f"block 0 .*field 'x.*': .*{reason}"):
            list(read(path))
        found = read(path, columns=["n"])
        rows = found.to_pylist() if hasattr(found, "to_pylist") else list(found)
        assert len(rows) == 1


@pytest.mark.parametrize(
    "type_",
    [
        logical("int", "date"),
        logical("long", "timestamp-millis"),
        logical("long", "timestamp-micros"),
        logical("long", "local-timestamp-millis"),
    ],
    ids=str,
)
@pytest.mark.parametrize("number", [-(2**31), 2**31 - 1, -(2**63), 2**63 - 1])
def test_records_refuse_far_dates(tmp_path: Path, type_: Any, number: int) -> None:
    if type_["type"] == "int" and abs(number) > 2**31:
        return
    path = tmp_path / "x.avro"
    plain = record_schema({"x": type_["type"]})
    path.write_bytes(header(record_schema({"x": type_})) + block(encode_long(number)))

    assert list(iter_avro_records(path, schema=plain)) == [{"x": number}]
    assert read_avro_table(path)["x"].cast(read_avro_table(path, schema=plain)["x"].type)
    if type_["type"] == "int" or abs(number) > 2**31:
        with pytest.raises(AvroDecodeError, match=f"years 1 to 9999 .*{NUMBER}"):
            list(iter_avro_records(path))


@pytest.mark.parametrize("text", ["no uuid", ""])
def test_malformed_uuid_stays_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.avro"
    data = encode_long(len(text)) + text.encode()
    path.write_bytes(header(record_schema({"x": logical("string", "uuid")})) + block(data))

    assert list(iter_avro_records(path)) == [{"x": text}] == read_avro_table(path).to_pylist()


def test_fixed_uuid_is_a_uuid(tmp_path: Path) -> None:
    type_ = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    path = tmp_path / "x.avro"
    path.write_bytes(header(record_schema({"x": type_})) + block(bytes(range(16))))

    [record], [row] = iter_avro_records(path), read_avro_table(path).to_pylist()

    assert record == {"x": UUID(bytes=bytes(range(16)))} == {"x": UUID(row["x"])}


def test_recursive_records_are_resolved(tmp_path: Path) -> None:
    def tree(number: str, **more: Any) -> dict[str, Any]:
        fields = {"n": number, "children": {"type": "array", "items": "Tree"}}
        schema = record_schema(fields, "Tree")
        schema["fields"].append({"name": "next", "type": ["null", "Tree"], **more})
        return schema

    leaf = {"n": 1, "children": [], "next": None}
    value = {"n": 2, "children": [leaf, leaf], "next": {**leaf, "next": leaf}}
    path = tmp_path / "x.avro"
    path.write_bytes(avro_file([value], tree("int")))

    assert list(iter_avro_records(path)) == [value]
    assert list(iter_avro_records(path, schema=tree("double"))) == [value]
