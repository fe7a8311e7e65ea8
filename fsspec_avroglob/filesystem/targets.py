"""Where objects may be written on the local disk: below the target, one file for one key."""

from __future__ import annotations

import errno
import os
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_MAX_NAME_BYTES = 255  # of the file systems in use

_WINDOWS_CHARACTERS = frozenset('\\:*?"<>|') | frozenset(map(chr, range(32)))
_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL"] + [f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10)]
)


@dataclass
class Targets:
    """The local files of objects ("bucket/key") in a directory, or one file, without last slash."""

    root: str
    windows: bool = os.name == "nt"  # refuse names that Windows does not allow
    files: dict[str, str] = field(default_factory=dict)  # the local path of each object
    directories: Sequence[str] = ()  # local directories to make, also without a file in them
    refused: dict[str, str] = field(default_factory=dict)  # why an object has no file

    @classmethod
    def on_disk(
        cls, root: str, paths: Mapping[str, str], directories: Sequence[str] = ()
    ) -> Targets:
        """Return the targets of *paths* (see :meth:`add`) on the file system that holds *root*.

        Refuses files and directories that a link below *root* would put elsewhere.
        """
        directory = root
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory) or "."
        fold = may_collide_on_case(paths.values()) and folds_case(directory)
        targets = cls(root)
        targets.add(paths, fold)
        targets._add_directories(directories)
        targets._refuse_links()
        return targets

    def make_directories(self) -> None:
        """Make all directories. Refuses files whose path something else occupies."""
        for directory in self.directories:
            with suppress(FileExistsError, NotADirectoryError):  # refused with the files in it
                os.makedirs(directory, exist_ok=True)
        for path, local in list(self.files.items()):
            try:
                os.makedirs(os.path.dirname(local) or ".", exist_ok=True)
                if os.path.isdir(local):
                    raise IsADirectoryError(errno.EISDIR, "a directory of its name exists")
            except OSError as error:
                self._refuse(path, str(error))

    def add(self, paths: Mapping[str, str], fold: bool = False) -> None:
        """Add local paths at or below the root, by object. No two objects get the same file.

        With *fold*, the file system ignores the case of names.
        """
        key = _folded if fold else str
        reasons = {path: self._reason(local[len(self.root) :]) for path, local in paths.items()}
        for path, local in paths.items():
            if local.endswith("/"):  # no folder marker: these are left out
                reasons[path] = "its name ends in a slash, and it is not empty"
        accepted = [os.path.normpath(paths[path]) for path in paths if reasons[path] is None]
        parents = set(map(key, with_ancestors(map(os.path.dirname, accepted))))
        owners: dict[str, str] = {}
        for path, local in paths.items():
            identity, reason = key(os.path.normpath(local)), reasons[path]
            if reason is None and identity in parents:
                reason = "it is also a directory of other keys"
            if reason is None and owners.setdefault(identity, path) != path:
                reason = f"its file is that of {owners[identity]!r}"
            if reason is None:
                self.files[path] = local
            else:
                self.refused[path] = reason

    def _add_directories(self, directories: Sequence[str]) -> None:
        allowed = [path for path in directories if self._reason(path[len(self.root) :]) is None]
        holding = with_ancestors(map(os.path.dirname, self.files.values()))
        taken = holding | set(self.files.values())
        self.directories = [path for path in allowed if path not in taken]

    def _refuse(self, path: str, reason: str) -> None:
        del self.files[path]
        self.refused[path] = reason

    def _refuse_links(self) -> None:
        root = Path(os.path.realpath(self.root or "/"))

        @cache
        def is_outside(local: str) -> bool:
            return not Path(os.path.realpath(local)).is_relative_to(root)

        for path, local in list(self.files.items()):
            if local == self.root:
                continue
            if is_outside(os.path.dirname(local)):
                self._refuse(path, f"{os.path.dirname(local)!r} is a link to another directory")
            elif os.path.islink(local) and is_outside(local):
                self._refuse(path, f"{local!r} is a link to another directory")
        self.directories = [d for d in self.directories if d == self.root or not is_outside(d)]

    def _reason(self, relative: str) -> str | None:
        """Return why a path below the root is refused, None if it is allowed."""
        names = relative.split("/")
        if "\0" in relative:
            return "it holds a NUL"
        if ".." in names or "." in names:
            return "it has '.' or '..' as a name"
        if any(len(os.fsencode(name)) > _MAX_NAME_BYTES for name in names):
            return f"a name is longer than {_MAX_NAME_BYTES} bytes"
        if self.windows and not all(map(_is_windows_name, names)):
            return "Windows does not allow a name in it"
        return None


def folds_case(directory: str) -> bool:
    """Whether the file system of a directory ignores the case of names."""
    probe = os.path.join(directory, f".avroglob-probe-{uuid.uuid4().hex}")
    with open(probe, "xb"):
        pass
    try:
        return os.path.exists(os.path.join(directory, os.path.basename(probe).upper()))
    finally:
        os.remove(probe)


def may_collide_on_case(paths: Iterable[str]) -> bool:
    """Whether two of the paths and their directories differ only in case."""
    names = with_ancestors(paths)
    return len(set(map(_folded, names))) < len(names)


def with_ancestors(paths: Iterable[str]) -> set[str]:
    """Return the paths and all directories that hold them."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _is_windows_name(name: str) -> bool:
    return (
        _WINDOWS_CHARACTERS.isdisjoint(name)
        and not name.endswith((".", " "))
        and name.partition(".")[0].upper() not in _WINDOWS_DEVICES
    )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
