"""Avro files as Arrow record batches, in the order of the files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import accumulate
from operator import attrgetter

import pyarrow as pa

from fsspec_avroglob.avro.blocks import Dropped
from fsspec_avroglob.avro.decode import RunDecoder, Together
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.avro.stream import Run
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
        rows = self.reading.options.batch_size
        waiting = _Waiting(self.layout.arrow)
        try:
            async with aclosing(self._decoded()) as batches:
                async for batch in batches:
                    while rows is not None and waiting.rows + batch.num_rows >= rows:
                        count = rows - waiting.rows
                        waiting.add(batch.slice(0, count))
                        batch = batch.slice(count)
                        for one in waiting.taken():
                            yield one
                    waiting.add(batch)
                    if rows is None and waiting.size_bytes >= _MIN_BATCH_BYTES:
                        for one in waiting.taken():
                            yield one
        except Exception:
            for one in waiting.taken():
                yield one
            raise
        for one in waiting.taken():
            yield one

    async def _decoded(self) -> AsyncGenerator[pa.RecordBatch, None]:
        options = self.reading.options
        row, stop = 0, options.n_rows
        if stop == 0:
            await self.reading.aclose()
            return
        async with aclosing(self.reading.results(self.decoding, attrgetter("nbytes"))) as results:
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

    def decoding(self, file: OpenedFile) -> RunDecoder[pa.RecordBatch]:
        """Return the decoder of a file's runs of blocks, which makes the columns of the file."""
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

        # Files of one schema and codec share a decoder. fastavro gains nothing from joined runs.
        together = Together(id(decode), several) if decode.parallel else None
        return self.reading.decoder(file, function, parallel=decode.parallel, several=together)


class _Waiting:
    """Batches to join."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self.rows = self.size_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._batches.append(batch)
            self.rows += batch.num_rows
            self.size_bytes += batch.nbytes

    def taken(self) -> list[pa.RecordBatch]:
        """Remove all, joined into one batch; into several where a column exceeds 2 GiB of text."""
        found, self._batches = self._batches, []
        self.rows = self.size_bytes = 0
        if len(found) > 1:
            found = pa.Table.from_batches(found, self._schema).combine_chunks().to_batches()
        return found
