"""Collects the matches of a listing into what ``glob`` and ``find`` return."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from fsspec.callbacks import Callback

from fsspec_avroglob.glob.cache import ListingCache
from fsspec_avroglob.glob.disproof import Claim
from fsspec_avroglob.glob.fetch import Found
from fsspec_avroglob.glob.plan import EVERYTHING, ListingPlan
from fsspec_avroglob.s3.page import Columns, info_of_directory, infos_of


class Batch(NamedTuple):
    """Sorted paths of files or directories that one page returned.

    columns, indices: what the info dicts of files are made from, and which of the values belong to
    the files (None for all). Without columns, the info dicts are those of directories.
    """

    names: Sequence[str]
    are_directories: bool
    columns: Columns | None = None
    indices: Sequence[int] | None = None

    def infos(self) -> list[dict[str, Any]]:
        """New info dicts of the paths."""
        if self.columns is None:
            return list(map(info_of_directory, self.names))
        return infos_of(self.columns, self.names, self.indices)


class Matches:
    """The matches of one plan, page by page, which are also cached and reported as they come.

    Parameters
    ----------
    plan
        The plan that is carried out.
    cache
        Where the matches are cached; None for nowhere.
    detail
        Whether info dicts are wanted, not only paths.
    callback
        Is updated with the number of matches of each page.
    """

    def __init__(
        self, plan: ListingPlan, cache: ListingCache | None, detail: bool, callback: Callback
    ) -> None:
        self._plan = plan
        self._cache = cache
        self._number = 0 if cache is None else cache.begin()
        self._detail = detail
        self._callback = callback
        self.batches: list[Batch] = []

    async def add(self, found: Found) -> None:
        """Add the matches of a page."""
        bucket, page, indices = self._plan.bucket, found.page, found.indices
        names: Sequence[str] = ()
        if page is not None and (names := page.paths(bucket, indices)):
            if self._detail or self._cache is not None:
                page, indices = page.thinned(indices)
            columns = page.columns if self._detail else None
            self.batches.append(Batch(names, False, columns, indices))
            if self._cache is not None:
                self._cache.add_files(
                    bucket,
                    page,
                    names,
                    with_directories=self._plan.with_directories,
                    flat=self._plan.unfiltered and self._plan.branches == EVERYTHING,
                    number=self._number,
                )
        directories = sorted(f"{bucket}/{path}" if path else bucket for path in found.directories)
        if directories:
            self.batches.append(Batch(directories, True))
            if self._cache is not None:
                self._cache.add_directories(directories, number=self._number)
        self._callback.relative_update(len(names) + len(directories))

    def remember_complete(self, area: str | None = None) -> None:
        """Cache that the plan's listing is complete, below *area* (``directory/prefix``) if given.

        Older answers about what it could have returned are forgotten.
        """
        if self._cache is None or self._plan.after is not None:
            return
        plan, start = self._plan, len(self._plan.bucket) + 1
        base = plan.literal_directory if area is None else area

        def covers(path: str, is_directory: bool) -> bool:
            if is_directory:
                return plan.keeps_directory(path[start:] + "/")
            return plan.unfiltered or plan.keeps_file(path[start:])

        what = (plan.bucket, base, plan.branches, plan.maxdepth, plan.with_directories)
        claim = Claim(self._number, f"{plan.bucket}/{base}", covers)
        self._cache.add_claim((*what, plan.directories_only), claim)
        if base.endswith("/") and not self.batches and not plan.saw_keys:
            self._cache.add_empty(
                claim.base.rstrip("/"), number=self._number, below=area is not None
            )

    def remember_level(self, directory: str) -> None:
        """Cache that the listing has all that is directly in *directory* (``bucket/path``)."""
        if self._cache is None:
            return
        if not self.batches and self._plan.saw_keys:  # a folder marker alone
            self._cache.add_directories([directory], number=self._number)
        else:
            names = [n for batch in self.batches if batch.are_directories for n in batch.names]
            size = sum(len(batch.names) for batch in self.batches)
            self._cache.add_level(
                directory, self.sorted_infos, names, size=size, number=self._number
            )

    def sorted_infos(self) -> list[dict[str, Any]]:
        """Info dicts, sorted by name."""
        return sorted(self.infos(), key=itemgetter("name"))

    def names(self) -> list[str]:
        """Paths, in no particular order."""
        return [name for batch in self.batches for name in batch.names]

    def infos(self) -> list[dict[str, Any]]:
        """Info dicts, in the order of :meth:`names`."""
        return [info for batch in self.batches for info in batch.infos()]


def names_of(parts: Sequence[Matches], *, directories: bool) -> frozenset[str]:
    """The paths of all files, or of all directories, of *parts*. A path may be both."""
    batches = (batch for part in parts for batch in part.batches)
    return frozenset(n for b in batches if b.are_directories == directories for n in b.names)


def merged(parts: Sequence[Matches], detail: bool) -> Any:
    """The paths of all *parts*, sorted, each once; with *detail* a dict of path to info dict.

    Of a directory and a file of the same path the directory counts, as in fsspec's glob.
    """
    batches = [batch for part in parts for batch in part.batches]
    batches.sort(key=lambda batch: (batch.are_directories, batch.names[0]))
    # Pages rarely overlap. Where they do not, sorted pages are sorted paths.
    disjoint = all(one.names[-1] < other.names[0] for one, other in pairwise(batches))
    if not detail:
        names = list(chain.from_iterable(batch.names for batch in batches))
        return names if disjoint else list(dict.fromkeys(sorted(names)))
    infos: dict[str, dict[str, Any]] = {}
    for batch in batches:
        infos.update(zip(batch.names, batch.infos(), strict=True))
    return infos if disjoint else dict(sorted(infos.items()))
