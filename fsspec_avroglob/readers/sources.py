"""Avro files that make one table: found, their headers read, their schemas compared.

One ranged read fetches the header of a file. If the file is not longer than this read, its bytes
are kept, so that the file is not read again.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import on_io_loop, ordered
from fsspec_avroglob.avro.container import HEAD_BYTES, ContainerHeader, header_of
from fsspec_avroglob.avro.resolution import RecordStep, resolve, same_order
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    file_schema,
    parse_schema,
    without_docs,
)
from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.avro.unify import union_schema
from fsspec_avroglob.errors import InvalidSchemaError, NotAvroError
from fsspec_avroglob.readers.hive import Filters, Partition, PartitionFilter, partition_of
from fsspec_avroglob.readers.locate import (
    Location,
    Sources,
    StorageOptions,
    expand,
    locate,
    read_part,
    source_names,
)

__all__ = ["OpenedFile", "ResolvedSources", "SourceFile", "find_files", "open_files"]

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
    head : bytes
        The first bytes of the file; pickles leave them out.
    """

    path: str
    header: ContainerHeader
    size: int | None
    etag: str | None
    head: bytes = field(default=b"", compare=False, repr=False)

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
    ) -> ResolvedSources:
        """Find the files, read all headers, and compare the schemas.

        :class:`ReadOptions` describes the options. Requests: the listings, and one small read for
        each file, two for a header over 64 KiB.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, PatternError
            As :func:`expand_path`.
        NotAvroError, InvalidSchemaError
            A file is empty or not Avro, or has an invalid schema.
        SchemaMismatchError
            The files do not make one table.
        ValueError
            There are no sources, or no directory has the key of a filter.
        """
        names, options = source_names(sources, storage_options)
        located = locate(names, options)
        resolved = blocking(_resolve, located, glob, schema, filters, ignore_errors)
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
    ) -> ResolvedSources:
        """:meth:`resolve` as a coroutine."""
        names, options = source_names(sources, storage_options)
        located = await asyncio.to_thread(locate, names, options)
        resolved = await on_io_loop(_resolve, located, glob, schema, filters, ignore_errors)
        return replace(resolved, storage_options=options)


# --- finding files -------------------------------------------------------------------------------


async def find_files(
    located: Sequence[Location], *, glob: bool, filters: Filters | None = None
) -> list[Location]:
    """Return the files of all locations in order, each once, without those that *filters* exclude.

    Raises what :func:`expand` raises, and ValueError if no directory has a filter's key.
    """
    if not located:
        raise ValueError("no sources; name at least one file or pattern")
    chosen = None if filters is None else PartitionFilter.parse(filters)
    if chosen is None:
        return await expand(located, glob=glob, check=False)  # reading the header will check
    if glob:
        located = [
            one._replace(name=chosen.narrowed(one.name), path=chosen.narrowed(one.path))
            for one in located
        ]
    files = await expand(located, glob=glob, check=False)
    partitions = [partition_of(file.path) for file in files]
    known = {key for partition in partitions for key in partition}
    if missing := [key for key in chosen.keys if key not in known]:
        raise ValueError(
            f"filters are on key=value directories, and no file is in one of {missing[0]!r}; "
            f"there is {', '.join(map(repr, sorted(known))) or 'none'}"
        )
    kept = [file for file, one in zip(files, partitions, strict=True) if chosen.keeps(one)]
    if not kept:
        text = f"All files are excluded by filters={filters!r}"
        raise FileNotFoundError(errno.ENOENT, text, located[0].name)
    return kept


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
        found = header_of(file.name, data, whole=len(data) < wanted)
        if isinstance(found, ContainerHeader):
            return SourceFile(file.name, found, size, etag, data)
        wanted = found


# --- schemas -------------------------------------------------------------------------------------


class SchemaFit:
    """Compares the schemas of files with the table's, each distinct schema once.

    *table_path* is the file or argument that *table* comes from. With *exact*, files must have the
    same schema, with fields in any order; otherwise the table's schema must resolve theirs.
    """

    def __init__(self, table: ParsedSchema, table_path: str, *, exact: bool) -> None:
        self.table = table
        self._table_path = table_path
        self._exact = exact
        self._mappings: dict[str, tuple[int | None, ...] | None] = {}

    @classmethod
    def of_resolved(cls, resolved: ResolvedSources) -> SchemaFit:
        """Make it for sources whose schemas were compared."""
        fit = cls(parse_schema(resolved.schema), "the sources' schema", exact=False)
        for file, mapping in zip(resolved.files, resolved.column_mappings, strict=True):
            fit._mappings[without_docs(file.header.schema_text)] = mapping
        return fit

    def mapping(self, file: SourceFile) -> tuple[int | None, ...] | None:
        """Return the item of ``column_mappings`` for *file*.

        Raises InvalidSchemaError, and SchemaMismatchError with both names.
        """
        text = without_docs(file.header.schema_text)
        if text in self._mappings:
            return self._mappings[text]
        found: tuple[int | None, ...] | None = None
        writer = file_schema(file.path, file.header)
        if writer.source != self.table.source:
            paths = {"writer_path": file.path, "reader_path": self._table_path}
            step = resolve(writer, self.table, **paths, strict=self._exact)
            if isinstance(step, RecordStep) and not (self._exact and same_order(step)):
                found = tuple(field.position for field in step.fields)
        self._mappings[text] = found
        return found


async def open_table(
    files: AsyncGenerator[OpenedFile, None],
    schema: AvroSchema | None,
    skipped: Callable[[Dropped], object] | None = None,
) -> tuple[SchemaFit, AsyncGenerator[OpenedFile, None]]:
    """Return the schema of the table, and its files with each schema compared as it is reached.

    Awaits the first file, or all for ``schema="union"``. Raises NotAvroError if there is no file.
    """
    valid = _valid(files, skipped)
    try:
        if schema == "union":
            opened = deque(await opened_files(valid))
        else:
            opened = deque([one] if (one := await anext(valid, None)) else [])
        if not opened:
            raise NotAvroError("none of the files is a valid Avro file; all were skipped")
        fit = _fit(opened, schema)
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


def _fit(opened: Sequence[OpenedFile], schema: AvroSchema | None) -> SchemaFit:
    first = opened[0].source
    if schema is None or schema == "first":
        return SchemaFit(file_schema(first.path, first.header), first.path, exact=schema is None)
    if schema == "union":
        distinct: dict[str, SourceFile] = {}
        for one in opened:
            distinct.setdefault(without_docs(one.source.header.schema_text), one.source)
        schemas = [
            (source.path, file_schema(source.path, source.header)) for source in distinct.values()
        ]
        return SchemaFit(union_schema(schemas), "the union of the files' schemas", exact=False)
    return SchemaFit(parse_schema(schema), "the schema given", exact=False)


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
) -> ResolvedSources:
    files = await find_files(located, glob=glob, filters=filters)
    skipped: list[Dropped] = []
    skip = skipped.append if ignore_errors else None
    fit, fitting = await open_table(open_files(files, skipped=skip), schema, skip)
    opened = await opened_files(fitting)
    return ResolvedSources(
        files=tuple(one.source for one in opened),
        schema=fit.table.source,
        column_mappings=tuple(fit.mapping(one.source) for one in opened),
        partitions=tuple(partition_of(one.location.path) for one in opened),
        skipped=tuple(skipped),
    )
