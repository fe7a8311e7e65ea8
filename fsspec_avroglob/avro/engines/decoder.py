"""Choosing the engine for a file, and decoding its blocks into exactly the table's schema."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa

from fsspec_avroglob.avro.arrow import VALUE_COLUMN, TableSchema
from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES, decompress
from fsspec_avroglob.avro.container import ContainerHeader
from fsspec_avroglob.avro.convert import compile_step
from fsspec_avroglob.avro.engines.base import RawEngine
from fsspec_avroglob.avro.engines.fastavro import FastavroEngine
from fsspec_avroglob.avro.engines.polars import PolarsAvroEngine
from fsspec_avroglob.avro.engines.texts import TextColumns
from fsspec_avroglob.avro.leaves import Conversion
from fsspec_avroglob.avro.physical import (
    has_empty_parts,
    is_recursive,
    needs_python,
    physical_schema,
)
from fsspec_avroglob.avro.resolution import FieldStep, RecordStep, resolve
from fsspec_avroglob.avro.schema import ParsedSchema, parse_schema, without_docs
from fsspec_avroglob.errors import EngineNotAbleError

logger = logging.getLogger("fsspec_avroglob")

ENGINES = ("auto", "fastavro", "polars-avro")


@dataclass(frozen=True)
class Decoder:
    """Decodes blocks of files with one writer schema and codec. Made by :func:`decoder`.

    - ``engine``: name of the engine in use.
    - ``reason``: why it is not the faster one; None if it is, or if the caller chose it.
    - ``parallel``: whether several threads decode faster than one.
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
    _texts: TextColumns | None

    def decode(
        self, blocks: Iterable[tuple[int, bytes]], rows: int | None = None
    ) -> pa.RecordBatch:
        """Decode blocks into one batch with the schema ``table.arrow``.

        - ``blocks``: for each block its number of values and its data as stored.
        - ``rows``: most rows to return; later blocks are not decoded.

        Raises CodecError and BlockDecodeError for bytes that cannot be decompressed or decoded, and
        ConversionError for a value that the table cannot hold.
        """
        raw = list(blocks if rows is None else _first_values(blocks, rows))
        if self.codec != "null":  # else the size of blocks was checked when they were found
            raw = [
                (count, decompress(self.codec, data, self.max_block_size)) for count, data in raw
            ]
        try:
            parts = self._parts(self._raw, raw)
        except ValueError as error:
            if self._fallback is None:
                raise
            # The reference engine decides whether the data is corrupt, and how.
            parts = self._parts(self._fallback, raw)
            logger.info("%s failed where fastavro did not: %s", self.engine, error)
        whole = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
        batch = pa.RecordBatch.from_struct_array(whole)
        if self._texts is not None:
            batch = self._texts.added_to(batch, raw)
        return batch if rows is None else batch.slice(0, rows)

    def _parts(self, engine: RawEngine, blocks: list[tuple[int, bytes]]) -> list[pa.StructArray]:
        return [self._conversion.convert(part) for part in engine.decode(blocks)]


def _first_values(blocks: Iterable[tuple[int, bytes]], rows: int) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks that hold the first *rows* values."""
    for count, data in blocks:
        if rows <= 0:
            return
        yield count, data
        rows -= count


def decoder(
    header: ContainerHeader,
    table: TableSchema,
    engine: str = "auto",
    *,
    max_block_size: int = MAX_BLOCK_BYTES,
) -> Decoder:
    """Return the decoder of a file's blocks into a table.

    - ``header``: of the file; its schema is resolved with the table's.
    - ``engine``: ``"polars-avro"``, ``"fastavro"``, or ``"auto"``: polars-avro if it is installed
      and can decode the file, else fastavro.
    - ``max_block_size``: most bytes that a block may decompress to.

    Raises SchemaMismatchError if the schemas do not resolve, UnsupportedTypeError if the table has
    no Arrow schema, EngineNotAbleError if the engine cannot decode the file, and ValueError for an
    unknown engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is one of {', '.join(ENGINES)}, not {engine!r}")
    try:
        text = without_docs(header.schema_text)
        return _decoder(text, header.codec, table.key, engine, max_block_size)
    except RecursionError as error:
        raise EngineNotAbleError(
            "the schema is nested deeper than sys.getrecursionlimit() allows"
        ) from error


@lru_cache(maxsize=256)
def _decoder(schema_text: str, codec: str, table_key: str, engine: str, max_bytes: int) -> Decoder:
    table = TableSchema(json.loads(table_key))
    writer = parse_schema(json.loads(schema_text))
    texts, others = None, table
    if table.texts:
        texts = TextColumns(writer, table)
        others = table.select([name for name in table.columns if name not in table.texts])
    conversion = _conversion(writer, others)
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
            if isinstance(error.__cause__, ImportError):
                _warn_of_slow_engine(reason)
            logger.info("fastavro decodes, not polars-avro: %s", reason)
    slow = None
    if engine != "polars-avro":
        slow = FastavroEngine(schema, conversion.physical, interpreted=needs_python(writer))
    raw, fallback = (fast, slow) if fast is not None else (slow, None)
    assert raw is not None
    return Decoder(
        raw.name, reason, raw.parallel, table, codec, max_bytes, raw, fallback, conversion, texts
    )


@cache
def _warn_of_slow_engine(reason: str) -> None:
    """Warn once in a process that the fast engine is not installed."""
    text = f"engine='auto' decodes with fastavro, several times slower: {reason}"
    warnings.warn(text, UserWarning, stacklevel=2)


def _columnar(writer: ParsedSchema, schema: Any, conversion: Conversion) -> RawEngine:
    if is_recursive(writer):
        raise EngineNotAbleError("polars-avro does not decode recursive types")
    if has_empty_parts(writer):
        raise EngineNotAbleError(
            "polars-avro does not decode items of arrays or branches of unions whose values take "
            "no bytes (null, empty records, fixed of size 0)"
        )
    try:
        return PolarsAvroEngine(schema, conversion.physical)
    except RecursionError as error:
        raise EngineNotAbleError("the schema is nested too deep for polars-avro") from error


def _conversion(writer: ParsedSchema, table: TableSchema) -> Conversion:
    """Return a function that turns a struct of the writer's columns into one of the table's."""
    reader = table.parsed
    target = pa.struct(list(table.arrow))
    step = resolve(writer, reader, writer_path="the file", reader_path="the reader schema")
    if not reader.is_record:  # a value that is not a record is the only column of its table
        field = FieldStep(VALUE_COLUMN, reader.root, 0, step)
        step = RecordStep((field,), (writer.root,))
    return compile_step(step, writer, reader, target)
