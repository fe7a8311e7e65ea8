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
        self._seen: list[set[str]] = []
        self._changed = True

    def observe(self, keys: Iterable[str]) -> None:
        """Learn the characters of *keys*, which start with the prefix."""
        start = len(self.prefix)
        for key in keys:
            suffix = key[start : start + WIDTH]
            self._seen += (set() for _ in range(len(suffix) - len(self._seen)))
            for seen, character in zip(self._seen, suffix, strict=False):
                if character not in seen:
                    seen.add(character)
                    self._changed = True

    def _places(self) -> list[tuple[list[str], int]]:
        """Of each place the characters, sorted, and the worth of the next greater digit there."""
        if self._changed:
            self._digits: list[tuple[list[str], int]] = []
            self._size = 1
            for seen in reversed(self._seen):
                alphabet = sorted(_widened(seen))
                self._digits.append((alphabet, self._size))
                self._size *= len(alphabet) + 1
            self._digits.reverse()
            self._changed = False
        return self._digits

    def position(self, key: str) -> int:
        """Where *key* lies, as an integer in [0, size)."""
        position = 0
        for character, (alphabet, worth) in zip(
            key[len(self.prefix) :], self._places(), strict=False
        ):
            digit = bisect_right(alphabet, character)
            position += digit * worth
            if digit == 0:
                break
            if alphabet[digit - 1] != character:
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
            characters.append(alphabet[digit - 1])
        return self.prefix + "".join(characters)

    @property
    def size(self) -> int:
        """One more than the greatest position."""
        self._places()
        return self._size


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
