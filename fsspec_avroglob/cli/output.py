"""How commands print: plain text and JSON lines into a pipe; tables, colour and bars on a terminal.

rich decides about colour, NO_COLOR included.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fsspec_avroglob.avro.logical import json_value
from fsspec_avroglob.errors import printable
from fsspec_avroglob.filesystem.atomic import atomic_path

UNITS = ("", "K", "M", "G", "T", "P")
_PIPED_WIDTH = 1_000_000  # columns; never cut or wrap what another program reads
CONSOLE = Console(highlight=False, soft_wrap=True)

Row = Mapping[str, Any]
Advance = Callable[[int], object]


# --- files and directories -----------------------------------------------------------------------


def entry(path: str, info: Row) -> dict[str, Any]:
    """The fields of `ls --json` for a path, from fsspec's info; leaves out unknown fields."""
    is_dir = info.get("type") == "directory"
    fields = {
        "path": f"{path.rstrip('/')}/" if is_dir else path,
        "type": "directory" if is_dir else "file",
        "size": None if is_dir else info.get("size"),
        "modified": _modified(info),
        "etag": str(info.get("ETag") or "").strip('"') or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def print_entry(
    fields: Row, *, long: bool = False, short: bool = False, as_json: bool = False
) -> None:
    """Print an :func:`entry` on one line: its path, after size and time if that is asked for."""
    if as_json:
        print(json_line(fields))
        return
    columns = _size_and_time(fields, short) if long or short else ""
    if not sys.stdout.isatty():
        print(columns + fields["path"])
        return
    line = Text(columns, style="cyan")
    style = "bold blue" if fields["type"] == "directory" else "default"
    CONSOLE.print(line.append(printable(fields["path"]), style=style))


def _size_and_time(fields: Row, short: bool) -> str:
    size = fields.get("size", "-")
    if short and size != "-":
        size = human_size(size)
    when = f"{fields['modified']:%Y-%m-%dT%H:%M:%SZ}" if "modified" in fields else "-"
    return f"{size:>{6 if short else 12}}  {when:<20}  "


def _modified(info: Row) -> dt.datetime | None:
    for name in ("LastModified", "mtime", "last_modified", "updated", "modified", "created"):
        value = info.get(name)
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, tz=dt.UTC)
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC)
    return None


def human_size(size_bytes: int) -> str:
    """A size in powers of 1024 with at most three digits before the unit: 999, 1.5K, 20M."""
    amount = float(size_bytes)
    for unit in UNITS[:-1]:
        if round(amount) < 1024:
            one_decimal = unit and round(amount, 1) < 10
            return f"{amount:.1f}{unit}" if one_decimal else f"{amount:.0f}{unit}"
        amount /= 1024
    return f"{amount:.0f}{UNITS[-1]}"


# --- rows ----------------------------------------------------------------------------------------


def print_rows(
    rows: Sequence[Row], as_json: bool, *, sizes: Collection[str] = (), total: bool = False
) -> None:
    """Print results: a table on a terminal, tab-separated into a pipe, or JSON lines.

    sizes: columns of byte counts to shorten, as in 1.5K. total: add a row of sums below two or
    more rows, except in JSON.
    """
    if as_json:
        for row in rows:
            print(json_line(row))
        return
    if total and len(rows) > 1:
        sums = {
            name: "total" if isinstance(first, str) else sum(row[name] for row in rows)
            for name, first in rows[0].items()
        }
        rows = [*rows, sums]
    rows = [
        {name: human_size(value) if name in sizes else value for name, value in row.items()}
        for row in rows
    ]
    if sys.stdout.isatty():
        print_table(rows)
    else:
        for row in rows:
            print(*map(cell, row.values()), sep="\t")


def print_table(rows: Sequence[Row]) -> None:
    """Print rows as an aligned table, in a pipe too: numbers right, null empty."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(printable(name)), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in names))
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


def print_fields(fields: Row) -> None:
    """Print the fields of one thing, one a line, names on the left."""
    width = max(map(len, fields))
    for name, value in fields.items():
        line = Text(f"{name:>{width}}  ", style="bold cyan")
        CONSOLE.print(line.append(cell(value), style="default"))


# --- values --------------------------------------------------------------------------------------


def as_row(record: Any) -> Row:
    """An Avro record; any other value as the column ``value``."""
    return record if isinstance(record, Mapping) else {"value": record}


def json_line(value: Any) -> str:
    """A value, such as an Avro record, as JSON on one line."""
    return json_text(json_value(value))


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON, with escapes for what a terminal obeys or hides."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def shown(text: str) -> str:
    """A path or key for stdout: as it is into a pipe, printable on a terminal."""
    return printable(text) if sys.stdout.isatty() else text


def plain_text(value: Any) -> str:
    """A value as text: null is empty, nested values are JSON."""
    plain = json_value(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def cell(value: Any) -> str:
    """A value as text without control characters."""
    return printable(plain_text(value))


# --- long work -----------------------------------------------------------------------------------


@contextmanager
def progress(
    what: str, unit: Literal["files", "records", "bytes"], total: int | None = None
) -> Iterator[Advance]:
    """Show a bar on stderr, if that is a terminal, until the block ends.

    Yields a function that advances the bar; any thread may call it. total: the sum of all steps,
    None if unknown.
    """
    if not sys.stderr.isatty():
        yield lambda amount: None
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        yield partial(bar.advance, bar.add_task(printable(what), total=total))


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path next to *target* to write to; rename it to *target* if the block succeeds.

    Raises click.UsageError if the directory does not exist.
    """
    if not target.parent.is_dir():
        raise click.UsageError(f"{target}: its directory does not exist; make it first")
    with atomic_path(target) as temporary:
        yield Path(temporary)
