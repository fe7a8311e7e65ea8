"""Avro types as Arrow types, and the Arrow schema of a table of Avro records.

The page "Types" of the documentation lists them all, with the types of pandas and Polars.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from fsspec_avroglob.avro.columns import chosen_columns
from fsspec_avroglob.avro.physical import is_recursive, non_null
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    LogicalType,
    ParsedSchema,
    branches_of,
    describe_type,
    kind_of,
    logical_type,
    parse_schema,
    standalone,
    with_fields,
)
from fsspec_avroglob.errors import UnsupportedTypeError

VALUE_COLUMN = "value"
"""The only column of a table of files whose top-level schema is not a record."""

MAX_DECIMAL_PRECISION = 76
"""Most digits of a decimal in Arrow."""

MAX_ARROW_FIELDS = 100_000
"""Most fields of a schema, nested ones included and named types counted at each use."""

PRIMITIVES: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
"""The Arrow types of primitive types without a logical type."""

_LOGICAL: Mapping[str, pa.DataType] = {
    "uuid": pa.string(),
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-nanos": pa.timestamp("ns", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "local-timestamp-nanos": pa.timestamp("ns"),
    "duration": pa.month_day_nano_interval(),
    "big-decimal": pa.binary(),
}


@dataclass(frozen=True)
class TableSchema:
    """The reader schema of a table, and the Arrow schema that follows from it. Made by :meth:`of`.

    - ``avro``: the reader schema as JSON, reduced to the chosen columns.
    """

    avro: AvroSchema

    @classmethod
    def of(
        cls,
        schema: AvroSchema,
        columns: Iterable[str | int] | None = None,
        *,
        recursive: str | None = None,
    ) -> TableSchema:
        """Return the table of a reader schema, with all columns or those that :meth:`select` takes.

        With *recursive* "json", columns of recursive types are JSON texts.

        Raises InvalidSchemaError, and what :meth:`select` raises.
        """
        parsed = parse_schema(schema)
        if recursive == "json" and is_recursive(parsed):
            parsed = _with_texts(parsed)
        table = cls(standalone(parsed, parsed.root))
        # Parsing the same schema again would take a tenth of the time to read 16,000 columns.
        table.__dict__["parsed"] = ParsedSchema(table.avro, parsed.root, parsed.names)
        return table if columns is None else table.select(columns)

    @cached_property
    def parsed(self) -> ParsedSchema:
        """The reader schema with its names resolved."""
        return parse_schema(self.avro)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: the fields of the record, or the one column ``value``."""
        return tuple(self.types)

    @cached_property
    def types(self) -> Mapping[str, AvroSchema]:
        """The columns' Avro types by name."""
        return self.parsed.fields if self.parsed.is_record else {VALUE_COLUMN: self.parsed.root}

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema; a field is nullable only if its Avro type has null.

        Raises UnsupportedTypeError for the first column that has no Arrow type.
        """
        types, texts = _ArrowTypes(self.parsed), frozenset(self.texts)
        return pa.schema(
            [
                _text_field(name, type_) if name in texts else types.field(name, name, type_)
                for name, type_ in self.types.items()
            ]
        )

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The columns that are JSON texts."""
        fields = self.parsed.root["fields"] if self.parsed.is_record else ()
        return tuple(field["name"] for field in fields if field.get(_AS_TEXT))

    @cached_property
    def key(self) -> str:
        """JSON text that is equal for equal tables."""
        return json.dumps(self.avro)

    def select(self, columns: Iterable[str | int]) -> TableSchema:
        """Return the table of these columns: names or indexes (negative from the end), in order.

        Raises ValueError for an unknown column and one named twice.
        """
        names = chosen_columns(columns, self.columns)
        if not self.parsed.is_record:
            if not names:
                raise ValueError("files without records have one column; choose it")
            return self
        return TableSchema(with_fields(self.parsed, names))


# An attribute of fields of a reader schema, so that it stays with the field.
_AS_TEXT = "avroglob.json"


def _with_texts(schema: ParsedSchema) -> ParsedSchema:
    """Mark the fields of a record whose types are recursive."""
    if not schema.is_record:
        return schema
    fields = [
        {**field, _AS_TEXT: is_recursive(ParsedSchema(None, field["type"], schema.names))}
        for field in schema.root["fields"]
    ]
    return parse_schema(standalone(schema, {**schema.root, "fields": fields}))


def _text_field(name: str, type_: AvroSchema) -> pa.Field:
    nullable = any(kind_of(branch) == "null" for branch in branches_of(type_))
    return pa.field(name, pa.string(), nullable=nullable)


def member_name(branch: AvroSchema) -> str:
    """Return the name of a union's branch in Avro's JSON encoding: its type or the type's name."""
    return branch["name"] if isinstance(branch, dict) and "name" in branch else kind_of(branch)


def decimal_type(logical: LogicalType) -> pa.DataType:
    """Return the Arrow type of a decimal of at most MAX_DECIMAL_PRECISION digits."""
    make = pa.decimal128 if logical.precision <= 38 else pa.decimal256
    return make(logical.precision, logical.scale)


class _ArrowTypes:
    """Translates one schema and counts its fields: named types multiply where they are used."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._schema = schema
        self._within: list[str] = [schema.root["name"]] if schema.is_record else []
        self._fields = 0

    def field(self, name: str, path: str, schema: AvroSchema, optional: bool = False) -> pa.Field:
        """Return the field *name* of an Avro type; *path* is its dotted name for errors."""
        self._fields += 1
        if self._fields > MAX_ARROW_FIELDS:
            raise UnsupportedTypeError(
                path.partition(".")[0],
                f"the schema has more than {MAX_ARROW_FIELDS} nested fields; "
                "choose other columns, or use iter_avro_records",
            )
        schema = self._schema.definition(schema)
        nullable = optional or any(kind_of(branch) == "null" for branch in branches_of(schema))
        return pa.field(name, self.type(path, schema), nullable=nullable)

    def type(self, path: str, schema: AvroSchema) -> pa.DataType:
        """Return the Arrow type of an Avro type; null in unions does not count."""
        schema = self._schema.definition(schema)
        match kind_of(schema):
            case "union":
                return self._union(path, schema)
            case "record" | "error":
                return self._record(path, schema)
            case "array":
                return pa.list_(self.field("item", f"{path}[]", schema["items"]))
            case "map":
                values = self.field("value", f"{path}{{}}", schema["values"])
                return pa.map_(pa.string(), values)
            case "enum":
                return pa.dictionary(pa.int32(), pa.string())
        return self._leaf(path, schema)

    def _leaf(self, path: str, schema: AvroSchema) -> pa.DataType:
        logical = logical_type(schema)
        if logical is None:
            fixed = kind_of(schema) == "fixed"
            return pa.binary(schema["size"]) if fixed else PRIMITIVES[kind_of(schema)]
        if logical.name != "decimal":
            return _LOGICAL[logical.name]
        if logical.precision <= MAX_DECIMAL_PRECISION:
            return decimal_type(logical)
        raise UnsupportedTypeError(
            path,
            f"a decimal of {logical.precision} digits; Arrow has at most {MAX_DECIMAL_PRECISION}. "
            "Pass a reader schema (schema=...) without this logicalType to read its bytes, or "
            "choose other columns",
        )

    def _union(self, path: str, branches: list[AvroSchema]) -> pa.DataType:
        kept = [self._schema.definition(branches[i]) for i in non_null(branches)]
        if not kept:
            return pa.null()
        if len(kept) == 1:
            return self.type(path, kept[0])
        members = [(member_name(branch), branch) for branch in kept]
        repeated = next((n for n, count in Counter(n for n, _ in members).items() if count > 1), "")
        if repeated:
            raise UnsupportedTypeError(
                path,
                f"its union has two branches {repeated!r}, and a table needs a name for each; "
                "choose other columns, give a reader schema (schema=...) with one of them, or use "
                "iter_avro_records",
            )
        return pa.struct([self.field(n, f"{path}.{n}", b, optional=True) for n, b in members])

    def _record(self, path: str, schema: Any) -> pa.DataType:
        name = schema["name"]
        if name in self._within:
            raise UnsupportedTypeError(
                path,
                f"{describe_type(schema)} contains itself, and Arrow has no recursive types; "
                "recursive='json' gives such columns as JSON text; or choose other columns, or use "
                "iter_avro_records",
            )
        self._within.append(name)
        fields = [self.field(f["name"], f"{path}.{f['name']}", f["type"]) for f in schema["fields"]]
        self._within.pop()
        return pa.struct(fields)
