"""Avro files that make one table: found, headers read at once, schemas brought together.

The header comes with the first bytes of a file, by one ranged read each. Those of a file that is no
longer are kept, so that it is not read again.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import on_io_loop, ordered
from fsspec_avroglob.avro.blocks import Dropped
from fsspec_avroglob.avro.container import HEAD_BYTES, ContainerHeader, header_of
from fsspec_avroglob.avro.resolution import RecordStep, resolve
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    ParsedSchema,
    column_mapping,
    file_schema,
    parse_schema,
)
from fsspec_avroglob.avro.unify import GIVEN, unify
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

# Where all of a file will be read anyway, its first read may as well bring more than the header.
LONG_HEAD_BYTES = 1024 * 1024

KEPT_BYTES = 64 * 1024 * 1024
"""Most bytes of small files that resolved sources keep; what is over is read again."""

FILES_AT_ONCE = 64
"""Most headers being read at a time."""


@dataclass(frozen=True)
class SourceFile:
    """A file whose header has been read.

    - ``path``: as the user would call it.
    - ``size``: in bytes, ``etag``: of the version whose header it is; None where not known.
    - ``head``: what has been read of its start; does not travel with pickles.
    """

    path: str
    header: ContainerHeader
    size: int | None
    etag: str | None
    head: bytes = field(default=b"", compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "head": b""}


class OpenedFile(NamedTuple):
    """A file, where it is, and the number that it has among those found (skipped ones count)."""

    source: SourceFile
    location: Location
    number: int


@dataclass(frozen=True)
class ResolvedSources:
    """Avro files that make one table.

    - ``files``: the files, in the order of their rows.
    - ``schema``: the schema of the table: that of the first file, as it stands there, or what
      ``schema=`` asked for.
    - ``column_mappings``: one item a file: None if its schema describes the same bytes as the
      table's, else for each field of the table the index of that file's field (None: default).
    - ``partitions``: for each file the texts of its ``key=value`` directories.
    - ``skipped``: the files that were left out with ``ignore_errors=True``, with the reasons.
    - ``storage_options``: of the files' filesystem; readers use them where they are given none.

    Made by :meth:`resolve` or :meth:`resolve_async`.
    """

    files: tuple[SourceFile, ...]
    schema: AvroSchema
    column_mappings: tuple[tuple[int | None, ...] | None, ...]
    partitions: tuple[Partition, ...]
    skipped: tuple[Dropped, ...] = ()
    storage_options: StorageOptions = field(default=None, repr=False, compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files' names, as the user would call them."""
        return tuple(file.path for file in self.files)

    @property
    def headers(self) -> tuple[ContainerHeader, ...]:
        """The files' headers."""
        return tuple(file.header for file in self.files)

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The files' sizes in bytes, None where not known."""
        return tuple(file.size for file in self.files)

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
        """Expand *sources*, read the header of every file at once and bring the schemas together.

        - ``schema``: None takes files of one schema, fields in any order; ``"first"`` reads all
          files as the first one's, ``"union"`` as all their fields together, and a reader schema as
          that, by the Avro specification's resolution rules.
        - ``filters``: on ``key=value`` directories, see ``Filters``; what
          they exclude is not listed where that can be told, and never read.
        - ``ignore_errors``: leave out files that are empty, not Avro or have an invalid schema.

        Costs the listings and one small read a file (a second for a header over 64 KiB).

        Raises what :func:`expand_path` raises, NotAvroError for a file that is empty or not Avro,
        InvalidSchemaError, and SchemaMismatchError when the files do not make one table; the
        message names the file. ValueError if there are no sources.
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
    """The files of all locations in order, each once, without those that *filters* exclude.

    Raises what :func:`expand` raises, and ValueError if no directory has a filter's key.
    """
    if not located:
        raise ValueError("no sources: name at least one file or pattern")
    chosen = None if filters is None else PartitionFilter.parse(filters)
    if chosen is None:
        return await expand(located, glob=glob, check=False)  # reading the header is the check
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
        text = f"No file is left by filters={filters!r}"
        raise FileNotFoundError(errno.ENOENT, text, located[0].name)
    return kept


# --- headers -------------------------------------------------------------------------------------


async def open_files(
    files: Iterable[Location],
    *,
    head_bytes: int = HEAD_BYTES,
    ahead: Callable[[], int] = lambda: FILES_AT_ONCE,
    skipped: Callable[[Dropped], object] | None = None,
) -> AsyncGenerator[OpenedFile, None]:
    """The files with their headers, read at once, in order; files that it cannot be are skipped.

    - ``head_bytes``: how much of each file to read at first.
    - ``ahead``: how many files to read beyond the one waited for, see :func:`ordered`.
    - ``skipped``: told of each file without a usable header; None raises for the first.

    Raises NotAvroError and FileNotFoundError with the file's name.
    """

    async def numbered() -> AsyncGenerator[tuple[int, Location], None]:
        for item in enumerate(files):
            yield item

    async def head(item: tuple[int, Location]) -> SourceFile | NotAvroError:
        try:
            return await _read_head(item[1], head_bytes)
        except NotAvroError as error:
            return error

    shared: dict[tuple[str, str], ContainerHeader] = {}
    async with aclosing(ordered(numbered(), head, ahead)) as heads:
        async for (number, location), opened in heads:
            if isinstance(opened, NotAvroError):
                if skipped is None:
                    raise opened
                skipped(Dropped(location.name, None, 0, location.size or 0, str(opened)))
                continue
            header = _sharing(opened.header, shared)
            yield OpenedFile(replace(opened, header=header), location, number)


def _sharing(
    header: ContainerHeader, shared: dict[tuple[str, str], ContainerHeader]
) -> ContainerHeader:
    """*header* with the very texts of an equal one: thousands of files have one schema."""
    known = shared.setdefault((header.schema_text, header.codec), header)
    metadata = known.metadata if known.metadata == header.metadata else header.metadata
    return replace(header, schema_text=known.schema_text, codec=known.codec, metadata=metadata)


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
    """Decides whether the schemas of files fit the table's, each distinct one once.

    - ``table``, ``table_path``: the reader schema, and the file or argument that it comes from.
    - ``exact``: whether files must have the same schema, fields in any order, instead of one that
      the table's can resolve.
    """

    def __init__(self, table: ParsedSchema, table_path: str, *, exact: bool) -> None:
        self.table = table
        self._table_path = table_path
        self._exact = exact
        self._mappings: dict[str, tuple[int | None, ...] | None] = {}

    @classmethod
    def of_resolved(cls, resolved: ResolvedSources) -> SchemaFit:
        """Of sources whose schemas have been compared."""
        fit = cls(parse_schema(resolved.schema), "the sources' schema", exact=False)
        for file, mapping in zip(resolved.files, resolved.column_mappings, strict=True):
            fit._mappings[file.header.schema_text] = mapping
        return fit

    def mapping(self, file: SourceFile) -> tuple[int | None, ...] | None:
        """Where the table's fields are in *file*: an item of ``column_mappings``.

        Raises InvalidSchemaError, and SchemaMismatchError with both names.
        """
        text = file.header.schema_text
        if text not in self._mappings:
            self._mappings[text] = self._compare(file_schema(file.path, file.header), file.path)
        return self._mappings[text]

    def _compare(self, other: ParsedSchema, path: str) -> tuple[int | None, ...] | None:
        if self._exact:
            return column_mapping(self.table, other, first_path=self._table_path, path=path)
        if other.source == self.table.source:
            return None
        step = resolve(other, self.table, writer_path=path, reader_path=self._table_path)
        if not isinstance(step, RecordStep):
            return None
        return tuple(field.position for field in step.fields)


async def open_table(
    files: AsyncGenerator[OpenedFile, None],
    schema: AvroSchema | None,
    skipped: Callable[[Dropped], object] | None = None,
) -> tuple[SchemaFit, AsyncGenerator[OpenedFile, None]]:
    """The schema that the files have together, and the files whose schemas fit it.

    - ``files``: opened files; of those only the first is awaited here, of ``schema="union"`` all.
    - ``schema``, ``skipped``: as :meth:`ResolvedSources.resolve` and :func:`open_files` have them.

    Raises NotAvroError if there is no file at all. The files returned raise for one that does not
    fit when they come to it.
    """
    valid = _valid(files, skipped)
    opened: deque[OpenedFile] = deque()
    keep = HeadKeeper()
    try:
        async for one in valid:
            opened.append(keep(one) if schema == "union" else one)
            if schema != "union":
                break
        if not opened:
            raise NotAvroError("none of the files can be read")
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
        distinct = {one.source.header.schema_text: one.source for one in opened}
        schemas = [
            (source.path, file_schema(source.path, source.header)) for source in distinct.values()
        ]
        return SchemaFit(unify(schemas, "union"), "the union of the files' schemas", exact=False)
    return SchemaFit(parse_schema(schema), GIVEN, exact=False)


async def _valid(
    files: AsyncGenerator[OpenedFile, None], skipped: Callable[[Dropped], object] | None
) -> AsyncGenerator[OpenedFile, None]:
    """The files whose schemas are valid."""
    seen: set[str] = set()
    async with aclosing(files):
        async for one in files:
            source = one.source
            if source.header.schema_text not in seen:
                try:
                    file_schema(source.path, source.header)
                except (InvalidSchemaError, NotAvroError) as error:
                    if skipped is None:
                        raise
                    skipped(Dropped(source.path, None, 0, source.size or 0, str(error)))
                    continue
                seen.add(source.header.schema_text)
            yield one


class HeadKeeper:
    """Drops what was read of files that have to be read on anyway, and what is too much to keep."""

    def __init__(self) -> None:
        self._kept = 0

    def __call__(self, one: OpenedFile) -> OpenedFile:
        """The file with or without what was read of its start."""
        head = len(one.source.head)
        if one.source.size == head and self._kept + head <= KEPT_BYTES:
            self._kept += head
            return one
        return one._replace(source=replace(one.source, head=b""))


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
    keep = HeadKeeper()
    async with aclosing(fitting):
        opened = [keep(one) async for one in fitting]
    return ResolvedSources(
        files=tuple(one.source for one in opened),
        schema=fit.table.source,
        column_mappings=tuple(fit.mapping(one.source) for one in opened),
        partitions=tuple(partition_of(one.location.path) for one in opened),
        skipped=tuple(skipped),
    )
