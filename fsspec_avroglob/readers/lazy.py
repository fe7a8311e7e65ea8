"""Avro files as a Polars LazyFrame: columns, slices and predicates reach the reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from fsspec_avroglob.aio.blocking import BlockingIterator, blocking
from fsspec_avroglob.errors import UnsupportedTypeError
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import Columns, ReadOptions, TableOptions
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
    **options: Unpack[TableOptions],
) -> polars.LazyFrame:
    """A LazyFrame over Avro files; arguments and errors as of :func:`read_avro`.

    The headers of all files are read now, once. A query decodes the columns that it uses, fetches
    no more than a slice needs, and filters batch by batch, so memory holds what is kept. Filters on
    ``key=value`` directories that shall prune the listing go into ``filters``.

    Raises ImportError without polars and pyarrow, UnsupportedTypeError for a column of durations or
    of decimals of more than 38 digits, which Polars does not have: *columns* leaves it out.
    """
    try:
        import polars
        from polars.io.plugins import register_io_source

        from fsspec_avroglob.readers.batches import TableReading, joined, sized
        from fsspec_avroglob.readers.layout import TableLayout
        from fsspec_avroglob.readers.session import Located, resolved_sources
    except ImportError as error:
        raise ImportError(
            f"scan_avro needs polars and pyarrow: pip install 'fsspec-avroglob[polars]'; {error}"
        ) from error
    asked = ReadOptions.of(scan_avro, options, columns, n_rows)
    resolved = resolved_sources(urlpath, storage_options, asked)
    asked = replace(asked, schema=None, filters=None)
    layout = TableLayout.of(resolved.schema, resolved.partitions, asked)
    schema = polars_schema(layout.arrow)

    def source(
        with_columns: list[str] | None,
        predicate: polars.Expr | None,
        limit: int | None,
        batch_size: int | None,
    ) -> Iterator[polars.DataFrame]:
        limits = [rows for rows in (asked.n_rows, limit) if rows is not None]
        chosen = replace(
            asked,
            columns=_file_columns(layout, with_columns),
            n_rows=min(limits, default=None),
        )
        located = Located.of(resolved, None, chosen)
        reading = blocking(TableReading.open, located, chosen)
        batches, arrow = reading.batches(), reading.layout.arrow
        cut = sized(batches, arrow, batch_size) if batch_size else joined(batches, arrow)
        with BlockingIterator(cut) as found:
            for batch in found:
                frame = polars.DataFrame(batch)
                if with_columns is not None:
                    frame = frame.select(with_columns)
                yield frame if predicate is None else frame.filter(predicate)

    return register_io_source(source, schema=schema)


def polars_schema(arrow: pyarrow.Schema) -> polars.Schema:
    """The Polars schema of a table; raises UnsupportedTypeError for a type that Polars lacks."""
    import polars

    for field in arrow:
        _check_type(field.name, field.type)
    return polars.DataFrame(arrow.empty_table()).schema


def _check_type(path: str, type_: pyarrow.DataType) -> None:
    # Polars panics when it is given one of these, which no "except Exception" catches.
    from pyarrow import types

    if types.is_interval(type_) or types.is_decimal256(type_):
        raise UnsupportedTypeError(
            path,
            f"Polars has none for {type_}; choose other columns (columns=...), or give a reader "
            "schema (schema=...) without this logicalType to get its bytes",
            "Polars",
        )
    for place in range(type_.num_fields):
        field = type_.field(place)
        _check_type(f"{path}.{field.name}", field.type)


def _file_columns(layout: TableLayout, wanted: list[str] | None) -> list[str]:
    """The columns to read for *wanted*, which may also be a row index or path, or none at all."""
    return [name for name in layout.names if wanted is None or name in wanted]
