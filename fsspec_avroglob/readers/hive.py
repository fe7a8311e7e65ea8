"""Hive's ``key=value`` directories: their values as typed columns, and filters on them.

Keys and values are percent-decoded, as Hive and Spark write them; ``__HIVE_DEFAULT_PARTITION__``
is a null. Nothing here reads a file.
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
"""The texts of a path's ``key=value`` directories by key, None for null."""

Condition: TypeAlias = tuple[str, str, Any]
Filters: TypeAlias = Sequence[Condition] | Sequence[Sequence[Condition]]
"""``[(key, operator, value), ...]``, all of which must hold, or a list of such lists, one of which
must (pyarrow's disjunctive normal form). Operators: ``= == != < <= > >= in``, ``not in``."""

_INTEGER = re.compile(r"-?[0-9]+")
_INT64 = re.compile(r"-?[0-9]{1,18}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_OPEN_SEGMENT = re.compile(r"([^=/]+)=\*")
# A number of fewer digits may be written with zeros before it (month=03). One of more may not, so
# that its directory is named and not searched for.
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
    """The values of the ``key=value`` directories of *path* by key; the last of a key counts."""
    found: dict[str, str | None] = {}
    for name in path.split("/")[:-1]:
        key, equals, value = name.partition("=")
        if key and equals:
            found[unquote(key)] = None if value == NULL else unquote(value)
    return found


def column_kinds(partitions: Iterable[Partition]) -> dict[str, Kind]:
    """The type of each key's column: what the texts of all files can be read as without loss.

    ``int64`` if all are whole numbers of up to 18 digits, ``date`` if all are ISO dates, else
    ``string``. Keys are in the order in which they are first met.
    """
    texts: dict[str, set[str]] = {}
    for partition in partitions:
        for key, text in partition.items():
            seen = texts.setdefault(key, set())
            if text is not None:
                seen.add(text)
    return {key: _kind(seen) for key, seen in texts.items()}


def typed(text: str | None, kind: Kind) -> int | datetime.date | str | None:
    """The value of a directory in a column of *kind*."""
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
    if not _DATE.fullmatch(text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class PartitionFilter:
    """Filters in disjunctive normal form: ``alternatives``, in one of which all conditions hold.

    A value decides how a directory's text is compared with it: numbers as numbers (``month=03`` is
    3, but a number of four digits has no zeros before it), dates as dates, text as text. A
    directory that is null or cannot be read as the value's type fulfils no condition; ``=`` and
    ``!=`` with None ask for null.
    """

    alternatives: tuple[tuple[Condition, ...], ...]

    @classmethod
    def parse(cls, filters: Filters) -> PartitionFilter:
        """Check *filters*. Raises ValueError for what is no condition."""
        items: list[Any] = list(filters)
        if any(isinstance(item, str) or not isinstance(item, Sequence) for item in items):
            text = f"filters={filters!r} is no list of conditions; write [(key, operator, value)]"
            raise ValueError(text)
        flat = any(isinstance(part, str) for item in items for part in item)
        several: Any = [items] if flat else items
        alternatives = tuple(tuple(map(_condition, group)) for group in several)
        if not alternatives or not all(alternatives):
            raise ValueError(f"filters={filters!r} has no condition (key, operator, value)")
        return cls(alternatives)

    @property
    def keys(self) -> list[str]:
        """The keys that conditions are about."""
        return list(dict.fromkeys(key for group in self.alternatives for key, _, _ in group))

    def keeps(self, partition: Partition) -> bool:
        """Whether the filter admits a file in these directories."""
        return any(
            all(_holds(partition.get(key), op, value) for key, op, value in group)
            for group in self.alternatives
        )

    def narrowed(self, pattern: str) -> str:
        """*pattern* with ``key=*`` replaced by the values that the filter asks for.

        The result matches all that *pattern* matches and :meth:`keeps` admits, and maybe more.
        """
        segments = pattern.split("/")
        depth = 0
        for index, segment in enumerate(segments[:-1]):
            found = _OPEN_SEGMENT.fullmatch(segment)
            if found and not depth and not is_glob_pattern(found[1]):
                values = self._values(unquote(found[1]))
                if values is not None:
                    segments[index] = f"{found[1]}={_any_of(values)}"
            depth += segment.count("{") - segment.count("}")
        return "/".join(segments)

    def _values(self, key: str) -> list[str] | None:
        """Patterns for the texts that *key* may have; None if these are not stated."""
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


def _looks_like_condition(item: Any) -> bool:
    return isinstance(item, Sequence) and len(item) == 3 and isinstance(item[0], str)


def _condition(item: Any) -> Condition:
    if not _looks_like_condition(item):
        raise ValueError(f"{item!r} is no condition (key, operator, value)")
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
    except (TypeError, ValueError):  # as of a time with a zone and one without
        return False


def _read_as(value: Any) -> Callable[[str], Any]:
    if isinstance(value, bool):
        return partial(_truth, {"true": True, "false": False})
    if isinstance(value, int):
        return partial(_whole, str(value) if _is_long(value) else None)
    if isinstance(value, float):
        return float
    if isinstance(value, datetime.datetime):
        return datetime.datetime.fromisoformat
    if isinstance(value, datetime.date):
        return datetime.date.fromisoformat
    return str


def _is_long(value: int) -> bool:
    return value >= 0 and len(str(value)) >= _UNPADDED_DIGITS


def _whole(unpadded: str | None, text: str) -> int:
    """The number that a text is; the number *unpadded* is written in no other way."""
    padded = unpadded is not None and text.lstrip("0") == unpadded != text
    if padded or not _INTEGER.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number as one is written")
    return int(text)


def _truth(words: Mapping[str, bool], text: str) -> bool:
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _text_patterns(value: Any) -> list[str] | None:
    """Patterns, one of which matches each text that equals *value*; None if there are too many."""
    if value is None:
        return [NULL]
    if isinstance(value, str):
        forms = {value, quote(value, safe="")}
        return sorted(map(_escaped, (form for form in forms if "/" not in form)))
    if isinstance(value, int) and not isinstance(value, bool):
        return [f"{value}" if _is_long(value) else f"*{abs(value)}"]
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return [value.isoformat()]
    return None


def _any_of(patterns: Sequence[str]) -> str:
    return patterns[0] if len(patterns) == 1 else "{" + ",".join(patterns) + "}"


def _escaped(text: str) -> str:
    return escape(text, MAGIC + "},")
