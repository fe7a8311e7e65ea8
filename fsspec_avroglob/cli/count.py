"""`count` and `check`: the blocks of Avro files, counted by their headers or read whole."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

import click

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import ordered
from fsspec_avroglob.avro.codecs import decompress
from fsspec_avroglob.avro.container import (
    BLOCK_HEADER_BYTES,
    SYNC_MARKER_BYTES,
    Block,
    ContainerHeader,
    check_marker,
    claimed_block,
)
from fsspec_avroglob.avro.decode import RunDecoder
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.arguments import locations
from fsspec_avroglob.cli.command import (
    Settings,
    command,
    json_option,
    patterns_argument,
    size_in_bytes,
)
from fsspec_avroglob.cli.exits import EXIT_FOUND, EXIT_OK
from fsspec_avroglob.errors import CorruptBlockError
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.readers.locate import Location, read_part
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pipeline import Pipeline
from fsspec_avroglob.readers.sources import LONG_HEAD_BYTES, OpenedFile, open_files

_FILES_AHEAD = 32
_CHUNK_BYTES = 4 << 20
_HOP_BYTES = 1 << 20  # skipping less than this would take longer than reading it
_PROBE_BYTES = 4 << 10  # read after a hop
_CHECKED_AHEAD_BYTES = 32 << 20  # inflating is slower than fetching; more would only take memory


@command(
    "avroglob count 's3://bucket/events/year=2025/**/*.avro'",
    "avroglob count --total 's3://bucket/events/**/*.avro'",
)
@patterns_argument
@click.option("--total", is_flag=True, help="Print only the total number of records.")
@json_option
@click.pass_obj
def count(settings: Settings, /, patterns: tuple[str, ...], total: bool, as_json: bool) -> int:
    """Count the records of the Avro files that match each PATTERN, without decoding them.

    The header of a block states its number of records. Large blocks are skipped, not read.
    """
    files = locations(settings, patterns)
    what = f"counting in {counted(len(files), 'file')}"
    with output.progress(what, "files", len(files)) as advance:
        counts = blocking(_counts, files, advance)
    if total:
        print(sum(records for records, _ in counts))
        return EXIT_OK
    rows = [
        {"records": records, "blocks": blocks, "path": file.name}
        for (records, blocks), file in zip(counts, files, strict=True)
    ]
    output.print_rows(rows, as_json, total=True)
    return EXIT_OK


async def _counts(files: list[Location], advance: output.Advance) -> list[tuple[int, int]]:
    """The numbers of records and blocks of each file."""

    async def count_one(file: OpenedFile) -> tuple[int, int]:
        records = blocks = 0
        async for block in _blocks(file):
            records, blocks = records + block.value_count, blocks + 1
        advance(1)
        return records, blocks

    results = ordered(open_files(files), count_one, lambda: _FILES_AHEAD)
    async with aclosing(results):
        return [counts async for _, counts in results]


async def _blocks(file: OpenedFile) -> AsyncIterator[Block]:
    """Yield all blocks of a file.

    Raises CorruptBlockError at the first corrupt one, and OSError for a file without a size.
    """
    source, file_bytes = file.source, file.source.size
    if file_bytes is None:
        raise OSError(f"the server does not state the size of {source.path}; count a copy of it")
    data, data_start = source.head, 0

    async def read(start: int, stop: int) -> bytes:
        nonlocal data, data_start
        data_stop = data_start + len(data)
        if min(stop, file_bytes) > data_stop:
            ahead = _PROBE_BYTES if start > data_stop + _HOP_BYTES else _CHUNK_BYTES
            wanted = min(max(stop, start + ahead), file_bytes) - start
            part = await read_part(file.location, start, start + wanted, source.etag)
            if len(part.data) != wanted:
                raise OSError(f"{source.path} became shorter during the count; count it again")
            data, data_start = part.data, start
        return data[start - data_start : stop - data_start]

    offset, index = source.header.size_bytes, 0
    while offset < file_bytes:
        try:
            opening = await read(offset, offset + BLOCK_HEADER_BYTES)
            block = claimed_block(opening, base=offset, file_bytes=file_bytes)
            marker = await read(block.end - SYNC_MARKER_BYTES, block.end)
            check_marker(block, marker, source.header.sync_marker)
        except CorruptBlockError as error:
            raise error.at(source.path, index) from error
        yield block
        offset, index = block.end, index + 1


@command(
    "avroglob check 's3://bucket/events/year=2025/**/*.avro'",
    "avroglob check --values --json data.avro",
)
@patterns_argument
@click.option("--values", is_flag=True, help="Also decode all values, ten times slower.")
@click.option("--max-block-size", "max_bytes", type=size_in_bytes, default="256M", metavar="SIZE")
@json_option
@click.pass_obj
def check(
    settings: Settings, /, patterns: tuple[str, ...], values: bool, max_bytes: int, as_json: bool
) -> int:
    """Read the Avro files that match each PATTERN and report corrupt blocks.

    Inflates every block and compares its checksum, if its codec has one. A block above the largest
    size, stored or inflated, is corrupt too; the default is 256M. --values needs the extra arrow;
    it uses fastavro, which finds more errors than the faster engine. Prints path, block, offset and
    size in bytes, and the reason. Exits with 4 if a block is corrupt.
    """
    files = locations(settings, patterns)
    size_bytes = sum(file.size or 0 for file in files)
    with output.progress(f"checking {counted(len(files), 'file')}", "bytes", size_bytes) as advance:
        good, dropped = blocking(_examine, files, max_bytes, values, advance)
    names = {"block": "block_index", "offset": "offset", "size": "size_bytes", "reason": "reason"}
    rows = [
        {"path": lost.path, **{name: getattr(lost, field) for name, field in names.items()}}
        for lost in dropped
    ]
    output.print_rows(rows, as_json)
    amounts = [(len(files), "file"), (good["block"], "good block"), (good["value"], "value")]
    summary = ", ".join(counted(number, noun) for number, noun in amounts)
    summary += f"; {counted(len(rows), 'corrupt place')}"
    print(summary, file=sys.stderr)
    return EXIT_FOUND if rows else EXIT_OK


async def _examine(
    files: Sequence[Location], max_block_bytes: int, values: bool, advance: output.Advance
) -> tuple[Counter[str], list[Dropped]]:
    """Read files as the readers do; count good blocks and values, list corrupt parts in order."""
    good: Counter[str] = Counter()
    dropped: list[Dropped] = []
    decoders: dict[int, RunDecoder[BlockRun]] = {}

    def skip(whole: Dropped) -> None:
        dropped.append(whole)
        advance(whole.size_bytes)

    async def usable_files() -> AsyncGenerator[OpenedFile, None]:
        ahead = _CHECKED_AHEAD_BYTES // LONG_HEAD_BYTES
        opened = open_files(files, head_bytes=LONG_HEAD_BYTES, ahead=lambda: ahead, skipped=skip)
        async with aclosing(opened):
            async for file in opened:
                path = file.source.path
                try:
                    verify = _verify(file.source.header, max_block_bytes, values)
                except ValueError as error:
                    skip(Dropped(path, None, 0, file.source.size or 0, str(error)))
                else:
                    decoders[file.number] = RunDecoder(
                        path, verify, parallel=not values, dropped=dropped
                    )
                    yield file

    options = ReadOptions(max_bytes=_CHECKED_AHEAD_BYTES, max_block_size=max_block_bytes)
    pipeline = Pipeline(
        lambda file: decoders.pop(file.number), options, dropped=dropped, on_bytes=advance
    )
    async with aclosing(pipeline.results(usable_files())) as results:
        async for _, run in results:
            good["block"] += len(run.blocks)
            good["value"] += run.value_count
    numbers = {file.name: number for number, file in enumerate(files)}
    return good, sorted(dropped, key=lambda one: (numbers[one.path], one.offset))


def _verify(
    header: ContainerHeader, max_block_bytes: int, values: bool
) -> Callable[[BlockRun, int | None], BlockRun]:
    """A function that returns a run if all its blocks can be inflated and, if asked, decoded.

    Raises ValueError if no values can be decoded with the file's schema.
    """
    if values:
        from fsspec_avroglob.avro.arrow import TableSchema
        from fsspec_avroglob.avro.engines import decoder

        # polars-avro accepts branch numbers that a union does not have; fastavro refuses them.
        table = TableSchema.of(header.schema)
        decode = decoder(header, table, "fastavro", max_block_size=max_block_bytes).decode

    def verify(run: BlockRun, _: int | None) -> BlockRun:
        for _, data in run.stored():
            decompress(header.codec, data, max_block_bytes)
        if values:
            try:
                decode(run.stored())
            except ValueError as error:
                raise ValueError(f"its values cannot be decoded: {error}") from error
        return run

    return verify
