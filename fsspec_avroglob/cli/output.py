"""How the command line writes entries, JSON and tables: plain when piped, styled on a terminal.

NO_COLOR and the like are rich's to honour.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.json import JSON
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from fsspec_avroglob.cli.exits import UsageProblem
from fsspec_avroglob.cli.tour import print_plainly
from fsspec_avroglob.glob.explain import printable

_PIPED_WIDTH = 1_000_000  # columns; nothing is cut or wrapped for a program that reads


@dataclass(frozen=True)
class Entry:
    """One line of `ls`: a file, or a directory, whose path ends with a slash and has no size."""

    path: str
    is_dir: bool
    size_bytes: int | None
    modified: dt.datetime | None
    etag: str | None

    @classmethod
    def from_info(cls, path: str, info: Mapping[str, Any]) -> Entry:
        """Make an entry of fsspec's info for a path; ``path`` is the name to show for it."""
        is_dir = info.get("type") == "directory"
        etag = info.get("ETag")
        return cls(
            path=f"{path.rstrip('/')}/" if is_dir else path,
            is_dir=is_dir,
            size_bytes=None if is_dir else info.get("size"),
            modified=_modified(info),
            etag=etag.strip('"') if isinstance(etag, str) else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields of `ls --json`; those that are not known are left out."""
        fields = {
            "path": self.path,
            "type": "directory" if self.is_dir else "file",
            "size": self.size_bytes,
            "modified": self.modified,
            "etag": self.etag,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def columns(self, human_readable: bool) -> str:
        """Size and time of modification (UTC), aligned, for the left of the path."""
        size = "-" if self.size_bytes is None else str(self.size_bytes)
        if human_readable and self.size_bytes is not None:
            size = human_size(self.size_bytes)
        when = "-" if self.modified is None else f"{self.modified:%Y-%m-%dT%H:%M:%SZ}"
        return f"{size:>{6 if human_readable else 12}}  {when:<20}  "


def entry_writer(long: bool, as_json: bool, human_readable: bool) -> Callable[[Entry], None]:
    """The function that prints one entry in the form asked for."""
    if as_json:
        return lambda entry: print(json_line(entry.as_dict()))

    def columns(entry: Entry) -> str:
        return entry.columns(human_readable) if long else ""

    if not sys.stdout.isatty():
        return lambda entry: print(columns(entry) + entry.path)
    console = _console()

    def print_styled(entry: Entry) -> None:
        line = Text(columns(entry), style="cyan")
        line.append(printable(entry.path), style="bold blue" if entry.is_dir else "default")
        console.print(line)

    return print_styled


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    text = json.dumps(_to_json(value), indent=2, ensure_ascii=False)
    if sys.stdout.isatty():
        _console().print(JSON(text))
    else:
        print(text)


def print_table(records: Sequence[Mapping[str, Any]]) -> None:
    """Print records as an aligned table; numbers stand right, null is empty."""
    names = list(dict.fromkeys(name for record in records for name in record))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        numeric = all(isinstance(record.get(name), int | float | None) for record in records)
        table.add_column(
            Text(printable(name)), justify="right" if numeric else "left", no_wrap=True
        )
    for record in records:
        table.add_row(*(Text(_cell(record.get(name))) for name in names))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    console.print(table)


def print_tour(kind: Literal["title", "code", "text"], text: str) -> None:
    """Print a part of the demo's tour."""
    console = _console()
    if not console.is_terminal:
        print_plainly(kind, text)
    elif kind == "code":
        indented = textwrap.indent(text, "    ")
        console.print(
            Syntax(indented, "python", theme="ansi_dark", background_color="default").highlight(
                indented
            )
        )
    elif kind == "title":
        console.print(Text(f"\n{text}", style="bold cyan"))
    else:
        console.print(Text(text))


def json_line(value: Any) -> str:
    """A value, an Avro record for one, as JSON on one line."""
    return json.dumps(_to_json(value), ensure_ascii=False)


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    as_json: bool,
    *,
    sizes: Collection[str] = (),
    total: bool = False,
) -> None:
    """Print results: a table on a terminal, tab-separated into a pipe, or JSON lines.

    sizes: columns with numbers of bytes that are to be printed in short. total: whether several
    rows are followed by their sum, on a terminal and in a pipe.
    """
    if as_json:
        for row in rows:
            print(json_line(row))
        return
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    if total and len(rows) > 1:
        rows = [*rows, {name: _sum_of(name, rows) for name in names}]
    shown = [
        {name: human_size(row[name]) if name in sizes else row.get(name) for name in names}
        for row in rows
    ]
    if not sys.stdout.isatty():
        for row in shown:
            print(*(_cell(row[name]) for name in names), sep="\t")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        text = any(isinstance(row.get(name), str) for row in rows)
        table.add_column(name, justify="left" if text else "right", overflow="fold")
    for number, row in enumerate(shown):
        last = total and len(rows) > 1 and number == len(rows) - 1
        cells = (_number_or_text(row[name]) for name in names)
        table.add_row(*cells, style="bold" if last else "")
    _console().print(table)


def _sum_of(name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    values = [row.get(name) for row in rows]
    if any(isinstance(value, str) for value in values):
        return "total"
    return sum(value for value in values if value is not None)


def _number_or_text(value: Any) -> Text:
    return Text(f"{value:,}" if isinstance(value, int) else _cell(value))


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing's fields below one another, names on the left."""
    console, width = _console(), max(map(len, fields))
    for name, value in fields.items():
        line = Text(f"{name:>{width}}  ", style="bold cyan")
        line.append(_cell(value), style="default")
        console.print(line)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside *target* to write to; it becomes *target* when the block ends well.

    Raises UsageProblem where there is no directory for it.
    """
    if not target.parent.is_dir():
        raise UsageProblem(f"{target}: its directory does not exist; make it first")
    from fsspec_avroglob.filesystem.atomic import atomic_path

    with atomic_path(target) as partial:
        yield Path(partial)


UNITS = ("", "K", "M", "G", "T", "P")


def human_size(size_bytes: int) -> str:
    """A size in powers of 1024 with at most three digits before the unit: 999, 1.5K, 20M."""
    amount = float(size_bytes)
    for unit in UNITS[:-1]:
        if round(amount) < 1024:
            one_decimal = unit and round(amount, 1) < 10
            return f"{amount:.1f}{unit}" if one_decimal else f"{amount:.0f}{unit}"
        amount /= 1024
    return f"{amount:.0f}{UNITS[-1]}"


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _modified(info: Mapping[str, Any]) -> dt.datetime | None:
    for name in ("LastModified", "mtime", "last_modified", "updated", "modified", "created"):
        value = info.get(name)
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, tz=dt.UTC)
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC)
    return None


def plain_text(value: Any) -> str:
    """A value as text: null is empty, what is nested is JSON."""
    plain = _to_json(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _cell(value: Any) -> str:
    return printable(plain_text(value))


def _to_json(value: Any) -> Any:
    """What JSON can hold of an Avro value; bytes become text as in Avro's own JSON encoding."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return value.decode("iso-8859-1")
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
