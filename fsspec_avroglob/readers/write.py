"""Writing Avro files: from tables and records, each file whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from typing import Any

import fastavro.write
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.avro.schema import AvroSchema, parse_schema
from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.readers.locate import Source, StorageOptions, filesystem_for, source_names

CODECS = ("null", "deflate", "snappy", "bzip2", "xz", "zstandard")
"""What ``codec`` may be."""

BLOCK_BYTES = 128 << 10
"""Size of a block before compression: large enough for codecs and column-wise decoders, small
enough to divide files at."""

# A file up to this size is sent by one PUT, a larger one in parts while it is being encoded.
_PUT_BYTES = 16 << 20


def write_avro(
    data: Any,
    url: Source,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    max_rows_per_file: int | None = None,
    storage_options: StorageOptions = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """Write a table or records to one Avro file, or to several.

    - ``data``: a pandas or Polars DataFrame, a pyarrow Table, anything else with Arrow's
      ``__arrow_c_stream__``, or an iterable of records (dicts). A pandas index is not written.
    - ``url``: path or URL of the file, which is replaced if it exists. With *max_rows_per_file*
      its ``*`` stands for the number of the file: ``events/part-*.avro``.
    - ``schema``: the Avro schema; by default it follows from the columns' Arrow types
      (:func:`fsspec_avroglob.avro.derive.avro_schema_of`).
    - ``codec``: one of CODECS.
    - ``max_rows_per_file``: most rows in a file.
    - ``storage_options``: of the filesystem that serves the URL.
    - ``metadata``: further entries for the files' headers.

    Returns the names of the files. Each appears when it is complete; if writing fails, the file
    that was being written does not appear, and those before it remain. Records with a schema are
    written as they come, in bounded memory.

    Raises ValueError for arguments that do not go together, InvalidSchemaError, NotWritableError
    for columns that Avro or the schema cannot hold, ImportError without pyarrow if it is needed.
    """
    return _write(data, url, schema, codec, max_rows_per_file, storage_options, metadata)


async def write_avro_async(
    data: Any,
    url: Source,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    max_rows_per_file: int | None = None,
    storage_options: StorageOptions = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """:func:`write_avro` as a coroutine; *data* is iterated over in a thread.

    Cancelled, it ends when the file that was being written has been withdrawn.
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
    """Nobody waits for the files any more."""


def _write(
    data: Any,
    url: Source,
    schema: AvroSchema | None,
    codec: str,
    max_rows_per_file: int | None,
    storage_options: StorageOptions,
    metadata: Mapping[str, str] | None,
    ended: Callable[[], bool] = lambda: False,
) -> list[str]:
    """:func:`write_avro`, until *ended*: then _EndedError, and the file does not appear."""
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
    """The files' names in order; one if their rows are not limited."""
    if max_rows_per_file is not None and max_rows_per_file < 1:
        raise ValueError(f"max_rows_per_file is {max_rows_per_file}; at least 1 is needed")
    if url.count("*") != (max_rows_per_file is not None):
        raise ValueError(
            f"{url!r} and max_rows_per_file={max_rows_per_file} do not go together: one * stands "
            "for the number of the file when there are several"
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
    """Rows to write. *checked*: they are known to fit the schema."""

    values: Iterable[Any]
    schema: AvroSchema
    checked: bool

    @classmethod
    def of(cls, data: Any, schema: AvroSchema | None) -> _Rows:
        """The rows of what a user has given, and their schema if that is None."""
        if schema is not None:
            parse_schema(schema)
        if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
            if not hasattr(data, "__arrow_c_stream__"):
                raise TypeError(f"a table or records are written, not {type(data).__name__}")
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
        """Encode *rows*, each with its number among all, as a container file."""
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
            except Exception as error:  # fastavro lets Python's own through
                # Of its validator's errors, the text is a page of JSON.
                reason = "; ".join(map(str, getattr(error, "errors", [error])))
                raise ValueError(f"row {number} does not fit the schema: {reason}") from error
        writer.flush()


def _import_pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "tables, and records without a schema, are written with pyarrow: "
            "pip install 'fsspec-avroglob[arrow]'"
        ) from error
    return pyarrow


def _table(pyarrow: Any, data: Any) -> Any:
    library = type(data).__module__.partition(".")[0]
    if library in ("pandas", "polars"):
        if not hasattr(data, "columns"):
            raise TypeError(f"a table or records are written, not {type(data).__name__}")
        from_pandas = partial(pyarrow.Table.from_pandas, preserve_index=False)
        return _converted(data, from_pandas if library == "pandas" else _polars_table)
    if not hasattr(data, "__arrow_c_stream__"):
        return _records_table(pyarrow, list(data))
    try:
        return pyarrow.table(data)
    except (pyarrow.ArrowInvalid, TypeError) as error:
        kind = type(data).__name__
        raise TypeError(f"a table or records are written, not {kind}: {error}") from error


def _converted(frame: Any, convert: Callable[[Any], Any]) -> Any:
    """The Arrow table of a frame; raises NotWritableError for the first column that has none."""
    try:
        return convert(frame)
    except Exception:
        for name in frame.columns:
            _column_of(str(name), convert, frame[[name]])
        raise


def _column_of(name: str, convert: Callable[[Any], Any], values: Any) -> Any:
    """What *convert* makes of a column; NotWritableError with its name where that fails."""
    try:
        return convert(values)
    except Exception as error:  # whatever the libraries raise
        text = str(error.args[0]) if error.args else str(error)
        raise NotWritableError(name, f"{text}; convert the column, or leave it out") from error


def _polars_table(frame: Any) -> Any:
    import polars

    if polars.Object in frame.dtypes:
        raise TypeError("Arrow has no type for Python objects")  # Polars gives their addresses
    # Newer Polars types are views, for which pyarrow lacks conversions.
    return frame.to_arrow(compat_level=polars.CompatLevel.oldest())


def _records_table(pyarrow: Any, records: list[Any]) -> Any:
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(f"row {number} is {record!r} and no dict; give schema=... for values")
    # Not Table.from_pylist, for which the first record's fields are all there are.
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        raise ValueError("there are no records to derive a schema from; give schema=...")
    columns = {name: [record.get(name) for record in records] for name in names}
    return pyarrow.table({k: _column_of(str(k), pyarrow.array, v) for k, v in columns.items()})


def _symbols(table: Any) -> dict[str, list[str]]:
    """The values of dictionary columns, by name."""
    unified = table.unify_dictionaries()
    return {
        name: column.chunk(0).dictionary.to_pylist()
        for name, column in zip(unified.column_names, unified.columns, strict=True)
        if hasattr(column.type, "index_type") and column.num_chunks
    }


@contextmanager
def _whole_file(fs: AbstractFileSystem, path: str) -> Iterator[Any]:
    """A file to write that appears when the block ends, and does not if it fails."""
    if isinstance(fs, LocalFileSystem):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory; name a file in it", path)
        if not os.path.isdir(directory := os.path.dirname(path)):
            raise FileNotFoundError(errno.ENOENT, "No such directory; make it first", directory)
        part = f"{path}.{uuid.uuid4().hex}.part"
        try:
            with open(part, "wb") as file:
                yield file
            os.replace(part, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.remove(part)
            raise
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


class _Upload:
    """A remote file: kept here while it is small, then sent in parts that are joined at the end."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._kept = bytearray()
        self._parts: Any = None

    def write(self, data: bytes) -> None:
        if self._parts is not None:
            self._parts.write(data)
            return
        self._kept += data
        if len(self._kept) > _PUT_BYTES:
            # Not open(), which leaves the file to the next transaction.
            self._parts = self._fs._open(self._path, mode="wb", autocommit=False)
            self._parts.write(bytes(self._kept))
            self._kept.clear()

    def seekable(self) -> bool:
        """No; fastavro looks for a file to append to otherwise."""
        return False

    def flush(self) -> None:
        """Do nothing: what is sent when is not fastavro's decision."""

    def commit(self) -> None:
        if self._parts is None:
            self._fs.pipe_file(self._path, bytes(self._kept))
        else:
            self._parts.close()
            self._parts.commit()

    def discard(self) -> None:
        if self._parts is not None:
            self._parts.close()
            self._parts.discard()
