"""A decoder of physical schemas in Python, for what fastavro's compiled reader cannot bound.

It reads deep recursive values without overflowing the C stack, and arrays whose items take no bytes
without making as many items as corrupt data claims.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.errors import BlockDecodeError

MAX_EMPTY_VALUES = 1 << 22
"""Most values of a block that take no bytes; a few bytes could claim any number of them."""

_Read: TypeAlias = "Callable[[_Cursor], Any]"


class Interpreter:
    """Decodes values of one physical schema (see :mod:`fsspec_avroglob.avro.physical`)."""

    def __init__(self, schema: AvroSchema) -> None:
        self._named: dict[str, _Read] = {}
        self._read = self._reader(schema)

    def values(self, count: int, data: bytes) -> list[Any]:
        """Return the *count* values in *data*. Raises BlockDecodeError if it holds others."""
        cursor = _Cursor(data)
        values = [self._read(cursor) for _ in range(count)]
        if cursor.position != len(data):
            raise BlockDecodeError(f"its {count} values do not end where its data ends")
        return values

    def _reader(self, type_: AvroSchema) -> _Read:
        match type_:
            case list():
                return _union([self._reader(branch) for branch in type_])
            case {"type": "record", "name": name, "fields": fields}:
                readers: dict[str, _Read] = {}

                def record(cursor: _Cursor) -> dict[str, Any]:
                    return {field: read(cursor) for field, read in readers.items()}

                self._named[name] = record
                readers |= {field["name"]: self._reader(field["type"]) for field in fields}
                return record
            case {"type": "array", "items": items}:
                return _array(self._reader(items))
            case {"type": "fixed", "size": size}:
                return lambda cursor: cursor.take(size)
        return _PRIMITIVES.get(type_) or self._named[type_]


class _Cursor:
    """A position in the data of a block."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0
        self._empty_values = 0

    def take(self, size: int) -> bytes:
        stop = self.position + size
        if size < 0 or stop > len(self._data):
            raise BlockDecodeError(f"its data ends within a value of {size} bytes")
        taken = self._data[self.position : stop]
        self.position = stop
        return taken

    def long(self) -> int:
        encoded = shift = 0
        while shift < 70:
            (byte,) = self.take(1)
            encoded |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (encoded >> 1) ^ -(encoded & 1)
            shift += 7
        raise BlockDecodeError("a number in it is longer than 64 bits")

    def items(self) -> Iterator[None]:
        """Step through the items of an array."""
        while count := self.long():
            if count < 0:
                count = -count
                self.long()  # the size of the items in bytes
            left = len(self._data) - self.position
            if count > left + MAX_EMPTY_VALUES - self._empty_values:
                raise BlockDecodeError(f"it claims {count} items in {left} bytes")
            for _ in range(count):
                start = self.position
                yield
                self._empty_values += self.position == start


def _array(item: _Read) -> _Read:
    return lambda cursor: [item(cursor) for _ in cursor.items()]


def _union(branches: list[_Read]) -> _Read:
    def read(cursor: _Cursor) -> Any:
        position = cursor.long()
        if not 0 <= position < len(branches):
            raise BlockDecodeError(f"a union has {len(branches)} branches, none is {position}")
        return branches[position](cursor)

    return read


def _boolean(cursor: _Cursor) -> bool:
    return cursor.take(1) != b"\x00"


_PRIMITIVES: Mapping[str, _Read] = {
    "null": lambda cursor: None,
    "boolean": _boolean,
    "int": _Cursor.long,
    "long": _Cursor.long,
    "float": lambda cursor: struct.unpack("<f", cursor.take(4))[0],
    "double": lambda cursor: struct.unpack("<d", cursor.take(8))[0],
    "bytes": lambda cursor: cursor.take(cursor.long()),
}
