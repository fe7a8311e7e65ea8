"""Readers over many Avro files: frames, tables, batches, records, or just the schema.

The readers share one set of options, :class:`ReadOptions`. Each has a twin for coroutines with the
same parameters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import Callback

from fsspec_avroglob.aio.blocking import BlockingIterator, blocking
from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.readers.hive import Filters
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import (
    MAX_BYTES,
    MAX_CONCURRENCY,
    Columns,
    DtypeBackend,
    Engine,
    ReadOptions,
    Recursive,
    with_options_documented,
)
from fsspec_avroglob.readers.records import RecordReading
from fsspec_avroglob.readers.session import Located
from fsspec_avroglob.readers.sources import ResolvedSources
from fsspec_avroglob.readers.twins import Job, Urls, async_items_twin, coroutine_twin

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from fsspec_avroglob.readers.batches import TableReading

# --- frames and tables ---------------------------------------------------------------------------


@with_options_documented
def read_avro(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    dtype_backend: DtypeBackend | None = None,
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
) -> pandas.DataFrame:
    """Read Avro files as one pandas DataFrame with a row for each record.

    Dtypes depend only on the schema, never on the values: docs/types.md has the table. Values that
    are not records become the one column ``value``. ``frame.attrs["avroglob"]`` lists what
    ``ignore_errors`` skipped.

    Parameters
    ----------
    urlpath : path, URL or glob, a list of them, or ResolvedSources
        The files; rows are in their order.
    storage_options : mapping, optional
        Options of the filesystem that serves the URLs.

    Raises
    ------
    ImportError
        pandas or pyarrow is not installed.
    AvroDecodeError
        A file has corrupt data.
    Exception
        Whatever :meth:`ResolvedSources.resolve` raises for files, schemas and filters.

    Examples
    --------
    >>> read_avro("s3://lake/events/*.avro", columns=["id"], n_rows=2)  # doctest: +SKIP
       id
    0   1
    1   2
    """
    return blocking(_prepare_frame(urlpath, storage_options, ReadOptions.of(locals())))


def read_avro_table(
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
) -> pyarrow.Table:
    """Read Avro files as one Arrow table; parameters and errors are those of :func:`read_avro`.

    The schema's metadata lists under ``avroglob`` what ``ignore_errors`` skipped.

    Examples
    --------
    >>> read_avro_table("s3://lake/events/*.avro").num_rows  # doctest: +SKIP
    300
    """
    return blocking(_prepare_table(urlpath, storage_options, ReadOptions.of(locals())))


def _prepare_frame(
    urls: Urls, storage_options: StorageOptions, options: ReadOptions
) -> Job[pandas.DataFrame]:
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise _missing("pandas", "pandas", error) from error
    open_table = _prepare_batches(urls, storage_options, options, check_first=False)
    from fsspec_avroglob.readers.frames import FrameBuilder

    async def read() -> pandas.DataFrame:
        table = await open_table()
        builder = FrameBuilder(table.layout.arrow, options.dtype_backend, table.layout.categories)
        async with aclosing(table.batches()) as batches:
            async for batch in batches:
                await asyncio.to_thread(builder.add, batch)
        return await asyncio.to_thread(builder.frame, table.errors, table.reading.left_out)

    return read


def _prepare_table(
    urls: Urls, storage_options: StorageOptions, options: ReadOptions
) -> Job[pyarrow.Table]:
    open_table = _prepare_batches(urls, storage_options, options, check_first=False)

    async def read() -> pyarrow.Table:
        reading = await open_table()
        table = await reading.table()
        if reading.errors:
            text = "\n".join(map(str, reading.errors)).encode()
            table = table.replace_schema_metadata(
                {**(table.schema.metadata or {}), "avroglob": text}
            )
        return table

    return read


class AvroBatches(BlockingIterator["pyarrow.RecordBatch"]):
    """Record batches of Avro files, in order. Close it unless it is exhausted.

    Attributes
    ----------
    schema : pyarrow.Schema
        The schema of every batch.
    errors : list of Dropped
        What ``ignore_errors`` has skipped so far.
    """

    def __init__(self, reading: TableReading) -> None:
        super().__init__(reading.batches())
        self.schema: pyarrow.Schema = reading.layout.arrow
        self.errors: list[Dropped] = reading.errors


def iter_avro_batches(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    batch_size: int | None = None,
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
) -> AvroBatches:
    """Read Avro files as Arrow record batches, in memory that does not grow with the files.

    The call itself checks names, headers and schemas, unless ``n_rows`` is given. The other
    parameters and errors are those of :func:`read_avro`.

    Parameters
    ----------
    batch_size : int, optional
        Rows of each batch but the last; by default what decoding gives.

    Examples
    --------
    >>> with iter_avro_batches("s3://lake/*.avro", batch_size=128) as batches:  # doctest: +SKIP
    ...     [batch.num_rows for batch in batches]
    [128, 128, 44]
    """
    job = _prepare_batches(urlpath, storage_options, ReadOptions.of(locals()))
    return AvroBatches(blocking(job))


def _prepare_batches(
    urls: Urls, storage_options: StorageOptions, options: ReadOptions, *, check_first: bool = True
) -> Job[TableReading]:
    opened = _table_reading().open
    return partial(
        opened, Located.of(urls, storage_options, options), options, check_first=check_first
    )


def _table_reading() -> type[TableReading]:
    try:
        from fsspec_avroglob.readers.batches import TableReading
    except ImportError as error:
        raise _missing("pyarrow", "arrow", error) from error
    return TableReading


class AvroRecords(BlockingIterator[Any]):
    """Records of Avro files, in order. Close it unless it is exhausted.

    Attributes
    ----------
    schema : Avro schema
        The schema that the files have together.
    errors : list of Dropped
        What ``ignore_errors`` has skipped so far.
    """

    def __init__(self, reading: RecordReading) -> None:
        super().__init__(reading.lists())
        self.schema: AvroSchema = reading.schema
        self.errors: list[Dropped] = reading.errors
        self._values: Iterator[Any] = iter(())

    def __next__(self) -> Any:
        while True:
            for value in self._values:
                return value
            self._values = iter(super().__next__())

    def close(self) -> None:
        """End the reading and all that it has in flight."""
        self._values = iter(())
        super().close()


def iter_avro_records(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    glob: bool = True,
    schema: AvroSchema | None = None,
    filters: Filters | None = None,
    ignore_errors: bool = False,
    max_block_size: int = MAX_BLOCK_BYTES,
    max_concurrency: int = MAX_CONCURRENCY,
    max_bytes: int = MAX_BYTES,
    progress: bool | Callback = False,
) -> AvroRecords:
    """Iterate over the records of Avro files as the dicts that fastavro decodes.

    A dict has its fields in the order of the table's schema, or of ``columns``. Values that are
    not records are yielded as they are, and have no columns to choose. The call itself checks
    names, headers and schemas, unless ``n_rows`` is given. Parameters and errors are those of
    :func:`read_avro`; options that add columns do not apply.

    Examples
    --------
    >>> with iter_avro_records("s3://lake/*.avro", columns=["id"]) as records:  # doctest: +SKIP
    ...     next(records)
    {'id': 1}
    """
    job = _prepare_records(urlpath, storage_options, ReadOptions.of(locals()))
    return AvroRecords(blocking(job))


def _prepare_records(
    urls: Urls, storage_options: StorageOptions, options: ReadOptions
) -> Job[RecordReading]:
    return partial(RecordReading.open, Located.of(urls, storage_options, options), options)


def read_avro_schema(
    urlpath: Sources,
    storage_options: StorageOptions = None,
    *,
    glob: bool = True,
    schema: AvroSchema | None = None,
) -> AvroSchema:
    """Return the Avro schema of files that make one table, as the first file has it.

    With *schema*, return the schema that it stands for, such as the union of the files' schemas.
    Reads and compares the headers of all files. Parameters and errors are those of
    :meth:`ResolvedSources.resolve`.

    Examples
    --------
    >>> read_avro_schema("s3://lake/events/*.avro")["name"]  # doctest: +SKIP
    'Event'
    """
    return ResolvedSources.resolve(urlpath, storage_options, glob=glob, schema=schema).schema


async def read_avro_schema_async(
    urlpath: Sources,
    storage_options: StorageOptions = None,
    *,
    glob: bool = True,
    schema: AvroSchema | None = None,
) -> AvroSchema:
    """:func:`read_avro_schema` as a coroutine."""
    found = await ResolvedSources.resolve_async(urlpath, storage_options, glob=glob, schema=schema)
    return found.schema


# --- twins for coroutines ------------------------------------------------------------------------

read_avro_async = coroutine_twin(read_avro, _prepare_frame)
read_avro_table_async = coroutine_twin(read_avro_table, _prepare_table)
aiter_avro_batches = async_items_twin(iter_avro_batches, _prepare_batches, _table_reading)
aiter_avro_records = async_items_twin(iter_avro_records, _prepare_records)


def _missing(package: str, extra: str, error: ImportError) -> ImportError:
    return ImportError(
        f"this reader needs {package}: pip install 'fsspec-avroglob[{extra}]' "
        f"(iter_avro_records does without); {error}"
    )
