"""One reader schema that has the fields of many files.

Each field gets the type that holds the values of all files exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from fsspec_avroglob.avro.resolution import PROMOTIONS, finer
from fsspec_avroglob.avro.schema import (
    NAMED_TYPES,
    RECORDS,
    AvroSchema,
    ParsedSchema,
    branch_key,
    branches_of,
    describe_type,
    kind_of,
    logical_type,
    parse_schema,
    standalone,
    unqualified,
    with_children,
)
from fsspec_avroglob.errors import SchemaMismatchError


def union_schema(
    files: Sequence[tuple[str, ParsedSchema]], *, by_name: bool = False
) -> ParsedSchema:
    """Return the schema with the fields of all files, in the order in which they first appear.

    - ``files``: at least one file, each its path and the schema that it was written with.
    - ``by_name``: match named types by the names of the fields that they are in, not by their own.

    A field that some file lacks becomes nullable, with null as its default. If types differ, the
    field gets the type that holds both exactly: numbers are promoted (int and float to double),
    string and bytes become bytes, enums get the symbols of both, timestamps the finer unit,
    decimals the digits of both, and a type without null gets null if the other has it. Unions of
    several types get the branches of both. Records, enums and fixed types need equal names, unless
    *by_name*. An enum and a string become a string, a date and a timestamp a timestamp, a long
    and a timestamp the latter, and decimals of different sizes become decimals on bytes.

    Raises SchemaMismatchError, which names two files, the field and its type in each.
    """
    if by_name:
        files = [(path, named_by_field(schema)) for path, schema in files]
    first_path, merged = files[0]
    for index, (path, schema) in enumerate(files[1:], start=1):
        try:
            merged = _Merge(first_path, merged, path, schema).schema()
            continue
        except SchemaMismatchError as error:
            mismatch = error
        # Name the first file whose own schema does not fit, if there is one.
        for other_path, other in files[:index]:
            _Merge(other_path, other, path, schema).schema()
        raise mismatch
    return merged


class _Merge:
    """One walk over two schemas. Named types become references into ``names``.

    Since a name means one type in a schema, a merged type is merged wherever it is used.
    """

    def __init__(
        self, first_path: str, first: ParsedSchema, second_path: str, second: ParsedSchema
    ) -> None:
        self._paths = first_path, second_path
        self.names = {name: _definition(name, schema, {}) for name, schema in first.names.items()}
        self._first = first
        self._second = second
        self._renamed = _renamed(first, second)
        self._done: set[str] = set()
        for name, schema in second.names.items():
            name = self._renamed[name]
            self.names.setdefault(name, _definition(name, schema, self._renamed))

    def schema(self) -> ParsedSchema:
        """Both schemas as one."""
        root = self.types("", self._first.root, self._second.root)
        # Merge shared types also if only fields of one schema use them.
        for name, schema in self._second.names.items():
            shared = self._first.names.get(self._renamed[name])
            if shared is not None:
                self.types(unqualified(name), shared, schema)
        return parse_schema(standalone(ParsedSchema(None, root, self.names), root))

    def types(self, field: str, first: AvroSchema, second: AvroSchema) -> AvroSchema:
        first, second = self._first.definition(first), self._second.definition(second)
        kinds = kind_of(first), kind_of(second)
        if "union" in kinds or (kinds[0] != kinds[1] and "null" in kinds):
            return self._unions(field, branches_of(first), branches_of(second))
        if RECORDS.issuperset(kinds):
            return self._named(field, first, second)
        if kinds[0] == kinds[1]:
            match kinds[0]:
                case "array":
                    items = self.types(f"{field}[]", first["items"], second["items"])
                    return {**first, "items": items}
                case "map":
                    values = self.types(f"{field}{{}}", first["values"], second["values"])
                    return {**first, "values": values}
                case "enum":
                    return self._named(field, first, second)
                case "fixed" if _same_fixed(first, second):
                    return self._named(field, first, second)
        merged = _primitives(first, second)
        if merged is None:
            raise self._mismatch(field, first, second)
        return merged

    def _mismatch(self, field: str, first: Any, second: Any) -> SchemaMismatchError:
        return SchemaMismatchError(*self._paths, field, describe_type(first), describe_type(second))

    def _named(self, field: str, first: Any, second: Any) -> str:
        name: str = first["name"]
        if self._renamed.get(second["name"]) != name:
            raise self._mismatch(field, first, second)
        if name not in self._done:
            self._done.add(name)
            aliases = dict.fromkeys([*first.get("aliases", ()), *second.get("aliases", ())])
            merged = {**first, "aliases": list(aliases)} if aliases else dict(first)
            match kind_of(first):
                case "enum":
                    symbols = dict.fromkeys([*first["symbols"], *second["symbols"]])
                    merged["symbols"] = list(symbols)
                case "record" | "error":
                    merged["fields"] = self._fields(field, first, second)
            self.names[name] = merged
        return name

    def _fields(self, within: str, first: Any, second: Any) -> list[dict[str, Any]]:
        others = {field["name"]: field for field in second["fields"]}
        fields = []
        for field in first["fields"]:
            other = others.pop(field["name"], None)
            if other is None:
                fields.append(_optional(field, {}))
                continue
            path = f"{within}.{field['name']}" if within else field["name"]
            type_ = self.types(path, field["type"], other["type"])
            merged = {**field, "type": type_}
            if field.get("default") is not None or kind_of(branches_of(type_)[0]) != "null":
                merged.pop("default", None)  # may not be of the merged type; no file needs it
            fields.append(merged)
        return fields + [_optional(field, self._renamed) for field in others.values()]

    def _unions(self, field: str, first: list[AvroSchema], second: list[AvroSchema]) -> AvroSchema:
        kept = [b for b in first if kind_of(b) != "null"]
        new = [b for b in second if kind_of(b) != "null"]
        if len(kept) == len(new) == 1:
            merged = [self.types(field, kept[0], new[0])]
        else:
            merged = [_by_name(branch, {}) for branch in kept]
            positions = {self._key(self._first, branch): i for i, branch in enumerate(kept)}
            for branch in new:
                position = positions.get(self._key(self._second, branch))
                if position is None:
                    merged.append(_by_name(branch, self._renamed))
                else:
                    merged[position] = self.types(field, kept[position], branch)
        if len(kept) < len(first) or len(new) < len(second):
            merged = ["null", *merged]
        return merged if len(merged) > 1 else merged[0]

    def _key(self, schema: ParsedSchema, branch: AvroSchema) -> tuple[str, str]:
        return branch_key(schema.definition(branch))


def _by_name(type_: AvroSchema, renamed: Mapping[str, str]) -> AvroSchema:
    """Return a type in which names replace definitions; *renamed* has the names that change."""
    name = type_.get("name") if isinstance(type_, dict) else type_
    if isinstance(name, str):
        return renamed.get(name, name)
    return with_children(type_, lambda child: _by_name(child, renamed))


def _definition(name: str, schema: Any, renamed: Mapping[str, str]) -> AvroSchema:
    """Return the definition of a named type, with names for the types inside it."""
    return {**with_children(schema, lambda child: _by_name(child, renamed)), "name": name}


def _optional(field: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Make a field that some file lacks nullable, with null first because it is the default."""
    type_ = _by_name(field["type"], renamed)
    branches = [branch for branch in branches_of(type_) if kind_of(branch) != "null"]
    return {**field, "type": ["null", *branches] if branches else "null", "default": None}


def _renamed(first: ParsedSchema, second: ParsedSchema) -> dict[str, str]:
    """Map each name of the second schema to the first's of equal unqualified name, or itself."""
    simple = {unqualified(name): name for name in first.names if name not in second.names}
    renamed = {}
    for name in second.names:
        # Two types of one unqualified name stay apart.
        renamed[name] = name if name in first.names else simple.pop(unqualified(name), name)
    # A type within a namespace cannot use one without. So types leave their namespace together.
    left = {name.rpartition(".")[0] for name, new in renamed.items() if "." not in new}
    taken = {*first.names, *renamed.values()}
    for name in second.names:
        namespace, _, short = name.rpartition(".")
        if namespace in left and name not in first.names and short not in taken:
            renamed[name] = short
            taken.add(short)
    return renamed


def _same_fixed(first: Any, second: Any) -> bool:
    return first["size"] == second["size"] and logical_type(first) == logical_type(second)


def named_by_field(schema: ParsedSchema) -> ParsedSchema:
    """Return a schema whose named types have the names of the fields that they are in.

    Their own names become aliases, so that the schema still reads the files. Types within
    themselves keep one name, and the branches of a union of several named types keep theirs.
    """

    def named(type_: AvroSchema, path: str, within: Mapping[str, str]) -> AvroSchema:
        type_ = schema.definition(type_)
        kind = kind_of(type_)
        if kind in NAMED_TYPES:
            own = type_["name"]
            if own in within:
                return within[own]
            within = {**within, own: path}
            aliases = [own, *type_.get("aliases", ())]
            type_ = {**type_, "name": path, "aliases": aliases, "namespace": ""}
        if kind in RECORDS:
            fields = [
                {**one, "type": named(one["type"], f"{path}_{one['name']}", within)}
                for one in type_["fields"]
            ]
            return {**type_, "fields": fields}
        if kind == "union":
            definitions = [schema.definition(branch) for branch in type_]
            several = sum(kind_of(one) in NAMED_TYPES for one in definitions) > 1
            paths = [
                f"{path}_{unqualified(one['name'])}"
                if several and kind_of(one) in NAMED_TYPES
                else path
                for one in definitions
            ]
            return [named(one, p, within) for one, p in zip(type_, paths, strict=True)]
        return with_children(type_, lambda child: named(child, path, within))

    return parse_schema(named(schema.root, "Row", {}))


def _primitives(first: AvroSchema, second: AvroSchema) -> AvroSchema | None:
    """Return the type without a name that holds the values of both exactly, or None."""
    old, new = logical_type(first), logical_type(second)
    kinds = kind_of(first), kind_of(second)
    if old == new and kinds[0] == kinds[1] and kinds[0] not in NAMED_TYPES:
        return first
    if set(kinds) == {"enum", "string"}:
        return "string"
    if old is None and new is None:
        if set(kinds) == {"string", "bytes"}:
            return "bytes"
        if "float" in kinds and not {"int", "long"}.isdisjoint(kinds):
            return "double"
        wider = [two for one, two in permutations(kinds) if two in PROMOTIONS.get(one, ())]
        return wider[0] if wider else None
    if old is not None and new is not None:
        if old.name == new.name == "decimal":
            scale = max(old.scale, new.scale)
            whole = max(old.precision - old.scale, new.precision - new.scale)
            decimal = {"type": "bytes", "logicalType": "decimal"}
            return {**decimal, "precision": whole + scale, "scale": scale}
        both = finer(old.name, new.name)
        if both is not None:
            return first if both == old.name else second
    elif kinds == ("long", "long") and "timestamp-" in str(old or new):
        return second if old is None else first  # older files lack the logical type
    return "string" if kinds == ("string", "string") else None  # one of them is a uuid
