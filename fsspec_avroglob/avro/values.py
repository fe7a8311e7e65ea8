"""Blocks as Python values: dicts for records.

The steps of :mod:`fsspec_avroglob.avro.resolution` are carried out on values that were decoded with
the writer's schema alone. Each pair of schemas is compiled twice. In the fast form fastavro makes
the final values wherever the reader's type is the writer's, so that nothing is left to convert. In
the exact form the physical schema is decoded (:mod:`fsspec_avroglob.avro.physical`), as for tables,
and each value is converted here. The exact form reads the blocks on which the fast form fails: it
decides what is an error, and names the field.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from fsspec_avroglob.avro.decode import BlockReader, check_count
from fsspec_avroglob.avro.defaults import raw_default
from fsspec_avroglob.avro.logical import FASTAVRO_EXACT, leaf_value
from fsspec_avroglob.avro.physical import (
    KEY,
    VALUE,
    Physical,
    field_name,
    is_general_union,
    needs_python,
    non_null,
)
from fsspec_avroglob.avro.resolution import (
    NOT_NULL,
    EnumStep,
    FieldStep,
    ItemStep,
    LeafStep,
    RecordStep,
    RecursionStep,
    ResolutionStep,
    UnionStep,
    identity,
    no_symbol,
    not_a_symbol,
    not_read,
)
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    branches_of,
    children_of,
    kind_of,
    logical_type,
)
from fsspec_avroglob.errors import ConversionError, SchemaMismatchError

_Convert: TypeAlias = Callable[[Any], Any]

# A call of fastavro has a fixed cost, which many blocks of one value should share.
_TOGETHER_BYTES = 16 * 1024

_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class ValueDecoder:
    """Decodes blocks of one writer schema as values of a reader schema.

    - ``step``: how *writer* resolves to *reader*.
    - ``exact``: use the exact form alone, which checks more of corrupt data.

    Raises InvalidSchemaError for a default that is needed and not of its type.
    """

    def __init__(
        self,
        writer: ParsedSchema,
        reader: ParsedSchema,
        step: ResolutionStep,
        *,
        exact: bool = False,
    ) -> None:
        self._exact = _form(writer, reader, step, exact=True)
        self._fast = None
        if not (exact or needs_python(writer)):
            self._fast = _form(writer, reader, step, exact=False)

    def of_blocks(self, blocks: Iterable[tuple[int, bytes]]) -> list[Any]:
        """Return the values of decompressed blocks. Small ones are decoded together.

        Errors as of :meth:`values`; they do not tell which block is corrupt.
        """
        found: list[Any] = []
        together: list[bytes] = []
        values = held = 0
        for count, data in blocks:
            check_count(count, data)
            if together and (held >= _TOGETHER_BYTES or not data):
                found += self.values(values, b"".join(together))
                together, values, held = [], 0, 0
            if not data:  # any number of values that take no bytes
                found += self.values(count, data)
                continue
            together.append(data)
            values += count
            held += len(data)
        if together:
            found += self.values(values, b"".join(together))
        return found

    def values(self, count: int, data: bytes) -> list[Any]:
        """Return the *count* values in the decompressed *data* of a block.

        Raises BlockDecodeError for data of another schema, and ConversionError for a value that
        the reader's type cannot hold.
        """
        if self._fast is not None:
            try:
                return _decoded(self._fast, count, data)
            except MemoryError:
                raise
            except Exception:  # whatever it was: the exact form tells what is wrong, if anything is
                return _decoded(self._exact, count, data)
        return _decoded(self._exact, count, data)


_Form: TypeAlias = tuple[BlockReader, _Convert | None]


def _form(
    writer: ParsedSchema, reader: ParsedSchema, step: ResolutionStep, *, exact: bool
) -> _Form:
    """Return the reader of blocks, and the function that makes each raw value the final one."""
    path = "" if reader.is_record else "value"  # the name of the column in tables
    node = _Compiler(writer, reader, exact).compile(path, step, writer.root, reader.root)
    return BlockReader(node.schema, interpreted=needs_python(writer)), node.convert


def _decoded(form: _Form, count: int, data: bytes) -> list[Any]:
    blocks, convert = form
    values = blocks.values(count, data)
    return values if convert is None else list(map(convert, values))


class _Node(NamedTuple):
    """One type: the schema to decode it with, and what makes raw values final; None if they are."""

    schema: AvroSchema
    convert: _Convert | None


def _same(value: Any) -> Any:
    return value


@dataclass
class _Compiler:
    """Compiles steps from types of *writer* to types of *reader*, in the exact or the fast form.

    The schemas of nodes are used in the order in which they are made, each once. So each named type
    is defined where it is first used.
    """

    writer: ParsedSchema
    reader: ParsedSchema
    exact: bool
    # By the names of writer and reader: the name of a record in the schema, and its conversion.
    _records: dict[tuple[str, str], str] = field(default_factory=dict)
    _rows: dict[tuple[str, str], _Convert] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._physical = Physical(self.writer)

    def compile(
        self, path: str, step: ResolutionStep, writer: AvroSchema, reader: AvroSchema
    ) -> _Node:
        """Return the node of a step from one type to another; *path* is the field for errors."""
        writer, reader = self.writer.definition(writer), self.reader.definition(reader)
        match step:
            case LeafStep():
                return self._leaf(path, step)
            case EnumStep():
                return self._enum(path, step)
            case ItemStep() if kind_of(writer) == "map":
                return self._map(path, step, writer["values"], reader["values"])
            case ItemStep(item):
                inner = self.compile(f"{path}[]", item, writer["items"], reader["items"])
                return _Node({"type": "array", "items": inner.schema}, _listed(inner.convert))
            case RecordStep():
                return self._record(path, step, writer, reader)
            case UnionStep():
                return self._union(path, step)
            case RecursionStep():
                pair, rows = (writer["name"], reader["name"]), self._rows
                return _Node(self._records[pair], lambda raw: rows[pair](raw))

    def _leaf(self, path: str, step: LeafStep) -> _Node:
        old, new = logical_type(step.writer), logical_type(step.reader)
        kind = kind_of(step.writer)
        if not self.exact and old == new and kind == kind_of(step.reader):
            if new is None and kind == "string":
                return _Node("string", None)
            if new is not None and new.name in FASTAVRO_EXACT and kind != "fixed":
                return _Node({"type": kind, "logicalType": new.name}, None)
        convert = leaf_value(step.writer, step.reader)
        schema = self._physical.of(step.writer)
        return _Node(schema, convert and _guarded(path, convert))

    def _enum(self, path: str, step: EnumStep) -> _Node:
        old = step.writer["symbols"]
        new = old if kind_of(step.reader) == "string" else step.reader["symbols"]
        symbols = [None if position is None else new[position] for position in step.positions]
        if not self.exact and symbols == old and all(map(_SYMBOL.fullmatch, old)) and old:
            return _Node({"type": "enum", "name": self._physical.name(), "symbols": old}, None)

        def convert(index: int) -> Any:
            if not 0 <= index < len(old):
                raise ConversionError(path, not_a_symbol(len(old)))
            symbol = symbols[index]
            if symbol is None:
                raise ConversionError(path, no_symbol(old[index]))
            return symbol

        return _Node("int", convert)

    def _map(self, path: str, step: ItemStep, writer: AvroSchema, reader: AvroSchema) -> _Node:
        path = f"{path}{{}}"
        entry = self._physical.name()
        inner = self.compile(path, step.item, writer, reader)
        if not self.exact and inner.convert is None:
            return _Node({"type": "map", "values": inner.schema}, None)
        key = _guarded(path, leaf_value("string", "string") or _same)
        value = inner.convert or _same

        def convert(entries: list[dict[str, Any]]) -> dict[str, Any]:
            return {key(one[KEY]): value(one[VALUE]) for one in entries}

        fields = [{"name": KEY, "type": "bytes"}, {"name": VALUE, "type": inner.schema}]
        record = {"type": "record", "name": entry, "fields": fields}
        return _Node({"type": "array", "items": record}, convert)

    def _record(self, path: str, step: RecordStep, writer: Any, reader: Any) -> _Node:
        pair = writer["name"], reader["name"]
        if pair in self._records:
            return _Node(self._records[pair], self._rows.get(pair))
        self._records[pair] = name = self._physical.name()
        prefix = f"{path}." if path else ""
        converts: dict[str, _Convert | None] = {}
        fields = []
        for position, type_ in enumerate(children_of(writer)):
            schema = None
            for one in step.fields:
                if one.position != position or one.step is None:
                    continue
                # A second alias of the same field reads what the first one decodes.
                again = schema is not None
                compiler = replace(self, _records=dict(self._records)) if again else self
                inner = compiler.compile(prefix + one.name, one.step, type_, one.reader)
                converts[one.name] = inner.convert
                schema = schema or inner.schema
            schema = schema or self._physical.of(type_)
            fields.append({"name": field_name(position), "type": schema})
        names = [one["name"] for one in writer["fields"]]
        same = [one.name for one in step.fields] == names and all(
            one.position == i for i, one in enumerate(step.fields)
        )
        if not self.exact and same and not any(converts.values()):
            fields = [{**one, "name": final} for one, final in zip(fields, names, strict=True)]
        else:
            self._rows[pair] = self._row(prefix, step, converts)
        return _Node({"type": "record", "name": name, "fields": fields}, self._rows.get(pair))

    def _row(self, prefix: str, step: RecordStep, converts: dict[str, _Convert | None]) -> _Convert:
        """Return the function that makes a dict of a record whose fields are numbered."""
        final: list[tuple[str, str, _Convert | None]] = []
        for one in step.fields:
            if one.position is None:
                final.append((one.name, "", self._constant(prefix + one.name, one)))
            else:
                final.append((one.name, field_name(one.position), converts[one.name]))

        def row(raw: dict[str, Any]) -> dict[str, Any]:
            return {
                name: raw[source] if convert is None else convert(raw.get(source))
                for name, source, convert in final
            }

        return row

    def _constant(self, path: str, one: FieldStep) -> _Convert:
        """Return a function that ignores its argument and returns a field's default."""
        raw = raw_default(self.reader, path, one)
        step = identity(self.reader, one.reader)
        node = _Compiler(self.reader, self.reader, exact=True)
        convert = node.compile(path, step, one.reader, one.reader).convert
        value = raw if convert is None else convert(raw)
        if isinstance(value, dict | list):  # each record gets its own
            return lambda _: copy.deepcopy(value)
        return lambda _: value

    def _union(self, path: str, step: UnionStep) -> _Node:
        branches = branches_of(step.writer)
        targets = branches_of(step.reader)
        general = is_general_union(step.writer)
        schemas: list[AvroSchema] = []
        converts: list[_Convert | None] = []
        inner_names = [self._physical.name() for _ in branches]
        for source, branch in zip(branches, step.branches, strict=True):
            if branch.position is None or isinstance(branch.step, SchemaMismatchError):
                schemas.append(self._physical.of(source))
                converts.append(_refused(path, branch.step, kind_of(source)))
            else:
                node = self.compile(path, branch.step, source, targets[branch.position])
                schemas.append(node.schema)
                converts.append(node.convert)
        if not isinstance(step.writer, list):
            return _Node(schemas[0], converts[0])
        if not self.exact and not any(converts):
            return _Node(schemas, None)
        if not general:
            return _Node(schemas, _optional(branches, converts))
        tagged = [
            "null"
            if kind_of(source) == "null"
            else {
                "type": "record",
                "name": name,
                "fields": [{"name": field_name(i), "type": schema}],
            }
            for i, (source, name, schema) in enumerate(
                zip(branches, inner_names, schemas, strict=True)
            )
        ]
        null = next((converts[i] for i, b in enumerate(branches) if kind_of(b) == "null"), None)
        by_name = {field_name(i): converts[i] or _same for i in non_null(step.writer)}

        def convert(raw: dict[str, Any] | None) -> Any:
            if raw is None:
                return None if null is None else null(None)
            ((name, value),) = raw.items()
            return by_name[name](value)

        return _Node(tagged, convert)


def _listed(convert: _Convert | None) -> _Convert | None:
    if convert is None:
        return None
    return lambda items: [convert(item) for item in items]


def _optional(branches: list[AvroSchema], converts: list[_Convert | None]) -> _Convert:
    """Return the conversion of a union of null and at most one other type."""
    null: _Convert = _same
    other: _Convert = _same
    for branch, convert in zip(branches, converts, strict=True):
        if kind_of(branch) == "null":
            null = convert or _same
        else:
            other = convert or _same
    return lambda raw: null(None) if raw is None else other(raw)


def _refused(path: str, why: Any, kind: str) -> _Convert:
    """Return a conversion that raises, for a branch of the writer that the reader lacks."""
    reason = NOT_NULL if kind == "null" else not_read(why)

    def convert(_: Any) -> Any:
        raise ConversionError(path, reason)

    return convert


def _guarded(path: str, convert: _Convert) -> _Convert:
    def guarded(raw: Any) -> Any:
        try:
            return convert(raw)
        except (ValueError, OverflowError) as error:
            raise ConversionError(path, str(error)) from error

    return guarded
