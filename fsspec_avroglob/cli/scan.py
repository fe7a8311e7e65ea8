"""`count` and `check`: what the blocks of Avro files tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import click

from fsspec_avroglob.avro.container import ContainerHeader
from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.blocks import Findings, Window, examine, read_header, walk
from fsspec_avroglob.cli.command import (
    AvroglobCommand,
    examples,
    json_option,
    patterns_argument,
    size_in_bytes,
)
from fsspec_avroglob.cli.errors import EXIT_FOUND, EXIT_OK
from fsspec_avroglob.cli.locate import files, place, system_for
from fsspec_avroglob.cli.progress import progress
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.outline import counted
from fsspec_avroglob.tasks import for_each

T = TypeVar("T")

_COUNTED_AT_ONCE = 32
_CHECKED_AT_ONCE = 4  # each holds a window and a block in memory


async def _for_files(
    settings: Settings,
    found: list[tuple[str, str, int]],
    visit: Callable[[Window], Awaitable[T]],
    at_once: int,
) -> list[T]:
    """Visit files, given as (pattern, path, size); the results in their order."""
    results: dict[int, T] = {}
    async with AsyncExitStack() as sessions:
        systems = {
            typed: await system_for(settings, typed, sessions) for typed in {f[0] for f in found}
        }

        async def one(index: int) -> None:
            typed, path, size = found[index]
            results[index] = await visit(Window(systems[typed], path, size))

        await for_each(range(len(found)), one, at_once)
    return [results[index] for index in range(len(found))]


def _found(
    settings: Settings, patterns: tuple[str, ...]
) -> tuple[list[tuple[str, str, int]], list[str]]:
    """The files that match, as (pattern, path, size), and how each is to be shown."""
    found, shown = [], []
    for typed in patterns:
        at = place(settings, typed)
        for info in files(at):
            found.append((typed, info["name"], info["size"]))
            shown.append(at.shown(info["name"]))
    return found, shown


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
    found, shown = _found(settings, patterns)
    with progress(f"counting in {counted(len(found), 'file')}", "files", len(found)) as advance:

        async def visit(window: Window) -> tuple[int, int]:
            records = blocks = 0
            header = await read_header(window)
            async for block in walk(window, header):
                records, blocks = records + block.value_count, blocks + 1
            advance(1)
            return records, blocks

        counts = asyncio.run(_for_files(settings, found, visit, _COUNTED_AT_ONCE))
    if total:
        print(sum(records for records, _ in counts))
        return EXIT_OK
    rows = [
        {"records": records, "blocks": blocks, "path": path}
        for (records, blocks), path in zip(counts, shown, strict=True)
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
    found, shown = _found(settings, patterns)
    decoding = _decoding(max_block_size) if values else None
    size = sum(file[2] for file in found)
    with progress(f"checking {counted(len(found), 'file')}", "bytes", size) as advance:

        async def visit(window: Window) -> Findings:
            return await examine(window, max_block_size, advance, decoding)

        findings = asyncio.run(_for_files(settings, found, visit, _CHECKED_AT_ONCE))
    rows: list[dict[str, Any]] = []
    for path, one in zip(shown, findings, strict=True):
        for lost in one.dropped:
            where = {"block": lost.block_index, "offset": lost.offset, "size": lost.size_bytes}
            rows.append({"path": path, **where, "reason": lost.reason})
    output.print_rows(rows, as_json)
    good = sum(one.blocks for one in findings)
    told = f"{counted(len(found), 'file')}, {counted(good, 'good block')}"
    values_told = counted(sum(one.values for one in findings), "value")
    print(f"{told}, {values_told}; {counted(len(rows), 'corrupt place')}", file=sys.stderr)
    return EXIT_FOUND if rows else EXIT_OK


def _decoding(max_block_bytes: int) -> Callable[[ContainerHeader], Callable[[bytes], object]]:
    from fsspec_avroglob.avro.arrow import TableSchema
    from fsspec_avroglob.avro.engines import decoder

    # The stricter engine: polars-avro reads branch numbers that a union has not as one that it has.
    def decode(header: ContainerHeader) -> Callable[[bytes], object]:
        table = TableSchema.of(header.schema)
        return decoder(header, table, "fastavro", max_block_size=max_block_bytes).decode

    return decode
