"""Choosing columns by name or by index."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Sequence


def chosen_columns(columns: Iterable[str | int], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names of *columns*, each a name or an index (negative from the end) of *known*.

    Raises TypeError for what is neither a name nor an index, ValueError for an unknown column and
    one named twice.
    """
    among = frozenset(known)
    names = tuple(_name(column, known, among) for column in columns)
    if len(set(names)) < len(names):
        raise ValueError(f"columns names a column twice: {list(names)}")
    return names


def _name(column: str | int, known: Sequence[str], among: frozenset[str]) -> str:
    if isinstance(column, str):
        if column not in among:
            raise ValueError(unknown_column(column, known))
        return column
    if isinstance(column, bool) or not hasattr(column, "__index__"):
        raise TypeError(f"a column is a name or an index, not {column!r}")
    index = operator.index(column)
    if not -len(known) <= index < len(known):
        raise ValueError(f"no column {index}: there are {len(known)}, from 0 on")
    return known[index]


def unknown_column(name: str, columns: Iterable[str]) -> str:
    """Return the message for an unknown column: it lists columns of similar names, or else all."""
    names = list(columns)
    near = difflib.get_close_matches(name, names) or names
    return f"no column {name!r}; there is {', '.join(map(repr, near)) or 'none'}"
