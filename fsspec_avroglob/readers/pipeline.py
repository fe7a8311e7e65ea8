"""Fetching ahead and decoding in threads: files in, what their blocks hold out, in order.

Files are read in chunks, many at once. The chain of blocks is followed from chunk to chunk in the
files' order, so no block has to be searched for; runs of whole blocks are decoded as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from fsspec_avroglob.aio.tasks import Budget, ordered, usable_cpus
from fsspec_avroglob.avro.blocks import MAX_BLOCK_BYTES, Dropped
from fsspec_avroglob.avro.stream import BlockStream, Run
from fsspec_avroglob.readers.locate import read_part
from fsspec_avroglob.readers.sources import OpenedFile

MAX_CONCURRENCY = 64
"""Default of how many reads are under way at once."""

MAX_BYTES = 128 * 1024 * 1024
"""Default of how many bytes may have been asked for and not yet been followed."""

CHUNK_BYTES = 4 * 1024 * 1024
"""Long enough that a request's latency is small beside its transfer, short enough to share out."""

_FIRST_CHUNK_BYTES = 256 * 1024
_DECODED_BYTES = 16 * 1024 * 1024
_LEAST_RUN_BYTES = 64 * 1024

# Enough for the price of a call (polars-avro's is a buffer of 4 MiB) to be small beside the rest.
_TOGETHER_BYTES = 1024 * 1024

# While it is not known how far the data inflate.
_FIRST_TOGETHER_BYTES = 128 * 1024

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Decode(Protocol[R_co]):
    """Decodes runs of one file's blocks.

    - ``parallel``: whether it is worth while in several threads at once.
    - ``alike``: equal for files whose runs may be decoded together; None if that saves nothing.
    """

    parallel: bool

    @property
    def alike(self) -> object | None:
        """See above."""

    def __call__(self, run: Run, rows: int | None) -> Iterator[R_co]:
        """What the blocks hold, of the first *rows* values if given, in one part or in several."""

    def together(self, runs: Sequence[Run]) -> Sequence[R_co]:
        """What each of the runs holds, of files that are alike; raises anything if it cannot."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one reading.

    - ``max_concurrency``: most reads under way at once.
    - ``max_bytes``: most bytes asked for and not yet followed.
    - ``max_block_bytes``: most bytes that one block may have, stored or inflated.
    - ``n_rows``: most rows to read, None for all.
    """

    max_concurrency: int = MAX_CONCURRENCY
    max_bytes: int = MAX_BYTES
    max_block_bytes: int = MAX_BLOCK_BYTES
    n_rows: int | None = None


class Demand:
    """What is left to read of a limited number of rows, guessed from what came so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rows = 0
        self._bytes = 0
        self._files = 0
        self._last_chunk = _FIRST_CHUNK_BYTES // 4

    def came(self, rows: int, stored_bytes: int) -> None:
        """Count in what was found."""
        self._rows += rows
        self._bytes += stored_bytes

    def ended(self) -> None:
        """Count in a file whose end has been reached."""
        self._files += 1

    @property
    def limited(self) -> bool:
        """Whether not all is wanted."""
        return self._limits.n_rows is not None

    @property
    def rows_left(self) -> int:
        """How many rows are still wanted."""
        assert self._limits.n_rows is not None
        return self._limits.n_rows - self._rows

    def files_ahead(self) -> int:
        """How many files to open beyond the one in turn."""
        if not self.limited:
            return self._limits.max_concurrency - 1
        if not self._files:
            return 0
        guess = self.rows_left * self._files // max(self._rows, 1)
        return max(0, min(guess, self._limits.max_concurrency) - 1)

    def chunk_bytes(self) -> int:
        """How many bytes to ask for next."""
        if not self.limited:
            return CHUNK_BYTES
        if self._rows:
            wanted = self._bytes_left()
        else:
            wanted = self._last_chunk = 4 * self._last_chunk
        return min(max(wanted, _LEAST_RUN_BYTES), CHUNK_BYTES)

    def chunks_ahead(self) -> int:
        """How many chunks to ask for beyond the one in turn."""
        if not self.limited:
            return self._limits.max_concurrency - 1
        if not self._rows:
            return 0
        return max(0, min(-(-self._bytes_left() // CHUNK_BYTES), self._limits.max_concurrency) - 1)

    def _bytes_left(self) -> int:
        # A sixteenth more, since blocks are not all alike.
        return self.rows_left * self._bytes * 17 // (self._rows * 16)


class Chunk(NamedTuple):
    """The bytes [start, stop) of a file, stop None for its end, and how many may be held for it."""

    file: OpenedFile
    start: int
    stop: int | None
    last: bool
    held: int


class _Job(NamedTuple, Generic[R]):
    file: OpenedFile
    run: Run
    rows: int | None
    decode: Decode[R]


class _Decoded(NamedTuple, Generic[R]):
    """What runs hold, each part with its file, and what ended their decoding early if anything."""

    parts: list[tuple[OpenedFile, R]]
    failure: Exception | None


class Pipeline(Generic[R]):
    """One reading of files.

    - ``decoding``: makes, of each file, what decodes its blocks; raises if that cannot be.
    - ``size_of``: the bytes of memory of what was decoded, or 0.
    - ``dropped``: gets what is left out of corrupt files; None raises instead.
    - ``fetched``: told of bytes as they come, and of the end of each file.
    """

    def __init__(
        self,
        decoding: Callable[[OpenedFile], Decode[R]],
        limits: Limits,
        *,
        demand: Demand | None = None,
        size_of: Callable[[R], int] = lambda result: 0,
        dropped: list[Dropped] | None = None,
        fetched: Callable[[int, bool], object] = lambda size_bytes, ended: None,
    ) -> None:
        self._decoding = decoding
        self._limits = limits
        self._demand = Demand(limits) if demand is None else demand
        self._size_of = size_of
        self._dropped = dropped
        self._fetched = fetched
        self._budget = Budget(limits.max_bytes)
        self._threads = _Threads()
        self._run_bytes = _DECODED_BYTES // 4
        self._together_bytes = _FIRST_TOGETHER_BYTES

    async def results(
        self, files: AsyncGenerator[OpenedFile, None]
    ) -> AsyncGenerator[tuple[OpenedFile, R], None]:
        """What runs of blocks hold, in order, with the file; *files* is closed at the end.

        What fails does so after all that is before it.
        """
        lazy = self._demand.limited and self._dropped is not None
        ahead = 0 if lazy else self._threads.count
        try:
            jobs = self._jobs(ordered(self._chunks(files), self._fetch, self._demand.chunks_ahead))
            gathered = self._gathered(jobs)
            async with aclosing(ordered(gathered, self._decode, lambda: ahead)) as decoded:
                async for _, (parts, failure) in decoded:
                    for part in parts:
                        yield part
                    try:
                        if failure is not None:
                            raise failure
                    finally:
                        del failure  # its traceback knows this frame
        finally:
            await self._threads.end()

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
        self._fetched(len(data) + first * chunk.start, False)
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
                    for job in self._parts(chunk.file, run, decode):
                        yield job
                    if self._enough():
                        return
                if chunk.last:
                    stream = None
                    self._demand.ended()
                    self._fetched(0, True)

    def _stream(self, file: OpenedFile) -> BlockStream:
        header = file.source.header
        return BlockStream(
            file.source.path,
            header.sync_marker,
            header.size_bytes,
            file.source.size,
            dropped=self._dropped,
            max_block_bytes=self._limits.max_block_bytes,
        )

    def _parts(self, file: OpenedFile, run: Run, decode: Decode[R]) -> list[_Job[R]]:
        """The run as jobs of about equal size, cut where enough rows have come."""
        rows = None
        if self._demand.limited and self._dropped is None:
            left = self._demand.rows_left
            run, rows = run.first_values(left), left if run.value_count > left else None
        self._demand.came(run.value_count, len(run.data))
        parts = list(run.split(self._run_bytes))
        jobs = [_Job(file, part, None, decode) for part in parts]
        if rows is not None:
            before = sum(part.value_count for part in parts[:-1])
            jobs[-1] = jobs[-1]._replace(rows=rows - before)
        return jobs

    def _enough(self) -> bool:
        # Of a file with errors, the blocks' own counts are not what will come.
        return self._demand.limited and self._dropped is None and self._demand.rows_left <= 0

    async def _gathered(
        self, jobs: AsyncGenerator[_Job[R], None]
    ) -> AsyncGenerator[list[_Job[R]], None]:
        """The jobs, small ones together that can be done so: each call of an engine has a price."""
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
                    held += len(job.run.data)
                    enough = held >= self._together_bytes
                    if enough or alike is None or self._demand.limited:
                        yield together
                        together, held = [], 0
        except Exception:
            if together:  # what comes before the failure
                yield together
            raise
        if together:
            yield together

    async def _decode(self, jobs: list[_Job[R]]) -> _Decoded[R]:
        parts: list[tuple[OpenedFile, R]] = []
        try:
            await self._threads.run(jobs[0].decode.parallel, _decode_into, parts, jobs)
        except Exception as error:
            return _Decoded(parts, error)
        decoded = sum(self._size_of(part) for _, part in parts)
        if decoded:
            ratio = decoded / sum(len(job.run.data) for job in jobs)
            self._run_bytes = max(_LEAST_RUN_BYTES, int(_DECODED_BYTES / ratio))
            self._together_bytes = min(_TOGETHER_BYTES, self._run_bytes)
        return _Decoded(parts, None)


def _decode_into(parts: list[tuple[OpenedFile, R]], jobs: Sequence[_Job[R]]) -> None:
    """Append what the runs hold; of a failure, what is before it."""
    if len(jobs) > 1:
        with suppress(Exception):  # which of them is at fault, and how, shows by itself
            results = jobs[0].decode.together([job.run for job in jobs])
            parts += [(job.file, one) for job, one in zip(jobs, results, strict=True)]
            return
    for job in jobs:
        for part in job.decode(job.run, job.rows):
            parts.append((job.file, part))


class _Threads:
    """The threads that decode; made when first needed."""

    def __init__(self) -> None:
        self.count = usable_cpus()
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[Future[object]] = set()

    async def run(self, parallel: bool, function: Callable[..., R], *args: object) -> R:
        """The result of ``function(*args)`` in a thread, or in one of several if *parallel*."""
        if self._pool is None:
            workers = self.count if parallel else 1
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="avroglob-decode")
        future = self._pool.submit(function, *args)
        self._running.add(future)  # type: ignore[arg-type]  # a set of any futures
        future.add_done_callback(self._running.discard)
        try:
            return await asyncio.wrap_future(future)
        finally:
            del future  # it knows the failure, whose traceback knows this frame

    async def end(self) -> None:
        """End the threads, what they are at included."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        running = [asyncio.wrap_future(future) for future in list(self._running)]
        await asyncio.gather(*running, return_exceptions=True)
        self._pool.shutdown(wait=True)  # they are idle by now
