"""Gathers what a lister finds into what ``glob`` and ``find`` return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fsspec.callbacks import Callback

from fsspec_avroglob.harvest import Found
from fsspec_avroglob.memory import ListingMemory
from fsspec_avroglob.page import info_of_directory
from fsspec_avroglob.plan import EVERYTHING, ListingPlan


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
        self._detail = detail
        self._callback = callback
        self._names: list[str] = []
        self._infos: list[dict[str, Any]] = []
        self._directories: list[str] = []

    async def add(self, found: Found) -> None:
        """Take in the matches of a page."""
        page, indices = found.page, found.indices
        names: list[str] = []
        if page is not None:
            start = self._bucket + "/"
            if indices is None:
                indices = range(len(page.keys))
                names = [start + key for key in page.keys]
            else:
                names = [start + page.keys[index] for index in indices]
            if self._detail and names:
                self._infos += page.infos(self._bucket, indices)
        directories = [
            f"{self._bucket}/{path}" if path else self._bucket for path in found.directories
        ]
        self._names += names
        self._directories += directories
        if self._memory is not None:
            self._memory.remember(
                self._bucket,
                page,
                names,
                indices or (),
                directories,
                with_directories=self._with_directories,
                flat=self._flat,
            )
        self._callback.relative_update(len(names) + len(directories))

    @property
    def has_directories(self) -> bool:
        """Whether directories are among the matches."""
        return bool(self._directories)

    def names(self) -> list[str]:
        """Paths, files before directories."""
        return self._names + self._directories

    def infos(self) -> Iterator[dict[str, Any]]:
        """Info dicts, those of files first."""
        yield from self._infos
        for path in self._directories:
            yield info_of_directory(path)


def merged(parts: Sequence[Matches], detail: bool) -> Any:
    """The paths of all *parts*, sorted, each once; with *detail* a dict of path to info dict.

    A directory is preferred to a file of the same path, as fsspec's glob does.
    """
    if not detail:
        names = [name for part in parts for name in part.names()]
        names.sort()
        return list(dict.fromkeys(names)) if any(part.has_directories for part in parts) else names
    infos = {info["name"]: info for part in parts for info in part.infos()}
    return {name: infos[name] for name in sorted(infos)}
