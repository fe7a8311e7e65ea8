"""Gathers what a lister finds into what ``glob`` and ``find`` return."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

from fsspec.callbacks import Callback

from fsspec_avroglob.glob.cache import ListingMemory
from fsspec_avroglob.glob.fetch import Found
from fsspec_avroglob.glob.plan import EVERYTHING, ListingPlan
from fsspec_avroglob.s3.page import Items, info_of_directory


class Batch(NamedTuple):
    """Sorted paths that a page brought.

    items: what their info dicts are made of, if these are wanted; None for directories. indices:
    which of the items are theirs, None for all.
    """

    names: Sequence[str]
    are_directories: bool
    items: Items | None = None
    indices: Sequence[int] | None = None

    def infos(self) -> list[dict[str, Any]]:
        """New info dicts of the paths."""
        if self.items is None:
            return list(map(info_of_directory, self.names))
        indices = range(len(self.names)) if self.indices is None else self.indices
        return self.items.infos(self.names, indices)


class Matches:
    """What a lister has found in one bucket; memory and callback are told of it as it comes.

    detail: whether info dicts are wanted and not only paths.
    """

    def __init__(
        self, plan: ListingPlan, memory: ListingMemory | None, detail: bool, callback: Callback
    ) -> None:
        self._bucket = plan.bucket
        self._with_directories = plan.with_directories
        self._flat = plan.unfiltered and plan.branches == EVERYTHING
        self._memory = memory
        self._since = None if memory is None else memory.forgotten
        self._detail = detail
        self._callback = callback
        self.batches: list[Batch] = []

    async def add(self, found: Found) -> None:
        """Take in the matches of a page."""
        page, indices = found.page, found.indices
        names: Sequence[str] = ()
        if page is not None:
            names = page.paths(self._bucket, indices)
            items = None
            if self._detail:
                page, indices = page.thinned(indices)
                items = page.items
            if names:
                self.batches.append(Batch(names, False, items, indices))
        directories = sorted(
            f"{self._bucket}/{path}" if path else self._bucket for path in found.directories
        )
        if directories:
            self.batches.append(Batch(directories, True))
        if self._memory is not None:
            self._memory.remember(
                page,
                names,
                indices,
                directories,
                with_directories=self._with_directories,
                flat=self._flat,
                since=self._since,
            )
        self._callback.relative_update(len(names) + len(directories))

    def names(self) -> list[str]:
        """Paths, in no particular order."""
        return [name for batch in self.batches for name in batch.names]

    def infos(self) -> list[dict[str, Any]]:
        """Info dicts, in the same order."""
        return [info for batch in self.batches for info in batch.infos()]


def merged(parts: Sequence[Matches], detail: bool) -> Any:
    """The paths of all *parts*, sorted, each once; with *detail* a dict of path to info dict.

    A directory is preferred to a file of the same path, as fsspec's glob does.
    """
    batches = [batch for part in parts for batch in part.batches]
    batches.sort(key=_order)
    # Pages rarely overlap; where they do not, sorted pages are sorted paths.
    apart = all(one.names[-1] < other.names[0] for one, other in pairwise(batches))
    if not detail:
        names = list(chain.from_iterable(batch.names for batch in batches))
        return names if apart else list(dict.fromkeys(sorted(names)))
    infos: dict[str, dict[str, Any]] = {}
    for batch in batches:
        infos.update(zip(batch.names, batch.infos(), strict=True))
    return infos if apart else {name: infos[name] for name in sorted(infos)}


def _order(batch: Batch) -> tuple[bool, str]:
    return batch.are_directories, batch.names[0]
