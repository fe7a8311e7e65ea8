"""Avro files as Arrow record batches, in the order of the files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import accumulate

import pyarrow as pa

from fsspec_avroglob.avro.decode import RunDecoder, Together
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.session import Located, Reading
from fsspec_avroglob.readers.sources import OpenedFile

# Batches of small files are joined, since what is done for each batch would outweigh its rows.
_LEAST_BATCH_BYTES = 256 * 1024


class TableReading:
    """A reading as record batches of ``layout.arrow``."""

    def __init__(self, reading: Reading, layout: TableLayout) -> None:
        self.reading = reading
        self.layout = layout

    @classmethod
    async def open(
        cls, located: Located, options: ReadOptions, *, check_first: bool = False
    ) -> TableReading:
        """As :meth:`Reading.open`. Raises what :meth:`TableLayout.of` does, too."""
        reading = await Reading.open(located, options, check_first=check_first)
        try:
            layout = TableLayout.of(reading.fit.table.source, reading.partitions, options)
        except BaseException:
            await reading.aclose()
            raise
        return cls(reading, layout)

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """The rows in batches of whatever size decoding gives them; none is empty."""
        options = self.reading.options
        row, stop = 0, options.n_rows
        if stop == 0:
            await self.reading.aclose()
            return
        async with aclosing(self.reading.results(self.decoding, _nbytes)) as results:
            async for file, held in results:
                if stop is not None:
                    held = held.slice(0, stop - row)
                if held.num_rows:
                    yield self.layout.batch(
                        held,
                        file.source.path,
                        self.reading.partitions[file.number],
                        options.row_index_offset + row,
                    )
                row += held.num_rows
                if row == stop:
                    return

    async def table(self) -> pa.Table:
        """All rows."""
        async with aclosing(self.joined_batches()) as batches:
            chunks = [batch async for batch in batches]
        return pa.Table.from_batches(chunks, self.layout.arrow)

    def joined_batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """The rows in batches that are not very small."""
        return joined(self.batches(), self.layout.arrow)

    def decoding(self, file: OpenedFile) -> RunDecoder[pa.RecordBatch]:
        """What decodes a file's runs of blocks into the columns that files hold."""
        options = self.reading.options
        decode = decoder(
            file.source.header,
            self.layout.table,
            options.engine,
            max_block_size=options.max_block_size,
        )

        def function(run: Run, rows: int | None) -> pa.RecordBatch:
            return decode.decode(run.stored(), rows)

        def several(runs: Sequence[Run]) -> list[pa.RecordBatch]:
            batch = decode.decode(block for run in runs for block in run.stored())
            stops = accumulate(run.value_count for run in runs)
            return [
                batch.slice(stop - run.value_count, run.value_count)
                for run, stop in zip(runs, stops, strict=True)
            ]

        # All files that are alike share a decoder. fastavro would gain nothing.
        together = Together(id(decode), several) if decode.parallel else None
        return self.reading.decoder(file, function, parallel=decode.parallel, several=together)


async def joined(
    batches: AsyncGenerator[pa.RecordBatch, None], schema: pa.Schema
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Neighbouring small batches made one."""
    waiting = _Waiting(schema)
    async with aclosing(batches), aclosing(_failure_last(batches, waiting)) as all_batches:
        async for batch in all_batches:
            waiting.add(batch)
            if waiting.size_bytes >= _LEAST_BATCH_BYTES:
                for one in waiting.taken():
                    yield one
    for one in waiting.taken():
        yield one
    waiting.fail()


async def sized(
    batches: AsyncGenerator[pa.RecordBatch, None], schema: pa.Schema, rows: int
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The same rows in batches of *rows*, the last one with what is left."""
    waiting = _Waiting(schema)
    async with aclosing(batches), aclosing(_failure_last(batches, waiting)) as all_batches:
        async for batch in all_batches:
            while waiting.rows + batch.num_rows >= rows:
                count = rows - waiting.rows
                waiting.add(batch.slice(0, count))
                batch = batch.slice(count)
                for one in waiting.taken():
                    yield one
            waiting.add(batch)
    for one in waiting.taken():
        yield one
    waiting.fail()


class _Waiting:
    """Batches that are to be one, and the failure that comes after them."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self.failure: Exception | None = None
        self.rows = self.size_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Have *batch* wait."""
        if batch.num_rows:
            self._batches.append(batch)
            self.rows += batch.num_rows
            self.size_bytes += batch.nbytes

    def taken(self) -> list[pa.RecordBatch]:
        """All of them as one, or as few as hold them (an Arrow array holds 2 GiB of text)."""
        found, self._batches = self._batches, []
        self.rows = self.size_bytes = 0
        if len(found) > 1:
            found = pa.Table.from_batches(found, self._schema).combine_chunks().to_batches()
        return found

    def fail(self) -> None:
        """Raise what ended the reading, if anything did."""
        failure, self.failure = self.failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback knows this frame


async def _failure_last(
    batches: AsyncGenerator[pa.RecordBatch, None], waiting: _Waiting
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The batches; a failure is kept until those before it have been passed on."""
    try:
        async for batch in batches:
            yield batch
    except Exception as error:
        waiting.failure = error


def _nbytes(batch: pa.RecordBatch) -> int:
    return int(batch.nbytes)
