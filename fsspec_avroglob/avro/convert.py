"""Conversion of raw columns (:mod:`fsspec_avroglob.avro.physical`) to the columns of a table.

A step of :mod:`fsspec_avroglob.avro.resolution` becomes a :class:`Conversion`: the Arrow type that
the engine must return, and a function over whole Arrow arrays. The function promotes, reorders,
adds defaults and gives raw numbers their logical type. No value becomes a Python object. So none is
rounded, and values outside the range of Python's types (the year 10000) are possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy
import pyarrow as pa

from fsspec_avroglob.avro import leaves
from fsspec_avroglob.avro.defaults import raw_default, wrong_default
from fsspec_avroglob.avro.leaves import Conversion
from fsspec_avroglob.avro.physical import (
    KEY,
    VALUE,
    Empty,
    field_name,
    is_general_union,
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
    UnionBranch,
    UnionStep,
    identity,
    not_read,
)
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, branches_of, kind_of
from fsspec_avroglob.errors import ConversionError, SchemaMismatchError


def compile_step(
    step: ResolutionStep, writer: ParsedSchema, reader: ParsedSchema, target: pa.DataType
) -> Conversion:
    """Return the conversion of *step*, from *writer* to *reader*; *target* is its Arrow type."""
    return _Compiler(reader, Empty(writer)).compile("", step, reader.root, target)


@dataclass(frozen=True)
class _Compiler:
    """Compiles steps to types of *reader*; *empty* says which of the writer's take no bytes."""

    reader: ParsedSchema
    empty: Empty

    def compile(
        self, path: str, step: ResolutionStep, type_: AvroSchema, target: pa.DataType
    ) -> Conversion:
        type_ = self.reader.definition(type_)
        match step:
            case LeafStep():
                return _guarded(path, leaves.leaf(step.writer, step.reader, target))
            case EnumStep():
                return _guarded(path, leaves.enum(step.writer, step.reader, step.positions))
            case ItemStep() if kind_of(type_) == "map":
                return self._map(path, step, type_, target)
            case ItemStep():
                return self._list(path, step, type_, target)
            case RecordStep():
                return self._record(path, step, type_, target)
            case UnionStep():
                return self._union(path, step, target)
            case RecursionStep():
                raise RecursionError(f"field {path!r}: record {step.reader_name} contains itself")

    def _list(self, path: str, step: ItemStep, type_: Any, target: pa.DataType) -> Conversion:
        items = self.compile(f"{path}[]", step.item, type_["items"], target.value_type)

        def convert(array: pa.Array) -> pa.Array:
            array = _unsliced(array)
            children = [items.convert(_values(array))]
            return pa.Array.from_buffers(target, len(array), array.buffers()[:2], children=children)

        return Conversion(pa.list_(items.physical), convert)

    def _map(self, path: str, step: ItemStep, type_: Any, target: pa.DataType) -> Conversion:
        keys = _guarded(f"{path}{{}}", leaves.leaf("string", "string", pa.string()))
        values = self.compile(f"{path}{{}}", step.item, type_["values"], target.item_type)
        entry = pa.struct([(KEY, keys.physical), (VALUE, values.physical)])

        def convert(array: pa.Array) -> pa.Array:
            array = _unsliced(array)
            entries = _values(array)
            columns = [keys.convert(entries.field(KEY)), values.convert(entries.field(VALUE))]
            entry_type = pa.struct([target.key_field, target.item_field])
            converted = pa.Array.from_buffers(entry_type, len(entries), [None], children=columns)
            buffers = array.buffers()[:2]
            return pa.Array.from_buffers(target, len(array), buffers, children=[converted])

        return Conversion(pa.list_(entry), convert)

    def _record(self, path: str, step: RecordStep, type_: Any, target: pa.DataType) -> Conversion:
        physical: dict[str, pa.DataType] = {}
        # For each field the name of the raw column, None for a default, and its conversion.
        sources: list[tuple[str | None, Callable[[pa.Array], pa.Array]]] = []
        for index, field in enumerate(step.fields):
            inner = f"{path}.{field.name}" if path else field.name
            field_type = target.field(index).type
            if field.step is None or field.position is None:
                sources.append((None, self._constant(inner, field, field_type)))
                continue
            conversion = self.compile(inner, field.step, field.reader, field_type)
            if self.empty(step.types[field.position]):  # no engine returns it
                sources.append((None, _empty_column(conversion)))
                continue
            name = field_name(field.position)
            # Two reader fields may be aliases of one writer field and read different parts of it.
            physical[name] = _both(physical.get(name), conversion.physical)
            sources.append((name, conversion.convert))

        def convert(array: pa.Array) -> pa.Array:
            array = _unsliced(array)
            children = [
                make(array if name is None else array.field(name)) for name, make in sources
            ]
            return pa.Array.from_buffers(target, len(array), [None], children=children)

        return Conversion(pa.struct(list(physical.items())), convert)

    def _constant(
        self, path: str, field: FieldStep, target: pa.DataType
    ) -> Callable[[pa.Array], pa.Array]:
        """Return a function that repeats a field's default for each row."""
        step = identity(self.reader, field.reader)
        of_reader = _Compiler(self.reader, Empty(self.reader))
        conversion = of_reader.compile(path, step, field.reader, target)
        value = raw_default(self.reader, path, field)
        try:
            one = conversion.convert(pa.array([value], conversion.physical))
        except (ValueError, OverflowError, pa.ArrowException) as error:
            raise wrong_default(path, field) from error
        return lambda array: one.take(pa.array(numpy.zeros(len(array), numpy.int32)))

    def _union(self, path: str, step: UnionStep, target: pa.DataType) -> Conversion:
        """Convert the values branch by branch, and join them by the reader's branches."""
        members = [self._branch(path, branch, step.reader, target) for branch in step.branches]
        kept, taken = non_null(step.writer), non_null(step.reader)
        general = is_general_union(step.writer)
        types = [(i, member.physical) for i, member in enumerate(members) if member is not None]
        if general:
            physical = pa.struct([(field_name(i), type_) for i, type_ in types])
        else:
            physical = types[0][1] if types else pa.null()
        nullable = any(kind_of(branch) == "null" for branch in branches_of(step.reader))
        # Most columns are of one type or null. Only records have fields, which must not be null.
        only = None
        if not general and len(kept) == len(taken) == 1 and not pa.types.is_struct(physical):
            only = members[kept[0]]

        def convert(array: pa.Array) -> pa.Array:
            array = _unsliced(array)
            parts, nulls = _split(array, kept, general) if only is None else ({}, array.null_count)
            if nulls and not nullable:
                raise ConversionError(path, NOT_NULL)
            if only is not None:
                return only.convert(array)
            converted: dict[int | None, list[_Part]] = {}
            for i, (rows, values) in parts.items():
                if (member := members[i]) is not None:
                    part = rows, member.convert(values)
                    converted.setdefault(step.branches[i].position, []).append(part)
            read = [part for of_branch in converted.values() for part in of_branch]
            if nulls + sum(len(rows) for rows, _ in read) < len(array):
                steps = [branch.step for branch in step.branches]
                why = next(one for one in steps if isinstance(one, SchemaMismatchError))
                raise ConversionError(path, not_read(why))
            if len(taken) <= 1:
                return _joined(read, len(array), target)
            children = [
                _joined(converted.get(position, []), len(array), target.field(index).type)
                for index, position in enumerate(taken)
            ]
            valid = numpy.zeros(len(array), bool)
            for rows, _ in read:
                valid[rows] = True
            bitmap = pa.array(valid).buffers()[1] if nulls else None
            return pa.Array.from_buffers(target, len(array), [bitmap], children=children)

        return Conversion(physical, convert)

    def _branch(
        self, path: str, branch: UnionBranch, reader: AvroSchema, target: pa.DataType
    ) -> Conversion | None:
        """Return the conversion of the writer's branch; None for null or if the reader lacks it."""
        position, step, taken = branch.position, branch.step, non_null(reader)
        if position not in taken or isinstance(step, SchemaMismatchError):
            return None
        inner = target.field(taken.index(position)).type if len(taken) > 1 else target
        return self.compile(path, step, branches_of(reader)[position], inner)


_Part: TypeAlias = tuple[Any, pa.Array]
"""The rows that have values of one branch, in order, and these values, of which none is null."""


def _split(array: pa.Array, kept: list[int], general: bool) -> tuple[dict[int, _Part], int]:
    """Return the parts of a union by the writer's branch, and how many of its values are null.

    A general union is a struct of the branches that are read, or a dense union.
    """
    if not pa.types.is_union(array.type):
        columns = dict.fromkeys(kept, array)
        if general:
            names = {field_name(i): i for i in kept}
            # flatten() makes the fields of null structs null; pyarrow fills them with other values.
            fields = zip(array.type, array.flatten(), strict=True)
            columns = {names[field.name]: column for field, column in fields}
        parts = {
            i: (numpy.flatnonzero(column.is_valid()), column.drop_null())
            for i, column in columns.items()
        }
        return parts, array.null_count
    codes, offsets = numpy.asarray(array.type_codes), numpy.asarray(array.offsets)
    parts = {}
    for i in kept:
        rows = numpy.flatnonzero(codes == i)
        parts[i] = rows, array.field(i).take(pa.array(offsets[rows])).field(0)
    return parts, len(array) - sum(len(rows) for rows, _ in parts.values())


def _joined(parts: list[_Part], length: int, target: pa.DataType) -> pa.Array:
    """One array of *length* from parts of different rows; the other rows are null."""
    if not parts:
        return pa.nulls(length, target)
    if len(parts[0][0]) == length:
        return parts[0][1]
    rows = numpy.concatenate([rows for rows, _ in parts])
    source = numpy.zeros(length, numpy.int64)
    source[rows] = numpy.arange(len(rows))
    missing = numpy.ones(length, bool)
    missing[rows] = False
    values = pa.concat_arrays([array for _, array in parts])
    if not (pa.types.is_struct(target) and len(values)):
        return values.take(pa.array(source, mask=missing))
    # Fields of a struct may not be null, so that null structs repeat the fields of the first one.
    filled, mask = values.take(pa.array(source)), pa.array(missing)
    return pa.StructArray.from_arrays(filled.flatten(), fields=list(target), mask=mask)


def _unsliced(array: pa.Array) -> pa.Array:
    """Return the array with buffers that begin at its first row, for code that uses the buffers."""
    return array.take(pa.array(numpy.arange(len(array)))) if array.offset else array


def _values(array: pa.ListArray) -> pa.Array:
    """Return the items of the array's lists, without items of lists that a slice has cut off."""
    return _unsliced(array.values.slice(0, array.offsets[len(array)].as_py()))


def _empty_column(conversion: Conversion) -> Callable[[pa.Array], pa.Array]:
    """Return a function that makes a column, as long as its argument, of values without bytes."""
    physical = conversion.physical

    def make(array: pa.Array) -> pa.Array:
        buffers = [None] if pa.types.is_struct(physical) else [None, pa.py_buffer(b"")]
        if pa.types.is_null(physical):
            return conversion.convert(pa.nulls(len(array)))
        return conversion.convert(pa.Array.from_buffers(physical, len(array), buffers))

    return make


def _both(first: pa.DataType | None, second: pa.DataType) -> pa.DataType:
    """Return a physical type with the fields of two physical types of one Avro type."""
    if first is None or first == second:
        return second
    if pa.types.is_list(first):
        return pa.list_(_both(first.value_type, second.value_type))
    fields = {field.name: field.type for field in first}
    for field in second:
        fields[field.name] = _both(fields.get(field.name), field.type)
    return pa.struct(list(fields.items()))


def _guarded(path: str, leaf: Conversion) -> Conversion:
    def convert(array: pa.Array) -> pa.Array:
        try:
            return leaf.convert(_unsliced(array))
        except (pa.ArrowException, ValueError, IndexError) as error:
            raise ConversionError(path, str(error)) from error

    return Conversion(leaf.physical, convert)
