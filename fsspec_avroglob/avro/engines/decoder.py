"""Choosing the engine for a file, and decoding its blocks into exactly the table's schema."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from fsspec_avroglob.avro.arrow import VALUE_COLUMN, TableSchema
from fsspec_avroglob.avro.blocks import MAX_BLOCK_BYTES, decompress
from fsspec_avroglob.avro.container import SYNC_MARKER_BYTES, ContainerHeader, parse_block_header
from fsspec_avroglob.avro.convert import Conversion, compile_step
from fsspec_avroglob.avro.engines.base import RawBlock, RawEngine
from fsspec_avroglob.avro.engines.fastavro import FastavroEngine
from fsspec_avroglob.avro.engines.polars import PolarsAvroEngine
from fsspec_avroglob.avro.physical import endless_array, is_recursive, physical_schema, zero_width
from fsspec_avroglob.avro.resolution import FieldStep, RecordStep, resolve
from fsspec_avroglob.avro.schema import ParsedSchema, describe_type, parse_schema
from fsspec_avroglob.errors import BlockDecodeError, CodecError, EngineNotAbleError

logger = logging.getLogger("fsspec_avroglob")

ENGINES = ("auto", "fastavro", "polars-avro")


@dataclass(frozen=True)
class Decoder:
    """Decodes blocks of files that have one writer schema and codec. Made by :func:`decoder`.

    - ``engine``: name of the engine in use.
    - ``reason``: why it is not the faster one, None if it is, or was not to be.
    - ``parallel``: whether decoding in several threads at once is faster than in one.
    """

    engine: str
    reason: str | None
    parallel: bool
    table: TableSchema
    codec: str
    max_block_size: int
    _raw: RawEngine
    _fallback: RawEngine | None
    _conversion: Conversion

    def decode(self, blocks: bytes, rows: int | None = None) -> pa.RecordBatch:
        """Decode *blocks*, whole consecutive blocks of a file as they are stored in it.

        - ``rows``: most rows to return; blocks after the last of them are not looked at.

        The batch has exactly ``table.arrow`` as its schema. Raises BlockDecodeError for bytes that
        cannot be inflated or decoded, and ConversionError for a value that has no place in the
        table.
        """
        offsets: list[int] = []
        raw = list(self._inflated(blocks, rows, offsets))
        try:
            parts = self._parts(self._raw, raw, offsets)
        except ValueError as error:
            if self._fallback is None:
                raise
            # The reference has the last word, on what is wrong and on whether anything is.
            parts = self._parts(self._fallback, raw, offsets)
            logger.info("%s failed where fastavro did not: %s", self.engine, error)
        if len(parts) == 1:
            whole = parts[0]
        else:
            whole = pa.concat_arrays(parts or [pa.array([], self._target)])
        batch = pa.RecordBatch.from_struct_array(whole)
        return batch if rows is None else batch.slice(0, rows)

    @property
    def _target(self) -> pa.StructType:
        return pa.struct(list(self.table.arrow))

    def _parts(
        self, engine: RawEngine, blocks: list[RawBlock], offsets: list[int]
    ) -> list[pa.StructArray]:
        try:
            return [self._conversion.convert(part, None) for part in engine.decode(blocks)]
        except BlockDecodeError as error:
            if error.block_index is not None:
                error.offset = offsets[error.block_index]
            raise

    def _inflated(self, blocks: bytes, rows: int | None, offsets: list[int]) -> Iterator[RawBlock]:
        """The blocks needed for *rows*; where they start in *blocks* is appended to *offsets*."""
        offset, found = 0, 0
        while offset < len(blocks) and (rows is None or found < rows):
            offsets.append(offset)
            header = parse_block_header(blocks, offset)
            end = header.data_offset + header.size_bytes
            stored = bytes(memoryview(blocks)[header.data_offset : end])
            try:
                data = decompress(self.codec, stored, self.max_block_size)
            except CodecError as error:
                raise BlockDecodeError(str(error), len(offsets) - 1, offset) from error
            yield RawBlock(header.value_count, data)
            found += header.value_count
            offset = end + SYNC_MARKER_BYTES


def decoder(
    header: ContainerHeader,
    table: TableSchema,
    engine: str = "auto",
    *,
    max_block_size: int = MAX_BLOCK_BYTES,
) -> Decoder:
    """The decoder of a file's blocks into a table.

    - ``header``: of the file; its schema is the writer schema, resolved with the table's.
    - ``engine``: ``"polars-avro"``, ``"fastavro"`` or ``"auto"``, which is polars-avro where it is
      installed and able to decode the file, and fastavro elsewhere.
    - ``max_block_size``: most bytes that one block may inflate to.

    Raises SchemaMismatchError if the schemas do not resolve, UnsupportedTypeError if the table has
    no Arrow schema, EngineNotAbleError if the engine asked for is not able, and ValueError for one
    that is unknown.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is one of {', '.join(ENGINES)}, not {engine!r}")
    try:
        return _decoder(header.schema_text, header.codec, _Keyed(table), engine, max_block_size)
    except RecursionError as error:
        raise EngineNotAbleError(
            "the schema is nested deeper than sys.getrecursionlimit() allows"
        ) from error


@dataclass(frozen=True)
class _Keyed:
    """A table schema that is compared by its text, for the cache."""

    table: TableSchema

    def __hash__(self) -> int:
        return hash(self.table.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.table.key == self.table.key


@lru_cache(maxsize=256)
def _decoder(schema_text: str, codec: str, keyed: _Keyed, engine: str, max_bytes: int) -> Decoder:
    table = keyed.table
    writer = parse_schema(json.loads(schema_text))
    endless = endless_array(writer)
    if endless is not None:
        raise EngineNotAbleError(
            f"{describe_type(endless)}: its items take no bytes, so a few bytes may claim any "
            "number of them; such files are not decoded"
        )
    conversion = _conversion(writer, table)
    schema = physical_schema(writer)
    fast: RawEngine | None = None
    reason: str | None = None
    if engine != "fastavro":
        try:
            fast = _columnar(writer, schema, conversion)
        except EngineNotAbleError as error:
            if engine == "polars-avro":
                raise
            reason = str(error)
            logger.info("fastavro decodes, not polars-avro: %s", reason)
    slow = None
    if engine != "polars-avro":
        slow = FastavroEngine(schema, conversion.physical, recursive=is_recursive(writer))
    raw, fallback = (fast, slow) if fast is not None else (slow, None)
    assert raw is not None
    return Decoder(
        raw.name, reason, raw.parallel, table, codec, max_bytes, raw, fallback, conversion
    )


def _columnar(writer: ParsedSchema, schema: Any, conversion: Conversion) -> RawEngine:
    if is_recursive(writer):
        raise EngineNotAbleError("polars-avro does not decode recursive types")
    if zero_width(writer):
        raise EngineNotAbleError(
            "polars-avro does not decode types whose values take no byte (null outside of unions, "
            "empty records, fixed of size 0)"
        )
    try:
        return PolarsAvroEngine(schema, conversion.physical)
    except RecursionError as error:
        raise EngineNotAbleError("the schema is nested too deep for polars-avro") from error


def _conversion(writer: ParsedSchema, table: TableSchema) -> Conversion:
    """How a struct of the writer's columns becomes one of the table's."""
    reader = table.parsed
    target = pa.struct(list(table.arrow))
    step = resolve(writer, reader, writer_path="the file", reader_path="the reader schema")
    if reader.is_record:
        return compile_step(step, reader, reader.root, target)
    # A top level that is no record is the one column of a table.
    column = FieldStep(VALUE_COLUMN, reader.root, 0, step)
    return compile_step(RecordStep((column,)), reader, reader.root, target)
