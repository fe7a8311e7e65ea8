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

_Convert: TypeAlias = Callable[[Any], Any]


def table_records(table: pa.Table, schema: TableSchema) -> Iterator[Any]:
    """Yield the rows of *table* as fastavro writes them: dicts, or values without a record schema.

    Columns are matched by name. Raises NotWritableError for a column that only one of *table* and
    *schema* has, and for values that the column's type in *schema* cannot hold.
    """
    missing = [name for name in schema.columns if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.columns]
    for name in missing or unknown:
        where = "the table" if missing else "the schema"
        raise NotWritableError(name, f"it is not in {where}")
    encoders = {field.name: _column_encoder(schema, field) for field in schema.arrow}
    for batch in table.select(list(schema.columns)).to_batches(max_chunksize=_ROWS_AT_ONCE):
        columns = [encode(batch[name]) for name, encode in encoders.items()]
        if not schema.parsed.is_record:
            yield from columns[0]
        elif columns:
            yield from (dict(zip(encoders, row, strict=True)) for row in zip(*columns, strict=True))
        else:
            yield from ({} for _ in range(batch.num_rows))


def _column_encoder(schema: TableSchema, field: pa.Field) -> Callable[[pa.Array], list[Any]]:
    """Return a function that turns the arrays of a column into lists of values for fastavro."""
    name, avro = field.name, schema.types[field.name]
    convert = _converter(schema.parsed, name, avro)
    decoded = _replaced(field.type, _without_dictionary)
    stored = _replaced(decoded, _stored)

    def encode(array: pa.Array) -> list[Any]:
        if array.null_count and not field.nullable:
            raise NotWritableError(name, f"{array.null_count} nulls in a type without null")
        try:
            _check_fields(name, array.type, field.type)
            array = _plain(array).cast(decoded).cast(stored)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            reason = f"cannot convert {array.type} to {describe_type(avro)}: {error}"
            raise NotWritableError(name, reason) from error
        values: list[Any] = array.to_pylist()
        return values if convert is None else list(map(convert, values))

    return encode


def _plain(array: pa.Array) -> pa.Array:
    """Return the array with the storage of its extension type; UUIDs become text."""
    if is_uuid(array.type):
        texts = [None if value is None else str(value) for value in array.to_pylist()]
        return pa.array(texts, pa.string())
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _check_fields(path: str, given: pa.DataType, wanted: pa.DataType) -> None:
    """Refuse structs whose fields differ: a cast would drop fields, or fill them with nulls."""
    if types.is_struct(given) and types.is_struct(wanted):
        names, expected = ({field.name for field in type_} for type_ in (given, wanted))
        if names != expected:
            listed = ", ".join(sorted(names ^ expected))
            raise NotWritableError(path, f"only one of table and schema has its fields {listed}")
        for field in wanted:
            _check_fields(f"{path}.{field.name}", given.field(field.name).type, field.type)
    elif types.is_nested(given) and types.is_nested(wanted):
        for one, other in zip(_items(given), _items(wanted), strict=False):
            _check_fields(f"{path}[]", one, other)


def _items(type_: pa.DataType) -> list[pa.DataType]:
    if types.is_map(type_):
        return [type_.item_type]
    return [type_.value_type] if hasattr(type_, "value_type") else []


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
            return _map(path, _converter(schema, f"{path}{{}}", type_["values"]))
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


def _map(path: str, convert: _Convert | None) -> _Convert:
    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = {key: value if convert is None else convert(value) for key, value in pairs}
        if len(values) < len(pairs):
            raise NotWritableError(path, "a map has a key twice")
        return values

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
