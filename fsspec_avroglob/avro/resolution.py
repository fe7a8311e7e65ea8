"""Schema resolution of Avro 1.12: how values of a writer schema become values of a reader schema.

:func:`resolve` walks both schemas once and returns a tree of steps, which says for each type of the
reader where its values come from. Whoever decodes follows it; nothing here touches a value.

Beyond the letter of the specification:

- a union of the reader takes its branch of the very same type before one that takes a promotion;
- two logical types must be the same, or the reader's finer (``timestamp-millis`` is read as
  ``timestamp-micros``) or wider (decimals), since their numbers would mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    branches_of,
    describe_type,
    kind_of,
    logical_type,
)
from fsspec_avroglob.errors import SchemaMismatchError

PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
"""The kinds, other than its own, that a kind may be read as."""

_RECORDS = ("record", "error")


@dataclass(frozen=True)
class Difference:
    """Why one type cannot be read as another.

    - ``field``: dotted name of the field, ``[]`` after it for items and ``{}`` for values of maps.
    - ``writer``, ``reader``: the types there, None for a field that this side lacks.
    """

    field: str
    writer: str | None
    reader: str | None


@dataclass(frozen=True)
class LeafStep:
    """A primitive or fixed type, promoted if the two kinds differ."""

    writer: AvroSchema
    reader: AvroSchema


@dataclass(frozen=True)
class EnumStep:
    """An enum; ``positions`` are the places of the writer's symbols in the reader's, or None."""

    writer: AvroSchema
    reader: AvroSchema
    positions: tuple[int | None, ...]


@dataclass(frozen=True)
class ListStep:
    """An array, by its items."""

    items: Step


@dataclass(frozen=True)
class MapStep:
    """A map, by its values."""

    values: Step


@dataclass(frozen=True)
class FieldStep:
    """A field of the reader: the writer's field at ``position``, or (both None) its default."""

    name: str
    reader: AvroSchema
    position: int | None
    step: Step | None
    default: Any = None


@dataclass(frozen=True)
class RecordStep:
    """A record, by the reader's fields in their order."""

    fields: tuple[FieldStep, ...]


@dataclass(frozen=True)
class Branch:
    """A branch of the writer: the reader's branch that takes it and how, or why none does."""

    position: int | None
    step: Step | Difference


@dataclass(frozen=True)
class UnionStep:
    """A union on either side, by the writer's branches; a type that is no union is its own branch.

    A ``position`` counts the reader's branches, null among them.
    """

    writer: AvroSchema
    reader: AvroSchema
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class RecursionStep:
    """A pair of records within itself."""

    writer_name: str
    reader_name: str


Step: TypeAlias = LeafStep | EnumStep | ListStep | MapStep | RecordStep | UnionStep | RecursionStep


def resolve(
    writer: ParsedSchema, reader: ParsedSchema, *, writer_path: str, reader_path: str
) -> Step:
    """How files of *writer*'s schema are read with *reader*'s.

    The paths name the schemas in errors: *writer_path* is the file, *reader_path* where the reader
    schema comes from. Raises SchemaMismatchError where the rules find no way. Branches of a union
    that only some values are of are not held against it until such a value comes.
    """
    found = _Resolution(writer, reader).step("", writer.root, reader.root)
    if isinstance(found, Difference):
        raise SchemaMismatchError(reader_path, writer_path, found.field, found.reader, found.writer)
    return found


def identity(schema: ParsedSchema, type_: AvroSchema) -> Step:
    """How values of a type of *schema* are read as themselves."""
    step = _Resolution(schema, schema).step("", type_, type_)
    assert not isinstance(step, Difference)
    return step


class _Resolution:
    """One walk through two schemas at once."""

    def __init__(self, writer: ParsedSchema, reader: ParsedSchema) -> None:
        self._writer = writer
        self._reader = reader
        # Pairs of records: None while one is being walked, which within it means recursion.
        self._records: dict[tuple[str, str], RecordStep | None] = {}

    def step(self, field: str, writer: AvroSchema, reader: AvroSchema) -> Step | Difference:
        writer, reader = self._writer.definition(writer), self._reader.definition(reader)
        kinds = kind_of(writer), kind_of(reader)
        if "union" in kinds:
            return self._union(field, writer, reader)
        different = Difference(field, describe_type(writer), describe_type(reader))
        if kinds[0] in _RECORDS and kinds[1] in _RECORDS:
            return (
                self._record(field, writer, reader) if _names_match(writer, reader) else different
            )
        if kinds[0] != kinds[1]:
            promoted = kinds[1] in PROMOTIONS.get(kinds[0], ())
            return (
                LeafStep(writer, reader) if promoted and _means_same(writer, reader) else different
            )
        match kinds[0]:
            case "array":
                items = self.step(f"{field}[]", writer["items"], reader["items"])
                return items if isinstance(items, Difference) else ListStep(items)
            case "map":
                values = self.step(f"{field}{{}}", writer["values"], reader["values"])
                return values if isinstance(values, Difference) else MapStep(values)
            case "enum":
                return _enum(writer, reader) if _names_match(writer, reader) else different
            case "fixed":
                if writer["size"] != reader["size"] or not _names_match(writer, reader):
                    return different
        return LeafStep(writer, reader) if _means_same(writer, reader) else different

    def _record(self, field: str, writer: Any, reader: Any) -> Step | Difference:
        pair = writer["name"], reader["name"]
        if pair in self._records:
            return self._records[pair] or RecursionStep(*pair)
        self._records[pair] = None
        positions = {f["name"]: i for i, f in enumerate(writer["fields"])}
        steps = []
        for item in reader["fields"]:
            name = item["name"]
            path = f"{field}.{name}" if field else name
            found = next((n for n in (name, *item.get("aliases", ())) if n in positions), None)
            if found is not None:
                position = positions[found]
                step = self.step(path, writer["fields"][position]["type"], item["type"])
                if isinstance(step, Difference):
                    del self._records[pair]
                    return step
                steps.append(FieldStep(name, item["type"], position, step))
            elif "default" in item:
                steps.append(FieldStep(name, item["type"], None, None, item["default"]))
            else:
                del self._records[pair]
                return Difference(path, None, describe_type(item["type"]))
        self._records[pair] = record = RecordStep(tuple(steps))
        return record

    def _union(self, field: str, writer: Any, reader: Any) -> Step | Difference:
        sources, targets = branches_of(writer), branches_of(reader)
        branches = tuple(self._branch(field, source, targets) for source in sources)
        usable = [b for b in branches if b.position is not None]
        # Null alone in common makes no column of values: ["null", "int"] is not ["null", "string"].
        if not usable or (
            len(sources) > 1
            and all(sources[branches.index(b)] == "null" for b in usable)
            and targets != ["null"]
        ):
            return Difference(field, describe_type(writer), describe_type(reader))
        return UnionStep(writer, reader, branches)

    def _branch(self, field: str, source: AvroSchema, targets: list[AvroSchema]) -> Branch:
        writer = self._writer.definition(source)
        definitions = [self._reader.definition(target) for target in targets]
        same = [i for i, d in enumerate(definitions) if _same_type(writer, d)]
        others = [i for i in range(len(targets)) if i not in same]
        difference = Difference(
            field, describe_type(writer), describe_type(targets if len(targets) > 1 else targets[0])
        )
        for position in same + others:
            step = self.step(field, source, targets[position])
            if not isinstance(step, Difference):
                return Branch(position, step)
            if position in same:
                difference = step
        return Branch(None, difference)


def _same_type(writer: AvroSchema, reader: AvroSchema) -> bool:
    """Whether a union would take the two for the same branch."""
    kind = kind_of(writer)
    if kind != kind_of(reader):
        return False
    if kind in (*_RECORDS, "enum", "fixed"):
        return _names_match(writer, reader)
    return logical_type(writer) == logical_type(reader)


def _names_match(writer: Any, reader: Any) -> bool:
    """Whether the unqualified names are equal, or an alias of the reader names the writer."""
    simple = writer["name"].rpartition(".")[2]
    if simple == reader["name"].rpartition(".")[2]:
        return True
    namespace = reader["name"].rpartition(".")[0]
    aliases = [a if "." in a or not namespace else f"{namespace}.{a}" for a in _aliases(reader)]
    return writer["name"] in aliases or simple in _aliases(reader)


def _aliases(schema: Any) -> list[str]:
    return list(schema.get("aliases", ()))


def _enum(writer: Any, reader: Any) -> EnumStep:
    places = {symbol: i for i, symbol in enumerate(reader["symbols"])}
    fallback = places.get(reader.get("default"))
    return EnumStep(
        writer, reader, tuple(places.get(symbol, fallback) for symbol in writer["symbols"])
    )


def _means_same(writer: AvroSchema, reader: AvroSchema) -> bool:
    """Whether the numbers or bytes of one logical type can be those of the other, exactly."""
    old, new = logical_type(writer), logical_type(reader)
    if old is None or new is None or old == new:
        return True
    if old.name == new.name == "decimal":
        whole_digits = old.precision - old.scale, new.precision - new.scale
        return old.scale <= new.scale and whole_digits[0] <= whole_digits[1]
    return finer(old.name, new.name) == new.name


_UNITS = ("millis", "micros", "nanos")


def finer(first: str, second: str) -> str | None:
    """Of two logical types that count the same in different units the finer one, else None."""
    family, _, unit = first.rpartition("-")
    other_family, _, other_unit = second.rpartition("-")
    if family != other_family or unit not in _UNITS or other_unit not in _UNITS:
        return None
    return f"{family}-{max(unit, other_unit, key=_UNITS.index)}"
