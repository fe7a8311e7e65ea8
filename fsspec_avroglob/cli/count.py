"""`count` and `check`: what the blocks of Avro files tell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import aclosing

import click

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import ordered
from fsspec_avroglob.avro.container import ContainerHeader
from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.bars import Advance, progress
from fsspec_avroglob.cli.check import Decode, examine, walk
from fsspec_avroglob.cli.command import (
    AvroglobCommand,
    examples,
    json_option,
    patterns_argument,
    size_in_bytes,
)
from fsspec_avroglob.cli.exits import EXIT_FOUND, EXIT_OK
from fsspec_avroglob.cli.places import files, place
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.readers.locate import Location
from fsspec_avroglob.readers.sources import OpenedFile, open_files

_COUNTED_AHEAD = 32


def _found(settings: Settings, patterns: tuple[str, ...]) -> list[Location]:
    """The files that match, each with the name that it is to be shown by."""
    return [
        Location(at.shown(info["name"]), at.fs, info["name"], info["size"])
        for at in (place(settings, typed) for typed in patterns)
        for info in files(at)
    ]


async def _counts(found: list[Location], advance: Advance) -> list[tuple[int, int]]:
    """Of each file the numbers of records and of blocks."""

    async def count_one(file: OpenedFile) -> tuple[int, int]:
        records = blocks = 0
        async for block in walk(file):
            records, blocks = records + block.value_count, blocks + 1
        advance(1)
        return records, blocks

    counted_files = ordered(open_files(found), count_one, lambda: _COUNTED_AHEAD)
    async with aclosing(counted_files):
        return [counts async for _, counts in counted_files]


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob count 's3://bucket/events/year=2025/**/*.avro'",
        "avroglob count --total 's3://bucket/events/**/*.avro'",
    ),
)
@patterns_argument
@click.option("--total", is_flag=True, help="Print the number of records alone.")
@json_option
@click.pass_obj
def count(settings: Settings, /, patterns: tuple[str, ...], total: bool, as_json: bool) -> int:
    """Count the records of the Avro files that match each PATTERN, without decoding any.

    Blocks tell how many records they hold. Of large blocks nothing else is read.
    """
    found = _found(settings, patterns)
    with progress(f"counting in {counted(len(found), 'file')}", "files", len(found)) as advance:
        counts = blocking(_counts, found, advance)
    if total:
        print(sum(records for records, _ in counts))
        return EXIT_OK
    rows = [
        {"records": records, "blocks": blocks, "path": file.name}
        for (records, blocks), file in zip(counts, found, strict=True)
    ]
    output.print_rows(rows, as_json, total=True)
    return EXIT_OK


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob check 's3://bucket/events/year=2025/**/*.avro'",
        "avroglob check --values --json data.avro",
    ),
)
@patterns_argument
@click.option(
    "--values", is_flag=True,
    help="Decode the values of every block too (extra: arrow). It is done by fastavro, which finds "
    "more of what is wrong than the faster engine, and takes some ten times longer.",
)  # fmt: skip
@click.option(
    "--max-block-size", type=size_in_bytes, default="256M", show_default=True, metavar="SIZE",
    help="Report larger blocks, as stored or inflated.",
)  # fmt: skip
@json_option
@click.pass_obj
def check(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    values: bool,
    max_block_size: int,
    as_json: bool,
) -> int:
    """Read the Avro files that match each PATTERN and report corrupt blocks.

    Every block is inflated, its checksum held against it where its codec has one. Prints what is
    damaged: path, block, offset and size in bytes, reason. Exits with 4 if anything is.
    """
    found = _found(settings, patterns)
    decoding = _decoding(max_block_size) if values else None
    size = sum(file.size or 0 for file in found)
    with progress(f"checking {counted(len(found), 'file')}", "bytes", size) as advance:
        findings = blocking(examine, found, max_block_size, advance, decoding)
    rows = [
        {
            "path": lost.path,
            "block": lost.block_index,
            "offset": lost.offset,
            "size": lost.size_bytes,
            "reason": lost.reason,
        }
        for lost in findings.dropped
    ]
    output.print_rows(rows, as_json)
    told = f"{counted(len(found), 'file')}, {counted(findings.blocks, 'good block')}"
    told = f"{told}, {counted(findings.values, 'value')}"
    print(f"{told}; {counted(len(rows), 'corrupt place')}", file=sys.stderr)
    return EXIT_FOUND if rows else EXIT_OK


def _decoding(max_block_bytes: int) -> Callable[[ContainerHeader], Decode]:
    from fsspec_avroglob.avro.arrow import TableSchema
    from fsspec_avroglob.avro.engines import decoder

    # The stricter engine: polars-avro reads branch numbers that a union has not as one that it has.
    def decode(header: ContainerHeader) -> Decode:
        table = TableSchema.of(header.schema)
        return decoder(header, table, "fastavro", max_block_size=max_block_bytes).decode

    return decode
