"""Hive's ``key=value`` directories: their values as typed columns, and filters on them.

Keys and values are percent-decoded, as Hive and Spark write them; ``__HIVE_DEFAULT_PARTITION__``
is null. Nothing here sends a request.

>>> column_kinds([partition_of("lake/year=2025/x.avro"), partition_of("lake/year=2026/y.avro")])
{'year': 'int64'}
"""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, unquote

from fsspec_avroglob.glob.magic import MAGIC, escape, is_glob_pattern

NULL = "__HIVE_DEFAULT_PARTITION__"

Kind: TypeAlias = Literal["int64", "date", "string"]
Partition: TypeAlias = Mapping[str, str | None]
"""The values of a path's ``key=value`` directories as text, by key; None for null."""

Condition: TypeAlias = tuple[str, str, Any]
Filters: TypeAlias = Sequence[Condition] | Sequence[Sequence[Condition]]
"""``[(key, operator, value), ...]``: all conditions must hold. In a list of lists, all of at least
one list must hold (pyarrow's disjunctive normal form).

Operators: ``= == != < <= > >= in``, ``not in``."""

_INTEGER = re.compile(r"-?[0-9]+")
_INT64 = re.compile(r"-?[0-9]{1,18}")
_OPEN_SEGMENT = re.compile(r"([^=/]+)=\*")
# Numbers with fewer digits may have leading zeros (month=03). Others may not, so that a pattern can
# name their directory.
_UNPADDED_DIGITS = 4

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY = frozenset({"=", "==", "in"})


def partition_of(path: str) -> dict[str, str | None]:
    """Return the values of the ``key=value`` directories of *path*, the last one of each key."""
    found: dict[str, str | None] = {}
    for name in path.split("/")[:-1]:
        key, equals, value = name.partition("=")
        if key and equals:
            found[unquote(key)] = None if value == NULL else unquote(value)
    return found


def column_kinds(partitions: Iterable[Partition]) -> dict[str, Kind]:
    """Return the type of each key's column, in the order in which the keys appear.

    ``int64`` if all values are integers of at most 18 digits, ``date`` if all are ISO dates, else
    ``string``.
    """
    texts: dict[str, set[str]] = {}
    for partition in partitions:
        for key, text in partition.items():
            seen = texts.setdefault(key, set())
            if text is not None:
                seen.add(text)
    return {key: _kind(seen) for key, seen in texts.items()}


def typed(text: str | None, kind: Kind) -> int | datetime.date | str | None:
    """Convert the text of a directory to the type of its column."""
    if text is None or kind == "string":
        return text
    return int(text) if kind == "int64" else datetime.date.fromisoformat(text)


def _kind(texts: set[str]) -> Kind:
    if texts and all(map(_INT64.fullmatch, texts)):
        return "int64"
    if texts and all(map(_is_date, texts)):
        return "date"
    return "string"


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True)
class PartitionFilter:
    """Filters in disjunctive normal form: all conditions of one of the ``alternatives`` must hold.

    The type of a condition's value decides the comparison: as numbers (``month=03`` is 3, but
    numbers of four digits have no leading zeros), as dates, or as text. A directory that is null,
    or does not parse as this type, satisfies no condition. ``=`` and ``!=`` with None test for
    null.
    """

    alternatives: tuple[tuple[Condition, ...], ...]

    @classmethod
    def parse(cls, filters: Filters) -> PartitionFilter:
        """Check *filters*. Raises ValueError for an invalid condition."""
        items: list[Any] = list(filters)
        if any(isinstance(item, str) or not isinstance(item, Sequence) for item in items):
            text = (
                f"filters={filters!r} is not a list of conditions; write [(key, operator, value)]"
            )
            raise ValueError(text)
        flat = any(isinstance(part, str) for item in items for part in item)
        several: Any = [items] if flat else items
        alternatives = tuple(tuple(map(_condition, group)) for group in several)
        if not alternatives or not all(alternatives):
            raise ValueError(f"filters={filters!r} has no condition (key, operator, value)")
        return cls(alternatives)

    @property
    def keys(self) -> list[str]:
        """The keys of all conditions."""
        return list(dict.fromkeys(key for group in self.alternatives for key, _, _ in group))

    def keeps(self, partition: Partition) -> bool:
        """Whether a file in these directories satisfies the filter."""
        return any(
            all(_holds(partition.get(key), op, value) for key, op, value in group)
            for group in self.alternatives
        )

    def narrowed(self, pattern: str) -> str:
        """Replace ``key=*`` in *pattern* by the values that the filter allows.

        The result matches at least what *pattern* matches and :meth:`keeps` accepts.
        """
        segments = pattern.split("/")
        depth = 0
        for index, segment in enumerate(segments[:-1]):
            found = _OPEN_SEGMENT.fullmatch(segment)
            if found and not depth and not is_glob_pattern(found[1]):
                values = self._values(unquote(found[1]))
                if values is not None:
                    choice = values[0] if len(values) == 1 else "{" + ",".join(values) + "}"
                    segments[index] = f"{found[1]}={choice}"
            depth += segment.count("{") - segment.count("}")
        return "/".join(segments)

    def _values(self, key: str) -> list[str] | None:
        """Return patterns for the values of *key*; None unless every alternative lists them."""
        texts: dict[str, None] = {}
        for group in self.alternatives:
            stated = next((c for c in group if c[0] == key and c[1] in _EQUALITY), None)
            if stated is None:
                return None
            values = stated[2] if stated[1] == "in" else [stated[2]]
            for value in values:
                patterns = _text_patterns(value)
                if patterns is None:
                    return None
                texts.update(dict.fromkeys(patterns))
        return list(texts)


def _condition(item: Any) -> Condition:
    if not (isinstance(item, Sequence) and len(item) == 3 and isinstance(item[0], str)):
        raise ValueError(f"{item!r} is not a condition (key, operator, value)")
    key, op, value = item
    if op in ("in", "not in"):
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError(f"{op!r} needs a list of values, not {value!r}, for {key!r}")
        value = list(value)
    elif op not in _OPERATORS:
        known = ", ".join([*_OPERATORS, "in", "not in"])
        raise ValueError(f"operator {op!r} for {key!r} is not one of {known}")
    return key, op, value


def _holds(text: str | None, op: str, value: Any) -> bool:
    if op == "in":
        return any(_holds(text, "=", one) for one in value)
    if op == "not in":
        return all(_holds(text, "!=", one) for one in value)
    if value is None:
        return (text is None) == (op in ("=", "==")) and op in ("=", "==", "!=")
    if text is None:
        return False
    try:
        return _OPERATORS[op](_read_as(value)(text), value)
    except (KeyError, TypeError, ValueError):  # such as times with and without a zone
        return False


def _read_as(value: Any) -> Callable[[str], Any]:
    if isinstance(value, bool):
        return lambda text: {"true": True, "false": False}[text.lower()]
    if isinstance(value, int):
        return partial(_integer, str(value) if _is_long(value) else None)
    if isinstance(value, float):
        return float
    if isinstance(value, datetime.datetime):
        return datetime.datetime.fromisoformat
    if isinstance(value, datetime.date):
        return datetime.date.fromisoformat
    return str


def _is_long(value: int) -> bool:
    return value >= 0 and len(str(value)) >= _UNPADDED_DIGITS


def _integer(unpadded: str | None, text: str) -> int:
    """Parse an integer; *unpadded* is one that must not have leading zeros."""
    padded = unpadded is not None and text.lstrip("0") == unpadded != text
    if padded or not _INTEGER.fullmatch(text):
        raise ValueError(f"{text!r} is not an integer without leading zeros")
    return int(text)


def _text_patterns(value: Any) -> list[str] | None:
    """Return patterns that match all texts equal to *value*; None if there are too many."""
    if value is None:
        return [NULL]
    if isinstance(value, str):
        forms = {value, quote(value, safe="")}
        return sorted(escape(form, MAGIC + "},") for form in forms if "/" not in form)
    if isinstance(value, int) and not isinstance(value, bool):
        return [f"{value}" if _is_long(value) else f"*{abs(value)}"]
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return [value.isoformat()]
    return None
