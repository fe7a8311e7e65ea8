"""One reader schema for many files: the first one's, one with the fields of all, or a given one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from fsspec_avroglob.avro.resolution import PROMOTIONS, finer, resolve
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    branch_key,
    branches_of,
    column_mapping,
    describe_type,
    kind_of,
    logical_type,
    parse_schema,
    standalone,
)
from fsspec_avroglob.errors import SchemaMismatchError

Unification: TypeAlias = Literal["first", "union"] | AvroSchema | None
"""How the schemas of files become one; see :func:`unify`."""

GIVEN = "the schema given"
"""What a reader schema from the caller is called in errors, in the place of a file."""

_RECORDS = ("record", "error")


def unify(schemas: Iterable[tuple[str, ParsedSchema]], how: Unification = None) -> ParsedSchema:
    """The schema to read files with, each file a path with the schema that it was written with.

    - ``None``: all files have the first one's types, whatever the order of their fields.
    - ``"first"``: the first one's, to which each other must resolve by the specification's rules:
      fields that it lacks are left out, those that a file lacks take their default.
    - ``"union"``: the fields of all, in the order in which they first appear. One that some file
      lacks becomes nullable, null there. Types that differ become the one that holds both exactly:
      numbers are promoted (int with float to double), string with bytes is bytes, enums get the
      symbols of both, timestamps the finer unit, decimals the digits of both, null is added to a
      type that has none. Unions of several types get the branches of both. Records, enums and fixed
      types must have the same name.
    - a schema: that one, to which each file must resolve. It may be any JSON of a schema, but not
      the texts ``"first"`` and ``"union"``.

    Raises SchemaMismatchError, which names both files, the field and its type in each, ValueError
    for another *how* and without any file, and InvalidSchemaError for a given schema.
    """
    files = _distinct(schemas)
    if not files:
        raise ValueError("no schemas to unify")
    first_path, first = files[0]
    if how is None:
        for path, schema in files[1:]:
            column_mapping(first, schema, first_path=first_path, path=path)
        return first
    if how == "union":
        return _union_of(files)
    reader_path, reader = (first_path, first) if how == "first" else (GIVEN, parse_schema(how))
    for path, schema in files:
        resolve(schema, reader, writer_path=path, reader_path=reader_path)
    return reader


def _distinct(schemas: Iterable[tuple[str, ParsedSchema]]) -> list[tuple[str, ParsedSchema]]:
    """The first file of each schema, in order; most files of a table have one schema."""
    seen: set[int] = set()
    found: list[tuple[str, ParsedSchema]] = []
    for path, schema in schemas:
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        if not any(schema.source == other.source for _, other in found):
            found.append((path, schema))
    return found


def _union_of(files: list[tuple[str, ParsedSchema]]) -> ParsedSchema:
    merged = files[0][1]
    for index, (path, schema) in enumerate(files[1:], start=1):
        try:
            merged = _Merge(merged, schema).schema()
        except _Conflict as conflict:
            other = _culprit(files[:index], schema) or files[0][0]
            raise SchemaMismatchError(
                other, path, conflict.field, conflict.first, conflict.second
            ) from None
    return merged


def _culprit(earlier: list[tuple[str, ParsedSchema]], schema: ParsedSchema) -> str | None:
    """The first file that a schema is in conflict with by itself."""
    for path, other in earlier:
        try:
            _Merge(other, schema).schema()
        except _Conflict:
            return path
    return None


class _Conflict(Exception):
    """Two types that no type holds exactly: their field and what they are."""

    def __init__(self, field: str, first: AvroSchema, second: AvroSchema) -> None:
        super().__init__(field)
        self.field = field
        self.first = describe_type(first)
        self.second = describe_type(second)


class _Merge:
    """One walk through two schemas; named types become references into ``names``.

    A name stands for one type in a schema, so a type that is merged anywhere is merged everywhere.
    """

    def __init__(self, first: ParsedSchema, second: ParsedSchema) -> None:
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
        # Types that only fields of one side use are merged as well, since names are shared.
        for name, schema in self._second.names.items():
            shared = self._first.names.get(self._renamed[name])
            if shared is not None:
                self.types(_simple(name), shared, schema)
        return parse_schema(standalone(ParsedSchema(None, root, self.names), root))

    def types(self, field: str, first: AvroSchema, second: AvroSchema) -> AvroSchema:
        first, second = self._first.definition(first), self._second.definition(second)
        if (
            isinstance(first, list)
            or isinstance(second, list)
            or (kind_of(first) != kind_of(second) and "null" in (kind_of(first), kind_of(second)))
        ):
            return self._unions(field, branches_of(first), branches_of(second))
        kinds = kind_of(first), kind_of(second)
        if kinds[0] in _RECORDS and kinds[1] in _RECORDS:
            return self._named(field, first, second, self._records)
        if kinds[0] == kinds[1]:
            match kinds[0]:
                case "array":
                    items = self.types(f"{field}[]", first["items"], second["items"])
                    return {**first, "items": items}
                case "map":
                    values = self.types(f"{field}{{}}", first["values"], second["values"])
                    return {**first, "values": values}
                case "enum":
                    return self._named(field, first, second, _enums)
                case "fixed":
                    return self._named(field, first, second, _fixed)
        return _primitives(field, first, second)

    def _named(
        self,
        field: str,
        first: Any,
        second: Any,
        merge: Callable[[str, Any, Any], AvroSchema],
    ) -> str:
        name: str = first["name"]
        if self._renamed.get(second["name"]) != name:
            raise _Conflict(field, first, second)
        if name not in self._done:
            self._done.add(name)
            self.names[name] = merge(field, first, second)
        return name

    def _records(self, field: str, first: Any, second: Any) -> AvroSchema:
        others = {f["name"]: f for f in second["fields"]}
        fields = []
        for item in first["fields"]:
            other = others.pop(item["name"], None)
            if other is None:
                fields.append(_optional({**item, "type": _by_name(item["type"])}))
                continue
            path = f"{field}.{item['name']}" if field else item["name"]
            type_ = self.types(path, item["type"], other["type"])
            merged = {**item, "type": type_}
            if item.get("default") is not None or kind_of(branches_of(type_)[0]) != "null":
                merged.pop("default", None)  # the merged type may not have it, and no file lacks it
            fields.append(merged)
        fields += [
            _optional({**f, "type": _by_name(f["type"], self._renamed)}) for f in others.values()
        ]
        return {**first, "fields": fields}

    def _unions(self, field: str, first: list[AvroSchema], second: list[AvroSchema]) -> AvroSchema:
        kept = [b for b in first if kind_of(b) != "null"]
        new = [b for b in second if kind_of(b) != "null"]
        if len(kept) == len(new) == 1:
            merged = [self.types(field, kept[0], new[0])]
        else:
            merged = [_by_name(branch) for branch in kept]
            places = {self._key(self._first, branch): i for i, branch in enumerate(kept)}
            for branch in new:
                place = places.get(self._key(self._second, branch))
                if place is None:
                    merged.append(_by_name(branch, self._renamed))
                else:
                    merged[place] = self.types(field, kept[place], branch)
        if len(kept) < len(first) or len(new) < len(second):
            merged = ["null", *merged]
        return merged if len(merged) > 1 else merged[0]

    def _key(self, schema: ParsedSchema, branch: AvroSchema) -> tuple[str, str]:
        return branch_key(schema.definition(branch))


def _by_name(type_: AvroSchema, renamed: Mapping[str, str] = MappingProxyType({})) -> AvroSchema:
    """A type whose named types are references, by the names of the merged schema."""
    if isinstance(type_, list):
        return [_by_name(branch, renamed) for branch in type_]
    name = type_ if isinstance(type_, str) else type_.get("name")
    if name is not None:
        return renamed.get(name, name)
    match kind_of(type_):
        case "array":
            return {**type_, "items": _by_name(type_["items"], renamed)}
        case "map":
            return {**type_, "values": _by_name(type_["values"], renamed)}
    return type_


def _definition(name: str, schema: Any, renamed: Mapping[str, str]) -> AvroSchema:
    """The definition of a named type, with references for those within it."""
    if kind_of(schema) not in _RECORDS:
        return {**schema, "name": name}
    fields = [{**field, "type": _by_name(field["type"], renamed)} for field in schema["fields"]]
    return {**schema, "name": name, "fields": fields}


def _optional(field: Mapping[str, Any]) -> dict[str, Any]:
    """A field that may be missing: nullable, with null for its default, which must come first."""
    branches = [b for b in branches_of(field["type"]) if kind_of(b) != "null"]
    return {**field, "type": ["null", *branches] if branches else "null", "default": None}


def _simple(name: str) -> str:
    return name.rpartition(".")[2]


def _renamed(first: ParsedSchema, second: ParsedSchema) -> dict[str, str]:
    """The second's names as the first has them, by unqualified name, which resolution compares."""
    simple = {_simple(name): name for name in first.names if name not in second.names}
    renamed = {}
    for name in second.names:
        # Two types of one unqualified name stay apart.
        renamed[name] = name if name in first.names else simple.pop(_simple(name), name)
    return renamed


def _enums(field: str, first: Any, second: Any) -> AvroSchema:
    new = [symbol for symbol in second["symbols"] if symbol not in first["symbols"]]
    return {**first, "symbols": [*first["symbols"], *new]}


def _fixed(field: str, first: Any, second: Any) -> AvroSchema:
    if first["size"] != second["size"] or logical_type(first) != logical_type(second):
        raise _Conflict(field, first, second)
    return first


def _primitives(field: str, first: AvroSchema, second: AvroSchema) -> AvroSchema:
    old, new = logical_type(first), logical_type(second)
    kinds = kind_of(first), kind_of(second)
    if old == new and kinds[0] == kinds[1]:
        return first
    if old is None and new is None:
        wider = _wider(*kinds)
        if wider is not None:
            return wider
    elif old is not None and new is not None:
        if kinds == ("bytes", "bytes") and old.name == new.name == "decimal":
            scale = max(old.scale, new.scale)
            whole = max(old.precision - old.scale, new.precision - new.scale)
            return {**first, "precision": whole + scale, "scale": scale}
        both = finer(old.name, new.name)
        if both is not None:
            return first if both == old.name else second
    if kinds == ("string", "string"):
        return "string"  # one is a uuid, which is a string too
    raise _Conflict(field, first, second)


def _wider(first: str, second: str) -> str | None:
    """The primitive kind that holds the values of both, if promotion leads there exactly."""
    if first == second:
        return first
    kinds = {first, second}
    if kinds == {"string", "bytes"}:
        return "bytes"
    if "float" in kinds and kinds & {"int", "long"}:
        return "double"
    if second in PROMOTIONS.get(first, ()):
        return second
    return first if first in PROMOTIONS.get(second, ()) else None
