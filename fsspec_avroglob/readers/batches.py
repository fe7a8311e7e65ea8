"""Avro files as Arrow record batches, in the order of the files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import accumulate
from operator import attrgetter

import pyarrow as pa

from fsspec_avroglob.avro.decode import RunDecoder, Together
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.session import Located, Reading
from fsspec_avroglob.readers.sources import OpenedFile

# Smaller batches are joined: each costs a fixed time, whatever its rows.
_MIN_BATCH_BYTES = 256 * 1024


class TableReading:
    """A reading as record batches of ``layout.arrow``."""

    def __init__(self, reading: Reading, layout: TableLayout) -> None:
        self.reading, self.layout = reading, layout
        self.errors: list[Dropped] = reading.errors

    @classmethod
    async def open(
        cls, located: Located, options: ReadOptions, *, check_first: bool = False
    ) -> TableReading:
        """Open as :meth:`Reading.open` does. Raises what :meth:`TableLayout.of` raises, too."""
        reading, fit = await Reading.open(located, options, check_first=check_first)
        try:
            layout = TableLayout.of(fit.table.source, reading.partitions, options)
        except BaseException:
            await reading.aclose()
            raise
        return cls(reading, layout)

    async def table(self) -> pa.Table:
        """Read all rows."""
        async with aclosing(self.batches()) as batches:
            chunks = [batch async for batch in batches]
        return pa.Table.from_batches(chunks, self.layout.arrow)

    async def lists(self) -> AsyncGenerator[list[pa.RecordBatch], None]:
        """Yield each batch as a list of one."""
        async with aclosing(self.batches()) as batches:
            async for batch in batches:
                yield [batch]

    async def batches(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield batches of ``batch_size`` rows, or of at least 256 KiB each but the last.

        What precedes a failure is yielded before it is raised.
        """
        joined = _Joined(self.layout.arrow, self.reading.options.batch_size)
        try:
            async with aclosing(self._decoded()) as batches:
                async for batch in batches:
                    for one in joined.add(batch):
                        yield one
        except Exception:
            for one in joined.taken():
                yield one
            raise
        for one in joined.taken():
            yield one

    async def _decoded(self) -> AsyncGenerator[pa.RecordBatch, None]:
        options = self.reading.options
        row, stop = 0, options.n_rows
        async with aclosing(self.reading.results(self.decoding, attrgetter("nbytes"))) as results:
            async for file, held in results:
                if stop is not None:
                    held = held.slice(0, stop - row)
                if held.num_rows:
                    first_row = options.row_index_offset + row
                    yield self.layout.batch(held, file, first_row)
                row += held.num_rows
                if row == stop:
                    return

    def decoding(self, file: OpenedFile) -> RunDecoder[pa.RecordBatch]:
        """Return the decoder of a file's runs of blocks, which makes the columns of the file."""
        options = self.reading.options
        decode = decoder(
            file.source.header,
            self.layout.table,
            options.engine,
            max_block_size=options.max_block_size,
        )

        def function(run: BlockRun, rows: int | None) -> pa.RecordBatch:
            return decode.decode(run.stored(), rows)

        def several(runs: Sequence[BlockRun]) -> list[pa.RecordBatch]:
            batch = decode.decode(block for run in runs for block in run.stored())
            stops = accumulate(run.value_count for run in runs)
            return [
                batch.slice(stop - run.value_count, run.value_count)
                for run, stop in zip(runs, stops, strict=True)
            ]

        # Files of one schema and codec share a decoder. fastavro gains nothing from joined runs.
        together = Together(id(decode), several) if decode.parallel else None
        return self.reading.decoder(file, function, parallel=decode.parallel, several=together)


class _Joined:
    """Joins batches to batches of *rows*, or else of at least 256 KiB."""

    def __init__(self, schema: pa.Schema, rows: int | None) -> None:
        self._schema, self._rows = schema, rows
        self._batches: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Add rows, and yield the batches that are complete."""
        while self._rows is not None and self._held_rows + batch.num_rows >= self._rows:
            missing = self._rows - self._held_rows
            self._batches.append(batch.slice(0, missing))
            batch = batch.slice(missing)
            yield from self.taken()
        if batch.num_rows:
            self._batches.append(batch)
            self._held_rows += batch.num_rows
            self._held_bytes += batch.nbytes
        if self._rows is None and self._held_bytes >= _MIN_BATCH_BYTES:
            yield from self.taken()

    def taken(self) -> list[pa.RecordBatch]:
        """Remove all, joined into one batch; into several where a column exceeds 2 GiB of text."""
        found, self._batches = self._batches, []
        self._held_rows = self._held_bytes = 0
        if len(found) > 1:
            found = pa.Table.from_batches(found, self._schema).combine_chunks().to_batches()
        return found
