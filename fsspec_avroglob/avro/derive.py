"""The Avro schema of an Arrow schema, for tables that are written without one.

The inverse of :mod:`fsspec_avroglob.avro.arrow`: reading the file returns the same values, in the
Arrow types of that module (``int8`` becomes ``int32``, ``large_string`` becomes ``string``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from fsspec_avroglob.avro.physical import has_empty_items
from fsspec_avroglob.avro.schema import AvroSchema, parse_schema
from fsspec_avroglob.errors import NotWritableError

ROW_NAME = "Row"
"""Name of the record; the names of types inside consist of it and their field's path."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

_UNITS = {"s": "millis", "ms": "millis", "us": "micros", "ns": "nanos"}

_SIMPLE: Sequence[tuple[Callable[[pa.DataType], bool], AvroSchema]] = (
    (types.is_null, "null"),
    (types.is_boolean, "boolean"),
    (types.is_uint32, "long"),
    (types.is_int64, "long"),
    # The writer refuses values above 2**63 - 1.
    (types.is_uint64, "long"),
    (types.is_integer, "int"),
    (types.is_float64, "double"),
    (types.is_floating, "float"),
    (types.is_string, "string"),
    (types.is_large_string, "string"),
    (types.is_string_view, "string"),
    (types.is_binary, "bytes"),
    (types.is_large_binary, "bytes"),
    (types.is_binary_view, "bytes"),
    (types.is_date, {"type": "int", "logicalType": "date"}),
    (types.is_time32, {"type": "int", "logicalType": "time-millis"}),
    # The writer refuses parts of microseconds.
    (types.is_time64, {"type": "long", "logicalType": "time-micros"}),
)


def avro_schema_of(
    schema: pa.Schema, symbols: Mapping[str, Sequence[str]] | None = None
) -> AvroSchema:
    """Return the Avro record for rows of an Arrow schema.

    - ``symbols``: for each top-level dictionary column that may become an enum its values. Other
      dictionaries, and those with a value that is not an Avro name, get the type of their values.

    Nullable fields become unions with null, and null is their default. Timestamps keep their
    instant but not a time zone other than UTC. Raises NotWritableError for the first field that has
    no Avro type.
    """
    return _Derivation(symbols or {}).record("", list(schema))


class _Derivation:
    def __init__(self, symbols: Mapping[str, Sequence[str]]) -> None:
        self._symbols = symbols
        self._names: set[str] = set()

    def record(self, path: str, fields: Sequence[pa.Field]) -> AvroSchema:
        """Return the record at *path* with the fields of a schema or struct."""
        within = f"{path}." if path else ""
        seen: set[str] = set()
        for field in fields:
            inner = f"{within}{field.name}"
            if not _NAME.match(field.name):
                reason = "names are letters, digits and _, and do not begin with a digit; rename it"
                raise NotWritableError(inner, reason)
            if field.name in seen:
                raise NotWritableError(inner, "two columns have this name; rename one")
            seen.add(field.name)
        return {
            "type": "record",
            "name": self._unique(path),
            "fields": [self._field(f"{within}{field.name}", field) for field in fields],
        }

    def _field(self, path: str, field: pa.Field) -> dict[str, Any]:
        type_ = self._optional(path, field)
        default = {"default": None} if isinstance(type_, list) else {}
        return {"name": field.name, "type": type_, **default}

    def _optional(self, path: str, field: pa.Field) -> AvroSchema:
        type_ = self._type(path, field.type)
        return ["null", type_] if field.nullable and type_ != "null" else type_

    def _type(self, path: str, type_: pa.DataType) -> AvroSchema:
        for fits, schema in _SIMPLE:
            if fits(type_):
                return schema
        if types.is_timestamp(type_):
            kind = "local-timestamp" if type_.tz is None else "timestamp"
            return {"type": "long", "logicalType": f"{kind}-{_UNITS[type_.unit]}"}
        if types.is_decimal(type_) and 0 <= type_.scale <= type_.precision:
            digits = {"precision": type_.precision, "scale": type_.scale}
            return {"type": "bytes", "logicalType": "decimal", **digits}
        if types.is_struct(type_):
            return self.record(path, list(type_))
        if types.is_dictionary(type_):
            symbols = self._symbols.get(path, ())
            values = self._type(path, type_.value_type)
            if values != "string" or not symbols or not all(map(_NAME.match, symbols)):
                return values
            return {"type": "enum", "name": self._unique(path), "symbols": list(symbols)}
        return self._sized(path, type_)

    def _sized(self, path: str, type_: pa.DataType) -> AvroSchema:
        if types.is_fixed_size_binary(type_):
            return {"type": "fixed", "name": self._unique(path), "size": type_.byte_width}
        if types.is_interval(type_):
            duration = {"size": 12, "logicalType": "duration"}
            return {"type": "fixed", "name": self._unique(path), **duration}
        if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
            items = self._optional(f"{path}[]", type_.value_field)
            if has_empty_items(parse_schema({"type": "array", "items": items})):
                reason = f"{type_} has items of no bytes, which many readers refuse; cast it"
                raise NotWritableError(path, reason)
            return {"type": "array", "items": items}
        if types.is_map(type_) and self._type(path, type_.key_type) == "string":
            return {"type": "map", "values": self._optional(f"{path}{{}}", type_.item_field)}
        if is_uuid(type_):
            return {"type": "string", "logicalType": "uuid"}
        raise NotWritableError(
            path, f"Avro has no type for {type_}; cast the column, or leave it out"
        )

    def _unique(self, path: str) -> str:
        """Return a name for the type at *path* that no other type has."""
        name = f"{ROW_NAME}_{re.sub('[^A-Za-z0-9_]+', '_', path).strip('_')}" if path else ROW_NAME
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def is_uuid(type_: pa.DataType) -> bool:
    """Whether *type_* is Arrow's extension type for UUIDs, which older versions lack."""
    return getattr(type_, "extension_name", None) == "arrow.uuid"
