"""The magic characters of patterns: the only definition, without the imports of the grammar.

>>> is_glob_pattern("events/*.avro"), literal_directory("events/2024/0[1-3]/*.avro")
(True, 'events/2024/')
"""

from __future__ import annotations

MAGIC = "*?[{"
"""The characters with a meaning of their own."""


def is_glob_pattern(path: str) -> bool:
    """Whether *path* has a magic character: one of ``* ? [ {``."""
    return not set(MAGIC).isdisjoint(path)


def escape(text: str, magic: str = MAGIC) -> str:
    """A pattern that matches just *text*: each of the *magic* characters in brackets."""
    return "".join(f"[{character}]" if character in magic else character for character in text)


def literal_directory(path: str) -> str:
    """The part of *path* up to the last ``/`` before its first magic character."""
    ends = [end for character in MAGIC if (end := path.find(character)) >= 0]
    return path[: path.rfind("/", 0, min(ends, default=None)) + 1]
