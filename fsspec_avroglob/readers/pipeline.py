"""Fetch files ahead and decode their blocks in threads, in the order of the files.

Files are read in chunks, many at a time. Chunks are parsed in order, so each block is found from
the one before it and no sync marker is searched for. Runs of whole blocks are decoded as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Generic, NamedTuple, TypeVar

from fsspec_avroglob.aio.tasks import Budget, ordered, usable_cpus
from fsspec_avroglob.avro.decode import RunDecoder
from fsspec_avroglob.avro.stream import BlockRun, BlockStream, Dropped
from fsspec_avroglob.readers.locate import read_part
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.sources import OpenedFile

CHUNK_BYTES = 4 * 1024 * 1024
"""Size of a read: its transfer takes longer than its latency, and a file makes several."""

_FIRST_CHUNK_BYTES = 256 * 1024
_DECODED_BYTES = 16 * 1024 * 1024
_MIN_RUN_BYTES = 64 * 1024

# Small runs are decoded in one call up to this size: a call has a fixed cost, such as polars-avro's
# buffer of 4 MiB.
_JOINED_BYTES = 1024 * 1024

# The same before the compression ratio is known.
_FIRST_JOINED_BYTES = 128 * 1024

R = TypeVar("R")


class Demand:
    """Estimates how much more a reading with ``n_rows`` has to request, from what it has read."""

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._rows = self._bytes = self._files = 0
        self._last_chunk = _FIRST_CHUNK_BYTES // 4

    def add(self, rows: int, stored_bytes: int) -> None:
        """Count rows that were found, and their size in the file."""
        self._rows += rows
        self._bytes += stored_bytes

    def end_file(self) -> None:
        """Count a file that was read to its end."""
        self._files += 1

    @property
    def limited(self) -> bool:
        """Whether the reading has ``n_rows``."""
        return self._options.n_rows is not None

    @property
    def rows_left(self) -> int:
        """Rows that are still missing."""
        assert self._options.n_rows is not None
        return self._options.n_rows - self._rows

    def files_ahead(self) -> int:
        """Files to open beyond the current one."""
        if not self.limited:
            return self._options.max_concurrency - 1
        if not self._files:
            return 0
        return self._ahead(self.rows_left * self._files // max(self._rows, 1))

    def chunk_bytes(self) -> int:
        """Size of the next chunk."""
        if not self.limited:
            return CHUNK_BYTES
        if self._rows:
            wanted = self._bytes_left()
        else:
            wanted = self._last_chunk = 4 * self._last_chunk
        return min(max(wanted, _MIN_RUN_BYTES), CHUNK_BYTES)

    def chunks_ahead(self) -> int:
        """Chunks to request beyond the current one."""
        if not self.limited:
            return self._options.max_concurrency - 1
        if not self._rows:
            return 0
        return self._ahead(-(-self._bytes_left() // CHUNK_BYTES))

    def _ahead(self, needed: int) -> int:
        return max(0, min(needed, self._options.max_concurrency) - 1)

    def _bytes_left(self) -> int:
        # One sixteenth more, because the size of rows varies.
        return self.rows_left * self._bytes * 17 // (self._rows * 16)


class Chunk(NamedTuple):
    """The bytes [start, stop) of a file, and how many of the budget they hold.

    *stop* is None for the end of the file.
    """

    file: OpenedFile
    start: int
    stop: int | None
    last: bool
    held: int


class _Job(NamedTuple, Generic[R]):
    file: OpenedFile
    run: BlockRun
    rows: int | None
    decode: RunDecoder[R]


class _Decoded(NamedTuple, Generic[R]):
    """What runs decode to, each part with its file, and the failure that ended it, if any."""

    parts: list[tuple[OpenedFile, R]]
    failure: Exception | None


class Pipeline(Generic[R]):
    """One reading of files, within the bounds of *options*.

    *decoding* makes the decoder of a file and may raise. *size_of* returns the bytes in memory of a
    result. *dropped* receives what is skipped of corrupt files; without it they raise. *on_bytes*
    gets the size of each read. *demand* is shared with the code that opens the files.
    """

    def __init__(
        self,
        decoding: Callable[[OpenedFile], RunDecoder[R]],
        options: ReadOptions,
        *,
        demand: Demand | None = None,
        size_of: Callable[[R], int] = lambda result: 0,
        dropped: list[Dropped] | None = None,
        on_bytes: Callable[[int], object] = lambda size_bytes: None,
        on_file_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._decoding = decoding
        self._max_block_bytes = options.max_block_size
        self._demand = Demand(options) if demand is None else demand
        self._size_of = size_of
        self._dropped = dropped
        # With errors skipped, a block may have fewer rows than its count: only decoded rows tell
        # whether more are needed.
        self._counts_rows = self._demand.limited and dropped is None
        self._on_bytes, self._on_file_end = on_bytes, on_file_end
        self._budget = Budget(options.max_bytes)
        self._cpus = usable_cpus()
        self._pool: ThreadPoolExecutor | None = None
        self._run_bytes = _DECODED_BYTES // 4
        self._joined_bytes = _FIRST_JOINED_BYTES

    async def results(
        self, files: AsyncGenerator[OpenedFile, None]
    ) -> AsyncGenerator[tuple[OpenedFile, R], None]:
        """Yield each file with what its runs decode to, in order; closes *files* at the end.

        A failure is raised after all results that precede it.
        """
        ahead = 0 if self._demand.limited and not self._counts_rows else self._cpus
        try:
            jobs = self._jobs(ordered(self._chunks(files), self._fetch, self._demand.chunks_ahead))
            async with aclosing(
                ordered(self._joined(jobs), self._decode, lambda: ahead)
            ) as decoded:
                async for _, (parts, failure) in decoded:
                    for part in parts:
                        yield part
                    try:
                        if failure is not None:
                            raise failure
                    finally:
                        del failure  # its traceback refers to this frame: a cycle
        finally:
            if self._pool is not None:  # waits for the running calls
                await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _chunks(self, files: AsyncGenerator[OpenedFile, None]) -> AsyncGenerator[Chunk, None]:
        async with aclosing(files):
            async for file in files:
                start, size = file.source.header.size_bytes, file.source.size
                head = len(file.source.head)
                while True:
                    stop: int | None = head if head > start else start + self._demand.chunk_bytes()
                    if size is None and start >= head:
                        stop = None
                    elif size is not None:
                        stop = min(stop or size, size)
                    last = stop is None or stop == size
                    held = 0 if start < head else (stop or start + CHUNK_BYTES) - start
                    await self._budget.take(held)
                    yield Chunk(file, start, stop, last, held)
                    if last or stop is None:
                        break
                    start = stop

    async def _fetch(self, chunk: Chunk) -> bytes:
        source = chunk.file.source
        if chunk.stop is not None and chunk.stop <= len(source.head):
            data = source.head[chunk.start : chunk.stop]
        else:
            part = await read_part(chunk.file.location, chunk.start, chunk.stop, source.etag)
            data = part.data
        # The bytes before the first block came with the header.
        first = chunk.start == source.header.size_bytes
        self._on_bytes(len(data) + first * chunk.start)
        return data

    async def _jobs(
        self, fetched: AsyncGenerator[tuple[Chunk, bytes], None]
    ) -> AsyncGenerator[_Job[R], None]:
        stream: BlockStream | None = None
        async with aclosing(fetched):
            async for chunk, data in fetched:
                self._budget.give_back(chunk.held)
                if stream is None:
                    stream, decode = self._stream(chunk.file), self._decoding(chunk.file)
                for run in stream.feed(data, last=chunk.last):
                    for job in self._split(chunk.file, run, decode):
                        yield job
                    if self._counts_rows and self._demand.rows_left <= 0:
                        return
                if chunk.last:
                    stream = None
                    self._demand.end_file()
                    self._on_file_end()

    def _stream(self, file: OpenedFile) -> BlockStream:
        header = file.source.header
        return BlockStream(
            file.source.path,
            header.sync_marker,
            header.size_bytes,
            file.source.size,
            dropped=self._dropped,
            max_block_bytes=self._max_block_bytes,
        )

    def _split(self, file: OpenedFile, run: BlockRun, decode: RunDecoder[R]) -> list[_Job[R]]:
        """Split a run into jobs of about equal size, up to the last row that is needed."""
        rows = None
        if self._counts_rows:
            left = self._demand.rows_left
            run, rows = run.first_values(left), left if run.value_count > left else None
        self._demand.add(run.value_count, run.size_bytes)
        parts = list(run.split(self._run_bytes))
        jobs = [_Job(file, part, None, decode) for part in parts]
        if rows is not None:
            before = sum(part.value_count for part in parts[:-1])
            jobs[-1] = jobs[-1]._replace(rows=rows - before)
        return jobs

    async def _joined(
        self, jobs: AsyncGenerator[_Job[R], None]
    ) -> AsyncGenerator[list[_Job[R]], None]:
        """Join small jobs whose files are alike."""
        together: list[_Job[R]] = []
        held = 0
        try:
            async with aclosing(jobs):
                async for job in jobs:
                    alike = job.decode.alike
                    if together and alike != together[0].decode.alike:
                        yield together
                        together, held = [], 0
                    together.append(job)
                    held += job.run.size_bytes
                    enough = held >= self._joined_bytes
                    if enough or alike is None or self._demand.limited:
                        yield together
                        together, held = [], 0
        except Exception:
            if together:  # they precede the failure
                yield together
            raise
        if together:
            yield together

    async def _decode(self, jobs: list[_Job[R]]) -> _Decoded[R]:
        parts: list[tuple[OpenedFile, R]] = []
        try:
            if self._pool is None:
                workers = self._cpus if jobs[0].decode.parallel else 1
                self._pool = ThreadPoolExecutor(workers, thread_name_prefix="avroglob-decode")
            await asyncio.get_running_loop().run_in_executor(self._pool, _decode_into, parts, jobs)
        except Exception as error:
            return _Decoded(parts, error)
        decoded = sum(self._size_of(part) for _, part in parts)
        if decoded:
            ratio = decoded / sum(job.run.size_bytes for job in jobs)
            self._run_bytes = max(_MIN_RUN_BYTES, int(_DECODED_BYTES / ratio))
            self._joined_bytes = min(_JOINED_BYTES, self._run_bytes)
        return _Decoded(parts, None)


def _decode_into(parts: list[tuple[OpenedFile, R]], jobs: Sequence[_Job[R]]) -> None:
    """Append the results of the runs; on failure, those that precede it."""
    if len(jobs) > 1:
        with suppress(Exception):  # decoding one by one shows which run fails, and why
            results = jobs[0].decode.together([job.run for job in jobs])
            parts += [(job.file, one) for job, one in zip(jobs, results, strict=True)]
            return
    for job in jobs:
        for part in job.decode(job.run, job.rows):
            parts.append((job.file, part))
