"""What listings said about paths, so that asking about one of them again costs no request."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from sys import getsizeof
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page

MAX_PATHS = 200_000
"""Most paths that are remembered; the oldest pages are forgotten first."""

MAX_BYTES = 192 * 2**20
"""Most memory that is held for them, by an estimate that is rather too high."""

MAX_ROWS = 16
"""How many listings whose ranges of paths overlap are remembered at once."""


_STRING_BYTES = 80
_BATCH_BYTES = 1_000


@dataclass(eq=False)
class _Batch:
    """The paths that one page brought, sorted, and what was forgotten of them since.

    serial: larger for what was learned later. page: None if the paths are directories.
    """

    serial: int
    names: Sequence[str]
    due: float
    page: Page | None = None
    indices: Sequence[int] | None = None
    with_directories: bool = True
    flat: bool = False
    forgotten: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # One long string is measured in a fraction of the time that many short ones take.
        names = getsizeof("".join(self.names)) + _STRING_BYTES * len(self.names)
        # A page has the names once more, without the bucket.
        more = 0 if self.page is None else names + self.page.nbytes
        self.nbytes = names + more + _BATCH_BYTES

    @property
    def first(self) -> str:
        return self.names[0]

    def place(self, path: str) -> int | None:
        """Where *path* stands among the names; None if it does not."""
        place = bisect_left(self.names, path)
        found = place < len(self.names) and self.names[place] == path
        return place if found and path not in self.forgotten else None


_first: Callable[[_Batch], str] = attrgetter("first")


class _Index:
    """Finds the batches that a path is in, by the first and last path of each.

    Batches are kept in rows, sorted, and in a row none overlaps with another. Pages of a listing
    do not, so they share a row; what lists the same range again needs a further one.
    """

    def __init__(self) -> None:
        self._rows: list[list[_Batch]] = []

    def add(self, batch: _Batch) -> Sequence[_Batch]:
        """Take a batch in. Returns batches that had to leave for it."""
        places = [_overlap(row, batch) for row in self._rows]
        for row, place in zip(self._rows, places, strict=True):
            if place.start == place.stop:
                row.insert(place.start, batch)
                return ()
        if len(self._rows) < MAX_ROWS:
            self._rows.append([batch])
            return ()
        row, place = min(zip(self._rows, places, strict=True), key=_latest)
        left = row[place]
        row[place] = [batch]
        return left

    def remove(self, batch: _Batch) -> None:
        """Take a batch out, if it is there."""
        for row in self._rows:
            place = bisect_left(row, batch.first, key=_first)
            if row[place : place + 1] == [batch]:
                del row[place]

    def holding(self, path: str) -> Iterator[_Batch]:
        """The batches that *path* is in."""
        for row in self._rows:
            place = bisect_right(row, path, key=_first) - 1
            if place >= 0 and row[place].place(path) is not None:
                yield row[place]

    def newest(self, path: str) -> _Batch | None:
        """The batch that told of *path* last."""
        return max(self.holding(path), key=_serial, default=None)


def _overlap(row: list[_Batch], batch: _Batch) -> slice:
    """The batches of a row that overlap with *batch*; empty at the place where it belongs."""
    start = bisect_left(row, batch.first, key=_first)
    if start and row[start - 1].names[-1] >= batch.first:
        start -= 1
    return slice(start, max(start, bisect_right(row, batch.names[-1], key=_first)))


_serial: Callable[[_Batch], int] = attrgetter("serial")


def _latest(place: tuple[list[_Batch], slice]) -> int:
    row, overlapping = place
    return max(batch.serial for batch in row[overlapping])


class ListingMemory:
    """Remembers files and directories that listings have returned, by path. Thread-safe.

    Only what was seen is told: that a path is absent is never concluded. expiry_s: seconds after
    which a listing is forgotten, None for never. enabled: False remembers nothing. max_paths,
    max_bytes: bounds on the number of paths and on the memory for them. clock: tells the time in
    seconds.

    ``forgotten``: how often something was to be forgotten, as it was written or removed.
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
        self._expiry_s = expiry_s
        self._max_paths, self._max_bytes = max_paths, max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self.forgotten = 0
        self._forget_all()

    def _forget_all(self) -> None:
        self._files, self._directories = _Index(), _Index()
        self._batches: deque[_Batch] = deque()
        self._serial = 0
        # Paths in all batches, those that a later batch has brought again included, and bytes.
        self._held = self.nbytes = 0

    def __len__(self) -> int:
        return self._held

    def remember(
        self,
        page: Page | None,
        names: Sequence[str],
        indices: Sequence[int] | None,
        directories: Sequence[str],
        *,
        with_directories: bool = True,
        flat: bool = False,
        since: int | None = None,
    ) -> None:
        """Remember directories and files: *names*, sorted, which stand at *indices* of the page.

        with_directories: whether the listing would have told of a directory of a file's name.
        flat: whether the page lists all keys in order, those in subdirectories too. since: what
        ``forgotten`` was when the listing began: nothing is remembered if something was forgotten
        meanwhile, as the page may tell of what was there before.
        """
        if not self.enabled:
            return
        due = float("inf") if self._expiry_s is None else self._clock() + self._expiry_s
        with self._lock:
            if since is not None and since != self.forgotten:
                return
            if names and page is not None:
                self._serial += 1
                batch = _Batch(self._serial, names, due, *page.thinned(indices))
                batch.with_directories, batch.flat = with_directories, flat
                self._hold(self._files, batch)
            if directories:
                self._serial += 1
                self._hold(self._directories, _Batch(self._serial, sorted(directories), due))
            while self._held > self._max_paths or self.nbytes > self._max_bytes:
                batch = self._batches.popleft()
                self._index_of(batch).remove(batch)
                self._count(batch, -1)

    def _hold(self, index: _Index, batch: _Batch) -> None:
        for left in index.add(batch):
            self._batches.remove(left)
            self._count(left, -1)
        self._batches.append(batch)
        self._count(batch, 1)

    def _count(self, batch: _Batch, sign: int) -> None:
        self._held += sign * len(batch.names)
        self.nbytes += sign * batch.nbytes

    def _index_of(self, batch: _Batch) -> _Index:
        return self._directories if batch.page is None else self._files

    def info(self, path: str) -> dict[str, Any] | None:
        """The info dict of *path* (``bucket/key``), or None when it is not remembered."""
        with self._lock:
            batch = self._current(self._files, path) or self._current(self._directories, path)
            place = None if batch is None else batch.place(path)
        if batch is None or place is None:
            return None
        if batch.page is None:
            from fsspec_avroglob.s3.page import info_of_directory  # see lists

            return info_of_directory(path)
        index = place if batch.indices is None else batch.indices[place]
        return batch.page.infos([path], [index])[0]

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

    def _current(self, index: _Index, path: str) -> _Batch | None:
        batch = index.newest(path)
        expired = batch is not None and self._expiry_s is not None and batch.due < self._clock()
        return None if expired else batch

    def forget(self, path: str | None = None) -> None:
        """Forget *path*, or everything."""
        with self._lock:
            self.forgotten += 1
            if path is None:
                self._forget_all()
                return
            for index in (self._files, self._directories):
                for batch in index.holding(path):
                    batch.forgotten.add(path)


def _flat_page_tells(batch: _Batch, path: str) -> bool | None:
    """Whether a page of sorted keys shows *path* to be a directory; None if that lies past it."""
    place = bisect_left(batch.names, path + "/")
    if place < len(batch.names):
        return batch.names[place].startswith(path + "/")
    page = batch.page
    if page is None or page.thin or page.next_token is not None:
        return None
    return False if len(batch.names) == len(page.keys) else None
