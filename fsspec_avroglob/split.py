"""Where to divide a range of keys that is still to be listed, guessed from the keys seen so far.

The guess decides only how evenly the work is shared: any division of a range gives the same keys.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections.abc import Iterable, Sequence

WIDTH = 40
"""Characters after the common prefix that a position in key space is computed from."""

_DIGITS = frozenset(string.digits)
_HEX = frozenset("abcdef"), frozenset("ABCDEF")
_LETTERS = frozenset(string.ascii_lowercase), frozenset(string.ascii_uppercase)


class KeySpace:
    """Maps keys below *prefix* to integers and back, keeping their order.

    A key's characters after the prefix are digits of a number whose base differs by place: the
    characters seen there so far and those of their kind (a digit stands for all digits, several
    letters for the alphabet or for hexadecimal), and the end of the key, which sorts first.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._seen: list[set[str]] = [set() for _ in range(WIDTH)]
        self._alphabets: list[list[str] | None] = [None] * WIDTH

    def observe(self, keys: Iterable[str]) -> None:
        """Learn the characters of *keys*, which start with the prefix."""
        start = len(self.prefix)
        for key in keys:
            for place, character in enumerate(key[start : start + WIDTH]):
                if character not in self._seen[place]:
                    self._seen[place].add(character)
                    self._alphabets[place] = None

    def _alphabet(self, place: int) -> list[str]:
        alphabet = self._alphabets[place]
        if alphabet is None:
            alphabet = self._alphabets[place] = sorted(_widened(self._seen[place]))
        return alphabet

    def position(self, key: str) -> int:
        """Where *key* lies, as an integer in [0, size)."""
        suffix = key[len(self.prefix) :]
        position = 0
        exact, beyond = True, False
        for place in range(WIDTH):
            alphabet = self._alphabet(place)
            digit = len(alphabet) if beyond else 0
            if exact and place < len(suffix):
                digit = bisect_right(alphabet, suffix[place])
                exact = digit > 0 and alphabet[digit - 1] == suffix[place]
                # A character that was never seen comes after all that the next lower one starts.
                beyond = digit > 0 and not exact
            position = position * (len(alphabet) + 1) + digit
        return position

    def key(self, position: int) -> str:
        """The shortest key at *position*."""
        digits = []
        for place in reversed(range(WIDTH)):
            position, digit = divmod(position, len(self._alphabet(place)) + 1)
            digits.append(digit)
        characters = []
        for place, digit in enumerate(reversed(digits)):
            if digit == 0:
                break
            characters.append(self._alphabet(place)[digit - 1])
        return self.prefix + "".join(characters)

    @property
    def size(self) -> int:
        """One more than the greatest position."""
        size = 1
        for place in range(WIDTH):
            size *= len(self._alphabet(place)) + 1
        return size


def divide(space: KeySpace, after: str, until: str | None, stride: int, pages: int) -> str | None:
    """A key to divide the range (*after*, *until*] at, or None when it is too small to divide.

    stride: how far in key space a page reaches. pages: with an open end (*until* None), how many
    pages ahead to guess.
    """
    low = space.position(after)
    high = space.size if until is None else space.position(until)
    if high - low < 2 * stride:
        return None
    middle = (low + high) // 2
    if until is None:
        middle = min(middle, low + stride * pages)
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
