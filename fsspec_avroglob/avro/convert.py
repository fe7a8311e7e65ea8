"""From what engines decode (see :mod:`fsspec_avroglob.avro.physical`) to the columns of a table.

A step of :mod:`fsspec_avroglob.avro.resolution` becomes a :class:`Conversion`: the Arrow type that
the engine is asked for, and a function over whole Arrow arrays that promotes, reorders, fills in
defaults and gives raw numbers their logical type. No Python object is made for a value, so none is
rounded, and values that Python's own types cannot hold (the year 10000) pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy
import pyarrow as pa
import pyarrow.compute as pc

from fsspec_avroglob.avro import leaves
from fsspec_avroglob.avro.physical import (
    KEY,
    VALUE,
    field_name,
    is_general_union,
    non_null,
)
from fsspec_avroglob.avro.resolution import (
    Branch,
    Difference,
    EnumStep,
    FieldStep,
    LeafStep,
    ListStep,
    MapStep,
    RecordStep,
    RecursionStep,
    Step,
    UnionStep,
    identity,
)
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, branches_of, kind_of
from fsspec_avroglob.errors import ConversionError, InvalidSchemaError

Live: TypeAlias = pa.BooleanArray | None
"""Which rows have a value that counts; those of a record that is null itself do not. None: all."""


class Conversion(NamedTuple):
    """How one type is converted.

    - ``physical``: the Arrow type that is expected; records may have further fields.
    - ``convert``: makes an array of that type into one of the table's type, of the same length.
    """

    physical: pa.DataType
    convert: Callable[[pa.Array, Live], pa.Array]


def compile_step(
    step: Step, reader: ParsedSchema, type_: AvroSchema, target: pa.DataType
) -> Conversion:
    """The conversion that follows *step* to *type_* of *reader*, which is *target* in Arrow."""
    return _Compiler(reader).compile("", step, type_, target)


class _Member(NamedTuple):
    """A branch of a union on its way: the reader's branch that takes it, or why none does."""

    position: int | None
    physical: pa.DataType | None
    convert: Callable[[pa.Array, Live], pa.Array] | None
    problem: str


@dataclass(frozen=True)
class _Compiler:
    reader: ParsedSchema

    def compile(self, path: str, step: Step, type_: AvroSchema, target: pa.DataType) -> Conversion:
        type_ = self.reader.definition(type_)
        match step:
            case LeafStep():
                return _guarded(path, leaves.leaf(step.writer, step.reader, target))
            case EnumStep():
                return _guarded(path, leaves.enum(step.writer, step.reader, step.positions))
            case ListStep():
                items = self.compile(f"{path}[]", step.items, type_["items"], target.value_type)
                return Conversion(pa.list_(items.physical), _list(items, target))
            case MapStep():
                return self._map(path, step, type_, target)
            case RecordStep():
                return self._record(path, step, type_, target)
            case UnionStep():
                return self._union(path, step, target)
            case RecursionStep():
                raise RecursionError(f"field {path!r}: record {step.reader_name} holds itself")

    def _map(self, path: str, step: MapStep, type_: Any, target: pa.DataType) -> Conversion:
        keys = _guarded(f"{path}{{}}", leaves.leaf("string", "string", pa.string()))
        values = self.compile(f"{path}{{}}", step.values, type_["values"], target.item_type)
        entry = pa.struct([(KEY, keys.physical), (VALUE, values.physical)])

        def convert(array: pa.Array, live: Live) -> pa.Array:
            array = _unsliced(array)
            entries = _values(array)
            columns = [
                keys.convert(entries.field(KEY), None),
                values.convert(entries.field(VALUE), None),
            ]
            entry_type = pa.struct([target.key_field, target.item_field])
            converted = pa.Array.from_buffers(entry_type, len(entries), [None], children=columns)
            buffers = array.buffers()[:2]
            return pa.Array.from_buffers(target, len(array), buffers, children=[converted])

        return Conversion(pa.list_(entry), convert)

    def _record(self, path: str, step: RecordStep, type_: Any, target: pa.DataType) -> Conversion:
        physical: dict[str, pa.DataType] = {}
        makers: list[Callable[[pa.Array, Live], pa.Array]] = []
        for index, field in enumerate(step.fields):
            inner = f"{path}.{field.name}" if path else field.name
            field_type = target.field(index).type
            if field.step is None or field.position is None:
                makers.append(self._constant(inner, field, field_type))
                continue
            conversion = self.compile(inner, field.step, field.reader, field_type)
            name = field_name(field.position)
            # By way of two aliases two fields may come from one, and ask for parts of it.
            physical[name] = _both(physical.get(name), conversion.physical)
            makers.append(_field(name, conversion))

        def convert(array: pa.Array, live: Live) -> pa.Array:
            array = _unsliced(array)
            if array.null_count:
                live = array.is_valid() if live is None else pc.and_(live, array.is_valid())
            children = [make(array, live) for make in makers]
            buffers = array.buffers()[:1]
            return pa.Array.from_buffers(target, len(array), buffers, children=children)

        return Conversion(pa.struct(list(physical.items())), convert)

    def _constant(
        self, path: str, field: FieldStep, target: pa.DataType
    ) -> Callable[[pa.Array, Live], pa.Array]:
        """Makes as many copies of a field's default as there are rows."""
        step = identity(self.reader, field.reader)
        conversion = self.compile(path, step, field.reader, target)
        try:
            value = _Default(self.reader).of(field.reader, field.default)
            one = conversion.convert(pa.array([value], conversion.physical), None)
        except (KeyError, TypeError, AttributeError, ValueError, pa.ArrowException) as error:
            raise InvalidSchemaError(
                f"invalid Avro schema: field {path!r} has the default {field.default!r}, "
                "which is not of its type"
            ) from error
        return lambda array, live: one.take(pa.array(numpy.zeros(len(array), numpy.int32)))

    def _union(self, path: str, step: UnionStep, target: pa.DataType) -> Conversion:
        members = [self._member(path, branch, step.reader, target) for branch in step.branches]
        kept = non_null(step.writer)
        split: Callable[[pa.Array], _Parts]
        if is_general_union(step.writer):
            types = {field_name(i): members[i].physical for i in kept}
            physical = pa.struct(
                [(name, type_) for name, type_ in types.items() if type_ is not None]
            )
            split = _splitter(kept)
        elif kept:
            only = members[kept[0]].physical
            physical = pa.null() if only is None else only  # a struct without fields is false
            split = _as_branch(kept[0])
        else:
            physical = pa.null()
            split = _no_branches
        nullable = any(kind_of(branch) == "null" for branch in branches_of(step.reader))

        def convert(array: pa.Array, live: Live) -> pa.Array:
            array = _unsliced(array)
            parts, is_null = split(array)
            if not nullable:
                _refuse_nulls(path, is_null, live)
            _refuse_branches(path, parts, is_null, members)
            return _join(parts, len(array), is_null, members, step.reader, target)

        return Conversion(physical, convert)

    def _member(
        self, path: str, branch: Branch, reader: AvroSchema, target: pa.DataType
    ) -> _Member:
        if branch.position is None:
            assert isinstance(branch.step, Difference)
            return _Member(None, None, None, f"{branch.step.writer} is not {branch.step.reader}")
        assert not isinstance(branch.step, Difference)
        taken = branches_of(reader)[branch.position]
        kept = non_null(reader)
        if branch.position not in kept:
            return _Member(branch.position, pa.null(), None, "")
        inner = target.field(kept.index(branch.position)).type if len(kept) > 1 else target
        conversion = self.compile(path, branch.step, taken, inner)
        return _Member(branch.position, conversion.physical, conversion.convert, "")


_Parts: TypeAlias = tuple[Mapping[int, pa.Array], pa.BooleanArray]
"""Values of a union by the writer's branch, each array as long as all and null where the value is
of another branch; and where the value is null, or belongs to a record that is."""


def _as_branch(position: int) -> Callable[[pa.Array], _Parts]:
    return lambda array: ({position: array}, array.is_null())


def _no_branches(array: pa.Array) -> _Parts:
    return {}, pa.array(numpy.ones(len(array), bool))


def _splitter(kept: list[int]) -> Callable[[pa.Array], _Parts]:
    """Takes a general union apart, which is a struct of its branches or an Arrow dense union."""

    def split(array: pa.Array) -> _Parts:
        if pa.types.is_struct(array.type):
            names = {field_name(i): i for i in kept}
            columns = [(array.type.field(k).name, array.field(k)) for k in range(len(array.type))]
            return {names[name]: column for name, column in columns}, array.is_null()
        codes = numpy.asarray(array.type_codes)
        offsets = numpy.asarray(array.offsets)
        parts = {}
        for i in kept:
            elsewhere = codes != i
            rows = pa.array(numpy.where(elsewhere, 0, offsets), pa.int32(), mask=elsewhere)
            parts[i] = array.field(i).take(rows).field(0)
        return parts, pa.array(~numpy.isin(codes, kept))

    return split


def _refuse_nulls(path: str, is_null: pa.BooleanArray, live: Live) -> None:
    wrong = is_null if live is None else pc.and_(is_null, live)
    if pc.any(wrong).as_py():
        raise ConversionError(path, "a value is null, which the reader schema does not allow")


def _refuse_branches(
    path: str, parts: Mapping[int, pa.Array], is_null: pa.BooleanArray, members: list[_Member]
) -> None:
    """Raise ConversionError if a value is of a branch that the reader has no place for."""
    problems = [member.problem for member in members if member.position is None]
    if not problems:
        return
    taken = numpy.asarray(is_null)
    for i, part in parts.items():
        if members[i].convert is not None:
            taken = taken | numpy.asarray(part.is_valid())
    if not taken.all():
        raise ConversionError(path, f"a value is of a type that is not read: {problems[0]}")


def _join(
    parts: Mapping[int, pa.Array],
    length: int,
    is_null: pa.BooleanArray,
    members: list[_Member],
    reader: AvroSchema,
    target: pa.DataType,
) -> pa.Array:
    """The values of all branches as one array of the reader's type."""
    by_target: dict[int, list[pa.Array]] = {}
    for i, part in parts.items():
        convert, position = members[i].convert, members[i].position
        if convert is not None and position is not None:
            by_target.setdefault(position, []).append(convert(part, part.is_valid()))
    kept = non_null(reader)
    if len(kept) <= 1:
        return _merged([a for arrays in by_target.values() for a in arrays], length, target)
    children = [
        _merged(by_target.get(position, []), length, target.field(index).type)
        for index, position in enumerate(kept)
    ]
    valid = pc.invert(is_null)
    bitmap = None if pc.all(valid).as_py() else _bitmap(valid)
    return pa.Array.from_buffers(target, length, [bitmap], children=children)


def _merged(arrays: list[pa.Array], length: int, target: pa.DataType) -> pa.Array:
    """One array from several of one length, of which at most one is valid in each row."""
    if not arrays:
        return pa.nulls(length, target)
    if len(arrays) == 1:
        return arrays[0]
    rows = numpy.arange(length)
    places = numpy.zeros(length, numpy.int64)
    missing = numpy.ones(length, bool)
    for index, array in enumerate(arrays):
        valid = numpy.asarray(array.is_valid())
        places[valid] = rows[valid] + index * length
        missing &= ~valid
    return pa.concat_arrays(arrays).take(pa.array(places, mask=missing))


def _bitmap(valid: pa.BooleanArray) -> pa.Buffer:
    return _unsliced(valid).buffers()[1]


def _field(name: str, conversion: Conversion) -> Callable[[pa.Array, Live], pa.Array]:
    return lambda array, live: conversion.convert(array.field(name), live)


def _list(items: Conversion, target: pa.DataType) -> Callable[[pa.Array, Live], pa.Array]:
    def convert(array: pa.Array, live: Live) -> pa.Array:
        array = _unsliced(array)
        children = [items.convert(_values(array), None)]
        return pa.Array.from_buffers(target, len(array), array.buffers()[:2], children=children)

    return convert


def _unsliced(array: pa.Array) -> pa.Array:
    """The array with its buffers starting at its first row, which whoever takes them relies on."""
    return array.take(pa.array(numpy.arange(len(array)))) if array.offset else array


def _values(array: pa.ListArray) -> pa.Array:
    """The items of all lists, without what the array holds of lists cut off behind its last."""
    return _unsliced(array.values.slice(0, array.offsets[len(array)].as_py()))


def _both(first: pa.DataType | None, second: pa.DataType) -> pa.DataType:
    """A physical type with the fields of two of the same Avro type."""
    if first is None or first == second:
        return second
    if pa.types.is_list(first):
        return pa.list_(_both(first.value_type, second.value_type))
    fields = {field.name: field.type for field in first}
    for field in second:
        fields[field.name] = _both(fields.get(field.name), field.type)
    return pa.struct(list(fields.items()))


def _guarded(path: str, leaf: leaves.Leaf) -> Conversion:
    def convert(array: pa.Array, live: Live) -> pa.Array:
        try:
            return leaf.convert(_unsliced(array))
        except (pa.ArrowException, ValueError, IndexError) as error:
            raise ConversionError(path, str(error)) from error

    return Conversion(leaf.physical, convert)


@dataclass(frozen=True)
class _Default:
    """Default values, from how JSON has them to what an engine that makes objects would return."""

    schema: ParsedSchema

    def of(self, type_: AvroSchema, value: Any) -> Any:
        type_ = self.schema.definition(type_)
        match kind_of(type_):
            case "union":
                return self._union(type_, value)
            case "record" | "error":
                return {
                    field_name(i): self.of(
                        f["type"], value[f["name"]] if f["name"] in value else f["default"]
                    )
                    for i, f in enumerate(type_["fields"])
                }
            case "array":
                return [self.of(type_["items"], item) for item in value]
            case "map":
                return [
                    {KEY: key.encode(), VALUE: self.of(type_["values"], item)}
                    for key, item in value.items()
                ]
            case "enum":
                return type_["symbols"].index(value)
            case "fixed" | "bytes":
                return value.encode("latin-1")
            case "string":
                return value.encode()
            case "float" | "double":
                return float(value)
            case "null" if value is not None:
                raise ValueError("not null")
        return value

    def _union(self, branches: list[AvroSchema], value: Any) -> Any:
        """A union's default is of the first branch that it fits."""
        for position, branch in enumerate(branches):
            definition = self.schema.definition(branch)
            if _fits(definition, value):
                inner = self.of(definition, value)
                general = is_general_union(branches) and value is not None
                return {field_name(position): inner} if general else inner
        raise ValueError("of no branch of its union")


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}


def _fits(type_: Any, value: Any) -> bool:
    kind = kind_of(type_)
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "enum":
        return value in type_["symbols"]
    if kind in ("record", "error") and isinstance(value, dict):
        return all(f["name"] in value or "default" in f for f in type_["fields"])
    return isinstance(value, _JSON_TYPES.get(kind, (str,)))
