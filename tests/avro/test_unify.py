"""The schemas of several files become one reader schema for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.avro.resolution import resolve
from fsspec_avroglob.avro.schema import parse_schema
from fsspec_avroglob.avro.unify import union_schema
from fsspec_avroglob.errors import SchemaMismatchError
from tests.support.avro_data import avro_file, enum, logical, record_schema
from tests.support.avro_tables import decoded


def unified(*schemas: Any) -> Any:
    files = [(f"{i}.avro", parse_schema(schema)) for i, schema in enumerate(schemas)]
    return union_schema(files).root


def union_of(*types: Any) -> Any:
    """The merged type of a field that has these types in different files."""
    root = unified(*(record_schema({"x": type_}) for type_ in types))
    [field] = root["fields"]
    return field["type"]


def test_union_has_all_fields() -> None:
    found = unified(
        record_schema({"a": "int", "b": "string"}),
        record_schema({"c": ["long", "null"], "a": "int"}),
    )

    assert found["fields"] == [
        {"name": "a", "type": "int"},
        {"name": "b", "type": ["null", "string"], "default": None},
        {"name": "c", "type": ["null", "long"], "default": None},
    ]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("int", "long"), "long"),
        (("long", "int"), "long"),
        (("int", "float"), "double"),
        (("float", "long"), "double"),
        (("float", "double"), "double"),
        (("int", "long", "double"), "double"),
        (("string", "bytes"), "bytes"),
        (("int", ["null", "int"]), ["null", "int"]),
        ((["int", "null"], "long"), ["null", "long"]),
        (("null", "int"), ["null", "int"]),
        ((["int", "string"], ["null", "double"]), ["null", "int", "string", "double"]),
        ((["int", "string"], "string"), ["int", "string"]),
        ((enum("A", "B"), enum("B", "C")), enum("A", "B", "C")),
        (
            (logical("long", "timestamp-millis"), logical("long", "timestamp-nanos")),
            logical("long", "timestamp-nanos"),
        ),
        (
            (logical("int", "time-millis"), logical("long", "time-micros")),
            logical("long", "time-micros"),
        ),
        (
            (
                logical("bytes", "decimal", precision=5, scale=1),
                logical("bytes", "decimal", precision=5, scale=3),
            ),
            logical("bytes", "decimal", precision=7, scale=3),
        ),
        ((logical("string", "uuid"), "string"), "string"),
        (
            ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}),
            {"type": "array", "items": "long"},
        ),
        (
            ({"type": "map", "values": "int"}, {"type": "map", "values": ["null", "int"]}),
            {"type": "map", "values": ["null", "int"]},
        ),
    ],
    ids=str,
)
def test_union_takes_the_wider_type(types: tuple[Any, ...], expected: Any) -> None:
    assert union_of(*types) == expected


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (("int", "string"), "1.avro does not fit 0.avro: field 'x' is string; it is int"),
        (("int", "int", "string"), "2.avro does not fit 0.avro"),
        (("int", "double", "string"), "field 'x' is string; it is int in 0.avro"),
        ((["null", "int"], "boolean"), "field 'x' is boolean; it is int"),
        (("int", logical("int", "date")), "field 'x'"),
        ((logical("int", "date"), logical("int", "time-millis")), "field 'x'"),
        ((enum("A"), {**enum("A"), "name": "F"}), "field 'x'"),
        ((record_schema({"a": "int"}, "S"), record_schema({"a": "string"}, "S")), r"field 'x\.a'"),
        (("int", enum("A")), "field 'x'"),
    ],
    ids=str,
)
def test_union_refuses_unlike_types(types: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SchemaMismatchError, match=message):
        union_of(*types)


def test_union_names_a_fields_file() -> None:
    with pytest.raises(SchemaMismatchError, match=r"2\.avro does not fit 1\.avro: field 'b'"):
        unified(
            record_schema({"a": "int"}),
            record_schema({"b": "int"}),
            record_schema({"b": "string"}),
        )


def test_union_merges_named_types() -> None:
    found = unified(
        record_schema({"a": enum("A"), "b": "E"}, namespace="one"),
        record_schema({"c": {"type": "array", "items": enum("B")}}, namespace="two"),
    )

    symbols = [field["type"][1] for field in found["fields"]]
    assert symbols[0]["symbols"] == ["A", "B"]
    assert symbols[1] == symbols[0]["name"] == symbols[2]["items"] == "one.E"


def test_types_of_a_namespace_leave_it_together() -> None:
    detail = record_schema({"e": "E"}, "Detail")

    found = unified(
        record_schema({"e": enum("A")}), record_schema({"e": enum("B"), "d": detail}, namespace="n")
    )

    assert found["fields"][0]["type"] == enum("A", "B")
    assert found["fields"][1]["type"][1]["name"] == "Detail"


def test_union_merges_recursive_types() -> None:
    def tree(**more: Any) -> Any:
        return record_schema({"children": {"type": "array", "items": "Tree"}, **more}, "Tree")

    found = unified(tree(a="int"), tree(b="int"))

    assert [field["name"] for field in found["fields"]] == ["children", "a", "b"]
    assert found["fields"][0]["type"] == {"type": "array", "items": "Tree"}


LEAVES = st.sampled_from(["int", "long", "float", "double", "null"])
TEXTS = st.sampled_from(["string", "bytes"])
SAME = st.sampled_from([enum("A"), enum("B", "C"), enum("C", "A")])
# Not one: an int or null and a string or null make no more of a union than an int and a string.
BRANCHES = st.lists(st.sampled_from(["int", "string", "boolean"]), min_size=2, unique=True)
FIELD_TYPES = {
    "n": LEAVES | LEAVES.filter(lambda t: t != "null").map(lambda t: ["null", t]),
    "t": TEXTS,
    "e": SAME,
    "u": BRANCHES.map(lambda branches: [*branches, "null"]) | BRANCHES,
    "a": LEAVES.filter(lambda t: t != "null").map(lambda t: {"type": "array", "items": t}),
}
SCHEMAS = st.fixed_dictionaries({}, optional=FIELD_TYPES).map(record_schema)


@settings(max_examples=60)
@given(st.lists(SCHEMAS, min_size=1, max_size=4))
def test_union_reads_every_file(schemas: list[Any]) -> None:
    reader = parse_schema(unified(*schemas))

    for schema in schemas:
        resolve(parse_schema(schema), reader, writer_path="file", reader_path="union")


def test_tables_are_read_with_union() -> None:
    first = record_schema({"a": "int", "e": enum("A")})
    second = record_schema({"a": "float", "b": enum("B")})
    reader = unified(first, second)

    rows = [
        *decoded(avro_file([{"a": 1, "e": "A"}], first), reader).to_pylist(),
        *decoded(avro_file([{"a": 1.5, "b": "B"}], second), reader).to_pylist(),
    ]

    assert rows == [{"a": 1.0, "e": "A", "b": None}, {"a": 1.5, "e": None, "b": "B"}]
