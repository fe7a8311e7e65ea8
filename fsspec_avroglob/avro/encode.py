"""Rows of an Arrow table as the values that fastavro writes.

Arrow converts whole columns: first to the types as which the table would be read back, then to the
numbers that Avro stores. So no value passes through Python types of lower precision.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from fsspec_avroglob.avro.arrow import TableSchema, member_name
from fsspec_avroglob.avro.derive import is_uuid
from fsspec_avroglob.avro.physical import non_null
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    describe_type,
    kind_of,
    logical_type,
)
from fsspec_avroglob.errors import NotWritableError

_ROWS_AT_ONCE = 10_000

_NANOS_PER_MILLI = 1_000_000

_DURATION_PARTS = ("months", "days", "milliseconds")

_Convert: TypeAlias = Callable[[Any], Any]


def check_columns(table: pa.Table, schema: TableSchema) -> None:
    """Raise NotWritableError for a column that only one of *table* and *schema* has."""
    missing = [name for name in schema.columns if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.columns]
    for name in missing or unknown:
        where = "the table" if missing else "the schema"
        raise NotWritableError(name, f"it is not in {where}")


def table_records(table: pa.Table, schema: TableSchema) -> Iterator[Any]:
    """Yield the rows of *table* as fastavro writes them: dicts, or values without a record schema.

    Columns are matched by name. Raises NotWritableError for a column that only one of *table* and
    *schema* has, and for values that the column's type in *schema* cannot hold.
    """
    check_columns(table, schema)
    converters = {
        name: _converter(schema.parsed, name, type_) for name, type_ in schema.types.items()
    }
    for batch in table.select(list(schema.columns)).to_batches(max_chunksize=_ROWS_AT_ONCE):
        columns = [
            _values(stored_column(schema, field, batch[field.name]), converters[field.name])
            for field in schema.arrow
        ]
        if not schema.parsed.is_record:
            yield from columns[0]
        elif columns:
            names = schema.arrow.names
            yield from (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        else:
            yield from ({} for _ in range(batch.num_rows))


def _values(array: pa.Array, convert: _Convert | None) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values if convert is None else list(map(convert, values))


def stored_type(type_: pa.DataType) -> pa.DataType:
    """Return the type of :func:`stored_column` for a column of the table that is read back."""
    return _replaced(_replaced(type_, _without_dictionary), _stored)


def stored_column(schema: TableSchema, field: pa.Field, array: pa.Array) -> pa.Array:
    """Convert an array to what Avro stores for the column *field*: numbers for dates and times.

    Raises NotWritableError for values that the column's type cannot hold.
    """
    name = field.name
    if array.null_count and not field.nullable:
        raise NotWritableError(name, f"{array.null_count} nulls in a type without null")
    try:
        return _fitted(name, array, _replaced(field.type, _without_dictionary))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        avro = describe_type(schema.types[name])
        reason = f"cannot convert {array.type} to {avro}: {error}"
        raise NotWritableError(name, reason) from error


def _fitted(path: str, array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Convert an array to ``stored_type(type_)``.

    A null struct may have null fields, whatever the types of the fields: only values count.
    """
    array = _plain(array)
    if types.is_null(array.type):
        return pa.nulls(len(array), stored_type(type_))
    if types.is_interval(type_) and types.is_struct(array.type):
        return _intervals(path, array)
    if types.is_struct(type_) and types.is_struct(array.type):
        return _fitted_struct(path, array, type_)
    if types.is_map(type_) and _is_list(array.type):
        return _fitted_map(path, array, type_)
    if types.is_list(type_) and _is_list(array.type) and not types.is_map(array.type):
        values = _fitted_field(f"{path}[]", array.flatten(), type_.value_field)
        return pa.ListArray.from_arrays(
            _offsets(array), values, type=stored_type(type_), mask=_mask(array)
        )
    return array.cast(type_).cast(stored_type(type_))


def _fitted_field(path: str, array: pa.Array, field: pa.Field) -> pa.Array:
    if array.null_count and not field.nullable:
        raise NotWritableError(path, f"{array.null_count} nulls in a type without null")
    return _fitted(path, array, field.type)


def _fitted_struct(path: str, array: pa.StructArray, type_: pa.DataType) -> pa.Array:
    given = [field.name for field in array.type]
    # A cast would drop fields, or fill them with nulls.
    if differing := set(given) ^ {field.name for field in type_}:
        listed = ", ".join(sorted(differing))
        raise NotWritableError(path, f"only one of table and schema has its fields {listed}")
    whole, children = array.is_valid(), dict(zip(given, array.flatten(), strict=True))
    arrays = []
    for field in type_:
        child, inner = children[field.name], f"{path}.{field.name}"
        if child.null_count and not field.nullable:
            nulls = pc.sum(pc.and_(whole, child.is_null())).as_py()
            if nulls:
                raise NotWritableError(inner, f"{nulls} nulls in a type without null")
        arrays.append(_fitted(inner, child, field.type))
    fields = list(stored_type(type_))
    if not fields:
        return pa.array([{} if valid else None for valid in whole.to_pylist()], type_)
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=_mask(array))


def _fitted_map(path: str, array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Convert a map, or what Polars makes of one: a list of structs of a key and a value."""
    if types.is_map(array.type):
        if array.offset or array.null_count:  # keys, items and offsets are those of all maps
            array = array.take(pa.array(range(len(array)), pa.int64()))
        keys, items, offsets = array.keys, array.items, array.offsets
    else:
        pairs, offsets = array.flatten(), _offsets(array)
        if not types.is_struct(pairs.type) or pairs.type.num_fields != 2:
            return array.cast(type_)  # raises
        keys, items = pairs.flatten()
    keys = keys.cast(type_.key_type)
    entries = pa.ListArray.from_arrays(offsets, keys)
    if len(keys):
        owners = pc.list_parent_indices(entries)
        distinct = pa.table({"map": owners, "key": keys}).group_by(["map", "key"]).aggregate([])
        if distinct.num_rows < len(keys):
            raise NotWritableError(path, "a map has a key twice")
    values = _fitted_field(f"{path}{{}}", items, type_.item_field)
    if array.null_count:
        # from_arrays takes nulls of maps as null offsets.
        starts = pc.if_else(array.is_valid(), offsets[:-1], None)
        offsets = pa.concat_arrays([starts, offsets[-1:]])
    return pa.MapArray.from_arrays(offsets, keys, values, type=stored_type(type_))


def _offsets(array: pa.Array) -> pa.Array:
    """Return the offsets that lists have in their flattened values."""
    lengths = pc.list_value_length(array).fill_null(0).cast(pa.int64())
    ends = pc.cumulative_sum(lengths)
    return pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _is_list(type_: pa.DataType) -> bool:
    kinds = types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_map
    return any(fits(type_) for fits in kinds)


def _intervals(path: str, array: pa.StructArray) -> pa.Array:
    """Convert structs of months, days and milliseconds, as frames of pandas have them."""
    if [field.name for field in array.type] != list(_DURATION_PARTS):
        listed = ", ".join(_DURATION_PARTS)
        raise NotWritableError(path, f"a duration is an interval, or a struct of {listed}")
    parts = [
        None if v is None else (v["months"], v["days"], v["milliseconds"] * _NANOS_PER_MILLI)
        for v in array.to_pylist()
    ]
    return pa.array(parts, pa.month_day_nano_interval())


def _plain(array: pa.Array) -> pa.Array:
    """Return the array with the storage of its extension type; UUIDs become text."""
    if is_uuid(array.type):
        texts = [None if value is None else str(value) for value in array.to_pylist()]
        return pa.array(texts, pa.string())
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _without_dictionary(type_: pa.DataType) -> pa.DataType:
    return pa.string() if types.is_dictionary(type_) else type_


def _stored(type_: pa.DataType) -> pa.DataType:
    """Return the numbers that Avro stores for dates and times; any other type is itself."""
    if types.is_date(type_) or types.is_time32(type_):
        return pa.int32()
    return pa.int64() if types.is_timestamp(type_) or types.is_time64(type_) else type_


def _replaced(type_: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """*type_* with what *leaf* returns for each type that has no fields."""

    def field(old: pa.Field) -> pa.Field:
        return old.with_type(_replaced(old.type, leaf))

    if types.is_struct(type_):
        return pa.struct([field(child) for child in type_])
    if types.is_map(type_):
        return pa.map_(type_.key_type, field(type_.item_field))
    if types.is_list(type_):
        return pa.list_(field(type_.value_field))
    return leaf(type_)


def _converter(schema: ParsedSchema, path: str, type_: AvroSchema) -> _Convert | None:
    """Return a function that turns an Arrow value into fastavro's; None if they are equal."""
    type_ = schema.definition(type_)
    match kind_of(type_):
        case "union":
            return _union(schema, path, type_)
        case "array":
            items = _converter(schema, f"{path}[]", type_["items"])
            return None if items is None else lambda values: [items(value) for value in values]
        case "map":
            return _map(_converter(schema, f"{path}{{}}", type_["values"]))
        case "record" | "error":
            return _record(schema, path, type_)
        case "fixed":
            logical = logical_type(type_)
            if logical is not None and logical.name == "duration":
                return lambda value: _duration(path, value)
            if logical is not None and logical.name == "uuid":
                return lambda value: UUID(value).bytes
    return None


def _union(schema: ParsedSchema, path: str, branches: list[AvroSchema]) -> _Convert | None:
    kept = [schema.definition(branches[i]) for i in non_null(branches)]
    if len(kept) == 1:
        only = _converter(schema, path, kept[0])
        return None if only is None else lambda value: None if value is None else only(value)
    converters = {member_name(b): _converter(schema, path, b) for b in kept}
    if not converters:
        return None

    def choose(members: dict[str, Any] | None) -> Any:
        present = [(n, v) for n, v in (members or {}).items() if v is not None]
        if not present:
            return None
        if len(present) > 1:
            names = " and ".join(name for name, _ in present)
            raise NotWritableError(path, f"a union holds one value, not both {names}")
        name, value = present[0]
        convert = converters[name]
        return name, value if convert is None else convert(value)

    return choose


def _map(convert: _Convert | None) -> _Convert:
    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value if convert is None else convert(value) for key, value in pairs}

    return as_dict


def _record(schema: ParsedSchema, path: str, type_: Any) -> _Convert | None:
    found = {
        f["name"]: _converter(schema, f"{path}.{f['name']}", f["type"]) for f in type_["fields"]
    }
    converters = {name: convert for name, convert in found.items() if convert is not None}
    if not converters:
        return None

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        return value | {name: converter(value[name]) for name, converter in converters.items()}

    return convert


def _duration(path: str, value: Any) -> bytes:
    millis, rest = divmod(value.nanoseconds, _NANOS_PER_MILLI)
    try:
        if rest:
            raise struct.error
        return struct.pack("<III", value.months, value.days, millis)
    except struct.error:
        reason = f"{value} does not have whole, not negative months, days and milliseconds"
        raise NotWritableError(path, reason) from None
