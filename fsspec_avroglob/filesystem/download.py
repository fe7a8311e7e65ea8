"""Where on the local disk objects may be written: below the target, one file for one key."""

from __future__ import annotations

import errno
import os
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_WINDOWS_CHARACTERS = frozenset('\\:*?"<>|') | frozenset(map(chr, range(32)))
_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL"] + [f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10)]
)


@dataclass
class Targets:
    """Files for objects, below the directory (or at the file) *root*, given without a last slash.

    After :meth:`add`, ``files`` holds the local path of each object and ``refused`` the reasons of
    those that have none.
    """

    root: str
    windows: bool = os.name == "nt"
    files: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def on_disk(cls, root: str, paths: Mapping[str, str]) -> Targets:
        """The targets of *paths*, as :meth:`add` takes them, on the file system that holds *root*.

        What a link below *root* would lead out of it is refused too.
        """
        directory = _existing(root)
        fold = may_collide_on_case(paths.values()) and folds_case(directory)
        targets = cls(root)
        targets.add(paths, longest_name(directory), fold)
        targets._refuse_links()
        return targets

    def make_directories(self) -> None:
        """Make the directories of all files; refuse the files that something else is in the way of.

        What ends in a slash stands for a directory, and is no file then.
        """
        for path, local in list(self.files.items()):
            try:
                os.makedirs(os.path.dirname(local) or ".", exist_ok=True)
                if local.endswith("/"):
                    del self.files[path]
                elif os.path.isdir(local):
                    raise IsADirectoryError(errno.EISDIR, "a directory of its name exists")
            except OSError as error:
                self._refuse(path, str(error))

    def add(self, paths: Mapping[str, str], name_bytes: int = 255, fold: bool = False) -> None:
        """Take local paths by object (``bucket/key``), where no two may be one file.

        name_bytes: longest name that the file system takes. fold: names that differ in case alone
        are one to it.
        """
        key = _folded if fold else _unchanged
        sound = [
            os.path.normpath(local)
            for local in paths.values()
            if self._reason(local[len(self.root) :], name_bytes) is None
        ]
        parents = set(map(key, with_ancestors(map(os.path.dirname, sound))))
        taken: dict[str, str] = {}
        for path, local in paths.items():
            place = key(os.path.normpath(local))
            reason = self._reason(local[len(self.root) :], name_bytes)
            if reason is None and place in parents:
                reason = "it is also a directory of other keys"
            if reason is None and place in taken:
                reason = f"its file is that of {taken[place]!r}"
            if reason is None:
                taken[place] = path
                self.files[path] = local
            else:
                self.refused[path] = reason

    def _refuse(self, path: str, reason: str) -> None:
        del self.files[path]
        self.refused[path] = reason

    def _refuse_links(self) -> None:
        root = Path(os.path.realpath(self.root or "/"))

        @cache
        def leads_out(directory: str) -> bool:
            return not Path(os.path.realpath(directory)).is_relative_to(root)

        for path, local in list(self.files.items()):
            if local != self.root and leads_out(os.path.dirname(local)):
                self._refuse(path, f"{os.path.dirname(local)!r} is a link that leads elsewhere")

    def _reason(self, relative: str, name_bytes: int) -> str | None:
        names = relative.split("/")
        if "\0" in relative:
            return "it holds a NUL"
        if ".." in names or "." in names:
            return "'.' and '..' as names lead elsewhere"
        if any(len(os.fsencode(name)) > name_bytes for name in names):
            return f"a name is longer than {name_bytes} bytes"
        if self.windows and not all(map(_is_windows_name, names)):
            return "Windows does not allow a name in it"
        return None


def folds_case(directory: str) -> bool:
    """Whether names that differ in case alone are one to the file system of a directory."""
    probe = os.path.join(directory, f".avroglob-probe-{uuid.uuid4().hex}")
    with open(probe, "xb"):
        pass
    try:
        return os.path.exists(os.path.join(directory, os.path.basename(probe).upper()))
    finally:
        os.remove(probe)


def may_collide_on_case(paths: Iterable[str]) -> bool:
    """Whether two of the paths, or a path and a directory of another, differ in case alone."""
    places = with_ancestors(paths)
    return len(set(map(_folded, places))) < len(places)


def with_ancestors(paths: Iterable[str]) -> set[str]:
    """The paths and all directories that they lie in."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _existing(path: str) -> str:
    """The directory *path*, or the nearest one above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "."
    return path


def longest_name(directory: str) -> int:
    """The most bytes that a name in *directory* may have."""
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return 255


def _is_windows_name(name: str) -> bool:
    return (
        _WINDOWS_CHARACTERS.isdisjoint(name)
        and not name.endswith((".", " "))
        and name.partition(".")[0].upper() not in _WINDOWS_DEVICES
    )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _unchanged(path: str) -> str:
    return path
