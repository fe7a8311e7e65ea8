"""Write tables and records to Avro files; each file appears complete or not at all.

>>> write_avro([{"id": 1}], "/tmp/ids.avro")
['/tmp/ids.avro']
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from typing import Any

import fastavro.write
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.avro.schema import AvroSchema, parse_schema
from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.readers.locate import SourcePath, StorageOptions, filesystem_for, source_names

CODECS = ("null", "deflate", "snappy", "bzip2", "xz", "zstandard")
"""What ``codec`` may be; ``"zstd"`` is ``"zstandard"``."""

BLOCK_BYTES = 128 << 10
"""Size of a block before compression: large enough for codecs and columnar decoders, and small
enough to divide files between blocks."""

# One PUT sends a file up to this size; a larger one is sent in parts while it is encoded.
_PUT_BYTES = 16 << 20


def write_avro(
    data: Any,
    url: SourcePath,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    max_rows_per_file: int | None = None,
    storage_options: StorageOptions = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """Write a table or records to one Avro file, or to several.

    A file appears when it is complete. After a failure, the files before it remain. Records with a
    schema are written as they are iterated over, in bounded memory.

    Parameters
    ----------
    data : DataFrame, Table or iterable of dict
        A pandas or Polars DataFrame, a pyarrow Table, anything with ``__arrow_c_stream__``, or
        records. A pandas index is not written.
    url : path or URL
        The file, which is replaced if it exists. With *max_rows_per_file* it has one ``*`` for the
        number of the file: ``events/part-*.avro``.
    schema : Avro schema, optional
        By default derived from Arrow types (:func:`fsspec_avroglob.avro.derive.avro_schema_of`).
    codec : str
        One of CODECS.
    max_rows_per_file : int, optional
        Most rows in a file.
    storage_options : mapping, optional
        Options of the filesystem that serves the URL.
    metadata : mapping of str to str, optional
        More entries for the headers of the files.

    Returns
    -------
    list of str
        The names of the files.

    Raises
    ------
    NotWritableError, InvalidSchemaError
        Avro or the schema cannot hold a column, or the schema is invalid.
    ValueError, ImportError
        Arguments contradict each other; pyarrow is needed and not installed.
    """
    return _write(data, url, schema, codec, max_rows_per_file, storage_options, metadata)


async def write_avro_async(
    data: Any,
    url: SourcePath,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    max_rows_per_file: int | None = None,
    storage_options: StorageOptions = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """:func:`write_avro` as a coroutine; a thread iterates over *data*.

    When it is cancelled, it first discards the unfinished file.
    """
    ending = threading.Event()
    arguments = data, url, schema, codec, max_rows_per_file, storage_options, metadata
    writing = asyncio.ensure_future(asyncio.to_thread(_write, *arguments, ending.is_set))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        ending.set()
        await asyncio.gather(writing, return_exceptions=True)
        raise


class _EndedError(Exception):
    """The caller was cancelled."""


def _write(
    data: Any,
    url: SourcePath,
    schema: AvroSchema | None,
    codec: str,
    max_rows_per_file: int | None,
    storage_options: StorageOptions,
    metadata: Mapping[str, str] | None,
    ended: Callable[[], bool] = lambda: False,
) -> list[str]:
    """:func:`write_avro`, until *ended*: then _EndedError, and the file does not appear."""
    codec = "zstandard" if codec == "zstd" else codec
    if codec not in CODECS:
        raise ValueError(f"codec {codec!r} is none of {', '.join(CODECS)}")
    (name,), storage_options = source_names(url, storage_options)
    names = _names(name, max_rows_per_file)
    rows = _Rows.of(data, schema)
    left = _numbered(rows.values, ended)
    written: list[str] = []
    for name in names:
        with _whole_file(*filesystem_for(name, storage_options)) as out:
            rows.write(out, islice(left, max_rows_per_file), codec, metadata)
        written.append(name)
        ahead = list(islice(left, 1))
        if not ahead:
            break
        left = chain(ahead, left)
    return written


def _names(url: str, max_rows_per_file: int | None) -> Iterator[str]:
    """Generate the names of the files; one without a limit of rows."""
    if max_rows_per_file is not None and max_rows_per_file < 1:
        raise ValueError(f"max_rows_per_file is {max_rows_per_file}; it must be at least 1")
    if url.count("*") != (max_rows_per_file is not None):
        raise ValueError(
            f"{url!r} does not fit max_rows_per_file={max_rows_per_file}: the name of several "
            "files needs exactly one *, for their number, and that of one file none"
        )
    if max_rows_per_file is None:
        return iter([url])
    return (url.replace("*", f"{number:05}") for number in count())


def _numbered(rows: Iterable[Any], ended: Callable[[], bool]) -> Iterator[tuple[int, Any]]:
    for item in enumerate(rows):
        if ended():
            raise _EndedError
        yield item
    if ended():
        raise _EndedError


@dataclass(frozen=True)
class _Rows:
    """Rows to write; *checked* if they fit the schema."""

    values: Iterable[Any]
    schema: AvroSchema
    checked: bool

    @classmethod
    def of(cls, data: Any, schema: AvroSchema | None) -> _Rows:
        """Make rows of the user's data, and derive a schema if there is none."""
        if schema is not None:
            parse_schema(schema)
        if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
            if not hasattr(data, "__arrow_c_stream__"):
                raise TypeError(f"expected a table or records, not {type(data).__name__}")
        elif schema is not None and not hasattr(data, "__arrow_c_stream__"):
            return cls(data, schema, checked=False)
        pyarrow = _import_pyarrow()
        from fsspec_avroglob.avro.arrow import TableSchema
        from fsspec_avroglob.avro.derive import avro_schema_of
        from fsspec_avroglob.avro.encode import table_records

        table = _table(pyarrow, data)
        if schema is None:
            schema = avro_schema_of(table.schema, _symbols(table))
        return cls(table_records(table, TableSchema.of(schema)), schema, checked=True)

    def write(
        self,
        out: Any,
        rows: Iterable[tuple[int, Any]],
        codec: str,
        metadata: Mapping[str, str] | None,
    ) -> None:
        """Encode numbered rows as a container file."""
        writer = fastavro.write.Writer(
            out,
            self.schema,
            codec,
            sync_interval=BLOCK_BYTES,
            metadata=dict(metadata or {}),
            validator=not self.checked,
            options={"strict_allow_default": True},
        )
        for number, row in rows:
            try:
                writer.write(row)
            except OSError:
                raise
            except Exception as error:  # fastavro also raises built-in exceptions
                # The text of a validation error is a page of JSON.
                reason = "; ".join(map(str, getattr(error, "errors", [error])))
                raise ValueError(f"row {number} does not fit the schema: {reason}") from error
        writer.flush()


def _import_pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "writing tables, or records without a schema, needs pyarrow: "
            "pip install 'fsspec-avroglob[arrow]'"
        ) from error
    return pyarrow


def _table(pyarrow: Any, data: Any) -> Any:
    library = type(data).__module__.partition(".")[0]
    if library in ("pandas", "polars"):
        if not hasattr(data, "columns"):
            raise TypeError(f"expected a table or records, not {type(data).__name__}")
        from_pandas = partial(pyarrow.Table.from_pandas, preserve_index=False)
        return _converted(data, from_pandas if library == "pandas" else _polars_table)
    if not hasattr(data, "__arrow_c_stream__"):
        return _records_table(pyarrow, list(data))
    try:
        return pyarrow.table(data)
    except (pyarrow.ArrowInvalid, TypeError) as error:
        kind = type(data).__name__
        raise TypeError(f"expected a table or records, not {kind}: {error}") from error


def _converted(frame: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert a frame; raises NotWritableError for the first column that cannot be converted."""
    try:
        return convert(frame)
    except Exception:
        for name in frame.columns:
            _column_of(str(name), convert, frame[[name]])
        raise


def _column_of(name: str, convert: Callable[[Any], Any], values: Any) -> Any:
    """Convert a column; raises NotWritableError with its name."""
    try:
        return convert(values)
    except Exception as error:  # pyarrow and polars raise many types
        text = str(error.args[0]) if error.args else str(error)
        raise NotWritableError(name, f"{text}; convert the column, or leave it out") from error


def _polars_table(frame: Any) -> Any:
    import polars

    if polars.Object in frame.dtypes:  # Polars would write their addresses
        raise TypeError("Arrow has no type for Python objects")
    # pyarrow lacks conversions for the view types of newer Polars.
    return frame.to_arrow(compat_level=polars.CompatLevel.oldest())


def _records_table(pyarrow: Any, records: list[Any]) -> Any:
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(f"row {number} is {record!r}, not a dict; values need schema=...")
    # Table.from_pylist would take only the fields of the first record.
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        raise ValueError("there are no records to derive a schema from; give schema=...")
    columns = {name: [record.get(name) for record in records] for name in names}
    return pyarrow.table({k: _column_of(str(k), pyarrow.array, v) for k, v in columns.items()})


def _symbols(table: Any) -> dict[str, list[str]]:
    """Return the values of dictionary columns, by name."""
    unified = table.unify_dictionaries()
    return {
        name: column.chunk(0).dictionary.to_pylist()
        for name, column in zip(unified.column_names, unified.columns, strict=True)
        if hasattr(column.type, "index_type") and column.num_chunks
    }


@contextmanager
def _whole_file(fs: AbstractFileSystem, path: str) -> Iterator[Any]:
    """Open a file that appears if the block succeeds."""
    if isinstance(fs, LocalFileSystem):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory; name a file in it", path)
        if not os.path.isdir(directory := os.path.dirname(path)):
            raise FileNotFoundError(errno.ENOENT, "No such directory; create it first", directory)
        with atomic_path(path) as part, open(part, "wb") as file:
            yield file
        return
    if isinstance(fs, AvroGlobFileSystem) and not fs.split_path(path)[1]:
        raise IsADirectoryError(errno.EISDIR, "Is a bucket; name a file in it", path)
    upload = _Upload(fs, path)
    try:
        yield upload
        upload.commit()
    except BaseException:
        upload.discard()
        raise


class _Upload(io.RawIOBase):
    """A remote file: buffered while it is small, then sent as a multipart upload."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._buffer = bytearray()
        self._parts: Any = None

    def write(self, data: Any) -> None:
        if self._parts is not None:
            self._parts.write(data)
            return
        self._buffer += data
        if len(self._buffer) > _PUT_BYTES:
            # Within a transaction, open() would commit the file only at its end.
            self._parts = self._fs._open(self._path, mode="wb", autocommit=False)
            self._parts.write(bytes(self._buffer))
            self._buffer.clear()

    def commit(self) -> None:
        if self._parts is None:
            self._fs.pipe_file(self._path, bytes(self._buffer))
        else:
            self._parts.close()
            self._parts.commit()

    def discard(self) -> None:
        if self._parts is not None:
            self._parts.close()
            self._parts.discard()
