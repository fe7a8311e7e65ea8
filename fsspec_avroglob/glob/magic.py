"""Which paths are patterns, for code that has no need of the grammar."""

from __future__ import annotations

_MAGIC = frozenset("*?[{")


def is_glob_pattern(path: str) -> bool:
    """Whether *path* holds a character that the grammar gives a meaning: one of ``* ? [ {``."""
    return not _MAGIC.isdisjoint(path)
