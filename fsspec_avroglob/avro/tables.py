"""Avro files as Arrow record batches, in the order of the files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pyarrow as pa

from fsspec_avroglob.avro.decode import RunDecoder
from fsspec_avroglob.avro.engines import decoder
from fsspec_avroglob.avro.options import ReadOptions
from fsspec_avroglob.avro.reading import Located, Reading
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.avro.table import TableLayout
from fsspec_avroglob.sources import OpenedFile

# Batches of small files are joined, since what is done for each batch would outweigh its rows.
_LEAST_BATCH_BYTES = 4 * 1024 * 1024


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
        chunks = []
        async with aclosing(joined(self.batches(), self.layout.arrow)) as batches:
            async for batch in batches:
                chunks.append(batch)
        return pa.Table.from_batches(chunks, self.layout.arrow)

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
            return decode.decode(run.data, rows)

        return self.reading.decoder(file, function, parallel=decode.parallel)


async def joined(
    batches: AsyncGenerator[pa.RecordBatch, None], schema: pa.Schema
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Neighbouring small batches made one."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    async with aclosing(batches):
        async for batch in batches:
            waiting.append(batch)
            size += batch.nbytes
            if size >= _LEAST_BATCH_BYTES:
                for one in _one(waiting, schema):
                    yield one
                waiting, size = [], 0
    for one in _one(waiting, schema):
        yield one


async def sized(
    batches: AsyncGenerator[pa.RecordBatch, None], schema: pa.Schema, rows: int
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The same rows in batches of *rows*, the last one with what is left."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    async with aclosing(batches):
        async for batch in batches:
            while count + batch.num_rows >= rows:
                head = batch.slice(0, rows - count)
                batch = batch.slice(rows - count)
                for one in _one([*waiting, head], schema):
                    yield one
                waiting, count = [], 0
            if batch.num_rows:
                waiting.append(batch)
                count += batch.num_rows
    for one in _one(waiting, schema):
        yield one


def _one(batches: list[pa.RecordBatch], schema: pa.Schema) -> list[pa.RecordBatch]:
    """The batches as one, or as few as hold them (an Arrow array holds 2 GiB of text)."""
    if len(batches) < 2:
        return batches
    table = pa.Table.from_batches(batches, schema)
    whole: list[pa.RecordBatch] = table.combine_chunks().to_batches()
    return whole


def _nbytes(batch: pa.RecordBatch) -> int:
    return int(batch.nbytes)
