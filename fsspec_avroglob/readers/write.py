"""Write tables and records to Avro files; each file appears complete or not at all.

>>> write_avro([{"id": 1}], "/tmp/ids.avro")
['/tmp/ids.avro']
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import Any

import fastavro.write
from fastavro.schema import SchemaParseException, UnknownType
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.avro.schema import AvroSchema, parse_schema, standalone
from fsspec_avroglob.errors import InvalidSchemaError
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.readers.locate import SourcePath, StorageOptions, filesystem_for, source_names
from fsspec_avroglob.readers.tabular import arrow_table, is_records, symbols_of

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
    partition_cols: Sequence[str] | None = None,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """Write a table or records to one Avro file, or to several.

    A file appears when it is complete. After a failure, the files before it remain. Records with a
    schema are written as they are iterated over, in bounded memory. Tables are written column by
    column if polars-avro is installed and can write the schema.

    Parameters
    ----------
    data : DataFrame, Table or iterable of dict
        A pandas or Polars DataFrame, a LazyFrame, a pyarrow Table, what ``iter_avro_batches``
        returns, anything with ``__arrow_c_stream__``, or records. A pandas index is not written.
    url : path or URL
        The file, which is replaced if it exists. With *max_rows_per_file* it has one ``*`` for the
        number of the file: ``events/part-*.avro``. With *partition_cols* it may also be a
        directory.
    schema : Avro schema, optional
        By default derived from Arrow types (:func:`fsspec_avroglob.avro.derive.avro_schema_of`).
    codec : str
        One of CODECS.
    max_rows_per_file : int, optional
        Most rows in a file.
    storage_options : mapping, optional
        Options of the filesystem that serves the URL.
    partition_cols : list of str, optional
        Write ``key=value`` directories of these columns below the directory of *url*, and leave the
        columns out of the files. Null becomes ``__HIVE_DEFAULT_PARTITION__``.
    overwrite : bool
        When all files are written, delete the other files that *url* names with a number for its
        ``*``, in all ``key=value`` directories: the rest of an earlier run.
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
    job = WriteJob.of(
        url, schema, codec, max_rows_per_file, storage_options, partition_cols, metadata
    )
    return job.run(data, overwrite=overwrite)


async def write_avro_async(
    data: Any,
    url: SourcePath,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    max_rows_per_file: int | None = None,
    storage_options: StorageOptions = None,
    *,
    partition_cols: Sequence[str] | None = None,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    """:func:`write_avro` as a coroutine; a thread iterates over *data*.

    When it is cancelled, it first discards the unfinished file.
    """
    ending = threading.Event()

    def write() -> list[str]:
        job = WriteJob.of(
            url, schema, codec, max_rows_per_file, storage_options, partition_cols, metadata
        )
        return replace(job, ended=ending.is_set).run(data, overwrite=overwrite)

    writing = asyncio.ensure_future(asyncio.to_thread(write))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        ending.set()
        await asyncio.gather(writing, return_exceptions=True)
        raise


class _EndedError(Exception):
    """The caller was cancelled."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class WriteJob:
    """The arguments of :func:`write_avro`, checked; ends with _EndedError once *ended* is true."""

    url: str
    schema: AvroSchema | None
    codec: str
    max_rows: int | None
    storage_options: StorageOptions
    partition_cols: tuple[str, ...]
    metadata: Mapping[str, str]
    ended: Callable[[], bool] = _never

    @classmethod
    def of(
        cls,
        url: SourcePath,
        schema: AvroSchema | None,
        codec: str,
        max_rows: int | None,
        storage_options: StorageOptions,
        partition_cols: Sequence[str] | None,
        metadata: Mapping[str, str] | None = None,
        *,
        numbered: bool = False,
    ) -> WriteJob:
        """Check the arguments; *numbered* if there are several files in any case.

        Raises ValueError, TypeError and InvalidSchemaError.
        """
        codec = "zstandard" if codec == "zstd" else codec
        if codec not in CODECS:
            raise ValueError(f"codec {codec!r} is none of {', '.join(CODECS)}")
        if isinstance(partition_cols, str):
            raise TypeError(f"partition_cols is a list of names; write [{partition_cols!r}]")
        (name,), storage_options = source_names(url, storage_options)
        keys = tuple(partition_cols or ())
        if keys and "*" not in name.rpartition("/")[2]:
            name = f"{name.rstrip('/')}/part-*.avro"
        _check_name(name, max_rows, many=numbered or bool(keys) or max_rows is not None)
        if schema is not None:
            parsed = parse_schema(schema)
            if keys and parsed.is_record:
                kept = [f for f in parsed.root["fields"] if f["name"] not in keys]
                schema = standalone(parsed, {**parsed.root, "fields": kept})
        return cls(name, schema, codec, max_rows, storage_options, keys, dict(metadata or {}))

    def run(self, data: Any, *, overwrite: bool = False) -> list[str]:
        """Write the files, and with *overwrite* delete what an earlier run left."""
        if overwrite and "*" not in self.url:
            overwrite = False  # there is only one file
        written = list(self._write(data))
        if overwrite:
            delete_others(self.url, written, self.storage_options)
        return written

    def _write(self, data: Any) -> Iterator[str]:
        if is_records(data) and self.schema is not None and not self.partition_cols:
            names = _numbered(self.url, many=self.max_rows is not None)
            yield from self._write_rows(names, data, self.schema, checked=False)
            return
        table = arrow_table(data)
        if not self.partition_cols:
            yield from self._write_table(self.url, table, many=self.max_rows is not None)
            return
        from fsspec_avroglob.readers.partitioned import partitions_of

        root, _, name = self.url.rpartition("/")
        for directory, part in partitions_of(table, self.partition_cols):
            yield from self._write_table(f"{root}/{directory}/{name}", part, many="*" in name)

    def _write_table(self, url: str, table: Any, *, many: bool) -> Iterator[str]:
        from fsspec_avroglob.avro.arrow import TableSchema
        from fsspec_avroglob.avro.columnar import column_writer
        from fsspec_avroglob.avro.derive import avro_schema_of
        from fsspec_avroglob.avro.encode import table_records

        schema = self.schema
        if schema is None:
            schema = avro_schema_of(table.schema, symbols_of(table))
        columns = TableSchema.of(schema)
        names = _numbered(url, many=many)
        writer = column_writer(table, columns, schema, BLOCK_BYTES)
        if writer is None:
            yield from self._write_rows(names, table_records(table, columns), schema, checked=True)
            return
        step = self.max_rows or max(table.num_rows, 1)
        for start in range(0, max(table.num_rows, 1), step):
            name = next(names)
            with self._file(name) as out:
                part = table.slice(start, step)
                writer.write(out, part, self.codec, self.metadata, self._check_ended)
            yield name

    def _write_rows(
        self, names: Iterator[str], rows: Iterable[Any], schema: AvroSchema, *, checked: bool
    ) -> Iterator[str]:
        """Write rows, which fit the schema if *checked*, with fastavro."""
        left = self._counted(rows)
        for name in names:
            with self._file(name) as out:
                _write_file(
                    out, islice(left, self.max_rows), schema, self.codec, self.metadata, checked
                )
            yield name
            ahead = list(islice(left, 1))
            if not ahead:
                return
            left = chain(ahead, left)

    def _file(self, name: str) -> AbstractContextManager[Any]:
        fs, path = filesystem_for(name, self.storage_options)
        if self.partition_cols and isinstance(fs, LocalFileSystem):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return _whole_file(fs, path)

    def _counted(self, rows: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        for item in enumerate(rows):
            self._check_ended()
            yield item
        self._check_ended()

    def _check_ended(self) -> None:
        if self.ended():
            raise _EndedError


def delete_others(url: str, written: Iterable[str], storage_options: StorageOptions) -> None:
    """Delete the files that *url* names with digits for its ``*``, but not those *written*.

    Files in ``key=value`` directories below the directory of *url* count, too.
    """
    fs, path = filesystem_for(url, storage_options)
    root, _, name = path.rpartition("/")
    kept = {filesystem_for(one, storage_options)[1] for one in written}
    before, _, after = name.partition("*")
    stale = re.compile(rf"(?:[^/]+=[^/]*/)*{re.escape(before)}[0-9]{{5,}}{re.escape(after)}")
    fs.invalidate_cache()
    found = [one for one in fs.find(root) if stale.fullmatch(one[len(root) :].lstrip("/"))]
    if others := [one for one in found if one not in kept]:
        fs.rm(others)


def _check_name(url: str, max_rows: int | None, *, many: bool) -> None:
    if max_rows is not None and max_rows < 1:
        raise ValueError(f"max_rows_per_file is {max_rows}; it must be at least 1")
    if url.count("*") != many:
        raise ValueError(
            f"{url!r} does not fit max_rows_per_file={max_rows}: the name of several "
            "files needs exactly one *, for their number, and that of one file none"
        )


def _numbered(url: str, *, many: bool) -> Iterator[str]:
    """Generate the names of the files; one unless there may be *many*."""
    if not many:
        return iter([url])
    before, _, after = url.rpartition("*")
    return (f"{before}{number:05}{after}" for number in count())


def _write_file(
    out: Any,
    rows: Iterable[tuple[int, Any]],
    schema: AvroSchema,
    codec: str,
    metadata: Mapping[str, str],
    checked: bool,
) -> None:
    """Encode numbered rows as a container file."""
    try:
        writer = fastavro.write.Writer(
            out,
            schema,
            codec,
            sync_interval=BLOCK_BYTES,
            metadata=dict(metadata),
            validator=not checked,
            options={"strict_allow_default": True},
        )
    except (SchemaParseException, UnknownType) as error:
        raise InvalidSchemaError(f"fastavro cannot write the schema: {error}") from error
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
