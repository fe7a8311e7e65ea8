"""The memory of a filesystem: what listings and HEADs have returned, bounded and thread-safe.

A question about one of these paths, or about a directory that was listed, then costs no request.
Absence is never remembered.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, MutableMapping, Sequence
from itertools import repeat
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple

from fsspec_avroglob.glob.disproof import Claim, Disproofs, Level

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page

EXPIRY_S = 30.0
"""How long listings are remembered unless ``listings_expiry_time`` says otherwise.

Long enough for the questions that follow a listing, short enough for a program that polls ``ls``.
"""

HEAD_EXPIRY_S = 5.0
"""How long the answers of HEAD and GET are remembered, at most.

Libraries ask for the same file several times before they read it. This spans one such call.
"""

MAX_HEADS = 1_000
"""Bound on the remembered answers of HEAD and GET."""

MAX_PATHS = 200_000
"""Default bound on the number of cached paths."""

MAX_BYTES = 192 * 2**20
"""Default bound on the memory of cached paths and pages; the estimate errs on the high side."""

_PATH_BYTES = 240  # a path, its key, and their entries in a dict and lists, without the text


class _Listed(NamedTuple):
    """The page that returned a file, and what it says about a directory of the same name."""

    bucket: str
    page: Page
    number: int
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


class _Dated(NamedTuple):
    """When an answer was requested, and when it expires."""

    number: int
    expires: float


class _Content(NamedTuple):
    """The infos of all files and directories directly in a directory."""

    number: int
    expires: float
    infos: Callable[[], list[dict[str, Any]]]


class _Head(NamedTuple):
    """What HEAD or GET said about one path."""

    number: int
    expires: float
    info: dict[str, Any]


class _Generation:
    """Paths that were listed one after another and are evicted together.

    Paths wait to be indexed until somebody asks for a path, because indexing costs 0.3 µs a path
    and most paths of a large glob are evicted without a question.
    """

    def __init__(self) -> None:
        self.files: dict[str, _Listed] = {}
        self.directories: dict[str, _Dated] = {}
        self.contents: dict[str, _Content] = {}
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
    """What listings and HEADs have returned, by path (``bucket/key``).

    A path that is not in the cache may exist. Newer answers supersede older ones
    (:class:`~fsspec_avroglob.glob.disproof.Disproofs`). When the newer half of the cache is full,
    the older half is evicted.

    Parameters
    ----------
    expiry_s
        Seconds after which a listing expires, None for never.
    enabled
        False caches nothing.
    max_listings
        Bound on the number of complete listings, None for the default.
    max_paths, max_bytes
        Bounds on the number of paths and on the estimated memory.
    clock
        Returns the time in seconds.
    """

    def __init__(
        self,
        *,
        expiry_s: float | None = None,
        enabled: bool = True,
        max_listings: int | None = None,
        max_paths: int = MAX_PATHS,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.enabled = enabled
        self._expiry_s = math.inf if expiry_s is None else expiry_s
        self._max_paths, self._max_bytes = max_paths // 2, max_bytes // 2
        self._clock = clock
        self._lock = threading.Lock()
        self._new, self._old = _Generation(), _Generation()
        self._heads: dict[str, _Head] = {}  # the oldest first
        self._disproofs = Disproofs(max_listings)

    def __len__(self) -> int:
        """Number of listed paths; a path that was listed twice may count twice."""
        return self._new.paths + self._old.paths

    @property
    def nbytes(self) -> int:
        """Estimated memory of the listed paths and pages, in bytes."""
        return self._new.nbytes + self._old.nbytes

    def begin(self) -> int:
        """The number of a listing or a HEAD that begins now; its answers carry it."""
        with self._lock:
            return self._disproofs.next_number()

    # -- what is remembered --

    def add_files(
        self,
        bucket: str,
        page: Page,
        paths: Sequence[str],
        *,
        with_directories: bool = True,
        flat: bool = False,
        number: int | None = None,
    ) -> None:
        """Cache *paths*, each of which is ``bucket/`` and a key of *page*, whose keys are sorted.

        Parameters
        ----------
        with_directories
            Whether the listing would also have returned a directory of a file's name.
        flat
            Whether the page has every key of its range, keys in subdirectories included.
        number
            What :meth:`begin` returned when the listing began; None for now.
        """
        if not (self.enabled and paths):
            return
        # One long string is measured in a fraction of the time that many short ones take.
        nbytes = 2 * getsizeof("".join(paths)) + len(paths) * _PATH_BYTES + page.nbytes
        number = self.begin() if number is None else number
        expires = self._clock() + self._expiry_s
        listed = _Listed(bucket, page, number, expires, with_directories, flat)
        with self._lock:
            if new := self._with_room(len(paths), nbytes):
                new.add(new.files, paths, listed, nbytes)

    def add_directories(self, paths: Sequence[str], *, number: int | None = None) -> None:
        """Cache directories. *number*: see :meth:`add_files`."""
        if not (self.enabled and paths):
            return
        nbytes = getsizeof("".join(paths)) + len(paths) * _PATH_BYTES
        number = self.begin() if number is None else number
        with self._lock:
            if new := self._with_room(len(paths), nbytes):
                dated = _Dated(number, self._clock() + self._expiry_s)
                new.add(new.directories, paths, dated, nbytes)

    def add_level(
        self,
        directory: str,
        infos: Callable[[], list[dict[str, Any]]],
        directories: Sequence[str],
        *,
        size: int,
        number: int,
    ) -> None:
        """Cache the complete listing of a directory, whose paths are cached already.

        *infos* returns new info dicts of its *size* files and directories; *directories* are the
        paths of the latter.
        """
        if not self.enabled:
            return
        content = _Content(number, self._clock() + self._expiry_s, infos)
        with self._lock:
            if not size:
                self._disproofs.empty(directory, number, below=True)
                return
            self._disproofs.claim_level(directory, Level(number, frozenset(directories)))
            if new := self._with_room(size, size * _PATH_BYTES):
                new.add(new.contents, [directory], content, size * _PATH_BYTES)

    def add_empty(self, directory: str, *, number: int, below: bool) -> None:
        """Forget that there is a *directory*; with *below* also all that was listed below it."""
        with self._lock:
            self._disproofs.empty(directory, number, below=below)

    def add_claim(self, what: Hashable, claim: Claim) -> None:
        """Forget what older listings returned and this complete listing, of *what*, did not."""
        if self.enabled:
            with self._lock:
                self._disproofs.claim(what, claim)

    def add_head(self, path: str, info: dict[str, Any], *, number: int) -> None:
        """Cache for a short time what HEAD or GET said about *path*."""
        if not self.enabled:
            return
        listed = self.info(path)
        with self._lock:
            if listed is None or _differ(listed, info):
                self._disproofs.changed(path, number)
            self._disproofs.found(path, number, directory=False)
            self._heads.pop(path, None)
            expires = self._clock() + min(HEAD_EXPIRY_S, self._expiry_s)
            self._heads[path] = _Head(number, expires, dict(info))
            if len(self._heads) > MAX_HEADS:
                del self._heads[next(iter(self._heads))]

    def _with_room(self, paths: int, nbytes: int) -> _Generation | None:
        """The generation that the paths may be added to; None if they must not be cached."""
        if paths > self._max_paths or nbytes > self._max_bytes:
            return None
        new = self._new
        if new.paths + paths > self._max_paths or new.nbytes + nbytes > self._max_bytes:
            self._new, self._old = _Generation(), new
        return self._new

    # -- what is known --

    def info(self, path: str) -> dict[str, Any] | None:
        """A new info dict of *path*, or None if it is not cached."""
        with self._lock:
            head, listed, is_directory = self._find(path)
        if head is not None and (listed is None or head.number > listed.number):
            return dict(head.info)
        if listed is not None:
            return listed.info(path)
        if not is_directory:
            return None
        from fsspec_avroglob.s3.page import info_of_directory  # loaded by listings

        return info_of_directory(path)

    def is_directory(self, path: str) -> bool | None:
        """Whether *path* is a directory, or None if that is not cached."""
        with self._lock:
            head, listed, is_directory = self._find(path)
            if is_directory or (head is not None and head.info["type"] == "directory"):
                return True
            if listed is None or self._disproofs.touched(path, listed.number):
                return None
        return listed.has_directory(path)

    def level(self, directory: str) -> list[dict[str, Any]] | None:
        """New info dicts of all that is directly in a directory, or None if it is not cached."""
        with self._lock:
            content = self._newest("contents", directory)
            if content is None or not self._disproofs.level_holds(
                directory, content.number, self._seen
            ):
                return None
        return list(content.infos())

    def levels(self) -> list[str]:
        """The directories whose complete listings are cached."""
        with self._lock:
            for generation in (self._new, self._old):
                generation.index()
            listed = {**self._old.contents, **self._new.contents}
        return [directory for directory in listed if self.level(directory) is not None]

    def _find(self, path: str) -> tuple[_Head | None, _Listed | None, bool]:
        """What a HEAD and a listing said of the file *path*; whether it is a known directory."""
        head, holds = self._heads.get(path), self._disproofs.holds
        if head is not None:
            is_directory = head.info["type"] == "directory"
            if head.expires <= self._clock() or not holds(
                path, head.number, is_directory, self._seen
            ):
                del self._heads[path]
                head = None
        listed: _Listed | None = self._newest("files", path)
        if listed is not None and not holds(path, listed.number, False, self._seen):
            listed = None
        dated: _Dated | None = self._newest("directories", path)
        known = dated is not None and holds(path, dated.number, True, self._seen)
        return head, listed, known

    def _newest(self, kind: str, path: str) -> Any:
        """The newest entry of *path* in a dict of the generations, None if it expired."""
        for generation in (self._new, self._old):
            generation.index()
            found = getattr(generation, kind).get(path)
            if found is not None:
                return found if found.expires > self._clock() else None
        return None

    def _seen(self, directory: str) -> int:
        dated: _Dated | None = self._newest("directories", directory)
        return 0 if dated is None else dated.number

    # -- what is forgotten --

    def forget(self, path: str | None = None) -> None:
        """Forget *path* and the directories that contain it, or everything."""
        with self._lock:
            if path is not None:
                self._disproofs.void(path)
                self._heads.pop(path, None)
                return
            self._disproofs.void_all()
            self._new, self._old = _Generation(), _Generation()
            self._heads.clear()

    def missing(self, path: str) -> None:
        """Forget the file *path*, which a 404 or 412 disproved. Absence is not remembered."""
        if self.info(path) is not None:
            self.forget(path)

    def forget_below(self, path: str) -> None:
        """Forget *path*, all that is below it, and the directories that contain it."""
        with self._lock:
            self._disproofs.void_below(path)


def _differ(listed: dict[str, Any], info: dict[str, Any]) -> bool:
    """Whether two infos of a path cannot be of one version of it."""
    return any(
        str(listed.get(name, "")).strip('"') != str(info.get(name, "")).strip('"')
        for name in ("type", "size", "ETag")
    )


class Directories(MutableMapping[str, list[dict[str, Any]]]):
    """The cached listings of directories, as s3fs's and fsspec's code expects ``dircache``."""

    def __init__(self, cache: ListingCache) -> None:
        self._cache = cache

    def __getitem__(self, path: str) -> list[dict[str, Any]]:
        if (infos := self._cache.level(path)) is None:
            raise KeyError(path)
        return infos

    def __setitem__(self, path: str, infos: list[dict[str, Any]]) -> None:
        names = [info["name"] for info in infos if info["type"] == "directory"]
        number = self._cache.begin()
        self._cache.add_directories(names, number=number)
        copies = [dict(info) for info in infos]
        self._cache.add_level(
            path, lambda: list(map(dict, copies)), names, size=len(infos), number=number
        )

    def __delitem__(self, path: str) -> None:
        if path not in self:
            raise KeyError(path)
        self._cache.forget(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cache.levels())

    def __len__(self) -> int:
        return len(self._cache.levels())

    def clear(self) -> None:
        """Forget everything."""
        self._cache.forget()
