"""Readers over many Avro files: tables, frames, batches, records, or just the schema.

Options are those of ``ReadOptions``; the functions name the ones
that are theirs alone. Each has a twin for coroutines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from fsspec_avroglob.aio.blocking import BlockingIterator, blocking
from fsspec_avroglob.aio.tasks import on_io_loop
from fsspec_avroglob.avro.blocks import Dropped
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.errors import AvroDecodeError
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import Columns, ReadOptions, SourceOptions, TableOptions
from fsspec_avroglob.readers.records import RecordReading
from fsspec_avroglob.readers.session import Located
from fsspec_avroglob.readers.sources import ResolvedSources

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from fsspec_avroglob.readers.batches import TableReading
    from fsspec_avroglob.readers.frames import DtypeBackend, FrameBuilder

__all__ = [
    "AvroBatches",
    "AvroDecodeError",
    "AvroRecords",
    "aiter_avro_batches",
    "aiter_avro_records",
    "iter_avro_batches",
    "iter_avro_records",
    "read_avro",
    "read_avro_async",
    "read_avro_schema",
    "read_avro_schema_async",
    "read_avro_table",
    "read_avro_table_async",
]

T = TypeVar("T")


# --- frames and tables ---------------------------------------------------------------------------


def read_avro(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    dtype_backend: DtypeBackend | None = None,
    **options: Unpack[TableOptions],
) -> pandas.DataFrame:
    """Read Avro files as one pandas DataFrame with a row for each record.

    - ``urlpath``: path, URL or glob, or a list of them; rows are in the order of the files.
    - ``storage_options``: of the filesystem that serves the URLs.
    - ``columns``, ``n_rows``, and more options: see :class:`ReadOptions`.
    - ``dtype_backend``: as pandas has it: "numpy_nullable" or "pyarrow".

    Dtypes follow from the schema alone, never from the values (docs/types.md has the table). Values
    of a top level that is no record make the one column ``value``. What ``ignore_errors`` has left
    out is listed in ``frame.attrs["avroglob"]``.

    Raises ImportError without pandas or pyarrow, ValueError for options that cannot be, what
    :meth:`ResolvedSources.resolve` raises, and AvroDecodeError for corrupt data.
    """
    frames = _frames(dtype_backend)
    chosen = ReadOptions.of(read_avro, options, columns, n_rows)
    opened = _prepared(urlpath, storage_options, chosen)
    builder, errors = blocking(_filled, frames, dtype_backend, *opened)
    return builder.frame(errors)


async def read_avro_async(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    dtype_backend: DtypeBackend | None = None,
    **options: Unpack[TableOptions],
) -> pandas.DataFrame:
    """:func:`read_avro` as a coroutine."""
    frames = _frames(dtype_backend)
    chosen = ReadOptions.of(read_avro_async, options, columns, n_rows)
    opened = await asyncio.to_thread(_prepared, urlpath, storage_options, chosen)
    builder, errors = await on_io_loop(_filled, frames, dtype_backend, *opened)
    return await asyncio.to_thread(builder.frame, errors)


def read_avro_table(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    **options: Unpack[TableOptions],
) -> pyarrow.Table:
    """Read Avro files as one Arrow table; arguments and errors as of :func:`read_avro`.

    What ``ignore_errors`` has left out is listed in the schema's metadata, under ``avroglob``.
    """
    _tables()
    opened = _prepared(
        urlpath, storage_options, ReadOptions.of(read_avro_table, options, columns, n_rows)
    )
    return _reported(*blocking(_table, *opened))


async def read_avro_table_async(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    **options: Unpack[TableOptions],
) -> pyarrow.Table:
    """:func:`read_avro_table` as a coroutine."""
    _tables()
    chosen = ReadOptions.of(read_avro_table_async, options, columns, n_rows)
    opened = await asyncio.to_thread(_prepared, urlpath, storage_options, chosen)
    return _reported(*await on_io_loop(_table, *opened))


async def _table(located: Located, options: ReadOptions) -> tuple[pyarrow.Table, list[Dropped]]:
    reading = await _tables().TableReading.open(located, options)
    return await reading.table(), reading.reading.errors


async def _filled(
    frames: Any, dtype_backend: DtypeBackend | None, located: Located, options: ReadOptions
) -> tuple[FrameBuilder, list[Dropped]]:
    reading = await _tables().TableReading.open(located, options)
    builder = frames.FrameBuilder(reading.layout.arrow, dtype_backend, reading.layout.categories)
    async with aclosing(reading.joined_batches()) as batches:
        async for batch in batches:
            await asyncio.to_thread(builder.add, batch)
    return builder, reading.reading.errors


def _reported(table: pyarrow.Table, errors: list[Dropped]) -> pyarrow.Table:
    if not errors:
        return table
    metadata = {**(table.schema.metadata or {}), b"avroglob": "\n".join(map(str, errors)).encode()}
    return table.replace_schema_metadata(metadata)


# --- batches -------------------------------------------------------------------------------------


class AvroBatches(BlockingIterator["pyarrow.RecordBatch"]):
    """Record batches of Avro files, in order; close it if it is not read to its end.

    - ``schema``: the Arrow schema of every batch.
    - ``errors``: what ``ignore_errors`` has left out so far.
    """

    def __init__(self, reading: TableReading, batch_size: int | None) -> None:
        super().__init__(_cut(reading, batch_size))
        self.schema: pyarrow.Schema = reading.layout.arrow
        self.errors: list[Dropped] = reading.reading.errors


def iter_avro_batches(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    batch_size: int | None = None,
    **options: Unpack[TableOptions],
) -> AvroBatches:
    """Read Avro files as Arrow record batches, in memory that does not grow with their number.

    - ``batch_size``: rows of each batch but the last; by default what decoding gives.

    Other arguments and errors as of :func:`read_avro`. All of it that does not need data (names,
    headers, schemas) is checked by the call itself unless ``n_rows`` is given.
    """
    tables = _tables()
    chosen = ReadOptions.of(iter_avro_batches, options, columns, n_rows)
    opened = _prepared(urlpath, storage_options, chosen)
    _check_batch_size(batch_size)
    reading = blocking(tables.TableReading.open, *opened, check_first=True)
    return AvroBatches(reading, batch_size)


def aiter_avro_batches(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    *,
    batch_size: int | None = None,
    **options: Unpack[TableOptions],
) -> AsyncItems[pyarrow.RecordBatch]:
    """:func:`iter_avro_batches` for ``async for``; begins when the first is asked for."""
    tables = _tables()
    chosen = ReadOptions.of(aiter_avro_batches, options, columns, n_rows)
    _check_batch_size(batch_size)

    async def open_() -> tuple[list[Dropped], AsyncGenerator[pyarrow.RecordBatch, None]]:
        opened = await asyncio.to_thread(_prepared, urlpath, storage_options, chosen)
        reading = await tables.TableReading.open(*opened, check_first=True)
        return reading.reading.errors, _cut(reading, batch_size)

    return AsyncItems(open_)


def _check_batch_size(batch_size: int | None) -> None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, it is {batch_size}")


def _cut(
    reading: TableReading, batch_size: int | None
) -> AsyncGenerator[pyarrow.RecordBatch, None]:
    tables, schema = _tables(), reading.layout.arrow
    batches: AsyncGenerator[pyarrow.RecordBatch, None] = reading.batches()
    if batch_size is None:
        batches = tables.joined(batches, schema)
    else:
        batches = tables.sized(batches, schema, batch_size)
    return batches


# --- records -------------------------------------------------------------------------------------


class AvroRecords(BlockingIterator[Any]):
    """Records of Avro files, in order; close it if it is not read to its end.

    - ``schema``: the Avro schema that the files have together.
    - ``errors``: what ``ignore_errors`` has left out so far.
    """

    def __init__(self, reading: RecordReading) -> None:
        super().__init__(reading.values())
        self.schema: AvroSchema = reading.reading.fit.table.source
        self.errors: list[Dropped] = reading.reading.errors
        self._values: Iterator[Any] = iter(())

    def __next__(self) -> Any:
        while True:
            for value in self._values:
                return value
            self._values = iter(super().__next__())

    def close(self) -> None:
        """End the reading, what is being fetched and decoded included."""
        self._values = iter(())
        super().close()


def iter_avro_records(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    **options: Unpack[SourceOptions],
) -> AvroRecords:
    """Iterate over the records of Avro files as dicts, as fastavro makes them.

    Arguments and errors are those of :func:`read_avro`; all of it that does not need data (names,
    headers, schemas) is checked by the call itself unless ``n_rows`` is given. A dict has the
    fields in the order of the table's schema, or of ``columns``. Of a top level that is no record
    the values themselves are yielded, and there are no columns to choose. Records are what the
    files hold: options that add columns are TypeErrors.
    """
    chosen = _record_options(iter_avro_records, options, columns, n_rows)
    opened = _prepared(urlpath, storage_options, chosen)
    return AvroRecords(blocking(RecordReading.open, *opened))


def aiter_avro_records(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    n_rows: int | None = None,
    **options: Unpack[SourceOptions],
) -> AsyncRecords:
    """:func:`iter_avro_records` for ``async for``; begins when the first is asked for."""
    chosen = _record_options(aiter_avro_records, options, columns, n_rows)

    async def open_() -> tuple[list[Dropped], AsyncGenerator[list[Any], None]]:
        opened = await asyncio.to_thread(_prepared, urlpath, storage_options, chosen)
        reading = await RecordReading.open(*opened)
        return reading.reading.errors, reading.values()

    return AsyncRecords(AsyncItems(open_))


def _record_options(
    reader: Callable[..., object], options: SourceOptions, columns: Columns, n_rows: int | None
) -> ReadOptions:
    """The options of a reader of records. Raises TypeError for those of tables alone."""
    for name in ("row_index_name", "include_file_paths"):
        if options.get(name) is not None:
            raise TypeError(f"{name} adds a column to tables, and records have none to add to")
    chosen = ReadOptions.of(reader, options, columns, n_rows)
    if chosen.engine not in ("auto", "fastavro"):
        raise ValueError(f"records are decoded by fastavro, not by {chosen.engine!r}")
    return chosen


# --- schemas -------------------------------------------------------------------------------------


def read_avro_schema(
    urlpath: Sources, storage_options: StorageOptions = None, *, glob: bool = True
) -> AvroSchema:
    """The Avro schema of files that make one table, as it stands in the first.

    The headers of all files are read and compared; errors as of :meth:`ResolvedSources.resolve`.
    """
    return ResolvedSources.resolve(urlpath, storage_options, glob=glob).schema


async def read_avro_schema_async(
    urlpath: Sources, storage_options: StorageOptions = None, *, glob: bool = True
) -> AvroSchema:
    """:func:`read_avro_schema` as a coroutine."""
    return (await ResolvedSources.resolve_async(urlpath, storage_options, glob=glob)).schema


# --- between loops -------------------------------------------------------------------------------


class AsyncItems(AsyncIterator[T], Generic[T]):
    """What an async generator on fsspec's I/O loop yields, for the running loop.

    ``errors``: what ``ignore_errors`` has left out so far. Close it if it is not read to its end.
    """

    def __init__(
        self,
        open_: Callable[[], Coroutine[Any, Any, tuple[list[Dropped], AsyncGenerator[T, None]]]],
    ) -> None:
        self.errors: list[Dropped] = []
        self._open = open_
        self._items: AsyncGenerator[T, None] | None = None
        self._turn = asyncio.Lock()
        self._closed = self._cut_short = False

    async def __anext__(self) -> T:
        async with self._turn:
            if self._closed:
                raise StopAsyncIteration
            if self._cut_short:
                raise RuntimeError("reading was cancelled while rows were awaited; begin it anew")
            if self._items is None:
                self.errors, self._items = await on_io_loop(self._open)
            try:
                found: tuple[T, ...] = await on_io_loop(_next, self._items)
            except asyncio.CancelledError:
                # The generator has ended with it, and would be taken for one without more rows.
                self._cut_short = True
                raise
        if not found:
            raise StopAsyncIteration
        return found[0]

    async def aclose(self) -> None:
        """End the reading, what is being fetched and decoded included."""
        async with self._turn:
            self._closed = True
            if self._items is not None:
                await on_io_loop(_closed, self._items)


class AsyncRecords(AsyncIterator[Any]):
    """Records of Avro files for ``async for``; close them if they are not read to their end."""

    def __init__(self, lists: AsyncItems[list[Any]]) -> None:
        self._lists = lists
        # Added to, never replaced: tasks that share the records each bring a list.
        self._values: deque[Any] = deque()

    @property
    def errors(self) -> list[Dropped]:
        """What ``ignore_errors`` has left out so far."""
        return self._lists.errors

    async def __anext__(self) -> Any:
        while not self._values:
            self._values.extend(await anext(self._lists))
        return self._values.popleft()

    async def aclose(self) -> None:
        """End the reading, what is being fetched and decoded included."""
        try:
            await self._lists.aclose()
        finally:
            self._values.clear()  # also of what another task has brought meanwhile


async def _next(items: AsyncGenerator[T, None]) -> tuple[T, ...]:
    """The next item alone, or nothing if there is none."""
    async for item in items:
        return (item,)
    return ()


async def _closed(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


def _prepared(
    urlpath: Sources | ResolvedSources, storage_options: StorageOptions, options: ReadOptions
) -> tuple[Located, ReadOptions]:
    return Located.of(urlpath, storage_options, options), options


def _tables() -> Any:
    try:
        from fsspec_avroglob.readers import batches
    except ImportError as error:
        raise _missing("pyarrow", "arrow", error) from error
    return batches


def _frames(dtype_backend: DtypeBackend | None) -> Any:
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise _missing("pandas", "pandas", error) from error
    _tables()
    from fsspec_avroglob.readers import frames

    frames.check_backend(dtype_backend)
    return frames


def _missing(package: str, extra: str, error: ImportError) -> ImportError:
    return ImportError(
        f"this reader needs {package}: pip install 'fsspec-avroglob[{extra}]' "
        f"(iter_avro_records does without); {error}"
    )
