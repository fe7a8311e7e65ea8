"""`schema` and `head`: a look into Avro files."""

from __future__ import annotations

from typing import Any

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import (
    Settings,
    command,
    json_option,
    number_option,
    patterns_argument,
    schema_option,
)
from fsspec_avroglob.cli.exits import EXIT_OK
from fsspec_avroglob.readers.read import iter_avro_records, read_avro_schema


@command(
    "avroglob schema s3://bucket/events/part-0.avro",
    "avroglob schema 'data/*.avro' | jq '.fields[].name'",
)
@click.argument("path", metavar="PATH")
@schema_option
@click.pass_obj
def schema(settings: Settings, /, path: str, schema: str | None) -> int:
    """Print the Avro schema of PATH as JSON.

    If PATH is a pattern, compares the schemas of all its files and prints that of the first, or the
    one that --schema stands for.
    """
    options = settings.storage_options(path)
    found = read_avro_schema(path, storage_options=options, schema=schema)
    print(output.json_text(found, indent=2))
    return EXIT_OK


@command(
    "avroglob head -n 3 's3://bucket/events/year=2025/**/*.avro'",
    "avroglob head -n 100 --json data.avro | jq -c .user",
)
@patterns_argument
@number_option(default=10)
@schema_option
@json_option
@click.pass_obj
def head(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    n_rows: int,
    schema: str | None,
    as_json: bool,
) -> int:
    """Print the first records of the files that match each PATTERN."""
    records: list[Any] = []
    for pattern in patterns:  # one by one, as their schemas and filesystems may differ
        options, missing = settings.storage_options(pattern), n_rows - len(records)
        with iter_avro_records(
            pattern, storage_options=options, n_rows=missing, schema=schema
        ) as found:
            records += found
        if len(records) == n_rows:
            break
    if as_json:
        for record in records:
            print(output.json_line(record))
    else:
        output.print_table(list(map(output.as_row, records)))
    return EXIT_OK
