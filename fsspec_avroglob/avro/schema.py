"""Avro schemas: parsing, names, logical types, and walking over the types of a schema.

As the specification asks, an invalid logical type is ignored. So is a default that is not of its
type, until a reader needs it.

    >>> user = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "int"}]}
    >>> dict(parse_schema(user).fields)
    {'id': 'int'}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeAlias

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

# Java's writer cannot make longer ones.
_MAX_FIXED_BYTES = (1 << 31) - 1

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
        return kind_of(self.root) in RECORDS

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

    Names and symbols may be any text, an enum's default need not be one of its symbols, and a type
    may be defined again if it is the same: writers do all of this, and the bytes stay clear.

    Raises InvalidSchemaError, also if types nest more than MAX_NESTING levels deep.
    """
    parser = _Parser()
    try:
        root = parser.type(schema, "", 0)
    except RecursionError as error:
        raise _invalid("nested deeper than sys.getrecursionlimit() allows") from error
    return ParsedSchema(schema, root, parser.names)


PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
"""The types that are names alone."""

# What the parser writes itself.
_PARSED = frozenset({"type", "name", "namespace", "fields", "items", "values", "symbols", "size"})


class _Parser:
    """Makes a schema in which all names are full and each named type is defined once."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def type(self, schema: AvroSchema, namespace: str, depth: int) -> AvroSchema:
        """Return the parsed form of a type within *namespace*."""
        if depth > MAX_NESTING:
            raise _invalid(f"nested more than {MAX_NESTING} levels deep")
        if isinstance(schema, str):
            return schema if schema in PRIMITIVES else self._reference(schema, namespace)
        if isinstance(schema, list):
            branches = [self.type(branch, namespace, depth + 1) for branch in schema]
            if any(isinstance(branch, list) for branch in branches):
                raise _invalid("a union directly contains a union")
            return branches
        if not isinstance(schema, dict):
            raise _invalid(f"{schema!r} is not a type")
        kind = _part(schema, "type", "a type")
        if isinstance(kind, dict | list) or (kind not in PRIMITIVES and kind not in _COMPLEX):
            # {"type": {"type": "int"}} and {"type": "Name"} mean the inner type.
            return self.type(kind, namespace, depth + 1)
        parsed = {key: value for key, value in schema.items() if key not in _PARSED}
        parsed["type"] = kind
        if kind in NAMED_TYPES:
            return self._named(kind, schema, parsed, namespace, depth)
        for key in _COMPLEX.get(kind, ()):
            parsed[key] = self.type(_part(schema, key, f"a type {kind!r}"), namespace, depth + 1)
        return _without_invalid_logical_type(parsed)

    def _reference(self, name: str, namespace: str) -> str:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        for known in (full, name):  # some writers refer to types without a namespace by their name
            if known in self.names:
                return known
        raise _invalid(f"no type is called {full!r}")

    def _named(self, kind: str, schema: Any, parsed: Any, namespace: str, depth: int) -> AvroSchema:
        name = _text_part(schema, "name", f"a type {kind!r}")
        if "." not in name:
            within = schema.get("namespace", namespace)
            if not isinstance(within, str):
                raise _invalid(f"the namespace of {name!r} is {within!r}, which is not text")
            name = f"{within}.{name}" if within else name
        parsed["name"] = name
        known = self.names.get(name)
        self.names[name] = parsed
        match kind:
            case "enum":
                parsed["symbols"] = _symbols(name, schema)
            case "fixed":
                parsed["size"] = _size(name, schema)
            case _:
                fields = _part(schema, "fields", f"{kind} {name!r}")
                parsed["fields"] = self._fields(name, fields, depth)
        _check_aliases(parsed, name)
        parsed = self.names[name] = _without_invalid_logical_type(parsed)
        if known is None:
            return parsed
        self.names[name] = known
        if _shape(known) != _shape(parsed):
            raise _invalid(f"the type {name!r} is defined twice, in different ways")
        return name

    def _fields(self, record: str, fields: Any, depth: int) -> list[dict[str, Any]]:
        if not isinstance(fields, list):
            raise _invalid(f"the fields of {record!r} are not a list")
        namespace = record.rpartition(".")[0]
        parsed: dict[str, dict[str, Any]] = {}
        for field in fields:
            if not isinstance(field, dict):
                raise _invalid(f"a field of {record!r} is {field!r}, not an object")
            name = _text_part(field, "name", f"a field of {record!r}")
            if name in parsed:
                raise _invalid(f"{record!r} has two fields called {name!r}")
            type_ = _part(field, "type", f"the field {name!r} of {record!r}")
            parsed[name] = {**field, "type": self.type(type_, namespace, depth + 3)}
            _check_aliases(field, name)
        return list(parsed.values())


_COMPLEX: Mapping[str, tuple[str, ...]] = {
    "array": ("items",),
    "map": ("values",),
    **dict.fromkeys(NAMED_TYPES, ()),
}
"""The kinds that are not primitive, and which of their attributes are types."""


def _invalid(problem: str) -> InvalidSchemaError:
    return InvalidSchemaError(f"invalid Avro schema: {problem}")


def _part(schema: Mapping[str, Any], key: str, what: str) -> Any:
    if key not in schema:
        raise _invalid(f"{what} lacks {key!r}")
    return schema[key]


def _text_part(schema: Mapping[str, Any], key: str, what: str) -> str:
    value = _part(schema, key, what)
    if not isinstance(value, str):
        raise _invalid(f"the {key} of {what} is {value!r}, which is not text")
    return value


def _symbols(name: str, schema: Mapping[str, Any]) -> list[str]:
    symbols = _part(schema, "symbols", f"enum {name!r}")
    if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols):
        raise _invalid(f"the symbols of enum {name!r} are not a list of texts")
    if len(set(symbols)) < len(symbols):
        raise _invalid(f"enum {name!r} has a symbol twice")
    return symbols


def _size(name: str, schema: Mapping[str, Any]) -> int:
    size = _part(schema, "size", f"fixed {name!r}")
    if type(size) is not int or not 0 <= size <= _MAX_FIXED_BYTES:
        raise _invalid(f"the size of fixed {name!r} is {size!r}, which is not a number of bytes")
    return size


def _check_aliases(schema: Mapping[str, Any], name: str) -> None:
    aliases = schema.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(one, str) for one in aliases):
        raise _invalid(f"the aliases of {name!r} are not a list of texts")


def _shape(type_: AvroSchema) -> AvroSchema:
    """Return a parsed type as its bytes need it: nested definitions are names."""
    if isinstance(type_, list):
        return [_shape_within(branch) for branch in type_]
    if not isinstance(type_, dict):
        return type_
    kept = {key: type_[key] for key in ("type", "name", "symbols", "size") if key in type_}
    kept["logicalType"] = logical_type(type_)
    if "fields" in type_:
        kept["fields"] = [(one["name"], _shape_within(one["type"])) for one in type_["fields"]]
    return kept | {key: _shape_within(type_[key]) for key in ("items", "values") if key in type_}


def _shape_within(type_: AvroSchema) -> AvroSchema:
    name = type_.get("name") if isinstance(type_, dict) else None
    return _shape(type_) if name is None else name


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
        return json.dumps(without(json.loads(schema_text), "doc"), separators=(",", ":"))
    except (ValueError, RecursionError):
        return schema_text


def without(schema: AvroSchema, attribute: str) -> AvroSchema:
    """Return a schema in which no type and no field has *attribute*, such as ``"logicalType"``."""
    if isinstance(schema, list):
        return [without(part, attribute) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # Defaults and other attributes may have any keys, so they stay as they are.
    inside = ("type", "items", "values", "fields")
    return {
        key: without(part, attribute) if key in inside else part
        for key, part in schema.items()
        if key != attribute
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


def with_fields(schema: ParsedSchema, names: Iterable[str]) -> AvroSchema:
    """Return the schema of a record with only these fields, in this order.

    If a field holds such records, they stay whole: the outer one gets a name of its own.
    """
    fields = {field["name"]: field for field in schema.root["fields"]}
    record = {**schema.root, "fields": [fields[name] for name in names]}
    own = schema.root["name"]
    met: set[str] = set()
    waiting = [field["type"] for field in record["fields"]]
    while waiting and own not in met:
        type_ = schema.definition(waiting.pop())
        name = type_.get("name") if isinstance(type_, dict) else None
        if name is None or name not in met:
            met |= {name} if name is not None else set()
            waiting += children_of(type_)
    if own in met and len(record["fields"]) < len(fields):
        record |= {"name": f"{own}_columns", "aliases": [own, *record.get("aliases", ())]}
    return standalone(schema, record)


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


def _without_invalid_logical_type(parsed: dict[str, Any]) -> dict[str, Any]:
    """Return a parsed type without a logical type that the specification tells to ignore."""
    if "logicalType" in parsed and logical_type(parsed) is None:
        return {key: value for key, value in parsed.items() if key != "logicalType"}
    return parsed
