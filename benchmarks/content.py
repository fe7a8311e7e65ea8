"""What the synthetic objects hold: bytes by generator, any range of them."""

import io
from collections.abc import Callable
from typing import Any, Protocol

_LINE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n"


class Content(Protocol):
    """The bytes of the objects, which come in numbered variants."""

    def size(self, variant: int) -> int:
        """Return the length in bytes."""

    def read(self, variant: int, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`, both within the size."""


class Pattern:
    """A repeating line of text, in sizes from 64 KiB to 1 MiB that differ by variant."""

    def size(self, variant: int) -> int:
        """Return the length in bytes."""
        return (64 << 10) + variant * 7919 % (960 << 10)

    def read(self, variant: int, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`."""
        skip = start % len(_LINE)
        lines = (skip + stop - start) // len(_LINE) + 1
        return (_LINE * lines)[skip : skip + stop - start]


class Repeated:
    """A beginning and then the same bytes again and again, held once."""

    def __init__(self, start: bytes, unit: bytes, count: int) -> None:
        """Take the beginning, the bytes that are repeated, and how often."""
        self._start, self._unit = start, unit
        self._size = len(start) + len(unit) * count

    def size(self, variant: int) -> int:
        """Return the length in bytes."""
        return self._size

    def read(self, variant: int, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`."""
        head = self._start[start:stop]
        start, stop = (max(0, place - len(self._start)) for place in (start, stop))
        if stop == start:
            return head
        skip = start % len(self._unit)
        units = (skip + stop - start - 1) // len(self._unit) + 1
        return head + (self._unit * units)[skip : skip + stop - start]


def from_name(name: str, rows: int = 1000) -> Content:
    """Return the content called `"pattern"` or `"avro"`, the latter with `rows` records.

    `"avro:rows=20000,codec=snappy,fields=6,repeat=1"` also gives the codec, the number of fields of
    a record, and how often the blocks are repeated. Raises ValueError for another name.
    """
    kind, _, options = name.partition(":")
    if name == "pattern":
        return Pattern()
    if kind != "avro":
        raise ValueError(f"content {name!r} is neither pattern nor avro")
    given = dict(option.split("=") for option in options.split(",") if option)
    return _avro(
        int(given.get("rows", rows)),
        given.get("codec", "null"),
        int(given.get("fields", 3)),
        int(given.get("repeat", 1)),
    )


# One after another, as often as there are fields: names, types, and what a row has there.
_COLUMNS: tuple[tuple[str, Any, Callable[[int], Any]], ...] = (
    ("id", "long", lambda row: row),
    ("name", "string", lambda row: f"row-{row}"),
    ("value", "double", lambda row: row + 0.5),
    ("kind", "string", lambda row: ("view", "click", "purchase")[row % 3]),
    ("score", ["null", "long"], lambda row: None if row % 10 == 0 else row * 7919 % 1000),
    ("at", "long", lambda row: 1_700_000_000_000_000 + row * 1_000_003),
)


def _avro(rows: int, codec: str, fields: int, repeat: int) -> Content:
    import fastavro  # only servers of Avro content need it

    columns = [
        (name if place < len(_COLUMNS) else f"{name}_{place}", type_, value)
        for place in range(fields)
        for name, type_, value in [_COLUMNS[place % len(_COLUMNS)]]
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
