"""Avro files that make one table: found, their headers read, their schemas compared.

One ranged read fetches the header of a file. If the file is not longer than this read, its bytes
are kept, so that the file is not read again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import on_io_loop, ordered
from fsspec_avroglob.avro.container import HEAD_BYTES, MAX_HEADER_BYTES, ContainerHeader, header_of
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    file_schema,
    without_docs,
)
from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.errors import InvalidSchemaError, NotAvroError
from fsspec_avroglob.readers.directories import NOTHING_LEFT_OUT, LeftOut, find_files
from fsspec_avroglob.readers.fit import ALL_HEADERS, SchemaFit, reader_schema
from fsspec_avroglob.readers.gunzip import inflated, is_gzip
from fsspec_avroglob.readers.hive import Filters, Partition, partition_of
from fsspec_avroglob.readers.locate import (
    Location,
    Sources,
    StorageOptions,
    locate,
    read_part,
    source_names,
)

__all__ = ["OpenedFile", "ResolvedSources", "SourceFile", "open_files"]

T = TypeVar("T")

LONG_HEAD_BYTES = 1024 * 1024
"""Size of the first read of files that will be read to their end."""

KEPT_BYTES = 64 * 1024 * 1024
"""Most bytes of small files to keep; the rest is read again."""

MAX_HEADER_READS = 64
"""Most headers being read at a time."""


@dataclass(frozen=True)
class SourceFile:
    """A file whose header was read.

    Attributes
    ----------
    path : str
        Its name, as the user wrote it.
    header : ContainerHeader
        Its header.
    size : int or None
        Bytes; None if unknown.
    etag : str or None
        The version with this header; None if unknown.
    is_gzip : bool
        Whether it is compressed as a whole; ``header`` and blocks then count inflated bytes.
    head : bytes
        The first bytes of the file; pickles leave them out.
    """

    path: str
    header: ContainerHeader
    size: int | None
    etag: str | None
    is_gzip: bool = False
    head: bytes = field(default=b"", compare=False, repr=False)

    @property
    def data_offset(self) -> int:
        """Offset of the first byte to read for the blocks."""
        return 0 if self.is_gzip else self.header.size_bytes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "head": b""}


class OpenedFile(NamedTuple):
    """A file, its location, and its number among the files found, skipped ones included."""

    source: SourceFile
    location: Location
    number: int


@dataclass(frozen=True)
class ResolvedSources:
    """Avro files that make one table; made by :meth:`resolve` or :meth:`resolve_async`.

    Attributes
    ----------
    files : tuple of SourceFile
        The files, in the order of their rows.
    schema : Avro schema
        The table's schema: that of the first file, or what ``schema=`` asked for.
    column_mappings : tuple
        For each file None if its schema describes the same bytes as the table's; else for each
        field of the table the index of the file's field, or None for the default.
    partitions : tuple of mapping
        For each file the texts of its ``key=value`` directories.
    skipped : tuple of Dropped
        The files that ``ignore_errors=True`` skipped, with the reasons.
    left_out : LeftOut
        How many other files of directories and ``**`` patterns are no data.
    storage_options : mapping or None
        Options of the filesystem, the default of the readers.

    Examples
    --------
    >>> sources = ResolvedSources.resolve("s3://lake/*.avro")  # doctest: +SKIP
    >>> read_avro(sources, columns=["id"])  # doctest: +SKIP
    """

    files: tuple[SourceFile, ...]
    schema: AvroSchema
    column_mappings: tuple[tuple[int | None, ...] | None, ...]
    partitions: tuple[Partition, ...]
    skipped: tuple[Dropped, ...] = ()
    left_out: LeftOut = NOTHING_LEFT_OUT
    storage_options: StorageOptions = field(default=None, repr=False, compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(file.path for file in self.files)

    @classmethod
    def resolve(
        cls,
        sources: Sources,
        storage_options: StorageOptions = None,
        *,
        glob: bool = True,
        schema: AvroSchema | None = None,
        filters: Filters | None = None,
        ignore_errors: bool = False,
        columns: Sequence[str | int] | None = None,
    ) -> ResolvedSources:
        """Find the files, read all headers, and compare the schemas.

        :class:`ReadOptions` describes the options. With *columns*, only these are compared; the
        schema has all. Requests: the listings, and one small read for
        each file, two for a header over 64 KiB.

        Raises
        ------
        FileNotFoundError, PatternError
            As :func:`expand_path`, or a directory has no Avro file.
        NotAvroError, InvalidSchemaError
            A file is empty or not Avro, or has an invalid schema.
        SchemaMismatchError
            The files do not make one table.
        ValueError
            There are no sources, or no directory has the key of a filter.
        """
        names, options = source_names(sources, storage_options)
        located = locate(names, options)
        schema = reader_schema(schema, options)
        resolved = blocking(_resolve, located, glob, schema, filters, ignore_errors, columns)
        return replace(resolved, storage_options=options)

    @classmethod
    async def resolve_async(
        cls,
        sources: Sources,
        storage_options: StorageOptions = None,
        *,
        glob: bool = True,
        schema: AvroSchema | None = None,
        filters: Filters | None = None,
        ignore_errors: bool = False,
        columns: Sequence[str | int] | None = None,
    ) -> ResolvedSources:
        """:meth:`resolve` as a coroutine."""
        names, options = source_names(sources, storage_options)
        located = await asyncio.to_thread(locate, names, options)
        schema = await asyncio.to_thread(reader_schema, schema, options)
        resolved = await on_io_loop(
            _resolve, located, glob, schema, filters, ignore_errors, columns
        )
        return replace(resolved, storage_options=options)


# --- headers -------------------------------------------------------------------------------------


async def open_files(
    files: Iterable[Location],
    *,
    head_bytes: int = HEAD_BYTES,
    ahead: Callable[[], int] = lambda: MAX_HEADER_READS,
    skipped: Callable[[Dropped], object] | None = None,
) -> AsyncGenerator[OpenedFile, None]:
    """Read the headers of files concurrently and yield the files in order.

    The first read of each file has *head_bytes*; *ahead* returns how many files to read beyond
    the current one. *skipped* receives each file without a valid header; without it, the file
    raises NotAvroError. Raises FileNotFoundError with the user's name of the file.
    """

    async def head(item: tuple[int, Location]) -> SourceFile | NotAvroError:
        try:
            return await _read_head(item[1], head_bytes)
        except NotAvroError as error:
            return error

    shared: dict[str, ContainerHeader] = {}
    async with aclosing(ordered(as_async(enumerate(files)), head, ahead)) as heads:
        async for (number, location), opened in heads:
            if isinstance(opened, NotAvroError):
                if skipped is None:
                    raise opened
                skipped(Dropped(location.name, None, 0, location.size or 0, str(opened)))
                continue
            header = opened.header
            known = shared.setdefault(header.schema_text, header)
            if known.metadata == header.metadata:
                # Thousands of files have one schema: keep its text once.
                header = replace(
                    known, sync_marker=header.sync_marker, size_bytes=header.size_bytes
                )
            yield OpenedFile(replace(opened, header=header), location, number)


async def as_async(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Turn an iterable into an async generator."""
    for item in items:
        yield item


async def _read_head(file: Location, head_bytes: int) -> SourceFile:
    data, size, etag = b"", file.size, None
    wanted = head_bytes
    while True:
        part = await read_part(file, len(data), wanted, etag)
        data += part.data
        size = part.size if part.size is not None else size
        etag = part.etag
        whole, compressed = len(data) < wanted, is_gzip(file.path, data)
        most = MAX_HEADER_BYTES + HEAD_BYTES if whole else wanted
        plain = _inflated_head(file, data, most) if compressed else data
        found = header_of(file.name, plain, whole=whole)
        if isinstance(found, ContainerHeader):
            return SourceFile(file.name, found, size, etag, compressed, data)
        wanted = 2 * wanted if compressed else found


def _inflated_head(file: Location, data: bytes, max_bytes: int) -> bytes:
    try:
        return inflated(data, max_bytes)
    except zlib.error as error:
        text = f"{file.name} is not an Avro file: its gzip data is corrupt: {error}"
        raise NotAvroError(text) from error


# --- schemas -------------------------------------------------------------------------------------


async def open_table(
    files: AsyncGenerator[OpenedFile, None],
    schema: AvroSchema | None,
    skipped: Callable[[Dropped], object] | None = None,
    columns: Sequence[str | int] | None = None,
) -> tuple[SchemaFit, AsyncGenerator[OpenedFile, None]]:
    """Return the schema of the table, and its files with each schema compared as it is reached.

    With *columns*, only these need to fit. Awaits the first file, or all for the modes of
    ALL_HEADERS. Raises NotAvroError if there is no file.
    """
    valid = _valid(files, skipped)
    try:
        if schema in ALL_HEADERS:
            opened = deque(await opened_files(valid))
        else:
            opened = deque([one] if (one := await anext(valid, None)) else [])
        if not opened:
            raise NotAvroError("none of the files is a valid Avro file; all were skipped")
        fit = SchemaFit.of_files([one.source for one in opened], schema, columns)
    except BaseException:
        await valid.aclose()
        raise

    async def fitting() -> AsyncGenerator[OpenedFile, None]:
        async with aclosing(valid):
            while opened:
                one = opened.popleft()
                fit.mapping(one.source)
                yield one
            async for one in valid:
                fit.mapping(one.source)
                yield one

    return fit, fitting()


async def _valid(
    files: AsyncGenerator[OpenedFile, None], skipped: Callable[[Dropped], object] | None
) -> AsyncGenerator[OpenedFile, None]:
    """Yield the files with valid schemas."""
    seen: set[str] = set()
    async with aclosing(files):
        async for one in files:
            source = one.source
            text = without_docs(source.header.schema_text)
            if text not in seen:
                try:
                    file_schema(source.path, source.header)
                except (InvalidSchemaError, NotAvroError) as error:
                    if skipped is None:
                        raise
                    skipped(Dropped(source.path, None, 0, source.size or 0, str(error)))
                    continue
                seen.add(text)
            yield one


async def opened_files(files: AsyncGenerator[OpenedFile, None]) -> list[OpenedFile]:
    """Collect the files, with the heads of small ones up to ``KEPT_BYTES`` and without others."""
    kept = 0
    found: list[OpenedFile] = []
    async with aclosing(files):
        async for one in files:
            head = len(one.source.head)
            if one.source.size == head and kept + head <= KEPT_BYTES:
                kept += head
            else:
                one = one._replace(source=replace(one.source, head=b""))
            found.append(one)
    return found


async def _resolve(
    located: Sequence[Location],
    glob: bool,
    schema: AvroSchema | None,
    filters: Filters | None,
    ignore_errors: bool,
    columns: Sequence[str | int] | None,
) -> ResolvedSources:
    skipped: list[Dropped] = []
    skip = skipped.append if ignore_errors else None
    for ask in (False, True):
        found = await find_files(located, glob=glob, filters=filters, ask=ask)
        try:
            fit, fitting = await open_table(
                open_files(found.files, skipped=skip), schema, skip, columns
            )
            opened = await opened_files(fitting)
            break
        except IsADirectoryError:
            if ask:
                raise
            skipped.clear()
    return ResolvedSources(
        files=tuple(one.source for one in opened),
        schema=fit.table.source,
        column_mappings=tuple(fit.mapping(one.source) for one in opened),
        partitions=tuple(partition_of(one.location.path) for one in opened),
        skipped=tuple(skipped),
        left_out=found.left_out,
    )
