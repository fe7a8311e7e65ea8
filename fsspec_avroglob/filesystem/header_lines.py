"""Header lines of joined files: which lines of a later file repeat the first file's header.

A line that is dropped by mistake is a lost row, and one that is kept by mistake is a wrong row. So
a first line counts as a header line only if the rows show it, and otherwise the user must say.

>>> is_header(b"id,name", b"1,ann")
True
>>> is_header(b"0,0", b"1,1")
False
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from fsspec_avroglob.errors import HeaderLinesDifferError, UncertainHeaderError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAMPLED_ROWS = 100
_DELIMITERS = "\t,;|"

# A line whose quoted fields may hold newlines. The last line of a file may lack its newline.
_CSV_LINE = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+\n')
_CSV_LAST_LINE = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+(?:\n|\Z)')
_NUMBER = re.compile(r"[-+]?[$€£]?(\d[\d,_ ]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?%?")
_WORDS = {"true", "false", "nan", "inf", "-inf"}


class Head(NamedTuple):
    """The beginning of a file: its header lines, and the bytes that were read after them."""

    path: str
    lines: bytes
    rows: bytes


@dataclass(frozen=True)
class HeaderRule:
    """What is a header line in files of a format.

    Attributes
    ----------
    kind
        "csv" for tables; "text" for files that may be tables; "lines" for files without headers.
    count
        The number of header lines, if the user says; None to find out.
    """

    kind: str
    count: int | None = None

    @property
    def looks(self) -> bool:
        """Whether the first lines of the files are needed."""
        return self.kind != "lines" if self.count is None else self.count > 0

    def split(self, data: bytes, *, whole: bool) -> tuple[bytes, bytes] | None:
        """The lines that may be header lines, and the rest. None if *data* must be longer.

        With *whole*, no more data follows. A quote that is never closed is then an ordinary
        character.
        """
        at = 0
        for _ in range(1 if self.count is None else self.count):
            line = _first_line(data[at:], whole=whole)
            if line is None:
                return None
            at += len(line)
        return data[:at], data[at:]

    def repeated(self, first: Head, other: Head) -> int:
        """The number of bytes at the start of *other* that repeat the header of *first*.

        Raises
        ------
        HeaderLinesDifferError
            They should be the header lines of *first*, and differ.
        UncertainHeaderError
            They are equal, but may be a row.
        """
        equal = _bare(first.lines) == _bare(other.lines)
        if self.count is None and self.kind == "text":
            if not equal or not _bare(first.lines).strip():
                return 0
            raise UncertainHeaderError(first.path, other.path, _bare(first.lines))
        if not equal:
            raise HeaderLinesDifferError(
                first.path, _bare(first.lines), other.path, _bare(other.lines)
            )
        if self.count is None and not is_header(first.lines, first.rows or other.rows):
            raise UncertainHeaderError(first.path, other.path, _bare(first.lines))
        return len(other.lines)


def is_header(line: bytes, rows: bytes) -> bool:
    """Whether the rows show that *line* is their header.

    It has as many fields as each row, none is a number, a date or twice there, and a named column
    holds nothing but numbers, dates or truth values; or the first column, without a name, counts
    the rows, as pandas writes its index.
    """
    text = _bare(line).decode("utf-8", "replace")
    delimiter = max(_DELIMITERS, key=text.count)
    names = _fields([text], delimiter)[0] if text.strip() else []
    table = _fields(rows.decode("utf-8", "replace").splitlines(keepends=True), delimiter)
    if not names or not table or any(len(row) != len(names) for row in table):
        return False
    named = [name for name in names if name]
    if len(set(named)) < len(named) or any(map(_is_typed, named)):
        return False
    columns = list(zip(*table, strict=True))
    if named and not names[0] and _counts(columns[0]):
        return True
    return any(
        name and any(values) and all(_is_typed(value) for value in values if value)
        for name, values in zip(names, columns, strict=True)
    )


def _counts(values: Sequence[str]) -> bool:
    first = int(values[0]) if values[0].isdecimal() else 0
    return list(values) == [str(first + i) for i in range(len(values))]


def _fields(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    """The fields of the first rows, without those that *lines* may cut."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                rows.append([field.strip() for field in row])
            if len(rows) > _SAMPLED_ROWS:
                break
    return rows[:-1] if len(rows) > 1 else rows


def _is_typed(text: str) -> bool:
    if _NUMBER.fullmatch(text) or text.lower() in _WORDS:
        return True
    for parse in (dt.datetime.fromisoformat, dt.time.fromisoformat):
        with suppress(ValueError):
            parse(text)
            return True
    return False


def _first_line(data: bytes, *, whole: bool) -> bytes | None:
    if line := (_CSV_LAST_LINE if whole else _CSV_LINE).match(data):
        return line[0]
    return data[: data.find(b"\n") + 1] or data if whole else None


def _bare(line: bytes) -> bytes:
    return line.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n").replace(b"\r\n", b"\n")
