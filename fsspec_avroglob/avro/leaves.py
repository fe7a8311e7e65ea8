"""Primitive, fixed and enum values: raw numbers and bytes become their Arrow types, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy
import pyarrow as pa
import pyarrow.compute as pc

from fsspec_avroglob.avro.arrow import PRIMITIVES, decimal_type
from fsspec_avroglob.avro.logical import NOT_IN_A_DAY, NOT_UTF8, too_many_digits, unit_factor
from fsspec_avroglob.avro.resolution import no_symbol, not_a_symbol
from fsspec_avroglob.avro.schema import AvroSchema, LogicalType, kind_of, logical_type


class Conversion(NamedTuple):
    """How one type is converted.

    - ``physical``: the Arrow type of the input; records may have further fields.
    - ``convert``: turns an array of that type into one of the table's type, of equal length. An
      array of records must have no nulls. Raises ConversionError for a value that the table's type
      cannot hold. Conversions made here raise ValueError, IndexError or ArrowException;
      ``convert._guarded`` wraps them.
    """

    physical: pa.DataType
    convert: Callable[[pa.Array], pa.Array]


_PHYSICAL: Mapping[str, pa.DataType] = {**PRIMITIVES, "string": pa.binary()}


def leaf(writer: AvroSchema, reader: AvroSchema, target: pa.DataType) -> Conversion:
    """Return the conversion of a primitive or fixed type to *target*, the reader's Arrow type."""
    kind = kind_of(writer)
    physical = pa.binary(writer["size"]) if kind == "fixed" else _PHYSICAL[kind]
    old, new = logical_type(writer), logical_type(reader)
    if new is None:
        return Conversion(physical, lambda array: _promoted(array, target))
    match new.name:
        case "decimal":
            return Conversion(physical, lambda array: _decimals(array, old or new, new, target))
        case "uuid" if kind == "fixed":
            return Conversion(physical, _uuid_texts)
        case "duration":
            return Conversion(physical, _durations)
        case "uuid" | "big-decimal":
            return Conversion(physical, lambda array: _promoted(array, target))
    factor = unit_factor(old, new)
    storage = _PHYSICAL[kind_of(reader)]
    if pa.types.is_time(target):
        return Conversion(physical, lambda array: _times(array, storage, factor).view(target))
    return Conversion(physical, lambda array: _scaled(array, storage, factor).view(target))


def enum(writer: Any, reader: Any, positions: tuple[int | None, ...]) -> Conversion:
    """Return the conversion of an enum, whose raw values are indexes of the writer's symbols."""
    as_text = kind_of(reader) == "string"
    symbols = pa.array((writer if as_text else reader)["symbols"], pa.string())
    as_read = pa.array(positions, pa.int32())

    def convert(array: pa.Array) -> pa.Array:
        try:
            taken = as_read.take(array)
        except pa.ArrowIndexError as error:
            raise ValueError(not_a_symbol(len(positions))) from error
        if taken.null_count > array.null_count:
            lost = pc.and_(taken.is_null(), array.is_valid())
            raise ValueError(no_symbol(writer["symbols"][array.filter(lost)[0].as_py()]))
        return symbols.take(taken) if as_text else pa.DictionaryArray.from_arrays(taken, symbols)

    return Conversion(pa.int32(), convert)


def _promoted(array: pa.Array, target: pa.DataType) -> pa.Array:
    if array.type == target:
        return array
    if pa.types.is_integer(array.type) and pa.types.is_floating(target):
        converted = array.cast(target, safe=False)
        same = pc.equal(converted.cast(array.type, safe=False), array)
        if not pc.all(same, min_count=0).as_py():
            value = array.filter(pc.invert(same))[0]
            raise ValueError(f"{value} is not exact as {target}")
        return converted
    if pa.types.is_string(target):
        try:
            return array.cast(target)
        except pa.ArrowInvalid as error:
            raise ValueError(NOT_UTF8) from error
    return array.cast(target)


def _scaled(array: pa.Array, storage: pa.DataType, factor: int) -> pa.Array:
    array = _promoted(array, storage)
    return array if factor == 1 else pc.multiply_checked(array, pa.scalar(factor, storage))


def _times(array: pa.Array, storage: pa.DataType, factor: int) -> pa.Array:
    array = _scaled(array, storage, factor)
    bounds = pc.min_max(array)
    per_day = 86_400_000 if storage == pa.int32() else 86_400_000_000
    if (
        len(array) > array.null_count
        and not 0 <= bounds["min"].as_py() <= bounds["max"].as_py() < per_day
    ):
        raise ValueError(NOT_IN_A_DAY)
    return array


def _decimals(array: pa.Array, old: LogicalType, new: LogicalType, target: pa.DataType) -> pa.Array:
    stored = decimal_type(old)
    starts, ends, data = _bytes_of(array)
    width = stored.byte_width
    out = numpy.empty((len(array), width), numpy.uint8)
    lengths = ends - starts
    signs = numpy.zeros(len(array), numpy.uint8)
    filled = lengths > 0
    signs[filled] = numpy.where(data[starts[filled]] & 0x80, 0xFF, 0)
    for index in range(width):  # from the least significant byte
        column = signs.copy()
        there = lengths > index
        column[there] = data[ends[there] - 1 - index]
        out[:, index] = column
    too_long = too_many_digits(old)
    for row in numpy.flatnonzero(lengths > width):
        # The bytes above those kept must repeat the sign.
        above = data[starts[row] : ends[row] - width]
        if (above != signs[row]).any() or (out[row, -1] ^ signs[row]) & 0x80:
            raise ValueError(too_long)
    buffers = [array.buffers()[0], pa.py_buffer(out)]
    decimals = pa.Array.from_buffers(stored, len(array), buffers)
    try:
        decimals.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(too_long) from error
    return decimals if stored == target else decimals.cast(target)


def _bytes_of(array: pa.Array) -> tuple[Any, Any, Any]:
    """Starts and ends of a binary array's values in its data, and the data; nulls are empty."""
    if pa.types.is_fixed_size_binary(array.type):
        size = array.type.byte_width
        data = numpy.frombuffer(array.buffers()[1] or b"", numpy.uint8)
        starts = numpy.arange(len(array), dtype=numpy.int64) * size
        ends = starts + size
        if array.null_count:
            ends = numpy.where(numpy.asarray(array.is_valid()), ends, starts)
        return starts, ends, data
    _, offsets, values = array.buffers()
    bounds = numpy.frombuffer(offsets, numpy.int32)[: len(array) + 1].astype(numpy.int64)
    return bounds[:-1], bounds[1:], numpy.frombuffer(values or b"", numpy.uint8)


def _rows_of(array: pa.Array, size: int) -> Any:
    """Return the bytes of a fixed type as a matrix of shape (values, size)."""
    data = numpy.frombuffer(array.buffers()[1] or b"", numpy.uint8)
    return data[: len(array) * size].reshape(len(array), size)


def _uuid_texts(array: pa.Array) -> pa.Array:
    digits = numpy.frombuffer(_rows_of(array, 16).tobytes().hex().encode(), numpy.uint8)
    texts = numpy.insert(digits.reshape(len(array), 32), (8, 12, 16, 20), ord("-"), axis=1)
    buffers = [array.buffers()[0], pa.py_buffer(texts)]
    return pa.Array.from_buffers(pa.binary(36), len(array), buffers).cast(pa.string())


_INTERVAL = numpy.dtype([("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")])


def _durations(array: pa.Array) -> pa.Array:
    counts = _rows_of(array, 12).view("<u4")
    if array.null_count:
        counts = counts * numpy.asarray(array.is_valid())[:, None].astype(numpy.uint32)
    if counts[:, :2].max(initial=0) > numpy.iinfo(numpy.int32).max:
        raise ValueError("a duration has more months or days than Arrow's intervals (2**31 - 1)")
    out = numpy.empty(len(array), _INTERVAL)
    out["months"], out["days"] = counts[:, 0], counts[:, 1]
    out["nanos"] = counts[:, 2].astype(numpy.int64) * 1_000_000
    buffers = [array.buffers()[0], pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.month_day_nano_interval(), len(array), buffers)
