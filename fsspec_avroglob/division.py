"""Many workers on one long range of keys: who is through takes from what others have left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from fsspec_avroglob.split import KeySpace, divide, sample
from fsspec_avroglob.tasks import task_group

SPLIT_SHARE = 0.12
"""Parts that a range may be divided into, per page read. A part costs at most one page more than
the range would have taken undivided, so this bounds what dividing can cost."""


@dataclass
class Part:
    """A stretch (position, until] of a range that one worker lists.

    last: the last key that was read of it, before that the place it was divided off at. stride: how
    far in key space a page reaches; 0 keeps the part from being divided.
    """

    position: str | None
    until: str | None
    last: str = ""
    stride: int = 0
    gallop: int = 8

    def close(self) -> None:
        """Leave nothing of it to other workers any more."""
        self.stride = 0


@dataclass
class Division:
    """Shares a range of keys that start with *base* among at most *concurrency* workers.

    may_divide: whether another worker is wanted, beside so many that have not begun yet.

    work: lists a part, page by page; it counts each page, and before it waits again tells
    :meth:`learn` of it, or closes the part; and it stops at the part's ``until``, which comes
    nearer while it waits. pages: pages of the range that have been read. bound: makes a place to
    divide at of a guessed one.
    """

    base: str
    concurrency: int
    may_divide: Callable[[int], bool]
    work: Callable[[Division, Part], Awaitable[None]]
    pages: int = 0
    bound: Callable[[str], str] = str
    parts: list[Part] = field(default_factory=list)
    made: int = 0
    _waiting: int = 0

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
        self.space.observe(sample(keys))
        start = keys[0] if part.position is None else max(part.position, self.base)
        part.stride = max(1, self.space.position(keys[-1]) - self.space.position(start))
        part.position, part.last = position, keys[-1]
        self._divide()

    def _divide(self) -> None:
        """Hand half of the longest part, or what lies well ahead of it, to a new worker."""
        while self.made + 1 <= SPLIT_SHARE * self.pages and len(self.parts) < self.concurrency:
            if not self.may_divide(self._waiting):
                return
            candidates = [part for part in self.parts if part.stride and part.position]
            if not candidates:
                return
            part = max(candidates, key=self._left)
            position = part.position or ""
            key = divide(self.space, position, part.until, part.stride, pages=part.gallop)
            if key is not None:
                key = self.bound(key)
            if key is None or key <= position or (part.until is not None and key >= part.until):
                part.close()
                continue
            self.made += 1
            self._waiting += 1
            gallop = part.gallop * 8 if part.until is None else part.gallop
            new = Part(key, part.until, key, gallop=gallop)
            part.until = key
            self.group.create_task(self._list(new))

    def _left(self, part: Part) -> float:
        """Pages that the part has left, estimated."""
        if part.until is None:
            return float(2 * part.gallop)
        ahead = self.space.position(part.until) - self.space.position(part.position or "")
        return ahead / part.stride
