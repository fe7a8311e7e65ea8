"""The Avro files of sources: patterns, files, and directories with all that is below them.

Hadoop's convention for names in directories: those that begin with ``_`` or ``.`` are not data
(``_SUCCESS``, ``_temporary/``, ``.part-0.avro.crc``), unless they are ``_key=value``.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from fsspec.implementations.http import HTTPFileSystem
from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.aio.tasks import collect
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.magic import is_glob_pattern, literal_directory
from fsspec_avroglob.readers.hive import Filters, PartitionFilter, partition_of
from fsspec_avroglob.readers.locate import Location, call, expand, split_links

logger = logging.getLogger("fsspec_avroglob")

SUFFIXES = (".avro", ".avro.gz")
"""The names that are read in a directory, in lower or upper case."""

_CONCURRENT_SOURCES = 32


@dataclass(frozen=True)
class LeftOut:
    """Numbers of files that are no data.

    - ``hidden``: their names, or those of directories, begin with ``_`` or ``.``.
    - ``empty``: they have no bytes.
    - ``other``: they are in a directory, and their names do not end in ``.avro`` or ``.avro.gz``.
    """

    hidden: int = 0
    empty: int = 0
    other: int = 0

    def __bool__(self) -> bool:
        return bool(self.hidden or self.empty or self.other)

    def __add__(self, more: LeftOut) -> LeftOut:
        return LeftOut(self.hidden + more.hidden, self.empty + more.empty, self.other + more.other)

    def __str__(self) -> str:
        numbers = (
            (self.hidden, "whose name begins with _ or ."),
            (self.empty, "without a byte"),
            (self.other, "that do not end in .avro or .avro.gz"),
        )
        return ", ".join(f"{number} {what}" for number, what in numbers if number)


NOTHING_LEFT_OUT = LeftOut()


class FoundFiles(NamedTuple):
    """The files of sources, in order, and how many others were left out."""

    files: list[Location]
    left_out: LeftOut


async def find_files(
    located: Sequence[Location],
    *,
    glob: bool,
    filters: Filters | None = None,
    ask: bool = False,
) -> FoundFiles:
    """Return what :func:`avro_files` finds, without the files that *filters* exclude.

    Raises ValueError if no directory has a filter's key.
    """
    if not located:
        raise ValueError("no sources; name at least one file or pattern")
    if filters is None:
        return await avro_files(located, glob=glob, ask=ask)
    chosen = PartitionFilter.parse(filters)
    if glob:
        located = [
            one._replace(name=chosen.narrowed(one.name), path=chosen.narrowed(one.path))
            for one in located
        ]
    files, left_out = await avro_files(located, glob=glob, ask=ask)
    partitions = [partition_of(file.path) for file in files]
    known = {key for partition in partitions for key in partition}
    if missing := [key for key in chosen.keys if key not in known]:
        raise ValueError(
            f"filters are on key=value directories, and no file is in one of {missing[0]!r}; "
            f"there is {', '.join(map(repr, sorted(known))) or 'none'}"
        )
    kept = [file for file, one in zip(files, partitions, strict=True) if chosen.keeps(one)]
    if not kept:
        text = f"All files are excluded by filters={filters!r}"
        raise FileNotFoundError(errno.ENOENT, text, located[0].name)
    return FoundFiles(kept, left_out)


async def avro_files(located: Sequence[Location], *, glob: bool, ask: bool = False) -> FoundFiles:
    """Return the files of all locations in order, each once, and those in directories.

    A pattern that matches no file stands for the directories that it matches.
    A directory shows, without a request, by a ``/`` at the end of its name, or on a local disk. A
    name without a suffix is looked up; with *ask* every name is, and files get their sizes.
    Runs on fsspec's I/O loop. Raises what :func:`expand` raises, and FileNotFoundError for
    directories without an Avro file.
    """

    async def one(location: Location) -> FoundFiles:
        try:
            found = await expand([location], glob=glob, check=False)
        except FileNotFoundError:
            if below := await _data_of_directories(location):
                return below
            raise
        if [file.path for file in found] != [location.path]:
            return _data_of_pattern(location, found)
        info = await _info(location, ask)
        if info is None or info["type"] != "directory":
            size = location.size if info is None else info.get("size")
            return FoundFiles([found[0]._replace(size=size)], NOTHING_LEFT_OUT)
        return await _data_below(location)

    # Lists of thousands of files are common, so names that need no look-up cost no task.
    asked = [n for n, location in enumerate(located) if not _is_plain(location, glob, ask)]
    several = await collect([located[number] for number in asked], one, _CONCURRENT_SOURCES)
    answers = dict(zip(asked, several, strict=True))
    files: dict[tuple[Any, str], Location] = {}
    left_out = NOTHING_LEFT_OUT
    for number, location in enumerate(located):
        if number not in answers:
            files.setdefault(location.identity, location)
            continue
        left_out += answers[number].left_out
        for file in answers[number].files:
            files.setdefault(file.identity, file)
    if left_out:
        logger.info("%s files to read; left out: %s", len(files), left_out)
    return FoundFiles(list(files.values()), left_out)


def _is_plain(location: Location, glob: bool, ask: bool) -> bool:
    """Whether a location is taken for a file, by its name alone."""
    if ask or "::" in location.name or (glob and is_glob_pattern(location.name)):
        return False
    if isinstance(location.fs, LocalFileSystem):
        return not os.path.isdir(location.path)
    return "." in location.name.rpartition("/")[2] and "/" in location.path


async def _info(location: Location, ask: bool) -> dict[str, Any] | None:
    """Return the info of a name that may be a directory; None for one that is taken for a file."""
    fs, path = location.fs, location.path
    if isinstance(fs, LocalFileSystem):
        return {"type": "directory"} if os.path.isdir(path) else None
    if isinstance(fs, HTTPFileSystem):
        return None
    is_bucket = isinstance(fs, AvroGlobFileSystem) and not fs.split_path(path)[1]
    if is_bucket or split_links(location.name)[1].endswith("/"):
        return {"type": "directory"}
    if not ask and "." in path.rpartition("/")[2]:
        return None
    try:
        info: dict[str, Any] = await call(fs, "info", path)
    except (FileNotFoundError, PermissionError):
        return None  # reading it tells more
    return info


def _data_of_pattern(pattern: Location, found: list[Location]) -> FoundFiles:
    """Leave out what is no data if *pattern* has ``**`` and does not itself name such files."""
    directory = literal_directory(pattern.path)
    segments = pattern.path[len(directory) :].split("/")
    if "**" not in pattern.path or any(segment[:1] in ("_", ".") for segment in segments):
        return FoundFiles(found, NOTHING_LEFT_OUT)
    kept, left_out = _data_of(found, directory)
    if not kept:
        text = f"All files that match the pattern are left out: {left_out}"
        raise FileNotFoundError(errno.ENOENT, text, pattern.name)
    return FoundFiles(kept, left_out)


async def _data_below(directory: Location) -> FoundFiles:
    path = directory.path.rstrip("/")
    infos: dict[str, dict[str, Any]] = await call(directory.fs, "find", path, detail=True)
    before, link, after = split_links(directory.name)
    top = before + link.rstrip("/")
    listed = [
        Location(f"{top}{name[len(path) :]}{after}", directory.fs, name, info["size"])
        for name, info in sorted(infos.items())
        if info["type"] != "directory" and not name.endswith("/")
    ]
    return _named_data(directory, listed, f"{path}/")


async def _data_of_directories(pattern: Location) -> FoundFiles | None:
    """Return the files below the directories that match *pattern*, or that it names literally.

    None if there are none. *pattern* matches no file.
    """
    if isinstance(pattern.fs, HTTPFileSystem):
        return None
    with suppress(FileNotFoundError, PermissionError):
        info = await call(pattern.fs, "info", pattern.path)
        if info["type"] == "directory":
            return await _data_below(pattern)
    before, link, after = split_links(pattern.name)
    below = pattern._replace(
        name=f"{before}{link.rstrip('/')}/**{after}", path=f"{pattern.path.rstrip('/')}/**"
    )
    try:
        listed = await expand([below], glob=True, check=False)
    except FileNotFoundError:
        return None
    return _named_data(pattern, listed, literal_directory(pattern.path))


def _named_data(source: Location, listed: list[Location], directory: str) -> FoundFiles:
    """Choose the Avro files of *listed*, all files of *source*; raises if there are none."""
    data, left_out = _data_of(listed, directory)
    kept = [file for file in data if file.path.lower().endswith(SUFFIXES)]
    other = len(data) - len(kept)
    left_out += LeftOut(other=other)
    if not kept:
        why = f"; left out: {left_out}" if left_out else ""
        hint = "; name them with a pattern such as */**" if other else ""
        text = f"No .avro or .avro.gz file is below the directory{why}{hint}"
        raise FileNotFoundError(errno.ENOENT, text, source.name)
    return FoundFiles(kept, left_out)


def _data_of(files: Sequence[Location], directory: str) -> tuple[list[Location], LeftOut]:
    """Leave out hidden and empty files; only names after *directory* count."""
    shown = [file for file in files if not _is_hidden(file.path[len(directory) :])]
    kept = [file for file in shown if file.size != 0]
    return kept, LeftOut(len(files) - len(shown), len(shown) - len(kept))


def _is_hidden(path: str) -> bool:
    """Whether a part of the relative *path* begins with ``_`` or ``.`` and is no ``_key=value``."""
    return any(
        name.startswith(".") or (name.startswith("_") and "=" not in name)
        for name in path.split("/")
    )
