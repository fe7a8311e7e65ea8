"""A bounded, thread-safe cache of the files and directories that listings have returned.

A question about one of these paths then costs no request.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import repeat
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page

MAX_PATHS = 200_000
"""Default bound on the number of cached paths."""

MAX_BYTES = 192 * 2**20
"""Default bound on the memory of cached paths and pages; the estimate errs on the high side."""

_PATH_BYTES = 240  # a path, its key, and their entries in a dict and lists, without the text


class _Listed(NamedTuple):
    """The page that returned a file, and what it says about a directory of the same name."""

    bucket: str
    page: Page
    expires: float
    with_directories: bool
    flat: bool

    def info(self, path: str) -> dict[str, Any]:
        """The info dict of *path*, one of the page's keys."""
        index = bisect_left(self.page.keys, path[len(self.bucket) + 1 :])
        return self.page.infos([path], [index])[0]

    def has_directory(self, path: str) -> bool | None:
        """Whether *path* is a directory as well as a file; None if the page does not show it."""
        if self.with_directories:
            return False
        if not self.flat:
            return None
        keys, directory = self.page.keys, path[len(self.bucket) + 1 :] + "/"
        index = bisect_left(keys, directory)
        if index < len(keys):
            return keys[index].startswith(directory)
        return None if self.page.thin or self.page.next_token is not None else False


class _Generation:
    """Paths that were listed one after another and are evicted together.

    Paths wait to be indexed until somebody asks for a path, because indexing costs 0.3 µs a path
    and most paths of a large glob are evicted without a question.
    """

    def __init__(self) -> None:
        self.files: dict[str, _Listed] = {}
        self.directories: dict[str, float] = {}  # when each expires
        self.paths = self.nbytes = 0
        self._waiting: list[tuple[dict[str, Any], Sequence[str], Any]] = []

    def add(self, into: dict[str, Any], paths: Sequence[str], value: Any, nbytes: int) -> None:
        """Add *paths* to one of the dicts when the generation is next indexed."""
        self._waiting.append((into, paths, value))
        self.paths += len(paths)
        self.nbytes += nbytes

    def index(self) -> None:
        """Index the waiting paths; a later listing of a path replaces an earlier one."""
        for into, paths, value in self._waiting:
            into.update(zip(paths, repeat(value), strict=False))
        self._waiting.clear()


class ListingCache:
    """A cache of the files and directories that listings have returned, by path (``bucket/key``).

    A path that is not in the cache may exist. Newer listings replace older ones. When the newer
    half of the cache is full, the older half is evicted.

    Parameters
    ----------
    expiry_s
        Seconds after which a listing expires, None for never.
    enabled
        False caches nothing.
    max_paths, max_bytes
        Bounds on the number of paths and on the estimated memory.
    clock
        Returns the time in seconds.

    Attributes
    ----------
    forgotten : int
        Number of calls of :meth:`forget` so far.
    """

    def __init__(
        self,
        *,
        expiry_s: float | None = None,
        enabled: bool = True,
        max_paths: int = MAX_PATHS,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.enabled = enabled
        self.forgotten = 0
        self._expiry_s = math.inf if expiry_s is None else expiry_s
        self._max_paths, self._max_bytes = max_paths // 2, max_bytes // 2
        self._clock = clock
        self._lock = threading.Lock()
        self._new, self._old = _Generation(), _Generation()

    def __len__(self) -> int:
        """Number of cached paths; a path that was listed twice may count twice."""
        return self._new.paths + self._old.paths

    @property
    def nbytes(self) -> int:
        """Estimated memory of the cached paths and pages, in bytes."""
        return self._new.nbytes + self._old.nbytes

    def add_files(
        self,
        bucket: str,
        page: Page,
        paths: Sequence[str],
        *,
        with_directories: bool = True,
        flat: bool = False,
        since: int | None = None,
    ) -> None:
        """Cache *paths*, each of which is ``bucket/`` and a key of *page*, whose keys are sorted.

        Parameters
        ----------
        with_directories
            Whether the listing would also have returned a directory of a file's name.
        flat
            Whether the page has every key of its range, keys in subdirectories included.
        since
            The value of ``forgotten`` when the listing began. If it has changed since then,
            nothing is cached, because the page may be older than what was written.
        """
        if not (self.enabled and paths):
            return
        # One long string is measured in a fraction of the time that many short ones take.
        nbytes = 2 * getsizeof("".join(paths)) + len(paths) * _PATH_BYTES + page.nbytes
        listed = _Listed(bucket, page, self._clock() + self._expiry_s, with_directories, flat)
        with self._lock:
            if new := self._with_room(len(paths), nbytes, since):
                new.add(new.files, paths, listed, nbytes)

    def add_directories(self, paths: Sequence[str], *, since: int | None = None) -> None:
        """Cache directories. *since*: see :meth:`add_files`."""
        if not (self.enabled and paths):
            return
        nbytes = getsizeof("".join(paths)) + len(paths) * _PATH_BYTES
        with self._lock:
            if new := self._with_room(len(paths), nbytes, since):
                new.add(new.directories, paths, self._clock() + self._expiry_s, nbytes)

    def _with_room(self, paths: int, nbytes: int, since: int | None) -> _Generation | None:
        """The generation that the paths may be added to; None if they must not be cached."""
        too_large = paths > self._max_paths or nbytes > self._max_bytes
        if too_large or since not in (None, self.forgotten):
            return None
        new = self._new
        if new.paths + paths > self._max_paths or new.nbytes + nbytes > self._max_bytes:
            self._new, self._old = _Generation(), new
        return self._new

    def info(self, path: str) -> dict[str, Any] | None:
        """A new info dict of *path*, or None if it is not cached."""
        listed, is_directory = self._find(path)
        if listed is not None:
            return listed.info(path)
        if not is_directory:
            return None
        from fsspec_avroglob.s3.page import info_of_directory  # loaded by listings

        return info_of_directory(path)

    def is_directory(self, path: str) -> bool | None:
        """Whether *path* is a directory, or None if that is not cached."""
        listed, is_directory = self._find(path)
        if is_directory or listed is None:
            return is_directory or None
        return listed.has_directory(path)

    def _find(self, path: str) -> tuple[_Listed | None, bool]:
        """The listing that returned *path* as a file, and whether one returned a directory."""
        with self._lock:
            new, old, now = self._new, self._old, self._clock()
            for generation in (new, old):
                generation.index()
            listed = new.files.get(path) or old.files.get(path)
            expires = new.directories.get(path) or old.directories.get(path, now)
        return listed if listed and listed.expires > now else None, expires > now

    def forget(self, path: str | None = None) -> None:
        """Remove *path*, or everything, from the cache."""
        with self._lock:
            self.forgotten += 1
            if path is None:
                self._new, self._old = _Generation(), _Generation()
                return
            for generation in (self._new, self._old):
                generation.index()
                generation.files.pop(path, None)
                generation.directories.pop(path, None)
