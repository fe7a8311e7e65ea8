"""`count` and `check`: the blocks of Avro files, counted by their headers or inflated."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import click

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.avro.codecs import decompress
from fsspec_avroglob.avro.container import ContainerHeader
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
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.readers.locate import Location
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pipeline import Pipeline
from fsspec_avroglob.readers.sources import LONG_HEAD_BYTES, OpenedFile, open_files

_AHEAD_BYTES = 32 << 20  # more would only take memory


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

    The header of a block states its number of records.
    """
    files = locations(settings, patterns)
    what = f"counting in {counted(len(files), 'file')}"
    with output.progress(what, "files", len(files)) as advance:
        counts = blocking(_counts, files, advance)
    if total:
        print(sum(number["records"] for number in counts))
        return EXIT_OK
    rows = [
        {"records": number["records"], "blocks": number["blocks"], "path": file.name}
        for number, file in zip(counts, files, strict=True)
    ]
    output.print_rows(rows, as_json, total=True)
    return EXIT_OK


async def _counts(files: list[Location], advance: output.Advance) -> list[Counter[str]]:
    """The numbers of records and blocks of each file. Raises for the first corrupt block."""
    counts: list[Counter[str]] = [Counter() for _ in files]
    claimed = RunDecoder[BlockRun]("", lambda run, _: run, parallel=False, dropped=None)
    pipeline = Pipeline(
        lambda file: claimed,
        ReadOptions(max_bytes=_AHEAD_BYTES),
        on_file_end=lambda: advance(1),
    )
    async with aclosing(pipeline.results(open_files(files))) as results:
        async for file, run in results:
            counts[file.number]["records"] += run.value_count
            counts[file.number]["blocks"] += len(run.contents)
    return counts


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
    summary += f"; {counted(len(rows), 'corrupt part')}"
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
        ahead = _AHEAD_BYTES // LONG_HEAD_BYTES
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

    options = ReadOptions(max_bytes=_AHEAD_BYTES, max_block_size=max_block_bytes)
    pipeline = Pipeline(
        lambda file: decoders.pop(file.number), options, dropped=dropped, on_bytes=advance
    )
    async with aclosing(pipeline.results(usable_files())) as results:
        async for _, run in results:
            good["block"] += len(run.contents)
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
