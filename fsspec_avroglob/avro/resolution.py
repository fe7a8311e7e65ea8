"""Schema resolution of Avro 1.12: how values of a writer schema become values of a reader schema.

:func:`resolve` walks both schemas once and returns a tree of steps. For each type of the reader
the steps say where its values come from. A decoder follows them; no function here decodes a value.

In three points this module is stricter or kinder than the specification:

- A union of the reader prefers its branch of exactly the writer's type to one that needs promotion.
- Enums may be read as strings.
- Two logical types must be equal, or the reader's must be finer (``timestamp-micros`` for
  ``timestamp-millis``) or wider (decimals). Otherwise the numbers would mean something else.

In strict mode two schemas resolve only if each can read the other and no value changes: without
promotions, aliases or defaults. Order, namespaces, docs and unknown attributes may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fsspec_avroglob.avro.schema import (
    NAMED_TYPES,
    RECORDS,
    AvroSchema,
    ParsedSchema,
    branch_key,
    branches_of,
    children_of,
    describe_type,
    kind_of,
    logical_type,
    unqualified,
)
from fsspec_avroglob.errors import SchemaMismatchError

PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
"""The other kinds that each kind may be read as."""


NOT_NULL = "a value is null, which the reader schema does not allow"
"""Why a null cannot be read."""


@dataclass(frozen=True)
class LeafStep:
    """A primitive or fixed type; it is promoted if the two kinds differ."""

    writer: AvroSchema
    reader: AvroSchema


@dataclass(frozen=True)
class EnumStep:
    """An enum. ``positions`` has the reader's index of each symbol of the writer, or None.

    A reader that is a string gets the symbols as they are.
    """

    writer: AvroSchema
    reader: AvroSchema
    positions: tuple[int | None, ...]


@dataclass(frozen=True)
class ItemStep:
    """An array or a map, by its items or values."""

    item: ResolutionStep


@dataclass(frozen=True)
class FieldStep:
    """A field of the reader, read from the writer's field at ``position``.

    If ``position`` and ``step`` are None, it gets ``default``.
    """

    name: str
    reader: AvroSchema
    position: int | None
    step: ResolutionStep | None
    default: Any = None


@dataclass(frozen=True)
class RecordStep:
    """A record, by the reader's fields in their order; ``types`` are those of the writer's."""

    fields: tuple[FieldStep, ...]
    types: tuple[AvroSchema, ...]


@dataclass(frozen=True)
class UnionBranch:
    """A branch of the writer: the reader's branch for its values and the step, or why none fits."""

    position: int | None
    step: ResolutionStep | SchemaMismatchError


@dataclass(frozen=True)
class UnionStep:
    """A union on either side, by the writer's branches; any other type is its own only branch.

    A ``position`` counts the reader's branches, null included.
    """

    writer: AvroSchema
    reader: AvroSchema
    branches: tuple[UnionBranch, ...]


@dataclass(frozen=True)
class RecursionStep:
    """A pair of records inside itself."""

    writer_name: str
    reader_name: str


ResolutionStep: TypeAlias = LeafStep | EnumStep | ItemStep | RecordStep | UnionStep | RecursionStep


def resolve(
    writer: ParsedSchema,
    reader: ParsedSchema,
    *,
    writer_path: str,
    reader_path: str,
    strict: bool = False,
) -> ResolutionStep:
    """Resolve how files of *writer*'s schema are read with *reader*'s.

    - ``writer_path``, ``reader_path``: names of the schemas for errors, usually of files.
    - ``strict``: accept only schemas of the same types, see the module.

    Raises SchemaMismatchError if the schemas do not resolve. A branch of the writer's union that
    fits no branch of the reader is an error only in strict mode: no value may be of this branch.
    """
    walk = _Resolution(writer, reader, (reader_path, writer_path), strict)
    return walk.step("", writer.root, reader.root)


def identity(schema: ParsedSchema, type_: AvroSchema) -> ResolutionStep:
    """Return the step that reads values of a type of *schema* as themselves."""
    return _Resolution(schema, schema, ("", ""), strict=True).step("", type_, type_)


def not_read(mismatch: SchemaMismatchError) -> str:
    """Return why a value of a union's branch cannot be read; *mismatch* is the branch's step."""
    return f"a value is of a type that is not read: {mismatch.type} is not {mismatch.first_type}"


def no_symbol(symbol: str) -> str:
    """Return why a symbol of an enum cannot be read."""
    return f"the symbol {symbol!r} is not in the reader schema, which has no default"


def not_a_symbol(count: int) -> str:
    """Return what is wrong with an index that an enum of *count* symbols lacks."""
    return f"a value is not a symbol of an enum of {count}"


def same_order(step: ResolutionStep) -> bool:
    """Whether fields, branches and symbols of writer and reader are in the same order.

    After strict resolution one schema then reads the bytes of the other unchanged.
    """
    waiting: list[Any] = [step]
    seen: set[int] = set()
    while waiting:
        step = waiting.pop()
        if id(step) in seen:  # a record that is used often is one step
            continue
        seen.add(id(step))
        positions: tuple[int | None, ...] = ()
        match step:
            case RecordStep(parts) | UnionStep(branches=parts):
                positions = tuple(part.position for part in parts)
                waiting += [part.step for part in parts]
            case EnumStep(positions=positions):
                pass
            case ItemStep(item):
                waiting.append(item)
        if positions != tuple(range(len(positions))):
            return False
    return True


class _Resolution:
    """One walk over two schemas at once. Fields have dotted names: ``a.items[].values{}``."""

    def __init__(
        self, writer: ParsedSchema, reader: ParsedSchema, paths: tuple[str, str], strict: bool
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._paths = paths
        self._strict = strict
        # Pairs of records; None while the walk is inside the pair, so that it finds recursion.
        self._records: dict[tuple[str, str], RecordStep | None] = {}

    def step(self, field: str, writer: AvroSchema, reader: AvroSchema) -> ResolutionStep:
        """Resolve how values of one type are read as another. Raises SchemaMismatchError."""
        writer, reader = self._writer.definition(writer), self._reader.definition(reader)
        kinds = kind_of(writer), kind_of(reader)
        if self._strict and _signature(writer) != _signature(reader):
            raise self._mismatch(field, writer, reader)
        if "union" in kinds:
            return self._union(field, writer, reader)
        if _decimals(writer, reader) or kinds == ("enum", "string"):
            fits = True
        elif kinds[0] == kinds[1] or RECORDS.issuperset(kinds):
            fits = kinds[0] not in NAMED_TYPES or _names_match(writer, reader)
            fits = fits and (kinds[0] != "fixed" or writer["size"] == reader["size"])
        else:
            fits = kinds[1] in PROMOTIONS.get(kinds[0], ())
        if not fits or not _means_same(writer, reader):
            raise self._mismatch(field, writer, reader)
        match kinds[0]:
            case "record" | "error":
                return self._record(field, writer, reader)
            case "array":
                return ItemStep(self.step(f"{field}[]", writer["items"], reader["items"]))
            case "map":
                return ItemStep(self.step(f"{field}{{}}", writer["values"], reader["values"]))
            case "enum":
                return _enum(writer, reader)
        return LeafStep(writer, reader)

    def _mismatch(
        self, field: str, writer: AvroSchema | None, reader: AvroSchema | None
    ) -> SchemaMismatchError:
        """Return the error for two types, None for a field that is missing."""
        old, new = (None if one is None else describe_type(one) for one in (reader, writer))
        return SchemaMismatchError(*self._paths, field, old, new)

    def _record(self, field: str, writer: Any, reader: Any) -> ResolutionStep:
        pair = writer["name"], reader["name"]
        if pair in self._records:
            return self._records[pair] or RecursionStep(*pair)
        self._records[pair] = None
        try:
            fields = self._fields(field, writer["fields"], reader["fields"])
        except SchemaMismatchError:
            del self._records[pair]
            raise
        self._records[pair] = record = RecordStep(fields, tuple(children_of(writer)))
        return record

    def _fields(self, within: str, writer: list[Any], reader: list[Any]) -> tuple[FieldStep, ...]:
        positions = {field["name"]: index for index, field in enumerate(writer)}
        prefix = f"{within}." if within else ""
        steps = []
        for field in reader:
            name, type_ = field["name"], field["type"]
            aliases = () if self._strict else field.get("aliases", ())
            found = next((known for known in (name, *aliases) if known in positions), None)
            if found is not None:
                position = positions[found]
                step = self.step(prefix + name, writer[position]["type"], type_)
                steps.append(FieldStep(name, type_, position, step))
            elif "default" in field and not self._strict:
                steps.append(FieldStep(name, type_, None, None, field["default"]))
            else:
                raise self._mismatch(prefix + name, None, type_)
        if self._strict and len(steps) < len(positions):
            known = {step.name for step in steps}
            extra = next(field for field in writer if field["name"] not in known)
            raise self._mismatch(prefix + extra["name"], extra["type"], None)
        return tuple(steps)

    def _union(self, field: str, writer: AvroSchema, reader: AvroSchema) -> ResolutionStep:
        sources, targets = branches_of(writer), branches_of(reader)
        if self._strict and self._keys(self._writer, sources) != self._keys(self._reader, targets):
            raise self._mismatch(field, writer, reader)
        branches = tuple(self._branch(field, source, targets) for source in sources)
        usable = [sources[i] for i, branch in enumerate(branches) if branch.position is not None]
        # If null is the only branch that both unions share, no value can be read, so the unions do
        # not fit.
        if not usable or (len(sources) > 1 and usable == ["null"] and targets != ["null"]):
            raise self._mismatch(field, writer, reader)
        return UnionStep(writer, reader, branches)

    def _keys(self, schema: ParsedSchema, branches: list[AvroSchema]) -> list[tuple[str, str]]:
        return sorted(branch_key(schema.definition(branch)) for branch in branches)

    def _branch(self, field: str, source: AvroSchema, targets: list[AvroSchema]) -> UnionBranch:
        writer = self._writer.definition(source)
        definitions = [self._reader.definition(target) for target in targets]
        same = [i for i, d in enumerate(definitions) if self._same_branch(writer, d)]
        others = [] if self._strict else [i for i in range(len(targets)) if i not in same]
        mismatch = self._mismatch(field, writer, targets if len(targets) > 1 else targets[0])
        for position in same + others:
            try:
                return UnionBranch(position, self.step(field, source, targets[position]))
            except SchemaMismatchError as error:
                if position in same:
                    mismatch = error.with_traceback(None)  # it would keep this walk alive
        if self._strict:
            raise mismatch
        return UnionBranch(None, mismatch)

    def _same_branch(self, writer: AvroSchema, reader: AvroSchema) -> bool:
        """Whether two types are the same branch of a union."""
        if self._strict:
            return branch_key(writer) == branch_key(reader)
        if kind_of(writer) != kind_of(reader):
            return False
        if kind_of(writer) in NAMED_TYPES:
            return _names_match(writer, reader)
        return logical_type(writer) == logical_type(reader)


def _signature(schema: AvroSchema) -> tuple[Any, ...]:
    """Return what must be equal in two types of strict mode, apart from the types inside them."""
    kind = kind_of(schema)
    details: Any = None
    if kind == "enum":
        details = frozenset(schema["symbols"])
    elif kind == "fixed":
        details = schema["size"]
    return *branch_key(schema), details, logical_type(schema)


def _names_match(writer: Any, reader: Any) -> bool:
    """Whether the unqualified names are equal, or an alias of the reader names the writer."""
    simple = unqualified(writer["name"])
    if simple == unqualified(reader["name"]):
        return True
    namespace = reader["name"].rpartition(".")[0]
    aliases = reader.get("aliases", ())
    full = [a if "." in a or not namespace else f"{namespace}.{a}" for a in aliases]
    return writer["name"] in full or simple in aliases


def _decimals(writer: AvroSchema, reader: AvroSchema) -> bool:
    """Whether both types are decimals, whose numbers need not be stored alike."""
    types = logical_type(writer), logical_type(reader)
    return all(one is not None and one.name == "decimal" for one in types)


def _enum(writer: Any, reader: Any) -> EnumStep:
    if kind_of(reader) == "string":
        return EnumStep(writer, reader, tuple(range(len(writer["symbols"]))))
    positions = {symbol: i for i, symbol in enumerate(reader["symbols"])}
    fallback = positions.get(reader.get("default"))
    found = tuple(positions.get(symbol, fallback) for symbol in writer["symbols"])
    return EnumStep(writer, reader, found)


def _means_same(writer: AvroSchema, reader: AvroSchema) -> bool:
    """Whether the reader's logical type holds the writer's numbers or bytes exactly."""
    old, new = logical_type(writer), logical_type(reader)
    if old is None or new is None or old == new:
        return True
    if old.name == new.name == "decimal":
        whole_digits = old.precision - old.scale, new.precision - new.scale
        return old.scale <= new.scale and whole_digits[0] <= whole_digits[1]
    return finer(old.name, new.name) == new.name


_UNITS = ("millis", "micros", "nanos")


def finer(first: str, second: str) -> str | None:
    """Return the finer of two logical types that differ only in their unit, else None.

    A date is a timestamp at midnight, in UTC or local.
    """
    for one, other in ((first, second), (second, first)):
        if one == "date" and other.rpartition("-")[0] in ("timestamp", "local-timestamp"):
            return other
    family, _, unit = first.rpartition("-")
    other_family, _, other_unit = second.rpartition("-")
    if family != other_family or unit not in _UNITS or other_unit not in _UNITS:
        return None
    return f"{family}-{max(unit, other_unit, key=_UNITS.index)}"
