"""Avro schemas: parsing, names, logical types, and walking over the types of a schema.

fastavro parses. This module adds what the specification asks for and fastavro refuses: an invalid
logical type is ignored, and so is a default that is not of its type.

    >>> user = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "int"}]}
    >>> dict(parse_schema(user).fields)
    {'id': 'int'}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeAlias

import fastavro.schema

from fsspec_avroglob.avro.container import ContainerHeader
from fsspec_avroglob.errors import InvalidSchemaError, NotAvroError

AvroSchema: TypeAlias = Any
"""A schema as parsed JSON: a dict, a list (union) or a str (name of a type)."""

MAX_NESTING = 300
"""Deepest nesting of lists and dicts in a schema; each Avro type adds one to three levels."""

RECORDS = frozenset({"record", "error"})
"""The kinds of type that have fields."""

NAMED_TYPES = RECORDS | {"enum", "fixed"}
"""The kinds of type that have a name."""

# The types that each logical type may annotate. Decimals and fixed types have further conditions.
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
    """A valid schema.

    - ``source``: the schema as the caller passed it.
    - ``root``: the same schema with full names, so that it needs no enclosing namespace.
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
        """Types of the top-level record's fields by name, in order; empty for other types."""
        if not self.is_record:
            return {}
        return {field["name"]: field["type"] for field in self.root["fields"]}

    def definition(self, schema: AvroSchema) -> AvroSchema:
        """Return the definition of a named type if *schema* is its name, else *schema* itself."""
        return self.names.get(schema, schema) if isinstance(schema, str) else schema


def parse_schema(schema: AvroSchema) -> ParsedSchema:
    """Check *schema* and resolve its names.

    Raises InvalidSchemaError, also if types nest more than MAX_NESTING levels deep.
    """
    names: dict[str, Any] = {}
    try:
        root = fastavro.schema.parse_schema(
            _without_invalid_logical_types(schema),
            named_schemas=names,
            _write_hint=False,
            _ignore_default_error=True,  # older writers accept them, and readers seldom need them
        )
    except InvalidSchemaError:
        raise
    except fastavro.schema.UnknownType as error:
        name = error.name
        raise InvalidSchemaError(f"invalid Avro schema: no type is called {name!r}") from error
    except KeyError as error:
        raise InvalidSchemaError(f"invalid Avro schema: a type lacks {error}") from error
    except Exception as error:  # fastavro raises its own exceptions and built-in ones
        raise InvalidSchemaError(f"invalid Avro schema: {error}") from error
    return ParsedSchema(schema, root, names)


def file_schema(path: str, header: ContainerHeader) -> ParsedSchema:
    """Return the schema of the file *path*. Raises InvalidSchemaError or NotAvroError."""
    try:
        return parse_schema(header.schema)
    except (NotAvroError, InvalidSchemaError) as error:
        raise type(error)(f"{path}: {error}") from error


@lru_cache(maxsize=1024)
def without_docs(schema_text: str) -> str:
    """Return the JSON text of a schema without ``doc``: schemas that differ only in it are equal.

    Text that is not usable JSON is returned as it is.
    """
    try:
        return json.dumps(_without_docs(json.loads(schema_text)), separators=(",", ":"))
    except (ValueError, RecursionError):
        return schema_text


def _without_docs(schema: AvroSchema) -> AvroSchema:
    if isinstance(schema, list):
        return [_without_docs(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # Defaults and other attributes may have any keys, so they stay as they are.
    inside = ("type", "items", "values", "fields")
    return {
        key: _without_docs(part) if key in inside else part
        for key, part in schema.items()
        if key != "doc"
    }


def children_of(schema: AvroSchema) -> list[AvroSchema]:
    """Return the types that a type consists of: branches, field types, items or values."""
    match kind_of(schema):
        case "union":
            return list(schema)
        case "record" | "error":
            return [field["type"] for field in schema["fields"]]
        case "array":
            return [schema["items"]]
        case "map":
            return [schema["values"]]
    return []


def with_children(schema: AvroSchema, change: Callable[[AvroSchema], AvroSchema]) -> AvroSchema:
    """Return a copy of a type in which *change* replaces each type that it consists of."""
    match kind_of(schema):
        case "union":
            return [change(branch) for branch in schema]
        case "record" | "error":
            fields = [{**field, "type": change(field["type"])} for field in schema["fields"]]
            return {**schema, "fields": fields}
        case "array":
            return {**schema, "items": change(schema["items"])}
        case "map":
            return {**schema, "values": change(schema["values"])}
    return schema


def standalone(schema: ParsedSchema, part: AvroSchema) -> AvroSchema:
    """Return a type of *schema* as a schema of its own, with names defined where first used."""
    defined: set[str] = set()

    def complete(type_: AvroSchema) -> AvroSchema:
        type_ = schema.definition(type_)
        name = type_.get("name") if isinstance(type_, dict) else None
        if name in defined:
            return name
        if name is not None:
            defined.add(name)
        return with_children(type_, complete)

    return complete(part)


def describe_type(schema: AvroSchema) -> str:
    """Describe a type for messages: ``[null, long (timestamp-millis)]``, ``record User``."""
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


def kind_of(schema: AvroSchema) -> str:
    """Return the kind of a type: ``"union"``, ``"record"``, ``"long"``, or a named type's name."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def branches_of(schema: AvroSchema) -> list[AvroSchema]:
    """Return the branches of a union; any other type is its own only branch."""
    return schema if isinstance(schema, list) else [schema]


def branch_key(schema: AvroSchema) -> tuple[str, str]:
    """Return what identifies a branch of a union: its kind, and a named type's unqualified name."""
    kind = kind_of(schema)
    return kind, unqualified(schema["name"]) if kind in NAMED_TYPES else ""


def unqualified(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition(".")[2]


class LogicalType(NamedTuple):
    """A valid logical type; precision and scale are those of a decimal."""

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        if self.name != "decimal":
            return self.name
        return f"decimal, {self.precision}, {self.scale}"


def logical_type(schema: AvroSchema) -> LogicalType | None:
    """Return the logical type of a type, or None.

    As the specification demands, an unknown or invalid logical type is ignored.
    """
    name = schema.get("logicalType") if isinstance(schema, dict) else None
    kind = kind_of(schema)
    if not isinstance(name, str) or kind not in _UNDERLYING.get(name, ()):
        return None
    size = schema.get("size")
    if kind == "fixed" and size != _FIXED_SIZES.get(name, size):
        return None
    if name != "decimal":
        return LogicalType(name)
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    # The most digits that always fit into *size* bytes.
    most = math.inf if kind == "bytes" else math.floor((8 * schema["size"] - 1) * math.log10(2))
    if type(precision) is not int or type(scale) is not int or precision == 0:
        return None
    return LogicalType(name, precision, scale) if 0 <= scale <= precision <= most else None


def _without_invalid_logical_types(schema: AvroSchema, depth: int = 0) -> AvroSchema:
    """Return the schema without invalid logical types, which fastavro refuses.

    Raises InvalidSchemaError for types that nest more than MAX_NESTING levels deep.
    """
    if depth > MAX_NESTING:
        raise InvalidSchemaError(f"invalid Avro schema: nested more than {MAX_NESTING} levels deep")
    if isinstance(schema, list):
        return [_without_invalid_logical_types(branch, depth + 1) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = dict(schema)
    for key in ("type", "items", "values", "fields"):
        if key in kept:
            kept[key] = _without_invalid_logical_types(kept[key], depth + 1)
    if "logicalType" in kept and logical_type(kept) is None:
        del kept["logicalType"]
    return kept
