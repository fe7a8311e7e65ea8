"""A path or pattern argument, as the user typed it, and the files it names on its filesystem."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.cli.command import Settings
from fsspec_avroglob.cli.exits import EXIT_NO_MATCH, exit_code, no_match, tell
from fsspec_avroglob.cli.output import entry
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.readers.directories import find_files
from fsspec_avroglob.readers.locate import Location, filesystem_for, is_s3_uri

Info = dict[str, Any]


class PathArgument(NamedTuple):
    """A path or pattern from the command line.

    typed: as the user typed it. fs, path: its filesystem and the path there. shown: writes a path
    of the filesystem the way the user would.
    """

    typed: str
    fs: Any
    path: str
    shown: Callable[[str], str]

    @classmethod
    def of(cls, settings: Settings, typed: str) -> PathArgument:
        """Find the filesystem of an argument. Raises what making the filesystem raises."""
        fs, path = filesystem_for(typed, settings.storage_options(typed))
        if typed.endswith("/") and is_glob_pattern(path):
            path = f"{path.rstrip('/')}/"  # filesystem_for drops the slash, which means directories
        return cls(typed, fs, path, _shown(typed, fs))

    @property
    def is_s3(self) -> bool:
        """Whether this package's filesystem serves it."""
        return is_s3_uri(self.typed)

    @property
    def is_pattern(self) -> bool:
        """Whether it has wildcards."""
        return is_glob_pattern(self.path)

    def matches(self, pattern: str | None = None, *, directories: bool = True) -> Iterator[Info]:
        """Yield fsspec's infos of all matches, on S3 as pages arrive; in no particular order.

        pattern: used instead of the argument's own path.
        """
        pattern = self.path if pattern is None else pattern
        if self.is_s3:
            with closing(self.fs.iglob(pattern, withdirs=directories, detail=True)) as found:
                yield from found
            return
        infos: dict[str, Info] = {}
        for form in GlobPattern.parse(pattern).brace_free:  # other filesystems know no braces
            infos |= self.fs.glob(form, detail=True)
        yield from (i for i in infos.values() if directories or i["type"] != "directory")

    def entries(self, wanted: Callable[[Info], bool] | None = None) -> Iterator[dict[str, Any]]:
        """Yield what `ls` shows, sorted: all matches, or the file or directory's content."""
        infos = filter(wanted or bool, self.matches() if self.is_pattern else self._named())
        for name, info in sorted({info["name"]: info for info in infos}.items()):
            yield entry(self.shown(name), info)

    def _named(self) -> list[Info]:
        """The info of a file, or those of a directory's content; empty if there is neither."""
        try:
            whole_bucket = self.is_s3 and "/" not in self.path
            if not whole_bucket and (info := self.fs.info(self.path))["type"] != "directory":
                return [info]
            listed: list[Info] = self.fs.ls(self.path, detail=True)
        except FileNotFoundError as error:
            if exit_code(error) != EXIT_NO_MATCH:
                raise
            return []
        # A directory's marker object is listed in it, under the directory's own name.
        return [one for one in listed if whole_bucket or one["name"].rstrip("/") != self.path]


def locations(settings: Settings, patterns: tuple[str, ...]) -> list[Location]:
    """All Avro files that match, sorted for each pattern, named as the user would name them.

    Prints how many files of directories and ``**`` patterns were left out. Raises
    FileNotFoundError for a pattern or directory without a file.
    """
    files: list[Location] = []
    for typed in patterns:
        source = Location(typed, *filesystem_for(typed, settings.storage_options(typed)))
        try:
            found = blocking(find_files, [source], glob=True, ask=True)
        except FileNotFoundError as error:
            if str(error.strerror).endswith("matches the pattern"):
                raise FileNotFoundError(no_match(typed)) from error
            raise
        if found.left_out:
            tell(f"{typed}: left out: {found.left_out}")
        files += found.files
    return files


def below(path: str) -> str:
    """The pattern for *path* itself and everything below it."""
    path = path.rstrip("/")
    is_root = "/" not in path  # a bucket, or the root directory
    return f"{path}/**" if is_root else f"{path}{{,/**}}"


def _shown(typed: str, fs: Any) -> Callable[[str], str]:
    if is_s3_uri(typed):
        scheme = typed.partition("://")[0]
        return lambda name: f"{scheme}://{name}"
    if "://" in typed:
        return lambda name: str(fs.unstrip_protocol(name))
    return str if os.path.isabs(typed) or typed.startswith("~") else os.path.relpath
