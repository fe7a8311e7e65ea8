"""What the synthetic objects hold: bytes by generator, any range of them."""

import io
from typing import Protocol

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


class Fixed:
    """The same bytes in every object."""

    def __init__(self, body: bytes) -> None:
        """Take the bytes."""
        self._body = body

    def size(self, variant: int) -> int:
        """Return the length in bytes."""
        return len(self._body)

    def read(self, variant: int, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`."""
        return self._body[start:stop]


def from_name(name: str, rows: int = 1000) -> Content:
    """Return the content called `"pattern"`, or `"csv"` or `"avro"` with `rows` records each.

    Raises ValueError for another name.
    """
    if name == "pattern":
        return Pattern()
    if name == "csv":
        return Fixed(
            b"id,name,value\n" + b"".join(b"%d,row-%d,%d.5\n" % (i, i, i) for i in range(rows))
        )
    if name == "avro":
        return Fixed(_avro(rows))
    raise ValueError(f"content {name!r} is not one of pattern, csv, avro")


def _avro(rows: int) -> bytes:
    import fastavro  # only servers of Avro content need it

    fields = [("id", "long"), ("name", "string"), ("value", "double")]
    schema = {
        "type": "record",
        "name": "Event",
        "fields": [{"name": name, "type": kind} for name, kind in fields],
    }
    records = ({"id": i, "name": f"row-{i}", "value": i + 0.5} for i in range(rows))
    body = io.BytesIO()
    fastavro.writer(body, fastavro.parse_schema(schema), records, sync_marker=bytes(16))
    return body.getvalue()
