"""Share a long range of sorted keys among concurrent workers.

A range is divided at a guessed key. The guess decides only how evenly the work is shared: any
division of a range lists the same keys.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fsspec_avroglob.aio.tasks import task_group
from fsspec_avroglob.glob.tokens import common_prefix

WIDTH = 40
"""Characters after the common prefix that a position in key space is computed from."""

SAMPLE = 16
"""About how many keys of a page are observed."""

WASTE_SHARE = 0.11
"""Pages that dividing may waste, per page read. A part wastes the rest of its last page, which
continues into the next part; a part that holds no key wastes a whole page."""

EXPECTED_WASTE = 0.5
"""Pages that an open part is expected to waste at its end."""

FIRST_REACH, LEAST_REACH, MOST_REACH = 8, 2, 1 << 20
"""How many pages ahead of a worker its range is divided: at first, at least, and at most."""

GROWTH, SHRINKAGE = 2, 4
"""Factors that change the reach: it grows when a new part holds keys and shrinks when not."""


class KeySpace:
    """Maps keys below *prefix* to integers and back; the mapping preserves their order.

    The characters after the prefix are the digits of a number. All positions at which different
    characters were seen share one set of digits: the characters seen at any of them. A position
    with only one character, which is not in that set, has just this digit. The end of a key is
    digit 0.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._seen: list[set[str]] = []
        self._digits: list[tuple[list[str], int]] = []
        self._changed = False

    def observe(self, keys: Iterable[str]) -> None:
        """Learn the characters of *keys*, which start with the prefix."""
        start = len(self.prefix)
        columns = zip_longest(*(key[start : start + WIDTH] for key in keys), fillvalue="")
        for index, column in enumerate(columns):
            if index == len(self._seen):
                self._seen.append(set())
            if new := set(column) - self._seen[index] - {""}:
                self._seen[index] |= new
                self._changed = True

    def _positions(self) -> list[tuple[list[str], int]]:
        """For each position its digits, and the value of digit 1 there."""
        if self._changed:
            shared = set[str]().union(*(seen for seen in self._seen if len(seen) > 1))
            digits, value = sorted(shared), 1
            self._digits = []
            for seen in reversed(self._seen):
                own = digits if seen <= shared else sorted(seen)
                self._digits.append((own, value))
                value *= len(own) + 1
            self._digits.reverse()
            self._changed = False
        return self._digits

    @property
    def size(self) -> int:
        """One more than the greatest position."""
        positions = self._positions()
        return (len(positions[0][0]) + 1) * positions[0][1] if positions else 1

    def position(self, key: str) -> int:
        """The position of *key*, an integer in [0, size)."""
        total = 0
        positions = self._positions()
        for character, (digits, value) in zip(key[len(self.prefix) :], positions, strict=False):
            digit = bisect_right(digits, character)
            total += digit * value
            if digit == 0:
                break
            if digits[digit - 1] != character:
                # An unseen character sorts after every key with the next lower digit.
                return total + value - 1
        return total

    def key(self, position: int) -> str:
        """The shortest key at *position*."""
        characters = []
        for digits, value in self._positions():
            digit, position = divmod(position, value)
            if digit == 0:
                break
            characters.append(digits[digit - 1])
        return self.prefix + "".join(characters)


def middle(space: KeySpace, after: str, until: str | None, stride: int, reach: int) -> str | None:
    """A key to divide the range (*after*, *until*] at, or None if the range is too small.

    stride: the length of a page in key space. reach: how many pages ahead to divide at most.
    """
    low = space.position(after)
    high = space.size if until is None else space.position(until)
    if high - low < 2 * stride:
        return None
    key = space.key(min((low + high) // 2, low + stride * reach))
    key = key[: len(common_prefix([key, after])) + 6]
    return key if key > after and (until is None or key < until) else None


def sample(keys: Sequence[str]) -> list[str]:
    """A few of *keys*, including the first and the last."""
    return [*keys[:: max(1, len(keys) // SAMPLE)], keys[-1]]


@dataclass(eq=False)
class Part:
    """A part (position, until] of a range that one worker lists.

    fresh: whether it was split off and no page of it was read yet. stride: the length of a page
    in key space; 0 prevents the part from being divided.
    """

    position: str | None
    until: str | None
    fresh: bool = False
    stride: int = 0


@dataclass
class RangePartition:
    """Shares a range of keys that start with *base* among at most *concurrency* workers.

    work: lists a part page by page. For each page it calls :meth:`advance` or :meth:`end`, or sets
    the part's stride to 0, before it awaits anything. It stops at the part's ``until``, which may
    decrease while the worker waits. place: turns a guessed key into one at which the range may be
    divided.
    """

    base: str
    concurrency: int
    work: Callable[[RangePartition, Part], Awaitable[None]]
    place: Callable[[str], str] = str
    _parts: list[Part] = field(default_factory=list)
    _pages: int = 0
    _wasted: float = 0.0
    _full: int = 0
    _reach: int = FIRST_REACH

    async def run(self, after: str | None, until: str | None) -> None:
        """List (*after*, *until*]. Raises the first failure."""
        self._space = KeySpace(self.base)
        async with task_group() as self._group:
            self._start(Part(after, until))

    def _start(self, part: Part) -> None:
        self._parts.append(part)
        self._group.create_task(self._list(part))

    async def _list(self, part: Part) -> None:
        await self.work(self, part)
        self._parts.remove(part)
        self._divide()

    def advance(self, part: Part, keys: Sequence[str], position: str) -> None:
        """Record a page of *part* with these sorted keys; the part continues at *position*."""
        self._record(part, len(keys))
        self._full = max(self._full, len(keys))
        self._space.observe(sample(keys))
        start = keys[0] if part.position is None else max(part.position, self.base)
        part.stride = max(1, self._space.position(keys[-1]) - self._space.position(start))
        part.position = position
        self._divide()

    def end(self, part: Part, count: int) -> None:
        """Record the last page of *part*; *count* of its entries lie in the part."""
        part.stride = 0
        self._record(part, count)
        if part.until is not None and count < self._full:
            self._wasted += 1 - count / self._full

    def _record(self, part: Part, count: int) -> None:
        self._pages += 1
        if part.fresh:
            part.fresh = False
            larger, smaller = self._reach * GROWTH, self._reach // SHRINKAGE
            self._reach = min(larger, MOST_REACH) if count else max(smaller, LEAST_REACH)

    def _affordable(self) -> bool:
        """Whether another part keeps the expected waste within its share."""
        expected = sum(1 if part.fresh else EXPECTED_WASTE for part in self._parts)
        return self._wasted + expected <= WASTE_SHARE * self._pages

    def _divide(self) -> None:
        """Start workers on new parts, divided from the longest ones."""
        while len(self._parts) < self.concurrency and self._affordable():
            candidates = [part for part in self._parts if part.stride and part.position]
            if not candidates:
                return
            part = max(candidates, key=self._pages_left)
            position = part.position or ""
            key = middle(self._space, position, part.until, part.stride, self._reach)
            if key is not None:
                key = self.place(key)
            if key is None or key <= position or (part.until is not None and key >= part.until):
                part.stride = 0
                continue
            self._start(Part(key, part.until, fresh=True))
            part.until = key

    def _pages_left(self, part: Part) -> float:
        """Pages that the part still needs, estimated."""
        if part.until is None:
            return 2.0 * self._reach
        position = self._space.position
        return (position(part.until) - position(part.position or "")) / part.stride
