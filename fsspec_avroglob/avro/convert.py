"""Conversion of raw columns (:mod:`fsspec_avroglob.avro.physical`) to the columns of a table.

A step of :mod:`fsspec_avroglob.avro.resolution` becomes a :class:`Conversion`: the Arrow type that
the engine must return, and a function over whole Arrow arrays. The function promotes, reorders,
adds defaults and gives raw numbers their logical type. No value becomes a Python object. So none is
rounded, and values outside the range of Python's types (the year 10000) are possible.
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
"""Which rows have a value; the rows of a field of a null record do not. None means all rows."""


class Conversion(NamedTuple):
    """How one type is converted.

    - ``physical``: the Arrow type of the input; records may have further fields.
    - ``convert``: turns an array of that type into one of the table's type, of equal length.
    """

    physical: pa.DataType
    convert: Callable[[pa.Array, Live], pa.Array]


def compile_step(
    step: Step, reader: ParsedSchema, type_: AvroSchema, target: pa.DataType
) -> Conversion:
    """The conversion that follows *step* to *type_* of *reader*; *target* is its Arrow type."""
    return _Compiler(reader).compile("", step, type_, target)


class _Member(NamedTuple):
    """A branch of the writer's union: the reader's branch for its values, or why there is none."""

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
                raise RecursionError(f"field {path!r}: record {step.reader_name} contains itself")

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
            # Through aliases, two fields may read different parts of one field of the writer.
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
        """A function that repeats a field's default for each row."""
        step = identity(self.reader, field.reader)
        conversion = self.compile(path, step, field.reader, target)
        try:
            value = _Default(self.reader).of(field.reader, field.default)
            one = conversion.convert(pa.array([value], conversion.physical), None)
        except (KeyError, ValueError, OverflowError, pa.ArrowException) as error:
            raise InvalidSchemaError(
                f"invalid Avro schema: field {path!r} has the default {field.default!r}, "
                "which is not of its type"
            ) from error
        return lambda array, live: one.take(pa.array(numpy.zeros(len(array), numpy.int32)))

    def _union(self, path: str, step: UnionStep, target: pa.DataType) -> Conversion:
        members = [self._member(path, branch, step.reader, target) for branch in step.branches]
        kept = non_null(step.writer)
        general = is_general_union(step.writer)
        types = [(field_name(i), members[i].physical) for i in kept]
        if general:
            physical = pa.struct([(name, type_) for name, type_ in types if type_ is not None])
        else:
            physical = next((type_ for _, type_ in types if type_ is not None), pa.null())
        nullable = any(kind_of(branch) == "null" for branch in branches_of(step.reader))

        def convert(array: pa.Array, live: Live) -> pa.Array:
            array = _unsliced(array)
            parts, is_null = _split(array, kept, general)
            if not nullable:
                wrong = is_null if live is None else pc.and_(is_null, live)
                if pc.any(wrong).as_py():
                    reason = "a value is null, which the reader schema does not allow"
                    raise ConversionError(path, reason)
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
"""Values of a union by the writer's branch, and where the value is null or its record is null.

Each array has the length of the union, and null where the value is of another branch."""


def _split(array: pa.Array, kept: list[int], general: bool) -> _Parts:
    """The branches of a union; a general union is a struct of its branches or a dense union."""
    if not general:
        return dict.fromkeys(kept, array), array.is_null()
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


def _refuse_branches(
    path: str, parts: Mapping[int, pa.Array], is_null: pa.BooleanArray, members: list[_Member]
) -> None:
    """Raise ConversionError if a value is of a branch that no branch of the reader takes."""
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
    bitmap = None if pc.all(valid).as_py() else _unsliced(valid).buffers()[1]
    return pa.Array.from_buffers(target, length, [bitmap], children=children)


def _merged(arrays: list[pa.Array], length: int, target: pa.DataType) -> pa.Array:
    """One array from several of equal length, of which at most one has a value in each row."""
    if not arrays:
        return pa.nulls(length, target)
    if len(arrays) == 1:
        return arrays[0]
    rows = numpy.arange(length)
    source = numpy.zeros(length, numpy.int64)
    missing = numpy.ones(length, bool)
    for index, array in enumerate(arrays):
        valid = numpy.asarray(array.is_valid())
        source[valid] = rows[valid] + index * length
        missing &= ~valid
    return pa.concat_arrays(arrays).take(pa.array(source, mask=missing))


def _field(name: str, conversion: Conversion) -> Callable[[pa.Array, Live], pa.Array]:
    return lambda array, live: conversion.convert(array.field(name), live)


def _list(items: Conversion, target: pa.DataType) -> Callable[[pa.Array, Live], pa.Array]:
    def convert(array: pa.Array, live: Live) -> pa.Array:
        array = _unsliced(array)
        children = [items.convert(_values(array), None)]
        return pa.Array.from_buffers(target, len(array), array.buffers()[:2], children=children)

    return convert


def _unsliced(array: pa.Array) -> pa.Array:
    """The array with buffers that begin at its first row, for code that uses the buffers."""
    return array.take(pa.array(numpy.arange(len(array)))) if array.offset else array


def _values(array: pa.ListArray) -> pa.Array:
    """The items of the array's lists, without items of lists that a slice has cut off."""
    return _unsliced(array.values.slice(0, array.offsets[len(array)].as_py()))


def _both(first: pa.DataType | None, second: pa.DataType) -> pa.DataType:
    """A physical type with the fields of two physical types of one Avro type."""
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


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float, str),  # "NaN" and "Infinity" are no JSON numbers
    "double": (int, float, str),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}
"""How JSON represents a default of each kind; the kinds not listed are strings."""


@dataclass(frozen=True)
class _Default:
    """Turns default values from JSON into Python values of the physical schema."""

    schema: ParsedSchema

    def of(self, type_: AvroSchema, value: Any) -> Any:
        """A default of *type_*. Raises KeyError or ValueError for a value of another type."""
        type_ = self.schema.definition(type_)
        kind = kind_of(type_)
        if kind == "union":
            return self._union(type_, value)
        fits = isinstance(value, _JSON_TYPES.get(kind, (str,)))
        if not fits or (isinstance(value, bool) and kind != "boolean"):
            raise ValueError(f"{value!r} is no {kind}")
        match kind:
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
        return value

    def _union(self, branches: list[AvroSchema], value: Any) -> Any:
        """A default of the first branch whose type it has."""
        for position, branch in enumerate(branches):
            try:
                inner = self.of(branch, value)
            except (KeyError, ValueError):
                continue
            general = is_general_union(branches) and value is not None
            return {field_name(position): inner} if general else inner
        raise ValueError(f"{value!r} is of no branch of its union")
