"""Avro files as a Polars LazyFrame: columns, slices and predicates reach the reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fsspec.callbacks import Callback

from fsspec_avroglob.aio.blocking import BlockingIterator, blocking
from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.errors import UnsupportedTypeError
from fsspec_avroglob.readers.hive import Filters
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import (
    MAX_BYTES,
    MAX_CONCURRENCY,
    Columns,
    Engine,
    ReadOptions,
    Recursive,
)
from fsspec_avroglob.readers.sources import ResolvedSources

if TYPE_CHECKING:
    import polars
    import pyarrow

    from fsspec_avroglob.readers.layout import TableLayout


def scan_avro(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    row_index_name: str | None = None,
    row_index_offset: int = 0,
    include_file_paths: str | None = None,
    hive: bool = True,
    hive_partitioning: bool | None = None,
    glob: bool = True,
    schema: AvroSchema | None = None,
    filters: Filters | None = None,
    ignore_errors: bool = False,
    max_block_size: int = MAX_BLOCK_BYTES,
    max_concurrency: int = MAX_CONCURRENCY,
    max_bytes: int = MAX_BYTES,
    engine: Engine = "auto",
    recursive: Recursive | None = None,
    progress: bool | Callback = False,
) -> polars.LazyFrame:
    """Scan Avro files as a LazyFrame; parameters and errors are those of :func:`read_avro`.

    The call reads the headers of all files, once. A query decodes only the columns that it uses,
    fetches no more than a slice needs, and filters batch by batch. Conditions on ``key=value``
    directories prune the listing only as ``filters``.

    Raises
    ------
    ImportError
        polars or pyarrow is not installed.
    UnsupportedTypeError
        A column has a type that Polars lacks: durations, decimals of more than 38 digits.

    Examples
    --------
    >>> scan_avro("s3://lake/*.avro").select("id").head(2).collect()  # doctest: +SKIP
    """
    options = ReadOptions.of(locals())
    try:
        from polars.io.plugins import register_io_source

        from fsspec_avroglob.readers.layout import TableLayout
        from fsspec_avroglob.readers.session import resolved_sources
    except ImportError as error:
        raise ImportError(
            f"scan_avro needs polars and pyarrow: pip install 'fsspec-avroglob[polars]'; {error}"
        ) from error
    resolved = resolved_sources(urlpath, storage_options, options)
    options = replace(options, schema=None, filters=None)
    layout = TableLayout.of(resolved.schema, resolved.partitions, options)

    scan = partial(_scan, resolved, options, layout)
    return register_io_source(scan, schema=polars_schema(layout.arrow))


def _scan(
    resolved: ResolvedSources,
    options: ReadOptions,
    layout: TableLayout,
    with_columns: list[str] | None,
    predicate: polars.Expr | None,
    limit: int | None,
    batch_size: int | None,
) -> Iterator[polars.DataFrame]:
    """Read what a query needs; Polars calls it with the last four arguments."""
    import polars

    from fsspec_avroglob.readers.batches import TableReading
    from fsspec_avroglob.readers.session import Located

    wanted = [name for name in layout.names if with_columns is None or name in with_columns]
    limits = [rows for rows in (options.n_rows, limit) if rows is not None]
    n_rows = min(limits, default=None)
    chosen = replace(options, columns=wanted, n_rows=n_rows, batch_size=batch_size or None)
    reading = blocking(TableReading.open, Located.of(resolved, None, chosen), chosen)
    with BlockingIterator(reading.batches()) as batches:
        for batch in batches:
            frame = polars.DataFrame(batch)
            frame.columns = batch.schema.names  # Polars renames a column without a name
            if with_columns is not None:
                frame = frame.select(with_columns)
            yield frame if predicate is None else frame.filter(predicate)


def polars_schema(arrow: pyarrow.Schema) -> polars.Schema:
    """Return the Polars schema of a table; UnsupportedTypeError for a type that Polars lacks."""
    import polars

    for field in arrow:
        _check_type(field.name, field.type)
    frame = polars.DataFrame(arrow.empty_table())
    frame.columns = arrow.names
    return frame.schema


def _check_type(path: str, type_: pyarrow.DataType) -> None:
    # Polars panics on these types, and "except Exception" does not catch a panic.
    from pyarrow import types

    if types.is_interval(type_) or types.is_decimal256(type_):
        raise UnsupportedTypeError(
            path,
            f"Polars does not support {type_}; choose other columns (columns=...), or give a "
            "reader schema (schema=...) without this logicalType to get its bytes",
            "Polars",
        )
    for index in range(type_.num_fields):
        field = type_.field(index)
        _check_type(f"{path}.{field.name}", field.type)
