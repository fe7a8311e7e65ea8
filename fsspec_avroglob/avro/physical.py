"""What engines decode: a schema for the same bytes without anything that engines disagree about.

An Avro schema does not change the bytes by its names, its logical types or its enum symbols. So
engines are given one without: enums are ints, strings bytes, maps arrays of key and value, logical
types what underlies them. They return raw numbers and bytes, from which every engine's values are
made in the same way and nothing is lost on the way. Each branch of a union of several types is
wrapped into a record of one field, which costs no byte and tells the branches apart.
"""

from __future__ import annotations

from typing import Any

from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, branches_of, kind_of

KEY, VALUE = "k", "v"
"""Fields of a map's entries in a physical schema."""


def field_name(position: int) -> str:
    """What the field or union branch at *position* is called in a physical schema."""
    return f"f{position}"


def non_null(schema: AvroSchema) -> list[int]:
    """Positions of the branches that are not null."""
    return [i for i, branch in enumerate(branches_of(schema)) if kind_of(branch) != "null"]


def is_general_union(schema: AvroSchema) -> bool:
    """Whether a union is not just null or one type with null, so that its branches are wrapped."""
    if not isinstance(schema, list):
        return False
    kept = len(non_null(schema))
    return kept > 1 or kept == len(schema)


def physical_schema(schema: ParsedSchema) -> AvroSchema:
    """The physical form of *schema*; a top level that is no record becomes one of one field."""
    physical = _Physical(schema)
    if schema.is_record:
        return physical.of(schema.root)
    return {"type": "record", "name": "top", "fields": _fields([physical.of(schema.root)])}


def endless_array(schema: ParsedSchema) -> AvroSchema | None:
    """An array in *schema* whose items take no bytes, so that any number fits in; None without."""
    for part in _parts(schema):
        if kind_of(part) == "array" and _takes_no_bytes(schema, part["items"], ()):
            return part
    return None


def _takes_no_bytes(schema: ParsedSchema, type_: AvroSchema, within: tuple[str, ...]) -> bool:
    type_ = schema.definition(type_)
    match kind_of(type_):
        case "null":
            return True
        case "fixed":
            return bool(type_["size"] == 0)
        case "record" | "error":
            if type_["name"] in within:
                return True
            within = (*within, type_["name"])
            return all(_takes_no_bytes(schema, field["type"], within) for field in type_["fields"])
    return False


def zero_width(schema: ParsedSchema) -> bool:
    """Whether *schema* holds a type whose values take no byte, outside of unions."""
    return any(
        kind_of(part) == "null"
        or (kind_of(part) == "fixed" and part["size"] == 0)
        or (kind_of(part) in ("record", "error") and not part["fields"])
        for part in _parts(schema)
    )


def is_recursive(schema: ParsedSchema) -> bool:
    """Whether any type of *schema* holds itself."""
    done: set[str] = set()

    def reaches(type_: AvroSchema, within: frozenset[str]) -> bool:
        type_ = schema.definition(type_)
        name = type_.get("name") if isinstance(type_, dict) else None
        if name in within:
            return True
        if name in done:
            return False
        inner = within | {name} if name is not None else within
        if any(reaches(child, inner) for child in _children(type_)):
            return True
        if name is not None:
            done.add(name)
        return False

    return reaches(schema.root, frozenset())


def _fields(types: list[AvroSchema]) -> list[dict[str, Any]]:
    return [{"name": field_name(i), "type": type_} for i, type_ in enumerate(types)]


class _Physical:
    """One translation: names are made as types are met, and a named type is defined once."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._schema = schema
        self._records: dict[str, str] = {}
        self._names = 0

    def of(self, schema: AvroSchema) -> AvroSchema:
        schema = self._schema.definition(schema)
        match kind_of(schema):
            case "union":
                return self._union(schema)
            case "record" | "error":
                if schema["name"] in self._records:
                    return self._records[schema["name"]]
                self._records[schema["name"]] = name = self._name()
                types = [self.of(field["type"]) for field in schema["fields"]]
                return {"type": "record", "name": name, "fields": _fields(types)}
            case "array":
                return {"type": "array", "items": self.of(schema["items"])}
            case "map":
                entry = [
                    {"name": KEY, "type": "bytes"},
                    {"name": VALUE, "type": self.of(schema["values"])},
                ]
                items = {"type": "record", "name": self._name(), "fields": entry}
                return {"type": "array", "items": items}
            case "fixed":
                return {"type": "fixed", "name": self._name(), "size": schema["size"]}
            case "enum":
                return "int"
            case "string":
                return "bytes"
            case primitive:
                return primitive

    def _union(self, branches: list[AvroSchema]) -> AvroSchema:
        if not is_general_union(branches):
            return [self.of(branch) for branch in branches]
        return [
            "null" if kind_of(branch) == "null" else self._wrapped(position, branch)
            for position, branch in enumerate(branches)
        ]

    def _wrapped(self, position: int, branch: AvroSchema) -> AvroSchema:
        field = {"name": field_name(position), "type": self.of(branch)}
        return {"type": "record", "name": self._name(), "fields": [field]}

    def _name(self) -> str:
        self._names += 1
        return f"n{self._names}"


def _children(schema: AvroSchema) -> list[AvroSchema]:
    match kind_of(schema):
        case "union":
            return [branch for branch in schema if kind_of(branch) != "null"]
        case "record" | "error":
            return [field["type"] for field in schema["fields"]]
        case "array":
            return [schema["items"]]
        case "map":
            return [schema["values"]]
    return []


def _parts(schema: ParsedSchema) -> list[AvroSchema]:
    """The types of a schema, each named one once; null only where it is no branch of a union."""
    met: set[str] = set()
    parts: list[AvroSchema] = []
    waiting = [schema.root]
    while waiting:
        part = schema.definition(waiting.pop())
        if isinstance(part, dict) and "name" in part:
            if part["name"] in met:
                continue
            met.add(part["name"])
        parts.append(part)
        waiting.extend(_children(part))
    return parts
