"""What listings said about paths, so that asking about one of them again costs no request."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fsspec_avroglob.page import Page, info_of_directory

MAX_PATHS = 200_000
"""Most paths that are remembered; the oldest pages are forgotten first."""


@dataclass(eq=False, frozen=True)
class _Batch:
    """The paths that one page brought, remembered together."""

    bucket: str
    page: Page | None
    names: Sequence[str]
    indices: Sequence[int]
    with_directories: bool
    flat: bool
    due: float


class ListingMemory:
    """Remembers files and directories that listings have returned, by path. Thread-safe.

    Only what was seen is told: that a path is absent is never concluded. expiry_s: seconds after
    which a listing is forgotten, None for never. enabled: False remembers nothing. max_paths: bound
    on the number of paths. clock: tells the time in seconds.
    """

    def __init__(
        self,
        *,
        expiry_s: float | None = None,
        enabled: bool = True,
        max_paths: int = MAX_PATHS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.enabled = enabled
        self._expiry_s = expiry_s
        self._max_paths = max_paths
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, _Batch] = {}
        self._directories: dict[str, _Batch] = {}
        self._batches: deque[_Batch] = deque()
        # Paths in all batches, those that a later batch has brought again included.
        self._held = 0

    def __len__(self) -> int:
        return len(self._files) + len(self._directories)

    def remember(
        self,
        bucket: str,
        page: Page | None,
        names: Sequence[str],
        indices: Sequence[int],
        directories: Sequence[str],
        *,
        with_directories: bool = True,
        flat: bool = False,
    ) -> None:
        """Remember directories and files: *names*, which stand at *indices* of the page.

        with_directories: whether the listing would have told of a directory of a file's name.
        flat: whether the page lists all keys in order, those in subdirectories too.
        """
        if not self.enabled:
            return
        due = float("inf") if self._expiry_s is None else self._clock() + self._expiry_s
        with self._lock:
            if names:
                batch = _Batch(bucket, page, names, indices, with_directories, flat, due)
                self._hold(batch)
                self._files.update(dict.fromkeys(names, batch))
            if directories:
                batch = _Batch(bucket, None, directories, (), True, False, due)
                self._hold(batch)
                self._directories.update(dict.fromkeys(directories, batch))
            while self._held > self._max_paths:
                self._forget(self._batches.popleft())

    def _hold(self, batch: _Batch) -> None:
        self._batches.append(batch)
        self._held += len(batch.names)

    def _forget(self, batch: _Batch) -> None:
        self._held -= len(batch.names)
        for name in batch.names:
            for known in (self._files, self._directories):
                if known.get(name) is batch:
                    del known[name]

    def info(self, path: str) -> dict[str, Any] | None:
        """The info dict of *path* (``bucket/key``), or None when it is not remembered."""
        with self._lock:
            batch = self._current(self._files, path) or self._current(self._directories, path)
        if batch is None:
            return None
        if batch.page is None:
            return info_of_directory(path)
        place = bisect_left(batch.names, path)
        if place == len(batch.names) or batch.names[place] != path:
            place = batch.names.index(path)  # a page that was not in order
        return batch.page.infos(batch.bucket, [batch.indices[place]])[0]

    def is_directory(self, path: str) -> bool | None:
        """Whether *path* is a directory; None when that is not remembered."""
        with self._lock:
            if self._current(self._directories, path) is not None:
                return True
            batch = self._current(self._files, path)
        if batch is None:
            return None
        if batch.with_directories:
            return False
        return _flat_page_tells(batch, path) if batch.flat else None

    def _current(self, known: dict[str, _Batch], path: str) -> _Batch | None:
        batch = known.get(path)
        expired = batch is not None and self._expiry_s is not None and batch.due < self._clock()
        return None if expired else batch

    def forget(self, path: str | None = None) -> None:
        """Forget *path*, or everything."""
        with self._lock:
            if path is None:
                self._files.clear()
                self._directories.clear()
                self._batches.clear()
                self._held = 0
            else:
                self._files.pop(path, None)
                self._directories.pop(path, None)


def _flat_page_tells(batch: _Batch, path: str) -> bool | None:
    """Whether a page of sorted keys shows *path* to be a directory; None if that lies past it."""
    place = bisect_left(batch.names, path + "/")
    if place < len(batch.names):
        return batch.names[place].startswith(path + "/")
    page = batch.page
    whole = page is not None and page.next_token is None and len(batch.names) == len(page.keys)
    return False if whole else None
