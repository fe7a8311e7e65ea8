"""Sources being read as one table: files found, opened, checked and sent through the pipeline.

All of it runs on fsspec's I/O loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from fsspec_avroglob.avro.blocks import Dropped
from fsspec_avroglob.avro.container import HEAD_BYTES
from fsspec_avroglob.avro.decode import RunDecoder, Together
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.errors import AvroDecodeError, CorruptBlockError
from fsspec_avroglob.readers.hive import Partition, partition_of
from fsspec_avroglob.readers.locate import Location, Sources, StorageOptions, locate
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pipeline import Demand, Pipeline
from fsspec_avroglob.readers.progress import Progress
from fsspec_avroglob.readers.sources import (
    LONG_HEAD_BYTES,
    HeadKeeper,
    OpenedFile,
    ResolvedSources,
    SchemaFit,
    find_files,
    open_files,
    open_table,
)

R = TypeVar("R")


@dataclass(frozen=True)
class Located:
    """Sources as a reader was given them, located or resolved already."""

    locations: Sequence[Location]
    resolved: ResolvedSources | None

    @classmethod
    def of(
        cls,
        sources: Sources | ResolvedSources,
        storage_options: StorageOptions,
        options: ReadOptions,
    ) -> Located:
        """Where *sources* are. Raises ValueError for options that resolved sources have decided."""
        if not isinstance(sources, ResolvedSources):
            return cls(locate(sources, storage_options), None)
        _refuse_what_is_decided(options)
        if storage_options is None:
            storage_options = sources.storage_options
        return cls(locate(sources.paths, storage_options), sources)


def resolved_sources(
    sources: Sources | ResolvedSources, storage_options: StorageOptions, options: ReadOptions
) -> ResolvedSources:
    """*sources* resolved as *options* ask, or as they are if that has been done.

    Raises what :meth:`ResolvedSources.resolve` does, and ValueError for options that resolved
    sources have decided.
    """
    if isinstance(sources, ResolvedSources):
        _refuse_what_is_decided(options)
        if storage_options is not None:
            return replace(sources, storage_options=storage_options)
        return sources
    return ResolvedSources.resolve(
        sources,
        storage_options,
        glob=options.glob,
        schema=options.schema,
        filters=options.filters,
        ignore_errors=options.ignore_errors,
    )


def _refuse_what_is_decided(options: ReadOptions) -> None:
    if options.schema is not None or options.filters is not None:
        raise ValueError("give schema and filters to ResolvedSources.resolve, not to the reader")


@dataclass
class Reading:
    """An open reading.

    - ``known_fit``: the table's schema, and how files fit it; None for files known to fit.
    - ``files``: the files that are still to be read, in order.
    - ``partitions``: of all files found, by their numbers.
    - ``errors``: what has been left out so far.
    """

    options: ReadOptions
    known_fit: SchemaFit | None
    files: AsyncGenerator[OpenedFile, None]
    partitions: Sequence[Partition]
    errors: list[Dropped]
    _demand: Demand
    _progress: Progress

    @classmethod
    async def open(
        cls, located: Located, options: ReadOptions, *, check_first: bool = False
    ) -> Reading:
        """Find the files and read the header of the first.

        check_first: read all headers and compare all schemas now, unless ``n_rows`` is given.
        Raises what :meth:`ResolvedSources.resolve` does.
        """
        demand = Demand(options.limits)
        errors: list[Dropped] = []
        skip = errors.append if options.ignore_errors else None
        if located.resolved is not None:
            errors += located.resolved.skipped
            places, files = located.locations, _resolved_files(located)
            fit, opened = SchemaFit.of_resolved(located.resolved), files
        else:
            places = await find_files(located.locations, glob=options.glob, filters=options.filters)
            if options.n_rows == 0:
                places = places[:1]
            check_first = check_first and options.n_rows is None
            short = demand.limited or check_first or options.schema == "union"
            files = open_files(
                places,
                head_bytes=HEAD_BYTES if short else LONG_HEAD_BYTES,
                ahead=demand.files_ahead,
                skipped=skip,
            )
            fit, opened = await open_table(files, options.schema, skip)
            if check_first:
                opened = await _all_opened(opened)
        partitions = [partition_of(place.path) for place in places]
        progress = Progress(options.progress, [place.size for place in places])
        return cls(options, fit, opened, partitions, errors, demand, progress)

    @property
    def fit(self) -> SchemaFit:
        """The table's schema and how files fit it, of a reading that was opened."""
        assert self.known_fit is not None
        return self.known_fit

    @classmethod
    def of_files(
        cls,
        files: Sequence[OpenedFile],
        partitions: Sequence[Partition],
        options: ReadOptions,
    ) -> Reading:
        """A reading of files that have been opened, and are known to fit the table."""
        progress = Progress(options.progress, [file.source.size for file in files])
        demand = Demand(options.limits)
        return cls(options, None, _each(files), partitions, [], demand, progress)

    async def results(
        self,
        decoding: Callable[[OpenedFile], RunDecoder[R]],
        size_of: Callable[[R], int] = lambda result: 0,
    ) -> AsyncGenerator[tuple[OpenedFile, R], None]:
        """What runs of blocks decode to, in order, with the file.

        Raises AvroDecodeError for a block that is corrupt, after all rows before it.
        """
        pipeline = Pipeline(
            decoding,
            self.options.limits,
            demand=self._demand,
            size_of=size_of,
            dropped=self.errors if self.options.ignore_errors else None,
            fetched=self._progress,
        )
        try:
            async with aclosing(pipeline.results(self.files)) as results:
                async for result in results:
                    yield result
        except CorruptBlockError as error:
            raise AvroDecodeError.of(error, "") from error
        finally:
            self._progress.close()

    def decoder(
        self,
        file: OpenedFile,
        function: Callable[[Run, int | None], R],
        *,
        parallel: bool,
        several: Together[R] | None = None,
    ) -> RunDecoder[R]:
        """A decoder of a file's runs that reports as this reading does."""
        dropped = self.errors if self.options.ignore_errors else None
        return RunDecoder(
            file.source.path, function, parallel=parallel, dropped=dropped, several=several
        )

    async def aclose(self) -> None:
        """End a reading whose results are not asked for."""
        await self.files.aclose()
        self._progress.close()


async def _all_opened(files: AsyncGenerator[OpenedFile, None]) -> AsyncGenerator[OpenedFile, None]:
    keep = HeadKeeper()
    async with aclosing(files):
        found = [keep(one) async for one in files]

    return _each(found)


async def _each(files: Sequence[OpenedFile]) -> AsyncGenerator[OpenedFile, None]:
    for file in files:
        yield file


async def _resolved_files(located: Located) -> AsyncGenerator[OpenedFile, None]:
    assert located.resolved is not None
    for number, place in enumerate(located.locations):
        yield OpenedFile(located.resolved.files[number], place, number)
