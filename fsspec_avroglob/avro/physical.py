"""Physical schemas: the same bytes as a writer schema, without anything on which engines disagree.

Names, logical types and enum symbols do not change the bytes of an Avro schema. Engines get a
schema without them: enums are ints, strings are bytes, maps are arrays of key and value, and
logical types are the types they annotate. Engines then return raw numbers and bytes, and one code
for all engines makes values of these. If a union has several types besides null, each branch
becomes a record of one field. This takes no bytes, and it shows which branch a value has. Fields
whose values take no bytes are left out: an engine need not know them.
"""

from __future__ import annotations

from collections.abc import Mapping

from fsspec_avroglob.avro.schema import (
    RECORDS,
    AvroSchema,
    ParsedSchema,
    branches_of,
    children_of,
    kind_of,
)

KEY, VALUE = "k", "v"
"""Fields of a map's entries in a physical schema."""


def field_name(position: int) -> str:
    """Return the name of the field or union branch at *position* in a physical schema."""
    return f"f{position}"


def non_null(schema: AvroSchema) -> list[int]:
    """Positions of the branches that are not null."""
    return [i for i, branch in enumerate(branches_of(schema)) if kind_of(branch) != "null"]


def is_general_union(schema: AvroSchema) -> bool:
    """Whether a type is a union whose branches become records: not null, nor one type with null."""
    if not isinstance(schema, list):
        return False
    kept = len(non_null(schema))
    return kept > 1 or kept == len(schema)


def physical_schema(schema: ParsedSchema) -> AvroSchema:
    """Return the physical form of *schema*. A record's only field holds any other top level."""
    physical = Physical(schema)
    if schema.is_record:
        return physical.of(schema.root)
    return physical.record([schema.root])


def has_empty_items(schema: ParsedSchema) -> bool:
    """Whether an array of *schema* may have any number of items in no bytes."""
    empty = Empty(schema)
    return any(kind_of(part) == "array" and empty(part["items"]) for part in _parts(schema))


def needs_python(schema: ParsedSchema) -> bool:
    """Whether only an :class:`Interpreter` decodes values of *schema* within bounds."""
    return is_recursive(schema) or has_empty_items(schema) or Empty(schema)(schema.root)


def has_empty_parts(schema: ParsedSchema) -> bool:
    """Whether the physical schema has types whose values take no bytes, apart from null."""
    empty = Empty(schema)

    def in_physical(part: AvroSchema) -> bool:
        # Empty fields of records are left out, and null in a union is no type of its own.
        union = kind_of(part) == "union"
        children = [] if kind_of(part) in RECORDS else children_of(part)
        return any(empty(child) and not (union and child == "null") for child in children)

    return empty(schema.root) or any(map(in_physical, _parts(schema)))


class Empty:
    """Says of types of one schema whether their values take no bytes."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._schema = schema
        self._records: dict[str, bool] = {}

    def __call__(self, type_: AvroSchema) -> bool:
        """Whether all values of a type take no bytes."""
        type_ = self._schema.definition(type_)
        kind = kind_of(type_)
        if kind not in RECORDS:
            return kind == "null" or (kind == "fixed" and type_["size"] == 0)
        name = type_["name"]
        if name not in self._records:
            self._records[name] = True  # while inside: a record directly in itself has no values
            self._records[name] = all(map(self, children_of(type_)))
        return self._records[name]


def is_recursive(schema: ParsedSchema) -> bool:
    """Whether any type of *schema* contains itself."""
    met: set[str] = set()

    def repeats(type_: AvroSchema, within: frozenset[str]) -> bool:
        type_ = schema.definition(type_)
        name = type_.get("name") if isinstance(type_, dict) else None
        if name is not None:
            if name in met:
                return name in within
            met.add(name)
            within |= {name}
        return any(repeats(child, within) for child in children_of(type_))

    return repeats(schema.root, frozenset())


def _parts(schema: ParsedSchema) -> list[AvroSchema]:
    """All types of a schema, each named type once, without null in unions."""
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
        in_union = isinstance(part, list)
        waiting += [child for child in children_of(part) if not in_union or child != "null"]
    return parts


def _record(name: str, fields: Mapping[str, AvroSchema]) -> AvroSchema:
    types = [{"name": field, "type": type_} for field, type_ in fields.items()]
    return {"type": "record", "name": name, "fields": types}


class Physical:
    """Translates one schema; gives new names to its named types and defines each once."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._schema = schema
        self._empty = Empty(schema)
        self._records: dict[str, str] = {}
        self._names = 0

    def of(self, schema: AvroSchema) -> AvroSchema:
        """Return the physical form of a type."""
        schema = self._schema.definition(schema)
        match kind_of(schema):
            case "union" if is_general_union(schema):
                return [
                    "null"
                    if kind_of(branch) == "null"
                    else _record(self.name(), {field_name(position): self.of(branch)})
                    for position, branch in enumerate(schema)
                ]
            case "union":
                return [self.of(branch) for branch in schema]
            case "record" | "error":
                if schema["name"] in self._records:
                    return self._records[schema["name"]]
                self._records[schema["name"]] = name = self.name()
                return self.record(children_of(schema), name)
            case "array":
                return {"type": "array", "items": self.of(schema["items"])}
            case "map":
                entry = {KEY: "bytes", VALUE: self.of(schema["values"])}
                return {"type": "array", "items": _record(self.name(), entry)}
            case "fixed":
                return {"type": "fixed", "name": self.name(), "size": schema["size"]}
            case "enum":
                return "int"
            case "string":
                return "bytes"
            case primitive:
                return primitive

    def record(self, types: list[AvroSchema], name: str | None = None) -> AvroSchema:
        """Return the physical form of a record with fields of these types."""
        kept = [(i, type_) for i, type_ in enumerate(types) if not self._empty(type_)]
        return _record(name or self.name(), {field_name(i): self.of(type_) for i, type_ in kept})

    def name(self) -> str:
        """Return a new name for a type."""
        self._names += 1
        return f"n{self._names}"
