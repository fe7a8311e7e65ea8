"""The content of the synthetic objects: any range of it, without holding it all."""

import io
from collections.abc import Callable
from typing import Any

_LINE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n"
_LINES = 4096


class Repeated:
    """A beginning and then the same bytes again and again, held once; `size` in bytes."""

    def __init__(self, start: bytes, unit: bytes, count: int) -> None:
        """Take the beginning, the bytes to repeat, and how often."""
        self._start, self._unit = start, unit
        self.size = len(start) + len(unit) * count

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`, both within the size."""
        head = self._start[start:stop]
        start, stop = (max(0, offset - len(self._start)) for offset in (start, stop))
        if stop == start:
            return head
        skip = start % len(self._unit)
        units = (skip + stop - start - 1) // len(self._unit) + 1
        return head + (self._unit * units)[skip : skip + stop - start]


def from_name(name: str) -> Repeated:
    """Return the content called `"pattern"`, 256 KiB of text, or `"avro"`, an Avro file.

    `"avro:rows=20000,codec=snappy,fields=6,repeat=1"` gives the number of rows, the codec, the
    number of fields of a row, and how often the blocks are repeated. Raises ValueError for another
    name.
    """
    kind, _, options = name.partition(":")
    if name == "pattern":
        return Repeated(b"", _LINE, _LINES)
    if kind != "avro":
        raise ValueError(f"content {name!r} is neither pattern nor avro")
    given = {"rows": "1000", "codec": "null", "fields": "3", "repeat": "1"}
    given |= dict(option.split("=") for option in options.split(",") if option)
    return _avro(int(given["rows"]), given["codec"], int(given["fields"]), int(given["repeat"]))


# Columns in order, again from the first for more fields: name, type, value by row number.
_COLUMNS: tuple[tuple[str, Any, Callable[[int], Any]], ...] = (
    ("id", "long", lambda row: row),
    ("name", "string", lambda row: f"row-{row}"),
    ("value", "double", lambda row: row + 0.5),
    ("kind", "string", lambda row: ("view", "click", "purchase")[row % 3]),
    ("score", ["null", "long"], lambda row: None if row % 10 == 0 else row * 7919 % 1000),
    ("at", "long", lambda row: 1_700_000_000_000_000 + row * 1_000_003),
)


def _avro(rows: int, codec: str, fields: int, repeat: int) -> Repeated:
    import fastavro  # only servers of Avro content need it

    columns = [
        (name if number < len(_COLUMNS) else f"{name}_{number}", type_, value)
        for number in range(fields)
        for name, type_, value in [_COLUMNS[number % len(_COLUMNS)]]
    ]
    schema = {
        "type": "record",
        "name": "Event",
        "fields": [{"name": name, "type": type_} for name, type_, _ in columns],
    }
    records = ({name: value(i) for name, _, value in columns} for i in range(rows))
    body = io.BytesIO()
    sync_marker = bytes(range(16))
    parsed = fastavro.parse_schema(schema)
    fastavro.writer(body, parsed, records, codec, sync_interval=64_000, sync_marker=sync_marker)
    data = body.getvalue()
    start = data.index(sync_marker) + len(sync_marker)
    return Repeated(data[:start], data[start:], repeat)
