"""What newer listings and writes say against what older answers returned.

Every answer has a number, in the order in which the requests began. A listing that is complete
claims all that it could have returned: what an older answer returned, and the listing did not, is
gone. A write or a call of ``invalidate_cache`` makes older answers about its path void.

It is always safe to disprove too much: the next question then costs a request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_GLOBS = 500
"""Bound on the claims of globs, because each question looks at all newer ones."""

MOST_LEVELS = 10_000
"""Default bound on the directories whose complete listings are cached."""

MOST_PATHS = 10_000
"""Bound on the single paths that writes made void."""


class Claim(NamedTuple):
    """What a complete listing could have returned.

    number: of the listing. base: all that it could have returned starts with it (``bucket/dir/``).
    covers: called with a path and whether it is meant as a directory.
    """

    number: int
    base: str
    covers: Callable[[str, bool], bool]


class Level(NamedTuple):
    """The listing of one directory: it covers all files and directories directly in it."""

    number: int
    directories: frozenset[str]


def ancestors(path: str) -> Iterator[str]:
    """The directories that contain *path*, the nearest first, the bucket last."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


@dataclass
class Disproofs:
    """Decides whether an answer still holds. Not safe for threads; its owner has a lock.

    most_listings: bound on complete listings; the answers of older ones do not hold. None for the
    defaults.
    """

    most_listings: int | None = None
    _number: int = 0
    _floor: int = 0  # answers up to this number do not hold
    _newest_listing: int = 0
    _void: dict[str, int] = field(default_factory=dict)
    _void_below: dict[str, int] = field(default_factory=dict)
    _globs: dict[Hashable, Claim] = field(default_factory=dict)  # the oldest first
    _levels: dict[str, Level] = field(default_factory=dict)  # the oldest first

    def next_number(self) -> int:
        """The number of a request that begins now."""
        self._number += 1
        return self._number

    # -- what is said --

    def void(self, path: str) -> None:
        """Older answers about *path*, and about the directories that contain it, do not hold."""
        number = self.next_number()
        for name in (path, *ancestors(path)):
            self._void[name] = number
        if len(self._void) > MOST_PATHS:
            self.void_all()

    def changed(self, path: str, number: int) -> None:
        """Older answers about *path* do not hold, nor do older listings of its directory."""
        outer = path.rpartition("/")[0]
        if outer in self._levels:
            self._void[outer] = max(number, self._void.get(outer, 0))
        self._void[path] = max(number, self._void.get(path, 0))

    def void_below(self, path: str) -> None:
        """Older answers about *path*, what is below it, and what contains it do not hold."""
        self.void(path)
        self._add_void_below(path, self._number)

    def empty(self, directory: str, number: int, *, below: bool) -> None:
        """Older answers that there is a *directory*, or with *below* anything in it, are void."""
        if below:
            self._add_void_below(directory, number)
        self._void[directory + "/"] = max(number, self._void.get(directory + "/", 0))
        outer = directory.rpartition("/")[0]
        if (level := self._levels.get(outer)) and directory in level.directories:
            self._void[outer] = max(number, self._void.get(outer, 0))

    def _add_void_below(self, path: str, number: int) -> None:
        self._void_below[path] = max(number, self._void_below.get(path, 0))
        if len(self._void_below) > MOST_PATHS:
            self.void_all()

    def void_all(self) -> None:
        """No answer to an earlier request holds."""
        self._floor = self.next_number()
        for said in (self._void, self._void_below, self._globs, self._levels):
            said.clear()

    def claim(self, what: Hashable, claim: Claim) -> None:
        """Add the claim of a listing; it replaces that of an older listing of the same *what*."""
        self._globs.pop(what, None)
        self._globs[what] = claim
        self._newest_listing = max(self._newest_listing, claim.number)
        self._trim()

    def claim_level(self, directory: str, level: Level) -> None:
        """Add the claim of a listing of one *directory*, and void levels that it contradicts."""
        self._levels.pop(directory, None)
        self._levels[directory] = level
        self._newest_listing = max(self._newest_listing, level.number)
        self.found(directory, level.number, directory=True)
        self._trim()

    def found(self, path: str, number: int, *, directory: bool) -> None:
        """Void older listings of directories that lack the directories that contain *path*."""
        inner = path if directory else path.rpartition("/")[0]
        for outer in ancestors(inner):
            level = self._levels.get(outer)
            if level is not None and level.number < number and inner not in level.directories:
                self._void[outer] = max(number, self._void.get(outer, 0))
            inner = outer

    def _trim(self) -> None:
        """Drop the claims of the oldest listings, and with them all answers of their time."""
        most = MOST_LEVELS if self.most_listings is None else self.most_listings
        while len(self._globs) + len(self._levels) > most or len(self._globs) > MOST_GLOBS:
            glob = next(iter(self._globs), None)
            directory = next(iter(self._levels), None)
            number = self._globs[glob].number if glob in self._globs else self._number
            if directory is not None and self._levels[directory].number < number:
                number = self._levels.pop(directory).number
            else:
                del self._globs[glob]
            self._floor = max(self._floor, number)

    # -- what holds --

    def holds(self, path: str, number: int, is_directory: bool, seen: Callable[[str], int]) -> bool:
        """Whether the answer *number*, that *path* is a file or a directory, still holds.

        ``seen(directory)`` is the number of the newest answer that returned the directory, or 0.
        """
        if self._is_void(path, number, is_directory):
            return False
        if number >= self._newest_listing:
            return True
        containing = list(ancestors(path))[:-1]  # without the bucket
        return not self._claimed(path, is_directory, number) and not any(
            self._claimed(name, True, max(number, seen(name))) for name in containing
        )

    def level_holds(self, directory: str, number: int, seen: Callable[[str], int]) -> bool:
        """Whether the listing *number* of a directory is still all that is known of it."""
        if self._is_void(directory, number, True) or self.touched(directory, number):
            return False
        return not any(
            self._claimed(name, True, max(number, seen(name)))
            for name in (directory, *ancestors(directory))
            if "/" in name
        )

    def _is_void(self, path: str, number: int, is_directory: bool) -> bool:
        void, below = self._void.get, self._void_below
        if number <= self._floor or number < void(path, 0):
            return True
        if is_directory and number < void(path + "/", 0):
            return True
        return bool(below) and any(number < below.get(name, 0) for name in ancestors(path))

    def touched(self, path: str, number: int) -> bool:
        """Whether a listing newer than *number* may have returned something below *path*."""
        below = path + "/"
        level = self._levels.get(path)
        return (level is not None and level.number > number) or any(
            claim.number > number and (claim.base.startswith(below) or below.startswith(claim.base))
            for claim in self._globs.values()
        )

    def _claimed(self, path: str, is_directory: bool, number: int) -> bool:
        """Whether a listing newer than *number* could have returned *path*."""
        level = self._levels.get(path.rpartition("/")[0])
        return (level is not None and level.number > number) or any(
            claim.number > number
            and path.startswith(claim.base)
            and claim.covers(path, is_directory)
            for claim in self._globs.values()
        )
