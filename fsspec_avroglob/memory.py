"""What listings said about paths, so that asking about one of them again costs no request."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fsspec_avroglob.page import Page, directory_info

MAX_PATHS = 200_000
"""Most paths that are remembered; the oldest pages are forgotten first."""


@dataclass(eq=False, frozen=True)
class _Batch:
    """The paths that one page brought, remembered together."""

    bucket: str
    page: Page | None
    names: Sequence[str]
    indices: Sequence[int]
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

    def __len__(self) -> int:
        return len(self._files) + len(self._directories)

    def remember(
        self,
        bucket: str,
        page: Page | None,
        names: Sequence[str],
        indices: Sequence[int],
        directories: Sequence[str],
    ) -> None:
        """Remember directories and files: sorted *names*, which stand at *indices* of the page."""
        if not self.enabled:
            return
        due = float("inf") if self._expiry_s is None else self._clock() + self._expiry_s
        with self._lock:
            if names:
                batch = _Batch(bucket, page, names, indices, due)
                self._batches.append(batch)
                self._files.update(dict.fromkeys(names, batch))
            if directories:
                batch = _Batch(bucket, None, directories, (), due)
                self._batches.append(batch)
                self._directories.update(dict.fromkeys(directories, batch))
            while len(self) > self._max_paths and self._batches:
                self._forget(self._batches.popleft())

    def _forget(self, batch: _Batch) -> None:
        for name in batch.names:
            for known in (self._files, self._directories):
                if known.get(name) is batch:
                    del known[name]

    def info(self, path: str) -> dict[str, Any] | None:
        """The info dict of *path* (``bucket/key``), or None when it is not remembered."""
        with self._lock:
            batch = self._files.get(path) or self._directories.get(path)
        if batch is None or (self._expiry_s is not None and batch.due < self._clock()):
            return None
        if batch.page is None:
            return directory_info(batch.bucket, path[len(batch.bucket) + 1 :] + "/")
        index = batch.indices[bisect_left(batch.names, path)]
        return batch.page.infos(batch.bucket, [index])[0]

    def forget(self, path: str | None = None) -> None:
        """Forget *path*, or everything."""
        with self._lock:
            if path is None:
                self._files.clear()
                self._directories.clear()
                self._batches.clear()
            else:
                self._files.pop(path, None)
                self._directories.pop(path, None)
