"""Two schemas make one table if they have the same types; else the error names the difference."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from fsspec_avroglob.avro.resolution import RecordStep, resolve, same_order
from fsspec_avroglob.avro.schema import describe_type, parse_schema, without_docs
from fsspec_avroglob.errors import InvalidSchemaError, SchemaMismatchError
from tests.support.avro_data import USER_SCHEMA, enum, record_schema


def mapping(first: Any, other: Any) -> tuple[int | None, ...] | None:
    """Where the fields of *first* are in *other*; None if they are in the same order."""
    step = resolve(
        parse_schema(other),
        parse_schema(first),
        writer_path="other.avro",
        reader_path="first.avro",
        strict=True,
    )
    if same_order(step):
        return None
    assert isinstance(step, RecordStep)
    return tuple(field.position for field in step.fields)


def mismatch(first: Any, other: Any) -> SchemaMismatchError:
    with pytest.raises(SchemaMismatchError) as caught:
        mapping(first, other)
    return caught.value


def wrapped(type_: Any) -> dict[str, Any]:
    return record_schema({"x": type_})


TREE = record_schema({"value": "int", "children": {"type": "array", "items": "Tree"}}, "Tree")


def test_equal_schemas_need_no_map() -> None:
    assert mapping(USER_SCHEMA, USER_SCHEMA) is None


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (wrapped("int"), {**wrapped("int"), "doc": "text", "aliases": ["Old"]}),
        (wrapped("int"), {**wrapped("int"), "namespace": "com.example"}),
        (wrapped("int"), {**wrapped("int"), "name": "com.example.R"}),
        (
            wrapped("int"),
            {**wrapped("int"), "fields": [{"name": "x", "type": "int", "default": 3, "doc": "d"}]},
        ),
        (wrapped("string"), wrapped({"type": "string", "avro.java.string": "String"})),
        (wrapped("long"), wrapped({"type": "long", "logicalType": "unheard-of"})),
        (wrapped(enum("A", "B")), wrapped(enum("A", "B", doc="letters", default="A"))),
        (TREE, {**TREE, "namespace": "elsewhere"}),
        ("int", {"type": "int"}),
    ],
    ids=[
        "doc and aliases",
        "namespace",
        "namespace in the name",
        "default",
        "unknown attribute",
        "unknown logical type",
        "enum default",
        "recursive",
        "no record",
    ],
)
def test_equal_bytes_need_no_map(first: Any, other: Any) -> None:
    assert mapping(first, other) is None
    assert mapping(other, first) is None


def test_reordered_fields_map_by_name() -> None:
    first = record_schema({"a": "int", "b": "string", "c": "double"})
    other = record_schema({"c": "double", "a": "int", "b": "string"})

    assert mapping(first, other) == (1, 2, 0)
    assert mapping(other, first) == (2, 0, 1)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (enum("A", "B"), enum("B", "A")),
        (["null", "int"], ["int", "null"]),
        (
            record_schema({"a": "int", "b": "int"}, "Inner"),
            record_schema({"b": "int", "a": "int"}, "Inner"),
        ),
    ],
    ids=["symbols", "branches", "fields of a nested record"],
)
def test_nested_reordering_maps(first: Any, other: Any) -> None:
    assert mapping(wrapped(first), wrapped(other)) == (0,)


@pytest.mark.parametrize(
    ("first", "other", "first_type", "other_type"),
    [
        ("int", "string", "int", "string"),
        ("int", "long", "int", "long"),
        ("int", ["null", "int"], "int", "[null, int]"),
        (["null", "int"], ["null", "long"], "[null, int]", "[null, long]"),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            {"type": "long", "logicalType": "timestamp-micros"},
            "long (timestamp-millis)",
            "long (timestamp-micros)",
        ),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2},
            {"type": "bytes", "logicalType": "decimal", "precision": 5},
            "bytes (decimal, 5, 2)",
            "bytes (decimal, 5, 0)",
        ),
        (enum("A", "B"), enum("A", "C"), "enum E (A, B)", "enum E (A, C)"),
        (
            {"type": "fixed", "name": "F", "size": 4},
            {"type": "fixed", "name": "F", "size": 8},
            "fixed F (4 bytes)",
            "fixed F (8 bytes)",
        ),
        (record_schema({}, "A"), record_schema({}, "B"), "record A", "record B"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_type_names_file_and_field(
    first: Any, other: Any, first_type: str, other_type: str
) -> None:
    error = mismatch(wrapped(first), wrapped(other))

    assert (error.first_path, error.path, error.field) == ("first.avro", "other.avro", "x")
    assert (error.first_type, error.type) == (first_type, other_type)
    for part in ("first.avro", "other.avro", "'x'", first_type, other_type):
        assert part in str(error)


@pytest.mark.parametrize(
    ("first", "other", "field"),
    [
        (record_schema({"y": "int"}, "I"), record_schema({"y": "long"}, "I"), "x.y"),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, "x[]"),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}, "x{}"),
        (
            ["null", record_schema({"y": "int"}, "I")],
            ["null", record_schema({"y": "long"}, "I")],
            "x.y",
        ),
    ],
    ids=["record", "array", "map", "union"],
)
def test_nested_difference_has_a_path(first: Any, other: Any, field: str) -> None:
    assert mismatch(wrapped(first), wrapped(other)).field == field


def test_missing_or_extra_fields_differ() -> None:
    shorter, longer = record_schema({"a": "int"}), record_schema({"a": "int", "b": "string"})

    missing, extra = mismatch(longer, shorter), mismatch(shorter, longer)

    assert (missing.field, missing.first_type, missing.type) == ("b", "string", None)
    assert "field 'b' is missing" in str(missing)
    assert (extra.field, extra.first_type, extra.type) == ("b", None, "string")
    assert "field 'b' (string) is not in first.avro" in str(extra)


def test_unrelated_schemas_differ() -> None:
    assert "the schema is string; it is record R" in str(mismatch(wrapped("int"), "string"))


def test_recursive_types_compare() -> None:
    other = record_schema({"value": "long", "children": {"type": "array", "items": "Tree"}}, "Tree")

    assert mismatch(TREE, other).field == "value"


def test_definition_may_move() -> None:
    schema = record_schema({"a": enum("A"), "b": "E"})

    assert mapping(schema, record_schema({"b": enum("A"), "a": "E"})) == (1, 0)


def test_logical_type_tells_branches() -> None:
    both = ["long", {"type": "long", "logicalType": "timestamp-millis"}]

    assert mapping(wrapped(both), {**wrapped(both), "doc": "text"}) is None
    assert mapping(wrapped(both), wrapped(both[::-1])) == (0,)
    for other in (["long", "int"], ["long"]):
        assert mismatch(wrapped(both), wrapped(other)).field == "x"
        assert mismatch(wrapped(other), wrapped(both)).field == "x"


def test_repeated_record_compared_once() -> None:
    schema = record_schema({"x": "int"}, "R0")
    for level in range(1, 60):
        schema = record_schema({"a": schema, "b": schema["name"]}, f"R{level}")

    assert mapping(schema, {**schema, "doc": "text"}) is None


def test_mismatch_pickles() -> None:
    error = mismatch(wrapped("int"), wrapped("string"))

    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == str(error)
    assert copy.field == "x"


def test_parsed_schema_keeps_original() -> None:
    parsed = parse_schema(USER_SCHEMA)

    assert parsed.source == USER_SCHEMA
    assert list(parsed.fields) == ["id", "name", "score"]
    assert parsed.is_record


def test_non_record_has_no_fields() -> None:
    assert not parse_schema("int").is_record
    assert parse_schema(["null", USER_SCHEMA]).fields == {}


@pytest.mark.parametrize(
    "schema",
    [
        "Unknown",
        3,
        None,
        {"type": "record"},
        {"type": "array"},
        wrapped("Unknown"),
        enum("A", "A"),
        {**enum("A"), "symbols": "A"},
        {"no": "type"},
        {"type": 5},
        {"type": "record", "name": None, "fields": []},
        {"type": "record", "name": "R", "namespace": 5, "fields": []},
        {"type": "record", "name": "R", "fields": {}},
        {"type": "record", "name": "R", "fields": ["x"]},
        {"type": "record", "name": "R", "fields": [{"name": "x"}]},
        {"type": "record", "name": "R", "fields": [{"name": {"a": 1}, "type": "int"}]},
        {"type": "record", "name": "R", "fields": [{"name": 5, "type": "int"}]},
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}] * 2},
        {"type": "record", "name": "R", "fields": [], "aliases": "S"},
        {"type": "fixed", "name": "F", "size": "x"},
        {"type": "fixed", "name": "F", "size": -1},
        {"type": "fixed", "name": "F", "size": float("inf")},
        {"type": "fixed", "name": "F", "size": True},
        ["null", ["int"]],
        {"type": "fixed", "name": "F", "logicalType": "decimal", "precision": 3},
        "unionn",
    ],
    ids=str,
)
def test_invalid_schema_has_own_error(schema: Any) -> None:
    with pytest.raises(InvalidSchemaError, match="invalid Avro schema"):
        parse_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        enum("A-B", "6", ""),
        enum("A", default="UNKNOWN"),
        record_schema({"": "int", "a b": "int"}, "no name"),
        {"type": "error", "name": "E", "fields": []},
        {"type": {"type": "int"}},
        ["null", {"type": ["int"]}][:1],
        {"type": "map", "values": {"type": {"type": "array", "items": "int"}}},
    ],
    ids=str,
)
def test_odd_but_clear_schemas_are_valid(schema: Any) -> None:
    parse_schema(schema)


def test_type_may_repeat_itself_alike() -> None:
    inner = record_schema({"e": enum("A")}, "P")
    again = {**inner, "doc": "the same", "fields": [{"name": "e", "type": "E", "doc": "d"}]}

    parsed = parse_schema(record_schema({"a": inner, "b": inner, "c": again}))

    assert parsed.fields["b"] == parsed.fields["c"] == "P"
    with pytest.raises(InvalidSchemaError, match="'P' is defined twice, in different ways"):
        parse_schema(record_schema({"a": inner, "b": record_schema({"e": "int"}, "P")}))
    with pytest.raises(InvalidSchemaError, match="defined twice"):
        parse_schema(record_schema({"a": record_schema({"b": record_schema({}, "P")}, "P")}))


@pytest.mark.parametrize("depth", [2_000, 200_000])
def test_too_deep_schema_is_refused(depth: int) -> None:
    schema: Any = "int"
    for _ in range(depth):
        schema = {"type": "array", "items": schema}

    with pytest.raises(InvalidSchemaError, match="levels deep"):
        parse_schema(schema)


def test_types_describe_themselves() -> None:
    schema = ["null", {"type": "map", "values": {"type": "array", "items": wrapped("int")}}]

    assert describe_type(schema) == "[null, map of array of record R]"


def test_docs_make_no_other_schema() -> None:
    def text(doc: str) -> str:
        inner = {"type": "enum", "name": "E", "symbols": ["a"], "doc": doc}
        field = {"name": "doc", "type": ["null", inner], "doc": doc, "default": {"doc": "kept"}}
        return json.dumps({"type": "record", "name": "R", "doc": doc, "fields": [field]})

    assert without_docs(text("one")) == without_docs(text("two"))
    (field,) = json.loads(without_docs(text("one")))["fields"]
    assert (field["name"], field["default"]) == ("doc", {"doc": "kept"})


def test_unusable_schema_text_stays() -> None:
    assert without_docs("{") == "{"
    assert without_docs("[" * 100_000) == "[" * 100_000
