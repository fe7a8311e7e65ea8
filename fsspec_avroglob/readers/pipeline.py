"""Fetch files ahead and decode their blocks in threads, in the order of the files.

Files are read in chunks, many at a time. Chunks are parsed in order, so each block is found from
the one before it and no sync marker is searched for. Runs of whole blocks are decoded as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Generic, NamedTuple, TypeVar

from fsspec_avroglob.aio.tasks import Budget, ordered, usable_cpus
from fsspec_avroglob.avro.decode import RunDecoder
from fsspec_avroglob.avro.stream import BlockRun, BlockStream, Dropped
from fsspec_avroglob.readers.gunzip import GzipBlockStream
from fsspec_avroglob.readers.locate import read_part
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.sources import OpenedFile

CHUNK_BYTES = 4 * 1024 * 1024
"""Size of a read: its transfer takes longer than its latency, and a file makes several."""

_FIRST_CHUNK_BYTES = 256 * 1024
DECODED_BYTES = 16 * 1024 * 1024
"""How much decoded data each worker holds, about, or one block if that is more."""

_MIN_RUN_BYTES = 64 * 1024

# Small runs are decoded in one call up to this size: a call has a fixed cost, such as polars-avro's
# buffer of 4 MiB.
_JOINED_BYTES = 1024 * 1024

# The same before the compression ratio is known.
_FIRST_JOINED_BYTES = 16 * 1024

# Data may compress a thousandfold.
_LEAST_RUN_BYTES = 1024

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
    """What runs decode to, each part with its file, and how it ended.

    *failure* is what ended it, if anything did; *rest* is what remains to be decoded, if anything.
    """

    parts: list[tuple[OpenedFile, R]]
    failure: Exception | None
    rest: Iterator[tuple[OpenedFile, R]] | None


class Pipeline(Generic[R]):
    """One reading of files, within the bounds of *options*.

    *decoding* makes the decoder of a file and may raise. *size_of* returns the bytes in memory of a
    result; each worker holds about *decoded_bytes* of them, or one block if that is more. While
    blocks take several times as much, only one is decoded at a time. *dropped* receives what is
    skipped of corrupt files; without it they raise. *on_bytes* gets the size of each read. *demand*
    is shared with the code that opens the files.
    """

    def __init__(
        self,
        decoding: Callable[[OpenedFile], RunDecoder[R]],
        options: ReadOptions,
        *,
        demand: Demand | None = None,
        size_of: Callable[[R], int] | None = None,
        decoded_bytes: int = DECODED_BYTES,
        dropped: list[Dropped] | None = None,
        on_bytes: Callable[[int], object] = lambda size_bytes: None,
        on_file_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._decoding = decoding
        self._max_block_bytes = options.max_block_size
        self._demand = Demand(options) if demand is None else demand
        self._size_of = size_of or (lambda result: 0)
        self._dropped = dropped
        # With errors skipped, a block may have fewer rows than its count: only decoded rows tell
        # whether more are needed.
        self._counts_rows = self._demand.limited and dropped is None
        self._on_bytes, self._on_file_end = on_bytes, on_file_end
        self._budget = Budget(options.max_bytes)
        self._cpus = usable_cpus()
        self._pool: ThreadPoolExecutor | None = None
        self._decoded_bytes = decoded_bytes
        self._run_bytes = decoded_bytes // 4
        self._knows_ratio = size_of is None
        self._has_large_blocks = False
        self._joined_bytes = _FIRST_JOINED_BYTES

    async def results(
        self, files: AsyncGenerator[OpenedFile, None]
    ) -> AsyncGenerator[tuple[OpenedFile, R], None]:
        """Yield each file with what its runs decode to, in order; closes *files* at the end.

        A failure is raised after all results that precede it.
        """
        waits = self._demand.limited and not self._counts_rows
        try:
            jobs = self._jobs(ordered(self._chunks(files), self._fetch, self._demand.chunks_ahead))
            async with aclosing(
                ordered(self._joined(jobs), self._decode, lambda: 0 if waits else self._ahead())
            ) as decoded:
                async for _, (parts, failure, rest) in decoded:
                    while True:
                        while parts:
                            yield parts.pop(0)
                        try:
                            if failure is not None:
                                raise failure
                        finally:
                            del failure  # its traceback refers to this frame: a cycle
                        if rest is None:
                            break
                        parts, failure, rest = await self._take(rest)
        finally:
            if self._pool is not None:  # waits for the running calls
                await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _ahead(self) -> int:
        """How many calls to run beyond the current one: none until blocks are known to be small."""
        return self._cpus if self._knows_ratio and not self._has_large_blocks else 0

    async def _chunks(self, files: AsyncGenerator[OpenedFile, None]) -> AsyncGenerator[Chunk, None]:
        async with aclosing(files):
            async for file in files:
                start, size = file.source.data_offset, file.source.size
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
        first = chunk.start == source.data_offset
        self._on_bytes(len(data) + first * chunk.start)
        return data

    async def _jobs(
        self, fetched: AsyncGenerator[tuple[Chunk, bytes], None]
    ) -> AsyncGenerator[_Job[R], None]:
        stream: BlockStream | GzipBlockStream | None = None
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

    def _stream(self, file: OpenedFile) -> BlockStream | GzipBlockStream:
        source, header = file.source, file.source.header
        blocks = BlockStream(
            source.path,
            header.sync_marker,
            header.size_bytes,
            None if source.is_gzip else source.size,
            dropped=self._dropped,
            max_block_bytes=self._max_block_bytes,
        )
        if not source.is_gzip:
            return blocks
        return GzipBlockStream(source.path, header.size_bytes, blocks, self._dropped)

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
        if self._pool is None:
            workers = self._cpus if jobs[0].decode.parallel else 1
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="avroglob-decode")
        return await self._take(self._results(jobs))

    async def _take(self, rest: Iterator[tuple[OpenedFile, R]]) -> _Decoded[R]:
        """Decode until enough bytes are in memory; what remains waits until these are used."""
        parts: list[tuple[OpenedFile, R]] = []

        def take() -> bool:
            held = 0
            for part in rest:
                parts.append(part)
                held += self._size_of(part[1])
                if held >= self._decoded_bytes:
                    return False
            return True

        try:
            ended = await asyncio.get_running_loop().run_in_executor(self._pool, take)
        except Exception as error:
            return _Decoded(parts, error, None)
        return _Decoded(parts, None, None if ended else rest)

    def _results(self, jobs: Sequence[_Job[R]]) -> Iterator[tuple[OpenedFile, R]]:
        """Yield the results of the runs; on failure, those that precede it."""
        if len(jobs) > 1:
            results: Sequence[R] = ()
            with suppress(Exception):  # decoding one by one shows which run fails, and why
                results = jobs[0].decode.together([job.run for job in jobs])
            if results:
                self._learn(results, sum(job.run.size_bytes for job in jobs))
                yield from zip([job.file for job in jobs], results, strict=True)
                return
        for job in jobs:
            rest: BlockRun | None = job.run
            while rest is not None:
                # Only a block that was decoded shows how much a run takes in memory.
                known, run = self._knows_ratio or job.rows is not None, rest
                first, rest = run.parted(self._run_bytes if known else 0)
                for part in job.decode(first, job.rows):
                    self._learn([part], first.size_bytes)
                    yield job.file, part

    def _learn(self, results: Sequence[R], stored_bytes: int) -> None:
        """Adapt the sizes of the next runs to what results take in memory."""
        if decoded := sum(map(self._size_of, results)):
            self._knows_ratio = True
            self._has_large_blocks = max(map(self._size_of, results)) > 4 * self._decoded_bytes
            ratio = decoded / stored_bytes
            self._run_bytes = max(_LEAST_RUN_BYTES, int(self._decoded_bytes / ratio))
            self._joined_bytes = min(_JOINED_BYTES, self._run_bytes)
