"""`schema` and `head`: a look into Avro files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import AvroglobCommand, examples, json_option, patterns_argument
from fsspec_avroglob.cli.exits import EXIT_OK
from fsspec_avroglob.cli.settings import Settings


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob schema s3://bucket/events/part-0.avro",
        "avroglob schema 'data/*.avro' | jq '.fields[].name'",
    ),
)
@click.argument("path", metavar="PATH")
@click.pass_obj
def schema(settings: Settings, /, path: str) -> int:
    """Print the Avro schema of PATH as JSON.

    PATH may be a pattern: the headers of all its files are read and compared, and the schema of the
    first is printed.
    """
    from fsspec_avroglob.readers.read import read_avro_schema

    output.print_json(read_avro_schema(path, storage_options=settings.storage_options(path)))
    return EXIT_OK


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob head -n 3 's3://bucket/events/year=2025/**/*.avro'",
        "avroglob head -n 100 --json data.avro | jq -c .user",
    ),
)
@patterns_argument
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How many records.",
)
@json_option
@click.pass_obj
def head(settings: Settings, /, patterns: tuple[str, ...], number: int, as_json: bool) -> int:
    """Print the first records of the files that match each PATTERN."""
    records = _records(settings, patterns, number)
    if as_json:
        for record in records:
            print(output.json_line(record))
    else:
        output.print_table([_as_row(record) for record in records])
    return EXIT_OK


def _as_row(record: Any) -> Mapping[str, Any]:
    """A record as it is; a value of a top level that is no record as the column ``value``."""
    return record if isinstance(record, Mapping) else {"value": record}


def _records(settings: Settings, patterns: Sequence[str], number: int) -> Iterator[Any]:
    from fsspec_avroglob.readers.read import iter_avro_records

    for pattern in patterns:
        options = settings.storage_options(pattern)
        with contextlib.closing(
            iter_avro_records(pattern, storage_options=options, n_rows=number)
        ) as records:
            for record in records:
                yield record
                number -= 1
        if number <= 0:
            return
