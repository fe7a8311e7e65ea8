"""Logical types as Python values: what raw numbers and bytes mean, one value at a time.

The values are exact, or there is an error: no number is rounded, no date is moved.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from fsspec_avroglob.avro.schema import AvroSchema, LogicalType, kind_of, logical_type

READ_RAW = "pass a reader schema (schema=...) without this logicalType to read {}"
"""What to do about a value that its logical type cannot hold."""

NOT_UTF8 = "a text is not UTF-8; pass a reader schema (schema=...) with the type bytes to read it"
NOT_IN_A_DAY = f"a time is not within a day; {READ_RAW.format('its number')}"

_PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
_LONGS = range(-(1 << 63), 1 << 63)
_DAY = timedelta(days=1)
_EXACT = Context(prec=1000, Emin=-(10**6), Emax=10**6)

FASTAVRO_EXACT = frozenset(
    {"date", "uuid"}
    | {f"{f}-{u}" for f in ("timestamp", "local-timestamp") for u in ("millis", "micros")}
)
"""The logical types that fastavro decodes to the values of this module, or fails on."""


def too_many_digits(logical: LogicalType) -> str:
    """Return the reason to refuse a decimal beyond its precision."""
    digits = f"a number has more than the {logical.precision} digits of its decimal"
    return f"{digits}; {READ_RAW.format('its bytes')}"


def unit_factor(old: LogicalType | None, new: LogicalType) -> int:
    """Return the factor between the units of two logical types: 1000 from millis to micros."""
    if old is None or old == new:
        return 1
    if old.name == "date":
        return 86_400 * _PER_SECOND[new.name.rpartition("-")[2]]
    units = old.name.rpartition("-")[2], new.name.rpartition("-")[2]
    return _PER_SECOND[units[1]] // _PER_SECOND[units[0]]


def leaf_value(writer: AvroSchema, reader: AvroSchema) -> Callable[[Any], Any] | None:
    """Return the function from raw values of a primitive or fixed type to the reader's values.

    Texts are raw as bytes. The function raises ValueError for a value that the reader's type
    cannot hold. None if raw values are the reader's.
    """
    old, new = logical_type(writer), logical_type(reader)
    promoted = _promotion(kind_of(writer), kind_of(reader))
    if new is None:
        return promoted
    match new.name:
        case "decimal":
            return _decimals(old or new, new)
        case "uuid" if kind_of(writer) == "fixed":
            return lambda raw: UUID(bytes=raw)
        case "uuid":
            return lambda raw: _uuid(_text(raw))
        case "duration" | "big-decimal":
            return promoted
    factor = unit_factor(old, new)
    final = _NUMBERS.get(new.name)

    def scaled(raw: int) -> Any:
        number = raw * factor
        if number not in _LONGS:
            raise ValueError(f"overflow: {raw} does not fit as {new.name}")
        return number if final is None else final(number)

    return final if factor == 1 else scaled


def json_value(value: Any) -> Any:
    """Convert an Avro value to what JSON holds; bytes become text as in Avro's JSON encoding."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("iso-8859-1")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return str(value)


def _promotion(old: str, new: str) -> Callable[[Any], Any] | None:
    if new == "string":
        return _text
    if old in ("int", "long") and new in ("float", "double"):
        return _floats(new)
    return None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(NOT_UTF8) from error


def _floats(kind: str) -> Callable[[int], float]:
    def convert(number: int) -> float:
        value = float(number)
        if kind == "float":
            (value,) = struct.unpack("<f", struct.pack("<f", value))
        if value != number:
            raise ValueError(f"{number} is not exact as {kind}")
        return value

    return convert


def _uuid(text: str) -> UUID | str:
    """A text that is no uuid stays the text, as in tables."""
    try:
        return UUID(text)
    except ValueError:
        return text


def _decimals(old: LogicalType, new: LogicalType) -> Callable[[bytes], Decimal]:
    most, shift = 10**old.precision, 10 ** (new.scale - old.scale)
    scale = -new.scale

    def convert(raw: bytes) -> Decimal:
        number = int.from_bytes(raw, "big", signed=True)
        if not -most < number < most:
            raise ValueError(too_many_digits(old))
        return Decimal(number * shift).scaleb(scale, _EXACT)

    return convert


def _date(days: int) -> date:
    try:
        return date.fromordinal(719_163 + days)
    except (ValueError, OverflowError) as error:
        raise ValueError(_not_in_python("date", days)) from error


def _times(unit: timedelta) -> Callable[[int], time]:
    per_day = _DAY // unit
    midnight = datetime(1970, 1, 1)

    def convert(number: int) -> time:
        if not 0 <= number < per_day:
            raise ValueError(NOT_IN_A_DAY)
        return (midnight + number * unit).time()

    return convert


def _timestamps(epoch: datetime, unit: timedelta) -> Callable[[int], datetime]:
    def convert(number: int) -> datetime:
        try:
            return epoch + number * unit
        except OverflowError as error:
            raise ValueError(_not_in_python("datetime", number)) from error

    return convert


def _not_in_python(type_: str, number: int) -> str:
    years = f"{number} is not within the years 1 to 9999 of Python's {type_}"
    return f"{years}; {READ_RAW.format('its number')}, or read a table"


_MILLI, _MICRO = timedelta(milliseconds=1), timedelta(microseconds=1)
_EPOCH, _LOCAL_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1)
_NUMBERS: dict[str, Callable[[int], Any]] = {
    "date": _date,
    "time-millis": _times(_MILLI),
    "time-micros": _times(_MICRO),
    "timestamp-millis": _timestamps(_EPOCH, _MILLI),
    "timestamp-micros": _timestamps(_EPOCH, _MICRO),
    "local-timestamp-millis": _timestamps(_LOCAL_EPOCH, _MILLI),
    "local-timestamp-micros": _timestamps(_LOCAL_EPOCH, _MICRO),
}
"""Nanoseconds stay numbers: Python's datetime has microseconds."""
