"""`cat`: the records of many files as JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.bars import progress
from fsspec_avroglob.cli.command import AvroglobCommand, examples, patterns_argument
from fsspec_avroglob.cli.exits import EXIT_OK, UsageProblem
from fsspec_avroglob.cli.settings import Settings

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob cat 's3://bucket/events/year=2025/**/*.avro' | jq .user",
        "avroglob cat --to events.parquet 's3://bucket/events/**/*.avro'",
        "avroglob cat -f csv --columns id,user data.avro > users.csv",
    ),
)
@patterns_argument
@click.option(
    "-f", "--format", "form", type=click.Choice(["jsonl", "csv", "parquet"]),
    help="What to write.  [default: what FILE ends with; jsonl without --to]",
)  # fmt: skip
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write to FILE, which appears when it is complete.",
)  # fmt: skip
@click.option("--columns", metavar="A,B", help="Only these, in this order.")
@click.option("-n", "--number", type=click.IntRange(min=0), metavar="N", help="How many records.")
@click.option("--ignore-errors", is_flag=True, help="Leave corrupt blocks out and tell of them.")
@click.pass_obj
def cat(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    form: str | None,
    target: Path | None,
    columns: str | None,
    number: int | None,
    ignore_errors: bool,
) -> int:
    """Write all records of the files that match each PATTERN, in order.

    JSON lines and CSV have nested values as JSON. Parquet needs the extra arrow.
    """
    form = form or _form_of(target)
    arguments: dict[str, Any] = {
        "urlpath": list(patterns),
        "storage_options": settings.storage_options(patterns[0]),
        "columns": columns.split(",") if columns else None,
        "n_rows": number,
        "ignore_errors": ignore_errors,
    }
    if form == "parquet":
        if target is None:
            raise UsageProblem("Parquet is written to a file; name it with --to")
        lost = _write_parquet(target, arguments)
    elif target is None:
        lost = _write_lines(sys.stdout, form, arguments, lambda amount: None)
    else:
        with (
            output.whole_file(target) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
            progress("reading", "records") as advance,
        ):
            lost = _write_lines(file, form, arguments, advance)
    for one in lost:
        print(f"avroglob: {one}", file=sys.stderr)
    return EXIT_OK


def _form_of(target: Path | None) -> str:
    if target is None:
        return "jsonl"
    if target.suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise UsageProblem(f"{target} ends with none of {known}; say what to write with --format")
    return _SUFFIXES[target.suffix]


def _write_lines(
    file: TextIO, form: str, arguments: Mapping[str, Any], advance: Callable[[int], object]
) -> list[Any]:
    from fsspec_avroglob.readers.read import iter_avro_records

    with iter_avro_records(**arguments) as records:
        if form == "csv":
            write = _csv_writer(file)
        else:

            def write(record: Any) -> None:
                file.write(output.json_line(record) + "\n")

        for record in records:
            write(record)
            advance(1)
        return list(records.errors)


def _csv_writer(file: TextIO) -> Callable[[Any], None]:
    """Writes a header line with the first record."""
    writer = csv.writer(file, lineterminator="\n")
    started: list[bool] = []

    def write(record: Any) -> None:
        row = record if isinstance(record, Mapping) else {"value": record}
        if not started:
            started.append(True)
            writer.writerow(row)
        writer.writerow(output.plain_text(value) for value in row.values())

    return write


def _write_parquet(target: Path, arguments: Mapping[str, Any]) -> list[Any]:
    from fsspec_avroglob.readers.read import iter_avro_batches

    with iter_avro_batches(**arguments) as batches:
        import pyarrow
        import pyarrow.parquet

        try:
            with (
                output.whole_file(target) as partial,
                progress("reading", "records") as advance,
                pyarrow.parquet.ParquetWriter(partial, batches.schema) as writer,
            ):
                for batch in batches:
                    writer.write_batch(batch)
                    advance(batch.num_rows)
        except pyarrow.ArrowNotImplementedError as error:
            raise UsageProblem(f"Parquet cannot hold these records: {error}") from error
        return list(batches.errors)
