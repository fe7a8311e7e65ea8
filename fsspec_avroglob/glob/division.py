"""Many workers on one long range of keys: who is through takes from what others have left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from fsspec_avroglob.aio.tasks import task_group
from fsspec_avroglob.glob.split import KeySpace, divide, sample

WASTE_SHARE = 0.11
"""Pages that dividing may waste, per page read. Where a part ends, its last page goes on into the
next part; a place at which there is nothing more to list has cost a page."""

EXPECTED_WASTE = 0.5
"""What a part that goes on is taken to waste at its end, in pages."""

FIRST_REACH, LEAST_REACH, MOST_REACH = 8, 2, 1 << 20
"""How many pages ahead of a part it is divided: at first, at least and at most."""

FARTHER, NEARER = 2, 4
"""How much farther ahead the next part begins where one had keys, or nearer where it had none."""


@dataclass
class Part:
    """A stretch (position, until] of a range that one worker lists.

    last: the last key that was read of it, before that the place it was divided off at. fresh:
    whether it was divided off and nothing was read of it yet. stride: how far in key space a page
    reaches; 0 keeps the part from being divided.
    """

    position: str | None
    until: str | None
    last: str = ""
    fresh: bool = False
    stride: int = 0

    def close(self) -> None:
        """Leave nothing of it to other workers any more."""
        self.stride = 0


@dataclass
class Division:
    """Shares a range of keys that start with *base* among at most *concurrency* workers.

    may_divide: whether another worker is wanted, beside so many that have not begun yet.

    work: lists a part, page by page; it counts each page, and before it waits again tells
    :meth:`learn` or :meth:`end` of it, or closes the part; and it stops at the part's ``until``,
    which comes nearer while it waits. pages: pages of the range that have been read. bound: makes a
    place to divide at of a guessed one.
    """

    base: str
    concurrency: int
    may_divide: Callable[[int], bool]
    work: Callable[[Division, Part], Awaitable[None]]
    pages: int = 0
    bound: Callable[[str], str] = str
    parts: list[Part] = field(default_factory=list)
    _waiting: int = 0
    _wasted: float = 0.0
    _full: int = 0
    _reach: int = FIRST_REACH

    async def run(self, after: str | None, until: str | None) -> None:
        """List (*after*, *until*]. Raises what the first worker that failed raised."""
        self.space = KeySpace(self.base)
        async with task_group() as group:
            self.group = group
            self._waiting = 1
            await self._list(Part(after, until))

    async def _list(self, part: Part) -> None:
        self._waiting -= 1
        self.parts.append(part)
        await self.work(self, part)
        self.parts.remove(part)
        self._divide()

    def learn(self, part: Part, keys: Sequence[str], position: str) -> None:
        """Take in the sorted keys of a page of *part*, which goes on from *position*."""
        self._meet(part, len(keys))
        self._full = max(self._full, len(keys))
        self.space.observe(sample(keys))
        start = keys[0] if part.position is None else max(part.position, self.base)
        part.stride = max(1, self.space.position(keys[-1]) - self.space.position(start))
        part.position, part.last = position, keys[-1]
        self._divide()

    def end(self, part: Part, count: int) -> None:
        """Take in the last page of *part*, of which *count* entries lie in the part."""
        part.close()
        self._meet(part, count)
        if part.until is not None and count < self._full:
            self._wasted += 1 - count / self._full

    def _meet(self, part: Part, count: int) -> None:
        if part.fresh:
            part.fresh = False
            farther, nearer = self._reach * FARTHER, self._reach // NEARER
            self._reach = min(farther, MOST_REACH) if count else max(nearer, LEAST_REACH)

    def _affordable(self) -> bool:
        """Whether what was wasted, and what the open parts may waste, leaves room for another."""
        parts = sum(1 if part.fresh else EXPECTED_WASTE for part in self.parts)
        return self._wasted + self._waiting + parts <= WASTE_SHARE * self.pages

    def _divide(self) -> None:
        """Hand half of the longest part, or what lies well ahead of it, to a new worker."""
        while len(self.parts) + self._waiting < self.concurrency and self._affordable():
            if not self.may_divide(self._waiting):
                return
            candidates = [part for part in self.parts if part.stride and part.position]
            if not candidates:
                return
            part = max(candidates, key=self._left)
            position = part.position or ""
            key = divide(self.space, position, part.until, part.stride, self._reach)
            if key is not None:
                key = self.bound(key)
            if key is None or key <= position or (part.until is not None and key >= part.until):
                part.close()
                continue
            self._waiting += 1
            new = Part(key, part.until, key, fresh=True)
            part.until = key
            self.group.create_task(self._list(new))

    def _left(self, part: Part) -> float:
        """Pages that the part has left, estimated."""
        if part.until is None:
            return 2.0 * self._reach
        ahead = self.space.position(part.until) - self.space.position(part.position or "")
        return ahead / part.stride
