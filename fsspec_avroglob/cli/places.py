"""From a path or pattern as it was typed to a filesystem and what it holds there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from typing import Any, NamedTuple

from fsspec_avroglob.cli.exits import EXIT_NO_MATCH, UsageProblem, explain, no_match
from fsspec_avroglob.cli.output import Entry
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.readers.locate import filesystem_for, is_s3_uri

Info = dict[str, Any]


class Place(NamedTuple):
    """Where a path or pattern leads: a filesystem and the path in it.

    typed: as it was typed; shown: how to write a path that the filesystem returns in the same way.
    """

    fs: Any
    path: str
    typed: str
    shown: Callable[[str], str]

    @property
    def on_s3(self) -> bool:
        """Whether this package's filesystem serves it."""
        return is_s3_uri(self.typed)

    @property
    def is_pattern(self) -> bool:
        """Whether it has wildcards."""
        return is_glob_pattern(self.path)


def place(settings: Settings, typed: str) -> Place:
    """Find the filesystem of a path or pattern. Raises what making the filesystem raises."""
    fs, path = filesystem_for(typed, settings.storage_options(typed))
    if typed.endswith("/") and is_glob_pattern(path):
        path = f"{path.rstrip('/')}/"  # asks for directories; stripping the protocol took it away
    return Place(fs, path, typed, _naming(typed, fs))


def s3_place(settings: Settings, typed: str) -> Place:
    """As :func:`place`. Raises UsageProblem for what is not on S3."""
    if not is_s3_uri(typed):
        raise UsageProblem(f"{typed} is not on S3; write it as s3://bucket/key")
    return place(settings, typed)


async def system_for(settings: Settings, typed: str, sessions: AsyncExitStack) -> Any:
    """The filesystem of a path, for the running loop; its session ends with the stack.

    With one in this thread's own loop, Ctrl-C cancels what is under way.
    """
    fs, _ = filesystem_for(typed, settings.storage_options(typed), asynchronous=True)
    if fs.async_impl and hasattr(fs, "set_session"):
        session = await fs.set_session()
        sessions.push_async_callback(session.close)
    return fs


def files(at: Place) -> list[Info]:
    """Infos of the files that match, sorted. Raises FileNotFoundError if there are none."""
    found = [info for info in matches(at, directories=False)] if at.is_pattern else []
    if not at.is_pattern:
        info = at.fs.info(at.path)
        if info["type"] == "directory":
            raise IsADirectoryError(f"{at.typed} is a directory; write {at.typed.rstrip('/')}/*")
        found = [info]
    if not found:
        raise FileNotFoundError(no_match(at.typed))
    return sorted(found, key=lambda info: str(info["name"]))


def matches(at: Place, pattern: str | None = None, *, directories: bool = True) -> Iterator[Info]:
    """Infos of what matches, on S3 as pages arrive; in no particular order.

    pattern: looked for instead of the place's own path.
    """
    pattern = at.path if pattern is None else pattern
    if at.on_s3:
        with closing(at.fs.iglob(pattern, withdirs=directories, detail=True)) as found:
            yield from found
        return
    # Other filesystems know no braces.
    seen = set()
    for form in GlobPattern.parse(pattern).brace_free:
        for name, info in at.fs.glob(form, detail=True).items():
            if name not in seen and (directories or info["type"] != "directory"):
                seen.add(name)
                yield info


def below(path: str, tail: str = "**") -> str:
    """The pattern for *path* itself and all below it that *tail* matches."""
    path = path.rstrip("/")
    if "/" not in path:  # a bucket, or the root directory
        return f"{path}/{tail}"
    return f"{path}{{,/{tail}}}" if tail == "**" else f"{path}/{tail}"


def entries(at: Place) -> Iterator[Entry]:
    """What `ls` shows of a place, sorted."""
    infos = {i["name"]: i for i in matches(at)} if at.is_pattern else _literal(at)
    for name in sorted(infos):
        yield Entry.from_info(at.shown(name), infos[name])


def _literal(at: Place) -> dict[str, Info]:
    """A file's own info, or those of a directory's content; none if there is neither."""
    try:
        if at.on_s3 and "/" not in at.path:  # a bucket, or all of them
            return {item["name"]: item for item in at.fs.ls(at.path, detail=True)}
        info = at.fs.info(at.path)
        if info["type"] != "directory":
            return {info["name"]: info}
        # A directory's marker object is listed in it, under the directory's own name.
        listed = at.fs.ls(at.path, detail=True)
        return {item["name"]: item for item in listed if item["name"].rstrip("/") != at.path}
    except FileNotFoundError as error:
        if not is_absence(error):
            raise
        return {}


def is_absence(error: FileNotFoundError) -> bool:
    """Whether nothing is there, and not a bucket that is missing or a server that is silent."""
    report = explain(error)
    return report is not None and report.exit_code == EXIT_NO_MATCH


def _naming(typed: str, fs: Any) -> Callable[[str], str]:
    if is_s3_uri(typed):
        scheme = typed.partition("://")[0]
        return lambda name: f"{scheme}://{name}"
    if "://" in typed:
        return lambda name: str(fs.unstrip_protocol(name))
    return str if os.path.isabs(typed) or typed.startswith("~") else os.path.relpath
