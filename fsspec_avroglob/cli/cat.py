"""`cat`: the records of many files as JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import (
    Settings,
    command,
    number_option,
    output_file,
    patterns_argument,
    schema_option,
)
from fsspec_avroglob.cli.exits import EXIT_OK, tell
from fsspec_avroglob.readers.locate import is_s3_uri
from fsspec_avroglob.readers.read import iter_avro_batches, iter_avro_records

FORMATS = ("jsonl", "csv", "parquet")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


@command(
    "avroglob cat 's3://bucket/events/year=2025/**/*.avro' | jq .user",
    "avroglob cat --to events.parquet 's3://bucket/events/**/*.avro'",
    "avroglob cat -f csv --columns id,user data.avro > users.csv",
)
@patterns_argument
@click.option("-f", "--format", "form", type=click.Choice(FORMATS), help="Default: FILE's suffix.")
@click.option("--to", "target", type=output_file, metavar="FILE", help="Write FILE, once complete.")
@click.option("--columns", metavar="A,B", help="Only these, in this order.")
@number_option(default=None)
@schema_option
@click.option("--ignore-errors", is_flag=True, help="Skip corrupt blocks and report them.")
@click.pass_obj
def cat(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    form: str | None,
    target: Path | None,
    columns: str | None,
    **options: Any,
) -> int:
    """Write all records of the files that match each PATTERN, in order.

    Writes JSON lines unless --format or the suffix of FILE says otherwise. JSON lines and CSV have
    nested values as JSON. Parquet needs the extra arrow.
    """
    form = form or _format_of(target)
    # Local files ignore the options of S3.
    url = next(filter(is_s3_uri, patterns), patterns[0])
    arguments = {
        "urlpath": list(patterns),
        "storage_options": settings.storage_options(url),
        "columns": columns.split(",") if columns else None,
        **options,
    }
    if target is None:
        if form == "parquet":
            raise click.UsageError("Parquet is written to a file; name it with --to")
        skipped = _write_lines(sys.stdout, form, arguments, lambda amount: None)
    else:
        with output.whole_file(target) as partial, output.progress("reading", "records") as advance:
            if form == "parquet":
                skipped = _write_parquet(partial, arguments, advance)
            else:
                with partial.open("w", encoding="utf-8", newline="") as file:
                    skipped = _write_lines(file, form, arguments, advance)
    for one in skipped:
        tell(str(one))
    return EXIT_OK


def _format_of(target: Path | None) -> str:
    suffix = ".jsonl" if target is None else target.suffix
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise click.UsageError(f"{target} ends with none of {known}; name a --format")
    return _SUFFIXES[suffix]


def _write_lines(
    file: TextIO, form: str, arguments: Mapping[str, Any], advance: output.Advance
) -> Iterable[object]:
    """Write records as JSON lines or CSV; return the blocks that were skipped."""
    writer = csv.writer(file, lineterminator="\n")
    with iter_avro_records(**arguments) as records:
        for number, record in enumerate(records):
            if form == "jsonl":
                file.write(output.json_line(record) + "\n")
            else:
                row = output.as_row(record)
                if not number:
                    writer.writerow(row)
                writer.writerow(map(output.plain_text, row.values()))
            advance(1)
        return list(records.errors)


def _write_parquet(
    path: Path, arguments: Mapping[str, Any], advance: output.Advance
) -> Iterable[object]:
    """Write records as Parquet; return the blocks that were skipped."""
    with iter_avro_batches(**arguments) as batches:
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetWriter(path, batches.schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    advance(batch.num_rows)
        except pyarrow.ArrowNotImplementedError as error:
            raise click.UsageError(f"Parquet cannot hold these records: {error}") from error
        return list(batches.errors)
