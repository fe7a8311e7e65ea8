"""Avro schemas: checking one, and deciding whether the files of two schemas make one table.

Parsing is fastavro's. The comparison asks for the same types. Of the rules of schema resolution in
Avro 1.12 it takes those that never change a value: the order of fields, symbols and branches may
differ, as may namespaces, aliases, docs, defaults and unknown attributes. It takes no promotions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import fastavro.schema

from fsspec_avroglob.avro.container import ContainerHeader
from fsspec_avroglob.errors import InvalidSchemaError, NotAvroError, SchemaMismatchError

AvroSchema: TypeAlias = Any
"""A schema as JSON gives it: a dict, a list (union) or a str (name of a type)."""

MAX_NESTING = 300
"""Most lists and dicts inside one another in a schema; each Avro type costs one to three."""

_NAMED_TYPES = frozenset({"record", "error", "enum", "fixed"})

# The underlying types of each logical type; decimal and those of a fixed have further conditions.
_UNDERLYING: Mapping[str, frozenset[str]] = {
    "decimal": frozenset({"bytes", "fixed"}),
    "big-decimal": frozenset({"bytes"}),
    "uuid": frozenset({"string", "fixed"}),
    "date": frozenset({"int"}),
    "time-millis": frozenset({"int"}),
    "time-micros": frozenset({"long"}),
    "duration": frozenset({"fixed"}),
} | {
    f"{family}-{unit}": frozenset({"long"})
    for family in ("timestamp", "local-timestamp")
    for unit in ("millis", "micros", "nanos")
}
_FIXED_SIZES = {"uuid": 16, "duration": 12}


@dataclass(frozen=True)
class ParsedSchema:
    """A schema found valid.

    - ``source``: the schema as it was given.
    - ``root``: the same with every name in full, so that it can be read without its context.
    - ``names``: the definitions of the named types (records, enums, fixed) by full name.
    """

    source: AvroSchema
    root: AvroSchema
    names: Mapping[str, AvroSchema]

    @property
    def is_record(self) -> bool:
        """Whether the top level is a record, whose fields are the columns of a table."""
        return kind_of(self.root) == "record"

    @cached_property
    def fields(self) -> Mapping[str, AvroSchema]:
        """Types of the top-level record's fields by name, in order; empty if it is no record."""
        if not self.is_record:
            return {}
        return {field["name"]: field["type"] for field in self.root["fields"]}

    def definition(self, schema: AvroSchema) -> AvroSchema:
        """The *schema* itself or, if it is the name of a named type, that type's definition."""
        return self.names.get(schema, schema) if isinstance(schema, str) else schema


def parse_schema(schema: AvroSchema) -> ParsedSchema:
    """Check *schema* and resolve its names.

    Raises InvalidSchemaError, also for one that is nested more than MAX_NESTING deep.
    """
    _refuse_deep_nesting(schema)
    names: dict[str, Any] = {}
    try:
        root = fastavro.schema.parse_schema(
            _without_invalid_logical_types(schema),
            named_schemas=names,
            _write_hint=False,
            _ignore_default_error=True,  # older writers let them pass, and few are ever needed
        )
    except fastavro.schema.UnknownType as error:
        name = error.name
        raise InvalidSchemaError(f"invalid Avro schema: no type is called {name!r}") from error
    except KeyError as error:
        raise InvalidSchemaError(f"invalid Avro schema: {error} is missing in a type") from error
    except Exception as error:  # fastavro has its own exceptions and lets Python's through
        raise InvalidSchemaError(f"invalid Avro schema: {error}") from error
    return ParsedSchema(schema, root, names)


def file_schema(path: str, header: ContainerHeader) -> ParsedSchema:
    """The schema of the file *path*. Raises InvalidSchemaError or NotAvroError with its name."""
    try:
        return parse_schema(header.schema)
    except (NotAvroError, InvalidSchemaError) as error:
        raise type(error)(f"{path}: {error}") from error


def standalone(schema: ParsedSchema, part: AvroSchema) -> AvroSchema:
    """A type of *schema* as a schema of its own: named types are defined where first used."""
    defined: set[str] = set()

    def complete(type_: AvroSchema) -> AvroSchema:
        if isinstance(type_, list):
            return [complete(branch) for branch in type_]
        type_ = schema.definition(type_)
        if isinstance(type_, str):
            return type_
        if "name" in type_:
            if type_["name"] in defined:
                return type_["name"]
            defined.add(type_["name"])
        match kind_of(type_):
            case "record" | "error":
                fields = [{**field, "type": complete(field["type"])} for field in type_["fields"]]
                return {**type_, "fields": fields}
            case "array":
                return {**type_, "items": complete(type_["items"])}
            case "map":
                return {**type_, "values": complete(type_["values"])}
        return type_

    return complete(part)


def column_mapping(
    first: ParsedSchema, other: ParsedSchema, *, first_path: str, path: str
) -> tuple[int, ...] | None:
    """Where the fields of *first* are found in *other*.

    Returns None if the two describe the same bytes (or are no records), else for each field of
    *first* the index of *other*'s field of that name. Raises SchemaMismatchError, with the two
    paths in it, if types differ or either has a field that the other lacks.
    """
    comparison = _Comparison(first, other)
    difference = comparison.difference("", first.root, other.root)
    if difference is not None:
        raise SchemaMismatchError(
            first_path, path, difference.field, difference.first_type, difference.type
        )
    if not comparison.reordered or not first.is_record:
        return None
    positions = {name: index for index, name in enumerate(other.fields)}
    return tuple(positions[name] for name in first.fields)


def describe_type(schema: AvroSchema) -> str:
    """A short text for a type in messages: ``[null, long (timestamp-millis)]``, ``record User``."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return f"[{', '.join(map(describe_type, schema))}]"
    match kind_of(schema):
        case "array":
            return f"array of {describe_type(schema['items'])}"
        case "map":
            return f"map of {describe_type(schema['values'])}"
        case "enum":
            return f"enum {schema['name']} ({', '.join(schema['symbols'])})"
        case "fixed":
            text = f"fixed {schema['name']} ({schema['size']} bytes)"
        case "record" | "error":
            return f"record {schema['name']}"
        case text:
            pass
    logical = logical_type(schema)
    return text if logical is None else f"{text} ({logical})"


@dataclass(frozen=True)
class _Difference:
    """The first place where two schemas disagree; types as in SchemaMismatchError."""

    field: str
    first_type: str | None
    type: str | None


class _Comparison:
    """One walk through two schemas at once; ``reordered`` tells if anything stood elsewhere."""

    def __init__(self, first: ParsedSchema, other: ParsedSchema) -> None:
        self.reordered = False
        self._first = first
        self._other = other
        # Pairs of records met: a recursive type is equal if the rest of it is.
        self._met: set[tuple[str, str]] = set()

    def difference(self, field: str, first: AvroSchema, other: AvroSchema) -> _Difference | None:
        first, other = self._first.definition(first), self._other.definition(other)
        kind = kind_of(first)
        if _signature(first) != _signature(other):
            return _Difference(field, describe_type(first), describe_type(other))
        match kind:
            case "record" | "error":
                return self._record_difference(field, first, other)
            case "union":
                return self._union_difference(field, first, other)
            case "array":
                return self.difference(f"{field}[]", first["items"], other["items"])
            case "map":
                return self.difference(f"{field}{{}}", first["values"], other["values"])
            case "enum":
                self._note_order(first["symbols"], other["symbols"])
        return None

    def _record_difference(self, field: str, first: Any, other: Any) -> _Difference | None:
        pair = first["name"], other["name"]
        if pair in self._met:
            return None
        self._met.add(pair)
        first_fields = {f["name"]: f["type"] for f in first["fields"]}
        other_fields = {f["name"]: f["type"] for f in other["fields"]}
        self._note_order(list(first_fields), list(other_fields))
        for name in {**first_fields, **other_fields}:
            path = f"{field}.{name}" if field else name
            if name not in other_fields:
                return _Difference(path, describe_type(first_fields[name]), None)
            if name not in first_fields:
                return _Difference(path, None, describe_type(other_fields[name]))
            found = self.difference(path, first_fields[name], other_fields[name])
            if found is not None:
                return found
        return None

    def _union_difference(self, field: str, first: Any, other: Any) -> _Difference | None:
        # A union holds each unnamed type, and each name, once: a branch has at most one partner.
        first_branches = {branch_key(self._first.definition(b)): b for b in first}
        other_branches = {branch_key(self._other.definition(b)): b for b in other}
        if first_branches.keys() != other_branches.keys():
            return _Difference(field, describe_type(first), describe_type(other))
        self._note_order(list(first_branches), list(other_branches))
        for key, branch in first_branches.items():
            found = self.difference(field, branch, other_branches[key])
            if found is not None:
                return found
        return None

    def _note_order(self, first: list[Any], other: list[Any]) -> None:
        self.reordered = self.reordered or first != other


def kind_of(schema: AvroSchema) -> str:
    """The name of a type's kind: ``"union"``, ``"record"``, ``"long"``, or a named type's name."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def branches_of(schema: AvroSchema) -> list[AvroSchema]:
    """The branches of a union; any other type is its own only branch."""
    return schema if isinstance(schema, list) else [schema]


def branch_key(schema: AvroSchema) -> tuple[str, str]:
    """What tells the branches of a union apart: the type, and the simple name if it has one."""
    kind = kind_of(schema)
    return kind, schema["name"].rpartition(".")[2] if kind in _NAMED_TYPES else ""


def _signature(schema: AvroSchema) -> tuple[Any, ...]:
    """What must be equal in two types, apart from the types that they are made of."""
    kind = kind_of(schema)
    details: Any = None
    if kind == "enum":
        details = frozenset(schema["symbols"])
    elif kind == "fixed":
        details = schema["size"]
    return *branch_key(schema), details, logical_type(schema)


class LogicalType(NamedTuple):
    """A logical type that is valid where it stands; precision and scale are those of a decimal."""

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        if self.name != "decimal":
            return self.name
        return f"decimal, {self.precision}, {self.scale}"


def logical_type(schema: AvroSchema) -> LogicalType | None:
    """The logical type of a type, None without one.

    As the specification asks for, one that is unknown or invalid where it stands is ignored.
    """
    name = schema.get("logicalType") if isinstance(schema, dict) else None
    if not isinstance(name, str) or kind_of(schema) not in _UNDERLYING.get(name, ()):
        return None
    size = schema.get("size")
    if kind_of(schema) == "fixed" and size != _FIXED_SIZES.get(name, size):
        return None
    if name != "decimal":
        return LogicalType(name)
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision:
        return None
    if precision == 0 or precision > _most_digits(schema):
        return None
    return LogicalType(name, precision, scale)


def _most_digits(schema: AvroSchema) -> float:
    """The decimal digits that always fit into the two's complement number of a decimal's bytes."""
    if kind_of(schema) == "bytes":
        return math.inf
    size: int = schema["size"]
    return math.floor((8 * size - 1) * math.log10(2)) if size > 0 else 0


def _without_invalid_logical_types(schema: AvroSchema) -> AvroSchema:
    """The schema without what fastavro would refuse although it is to be ignored."""
    if isinstance(schema, list):
        return [_without_invalid_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _without_invalid_logical_types(value)
        if key in ("type", "items", "values", "fields")
        else value
        for key, value in schema.items()
    }
    if "logicalType" in kept and logical_type(kept) is None:
        del kept["logicalType"]
    return kept


def _refuse_deep_nesting(schema: AvroSchema) -> None:
    level: list[Any] = [schema]
    for _ in range(MAX_NESTING):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise InvalidSchemaError(f"invalid Avro schema: nested more than {MAX_NESTING} levels deep")


def _children(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        yield from (child for child in children if isinstance(child, dict | list))
