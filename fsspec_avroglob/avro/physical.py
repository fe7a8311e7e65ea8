"""Physical schemas: the same bytes as a writer schema, without anything on which engines disagree.

Names, logical types and enum symbols do not change the bytes of an Avro schema. Engines get a
schema without them: enums are ints, strings are bytes, maps are arrays of key and value, and
logical types are the types they annotate. Engines then return raw numbers and bytes, and one code
for all engines makes values of these. If a union has several types besides null, each branch
becomes a record of one field. This takes no bytes, and it shows which branch a value has.
"""

from __future__ import annotations

from collections.abc import Mapping

from fsspec_avroglob.avro.schema import (
    RECORDS,
    AvroSchema,
    ParsedSchema,
    branches_of,
    children_of,
    describe_type,
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
    physical = _Physical(schema)
    if schema.is_record:
        return physical.of(schema.root)
    return _record("top", {field_name(0): physical.of(schema.root)})


def endless_array(schema: ParsedSchema) -> str | None:
    """Why *schema* is refused: an array of it may have any number of items in no bytes; or None."""
    empty = _Empty(schema)
    for part in _parts(schema):
        if kind_of(part) == "array" and empty(part["items"]):
            it = describe_type(part)
            return f"the items of {it} take no bytes, so corrupt data may claim any number of them"
    return None


def zero_width(schema: ParsedSchema) -> bool:
    """Whether *schema* has a type whose values take no bytes, apart from null in unions."""
    return any(map(_Empty(schema), _parts(schema)))


class _Empty:
    """Says of types of one schema whether their values take no bytes."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._schema = schema
        self._records: dict[str, bool] = {}

    def __call__(self, type_: AvroSchema) -> bool:
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


class _Physical:
    """Translates one schema; gives new names to its named types and defines each once."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._schema = schema
        self._records: dict[str, str] = {}
        self._names = 0

    def of(self, schema: AvroSchema) -> AvroSchema:
        schema = self._schema.definition(schema)
        match kind_of(schema):
            case "union" if is_general_union(schema):
                return [
                    "null"
                    if kind_of(branch) == "null"
                    else _record(self._name(), {field_name(position): self.of(branch)})
                    for position, branch in enumerate(schema)
                ]
            case "union":
                return [self.of(branch) for branch in schema]
            case "record" | "error":
                if schema["name"] in self._records:
                    return self._records[schema["name"]]
                self._records[schema["name"]] = name = self._name()
                types = enumerate(children_of(schema))
                return _record(name, {field_name(i): self.of(child) for i, child in types})
            case "array":
                return {"type": "array", "items": self.of(schema["items"])}
            case "map":
                entry = {KEY: "bytes", VALUE: self.of(schema["values"])}
                return {"type": "array", "items": _record(self._name(), entry)}
            case "fixed":
                return {"type": "fixed", "name": self._name(), "size": schema["size"]}
            case "enum":
                return "int"
            case "string":
                return "bytes"
            case primitive:
                return primitive

    def _name(self) -> str:
        self._names += 1
        return f"n{self._names}"
