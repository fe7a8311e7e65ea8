"""Writing tables column by column, with the writer of polars-avro.

The writer gets only numbers, text, bytes, lists, maps and structs, and writes the blocks. The
header is our own, with the schema that was asked for. That works because Avro's encoding has
neither names nor logical types: :func:`_shape` compares what is left of both schemas.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.container import AVRO_MAGIC, NeedMoreBytes, encode_long, parse_header
from fsspec_avroglob.avro.encode import check_columns, stored_column, stored_type
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, branches_of, kind_of
from fsspec_avroglob.errors import NotWritableError

logger = logging.getLogger("fsspec_avroglob")

_BLOCKS_AT_ONCE = 16
_ROWS_AT_ONCE = 1 << 16

_PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class Output(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Append *data*."""
        ...


class ColumnWriter:
    """Writes tables of one schema as container files. Made by :func:`column_writer`."""

    def __init__(self, schema: TableSchema, source: AvroSchema, block_bytes: int) -> None:
        self._schema, self._source, self._block_bytes = schema, source, block_bytes
        self._symbols = {name: _symbols(schema, name) for name in schema.columns}
        self.arrow = pa.schema(
            field.with_type(pa.int32() if self._symbols[field.name] else stored_type(field.type))
            for field in schema.arrow
        )

    def write(
        self,
        out: Output,
        table: pa.Table,
        codec: str,
        metadata: Mapping[str, str],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Write the rows of *table*; *ended* is called between blocks, and may raise.

        Raises NotWritableError for values that the schema cannot hold.
        """
        blocks = _Blocks(out, lambda marker: self._header(codec, metadata, marker))
        sink = _sink(blocks, self.arrow, codec)
        try:
            for batch in self._batches(table):
                ended()
                sink.write(pa.Table.from_batches([batch]))
        finally:
            sink.close()
        ended()

    def _batches(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        """Yield the columns as stored, in batches that make a block each."""
        chosen = table.select(self.arrow.names)
        rows = self._block_rows(chosen)
        for batch in chosen.to_batches(max_chunksize=min(rows * _BLOCKS_AT_ONCE, _ROWS_AT_ONCE)):
            arrays = [self._stored(field, batch[field.name]) for field in self._schema.arrow]
            stored = pa.RecordBatch.from_arrays(arrays, schema=self.arrow)
            rows = self._block_rows(stored)  # dictionaries grow when they become values
            for start in range(0, stored.num_rows, rows):
                yield stored.slice(start, rows)

    def _block_rows(self, rows: pa.Table | pa.RecordBatch) -> int:
        """Return how many of *rows* make a block."""
        try:
            size_bytes = rows.nbytes
        except pa.ArrowTypeError:  # before Arrow 22, of strings that are views
            size_bytes = rows.get_total_buffer_size()
        row_bytes = size_bytes / max(rows.num_rows, 1)
        return max(int(self._block_bytes / max(row_bytes, 1)), 1)

    def _stored(self, field: pa.Field, array: pa.Array) -> pa.Array:
        stored = stored_column(self._schema, field, array)
        symbols = self._symbols[field.name]
        if not symbols:
            return stored
        indices = pc.index_in(stored, pa.array(symbols, pa.string()))
        if indices.null_count > stored.null_count:
            unknown = pc.unique(stored.filter(pc.and_(indices.is_null(), stored.is_valid())))
            reason = f"{unknown[0].as_py()!r} is not a symbol of the enum"
            raise NotWritableError(field.name, reason)
        return indices

    def _header(self, codec: str, metadata: Mapping[str, str], marker: bytes) -> bytes:
        # fastavro would refuse symbols and names that are no Avro names, which readers take.
        entries = {
            **metadata,
            "avro.codec": codec,
            "avro.schema": json.dumps(_without_marks(self._source), ensure_ascii=False),
        }
        out = AVRO_MAGIC + encode_long(len(entries))
        for key, value in entries.items():
            for data in (key.encode(), value.encode()):
                out += encode_long(len(data)) + data
        return out + encode_long(0) + marker


def _without_marks(schema: AvroSchema) -> AvroSchema:
    """Remove what fastavro.parse_schema adds."""
    if not isinstance(schema, dict):
        return schema
    return {key: value for key, value in schema.items() if not key.startswith("__")}


def column_writer(
    table: pa.Table, schema: TableSchema, source: AvroSchema, block_bytes: int
) -> ColumnWriter | None:
    """Return a writer of *table*'s columns; None where polars-avro cannot write the schema.

    - ``source``: the Avro schema, which *schema* describes.
    - ``block_bytes``: about the size of a block before compression.

    Raises NotWritableError for a column that only one of *table* and *schema* has.
    """
    check_columns(table, schema)
    if not schema.parsed.is_record or not schema.columns:
        return None
    if any(map(_has_interval, schema.arrow.types)):
        return None  # the writer does not check that they are whole and not negative
    writer = ColumnWriter(schema, source, block_bytes)
    headers: list[bytes] = []
    try:
        blocks = _Blocks(io.BytesIO(), lambda marker: b"", seen=headers.append)
        _sink(blocks, writer.arrow, "null").close()
        written = parse_header(b"".join(headers)).schema
    except Exception as error:  # polars-avro is not installed, or lacks a type
        logger.info("fastavro writes, not polars-avro: %s", error)
        return None
    shape = _shape(schema.parsed, schema.parsed.root)
    if shape is None or shape != _shape(None, written):
        logger.info("fastavro writes, because polars-avro would encode the schema differently")
        return None
    return writer


def _sink(blocks: _Blocks, schema: pa.Schema, codec: str) -> Any:
    from polars_avro._avro_rs import AvroBuffSink, Codec

    chosen = None if codec == "null" else getattr(Codec, codec.capitalize())
    return AvroBuffSink(cast(BinaryIO, blocks), schema.empty_table(), chosen)


class _Blocks(io.RawIOBase):
    """A file that replaces the header of what is written to it.

    *header* returns the new one for the sync marker of the old one. *seen* gets the old one.
    """

    def __init__(
        self,
        out: Output,
        header: Callable[[bytes], bytes],
        seen: Callable[[bytes], object] = lambda header: None,
    ) -> None:
        self._out, self._new_header, self._seen = out, header, seen
        self._old: bytes | None = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        data = bytes(data)
        if self._old is None:
            self._out.write(data)
            return len(data)
        self._old += data
        try:
            header = parse_header(self._old)
        except NeedMoreBytes:
            return len(data)
        self._seen(self._old[: header.size_bytes])
        self._out.write(self._new_header(header.sync_marker))
        if rest := self._old[header.size_bytes :]:
            self._out.write(rest)
        self._old = None
        return len(data)


def _shape(schema: ParsedSchema | None, type_: AvroSchema) -> Any:
    """Return what decides how values of *type_* are encoded; None if that is not known.

    A type that *schema* does not define is unknown.
    """
    if schema is not None:
        type_ = schema.definition(type_)
    if isinstance(type_, list):
        inner = [_shape(schema, branch) for branch in type_]
        return None if None in inner else ("union", *inner)
    kind = kind_of(type_)
    if kind in _PRIMITIVE:
        return kind
    if not isinstance(type_, dict):
        return None
    match kind:
        case "enum":
            return "int"
        case "fixed":
            return "fixed", type_["size"]
        case "array" | "map":
            item = _shape(schema, type_["items" if kind == "array" else "values"])
            return None if item is None else (kind, item)
        case "record":
            fields = [_shape(schema, field["type"]) for field in type_["fields"]]
            return None if None in fields or not fields else ("record", *fields)
    return None


def _symbols(schema: TableSchema, name: str) -> list[str]:
    """Return the symbols of a column that is an enum, or a union of null and one; else none."""
    branches = [schema.parsed.definition(one) for one in branches_of(schema.types[name])]
    enums = [one for one in branches if kind_of(one) == "enum"]
    others = [one for one in branches if kind_of(one) not in ("enum", "null")]
    return list(enums[0]["symbols"]) if len(enums) == 1 and not others else []


def _has_interval(type_: pa.DataType) -> bool:
    inner = (type_.field(index).type for index in range(type_.num_fields))
    return types.is_interval(type_) or any(map(_has_interval, inner))
