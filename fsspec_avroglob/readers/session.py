"""One reading of sources as one table: files are found, opened, checked and decoded.

All of it runs on fsspec's I/O loop.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from fsspec_avroglob.avro.container import HEAD_BYTES
from fsspec_avroglob.avro.decode import RunDecoder, Together
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.errors import AvroDecodeError, CorruptBlockError
from fsspec_avroglob.readers.directories import NOTHING_LEFT_OUT, LeftOut, find_files
from fsspec_avroglob.readers.fit import ALL_HEADERS, SchemaFit, reader_schema
from fsspec_avroglob.readers.hive import Partition, partition_of
from fsspec_avroglob.readers.locate import (
    Location,
    Sources,
    StorageOptions,
    locate,
    source_names,
)
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pipeline import DECODED_BYTES, Demand, Pipeline
from fsspec_avroglob.readers.progress import Progress
from fsspec_avroglob.readers.sources import (
    LONG_HEAD_BYTES,
    OpenedFile,
    ResolvedSources,
    as_async,
    open_files,
    open_table,
    opened_files,
)

R = TypeVar("R")


@dataclass(frozen=True)
class Located:
    """Sources of a reader with their locations, and with their headers if already resolved.

    ``schema`` is the reader's argument, see :func:`reader_schema`.
    """

    locations: Sequence[Location]
    resolved: ResolvedSources | None
    schema: AvroSchema | None = None

    @classmethod
    def of(
        cls,
        sources: Sources | ResolvedSources,
        storage_options: StorageOptions,
        options: ReadOptions,
    ) -> Located:
        """Locate *sources*. Raises ValueError for options that resolved sources already fix."""
        if not isinstance(sources, ResolvedSources):
            names, merged = source_names(sources, storage_options)
            return cls(locate(names, merged), None, reader_schema(options.schema, merged))
        resolved = resolved_sources(sources, storage_options, options)
        return cls(locate(resolved.paths, resolved.storage_options), resolved)


def resolved_sources(
    sources: Sources | ResolvedSources, storage_options: StorageOptions, options: ReadOptions
) -> ResolvedSources:
    """Resolve *sources* unless they already are.

    Raises what :meth:`ResolvedSources.resolve` raises, and ValueError for options that resolved
    sources already fix.
    """
    if not isinstance(sources, ResolvedSources):
        return ResolvedSources.resolve(
            sources,
            storage_options,
            glob=options.glob,
            schema=options.schema,
            filters=options.filters,
            ignore_errors=options.ignore_errors,
            columns=options.columns,
        )
    if options.schema is not None or options.filters is not None:
        raise ValueError("give schema and filters to ResolvedSources.resolve, not to the reader")
    if storage_options is not None:
        return replace(sources, storage_options=storage_options)
    return sources


@dataclass
class Reading:
    """An open reading: the files still to read, and what was skipped so far (``errors``).

    ``partitions`` are the ``key=value`` directories of all files; ``left_out`` counts those that
    are no data.
    """

    options: ReadOptions
    files: AsyncGenerator[OpenedFile, None]
    partitions: Sequence[Partition]
    errors: list[Dropped]
    _demand: Demand
    _progress: Progress
    left_out: LeftOut = NOTHING_LEFT_OUT

    @classmethod
    async def open(
        cls, located: Located, options: ReadOptions, *, check_first: bool = False
    ) -> tuple[Reading, SchemaFit]:
        """Find the files, read the header of the first, and return the reading and its schema.

        With *check_first*, read all headers and compare all schemas now, unless ``n_rows`` is
        given. Raises what :meth:`ResolvedSources.resolve` raises.
        """
        demand = Demand(options)
        errors: list[Dropped] = []
        skip = errors.append if options.ignore_errors else None
        if located.resolved is not None:
            errors += located.resolved.skipped
            left_out = located.resolved.left_out
            known = located.resolved
            fit = SchemaFit.of_resolved(known.schema, known.files, known.column_mappings)
            locations = located.locations
            numbered = enumerate(zip(located.resolved.files, locations, strict=True))
            opened = as_async([OpenedFile(*pair, number) for number, pair in numbered])
        else:
            check_first = check_first and options.n_rows is None
            short = demand.limited or check_first or located.schema in ALL_HEADERS
            for ask in (False, True):
                locations, left_out = await find_files(
                    located.locations, glob=options.glob, filters=options.filters, ask=ask
                )
                if options.n_rows == 0:
                    locations = locations[:1]
                files = open_files(
                    locations,
                    head_bytes=HEAD_BYTES if short else LONG_HEAD_BYTES,
                    ahead=demand.files_ahead,
                    skipped=skip,
                )
                try:
                    fit, opened = await open_table(files, located.schema, skip, options.columns)
                    if check_first:
                        opened = as_async(await opened_files(opened))
                    break
                except IsADirectoryError:  # its name looks like that of a file
                    if ask:
                        raise
                    errors.clear()
        partitions = [partition_of(location.path) for location in locations]
        progress = Progress(options.progress, [location.size for location in locations])
        return cls(options, opened, partitions, errors, demand, progress, left_out), fit

    @classmethod
    def of_files(cls, files: Sequence[OpenedFile], options: ReadOptions) -> Reading:
        """Make a reading of opened files that fit the table."""
        progress = Progress(options.progress, [file.source.size for file in files])
        partitions = [partition_of(file.location.path) for file in files]
        return cls(options, as_async(files), partitions, [], Demand(options), progress)

    @property
    def dropped(self) -> list[Dropped] | None:
        """Receives what ``ignore_errors`` skips; None raises instead."""
        return self.errors if self.options.ignore_errors else None

    async def results(
        self,
        decoding: Callable[[OpenedFile], RunDecoder[R]],
        size_of: Callable[[R], int] | None = None,
        decoded_bytes: int = DECODED_BYTES,
    ) -> AsyncGenerator[tuple[OpenedFile, R], None]:
        """Yield each file with what its runs of blocks decode to, in order.

        Raises AvroDecodeError for a corrupt block, after all rows before it.
        """
        if self.options.n_rows == 0:
            await self.aclose()
            return
        pipeline = Pipeline(
            decoding,
            self.options,
            demand=self._demand,
            size_of=size_of,
            decoded_bytes=decoded_bytes,
            dropped=self.dropped,
            on_bytes=self._progress.add,
            on_file_end=self._progress.end_file,
        )
        try:
            async with aclosing(pipeline.results(self.files)) as results:
                async for result in results:
                    yield result
        except CorruptBlockError as error:
            raise AvroDecodeError.of(error, "") from error
        finally:
            self._progress.close()
            if self.errors:
                warnings.warn(_summary(self.errors), UserWarning, stacklevel=2)

    def decoder(
        self,
        file: OpenedFile,
        function: Callable[[BlockRun, int | None], R],
        *,
        parallel: bool,
        several: Together[R] | None = None,
    ) -> RunDecoder[R]:
        """Make a decoder of the file's runs that reports corrupt blocks to this reading."""
        return RunDecoder(
            file.source.path, function, parallel=parallel, dropped=self.dropped, several=several
        )

    async def aclose(self) -> None:
        """End a reading without results."""
        await self.files.aclose()
        self._progress.close()


def _summary(dropped: Sequence[Dropped]) -> str:
    """Say how much ``ignore_errors`` left out."""
    files = len({one.path for one in dropped})
    size_bytes = sum(one.size_bytes for one in dropped)
    return (
        f"ignore_errors=True left out {len(dropped)} corrupt parts of {files} files, {size_bytes} "
        f"bytes in all; the first is {dropped[0]} (frame.attrs['avroglob'], or errors of the "
        "reader, has all)"
    )
