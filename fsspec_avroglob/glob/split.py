"""Where to divide a range of keys that is still to be listed, guessed from the keys seen so far.

The guess decides only how evenly the work is shared: any division of a range gives the same keys.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

WIDTH = 40
"""Characters after the common prefix that a position in key space is computed from."""

_DIGITS = frozenset(string.digits)
_HEX = frozenset("abcdef"), frozenset("ABCDEF")
_LETTERS = frozenset(string.ascii_lowercase), frozenset(string.ascii_uppercase)

_SCRIPTS = (
    (0x80, 0x24F),  # Latin
    (0x370, 0x3FF),  # Greek
    (0x400, 0x52F),  # Cyrillic
    (0x600, 0x6FF),  # Arabic
    (0x3040, 0x30FF),  # Hiragana and Katakana
    (0x3400, 0x4DBF),  # Han, rare
    (0x4E00, 0x9FFF),  # Han
    (0xAC00, 0xD7A3),  # Hangul
    (0x1F300, 0x1FAFF),  # emoji
    (0x20000, 0x2A6DF),  # Han, rarer
)
"""Code points that are used together, first and last, as Unicode's block chart has them."""

_EVERYTHING = ((0x80, 0xD7FF), (0xE000, 0x10FFFF))

MANY_SCRIPTS = 16
"""From so many scripts on, characters are taken to come from all of Unicode."""

# Bounds of parts are asked for again and again.
_MOST_POSITIONS = 1024

_Range = tuple[int, int]


class _Alphabet:
    """Characters as ranges of code points, numbered from 1 on in their order."""

    def __init__(self, ranges: Sequence[_Range]) -> None:
        self._starts = [first for first, _ in ranges]
        sizes = [last - first + 1 for first, last in ranges]
        self._sizes = sizes
        self._below = [0, *accumulate(sizes)]
        self.size = self._below.pop()
        self._known: dict[str, tuple[int, bool]] = {}

    def number(self, character: str) -> tuple[int, bool]:
        """The number of the greatest character up to *character*, 0 for none; if it is that."""
        known = self._known.get(character)
        if known is None:
            known = self._known[character] = self._number(ord(character))
        return known

    def _number(self, code: int) -> tuple[int, bool]:
        index = bisect_right(self._starts, code) - 1
        if index < 0:
            return 0, False
        place = code - self._starts[index]
        return self._below[index] + min(place + 1, self._sizes[index]), place < self._sizes[index]

    def character(self, number: int) -> str:
        """The character of a number from 1 on."""
        index = bisect_right(self._below, number - 1) - 1
        return chr(self._starts[index] + number - 1 - self._below[index])


class KeySpace:
    """Maps keys below *prefix* to integers and back, keeping their order.

    A key's characters after the prefix are digits of a number whose base differs by place: the
    characters seen there so far and those of their kind (a digit stands for all digits, several
    letters for the alphabet or for hexadecimal, beyond ASCII ever new ones for their script), and
    the end of the key, which sorts first.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._seen: list[set[str]] = []
        # Of each script the characters that were seen at any place.
        self._scripts: dict[_Range, Counter[str]] = {}
        self._wide: set[_Range] = set()
        self._positions: dict[str, int] = {}
        self._changed = True

    def observe(self, keys: Iterable[str]) -> None:
        """Learn the characters of *keys*, which start with the prefix."""
        start = len(self.prefix)
        for key in keys:
            suffix = key[start : start + WIDTH]
            self._seen += (set() for _ in range(len(suffix) - len(self._seen)))
            for seen, character in zip(self._seen, suffix, strict=False):
                if character > "\x7f":
                    character = self._of_script(character)
                if character not in seen:
                    seen.add(character)
                    self._changed = True

    def _of_script(self, character: str) -> str:
        """The character, or the first one of its script once that counts as a whole.

        A script does that keys draw on at large while most of its characters are new.
        """
        code = ord(character)
        for first, last in self._wide:
            if first <= code <= last:
                return chr(first)
        script = _script_of(code)
        seen = self._scripts.setdefault(script, Counter())
        seen[character] += 1
        if len(self._scripts) == MANY_SCRIPTS:
            self._wide = set(_EVERYTHING)
            self._changed = True
        elif seen.total() >= 4 and 2 * len(seen) > seen.total():
            self._wide.add(script)
            self._changed = True
        return character

    def _places(self) -> list[tuple[_Alphabet, int]]:
        """Of each place the characters, and the worth of the next greater digit there."""
        if self._changed:
            self._digits: list[tuple[_Alphabet, int]] = []
            self._size = 1
            for seen in reversed(self._seen):
                alphabet = _Alphabet(self._ranges(seen))
                self._digits.append((alphabet, self._size))
                self._size *= alphabet.size + 1
            self._digits.reverse()
            self._positions.clear()
            self._changed = False
        return self._digits

    def _ranges(self, seen: set[str]) -> list[_Range]:
        """The characters of a place and those of their kind: disjoint ranges in order."""
        wide = {w for w in self._wide if any(w[0] <= ord(c) <= w[1] for c in seen)}
        merged: list[_Range] = []
        for first, last in sorted(wide | {(ord(c), ord(c)) for c in _widened(seen)}):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    def position(self, key: str) -> int:
        """Where *key* lies, as an integer in [0, size)."""
        places = self._places()
        position = self._positions.get(key)
        if position is None:
            if len(self._positions) >= _MOST_POSITIONS:
                self._positions.clear()
            position = self._positions[key] = self._position(key, places)
        return position

    def _position(self, key: str, places: list[tuple[_Alphabet, int]]) -> int:
        position = 0
        for character, (alphabet, worth) in zip(key[len(self.prefix) :], places, strict=False):
            digit, exact = alphabet.number(character)
            position += digit * worth
            if digit == 0:
                break
            if not exact:
                # A character that was never seen comes after all that the next lower one starts.
                return position + worth - 1
        return position

    def key(self, position: int) -> str:
        """The shortest key at *position*."""
        characters = []
        for alphabet, worth in self._places():
            digit, position = divmod(position, worth)
            if digit == 0:
                break
            characters.append(alphabet.character(digit))
        return self.prefix + "".join(characters)

    @property
    def size(self) -> int:
        """One more than the greatest position."""
        self._places()
        return self._size


def divide(space: KeySpace, after: str, until: str | None, stride: int, pages: int) -> str | None:
    """A key to divide the range (*after*, *until*] at, or None when it is too small to divide.

    stride: how far in key space a page reaches. pages: how many pages ahead to divide at most.
    """
    low = space.position(after)
    high = space.size if until is None else space.position(until)
    if high - low < 2 * stride:
        return None
    middle = min((low + high) // 2, low + stride * pages)
    key = _shortened(space.key(middle), after)
    if key <= after or (until is not None and key >= until):
        return None
    return key


def sample(keys: Sequence[str]) -> list[str]:
    """A few of *keys*, the first and the last among them."""
    return [*keys[:: max(1, len(keys) // 4)], keys[-1]]


def _shortened(key: str, after: str) -> str:
    """*key* without the characters that hardly matter in comparison with *after*."""
    common = 0
    while common < min(len(key), len(after)) and key[common] == after[common]:
        common += 1
    return key[: common + 6]


def _script_of(code: int) -> _Range:
    """The script that a code point beyond ASCII belongs to; where none is listed, a half block."""
    index = bisect_right(_SCRIPTS, (code, 0x10FFFF)) - 1
    if index >= 0 and code <= _SCRIPTS[index][1]:
        return _SCRIPTS[index]
    return code & ~0x7F, code | 0x7F


def _widened(seen: set[str]) -> set[str]:
    wide = set(seen)
    if seen & _DIGITS:
        wide |= _DIGITS
    for hexadecimal, letters in zip(_HEX, _LETTERS, strict=True):
        found = seen & letters
        if found <= hexadecimal and (len(found) > 1 or (found and seen & _DIGITS)):
            wide |= hexadecimal
        elif len(found) > 1:
            wide |= letters
    return wide
