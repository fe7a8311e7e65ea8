"""Gathers what a lister finds into what ``glob`` and ``find`` return."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

from fsspec.callbacks import Callback

from fsspec_avroglob.harvest import Found
from fsspec_avroglob.memory import ListingMemory
from fsspec_avroglob.page import info_of_directory
from fsspec_avroglob.plan import EVERYTHING, ListingPlan


class Batch(NamedTuple):
    """Sorted paths that a page brought; their info dicts, if these are wanted."""

    names: list[str]
    infos: list[dict[str, Any]]
    are_directories: bool = False


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
        names: list[str] = []
        if page is not None:
            start = self._bucket + "/"
            infos: list[dict[str, Any]] = []
            if self._detail:
                infos = page.infos(self._bucket, indices)
                names = [info["name"] for info in infos]
            elif indices is None:
                names = [start + key for key in page.keys]
            else:
                names = [start + page.keys[index] for index in indices]
            if names:
                self.batches.append(Batch(names, infos))
            indices = range(len(names)) if indices is None else indices
        directories = sorted(
            f"{self._bucket}/{path}" if path else self._bucket for path in found.directories
        )
        if directories:
            told = list(map(info_of_directory, directories)) if self._detail else []
            self.batches.append(Batch(directories, told, are_directories=True))
        if self._memory is not None:
            self._memory.remember(
                self._bucket,
                page,
                names,
                indices or (),
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
        return [info for batch in self.batches for info in batch.infos]


def merged(parts: Sequence[Matches], detail: bool) -> Any:
    """The paths of all *parts*, sorted, each once; with *detail* a dict of path to info dict.

    A directory is preferred to a file of the same path, as fsspec's glob does.
    """
    batches = [batch for part in parts for batch in part.batches]
    batches.sort(key=_order)
    names = list(chain.from_iterable(batch.names for batch in batches))
    apart = all(one.names[-1] < other.names[0] for one, other in pairwise(batches))
    if not detail:
        # Pages rarely overlap; where they do not, sorted pages are sorted paths.
        if not apart:
            names.sort()
            names = list(dict.fromkeys(names))
        return names
    infos = dict(zip(names, chain.from_iterable(b.infos for b in batches), strict=True))
    return infos if apart else {name: infos[name] for name in sorted(infos)}


def _order(batch: Batch) -> tuple[bool, str]:
    return batch.are_directories, batch.names[0]
