"""Which objects a path means: the object of exactly that name, or the matches of a pattern.

A path that names an existing object means that object, also if it has magic characters. Without
magic characters no request is sent to find that out. With magic characters, the cache of listings
tells, or the listing of a pattern that matches itself, or one HEAD.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from glob import has_magic
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem, make_path_posix, trailing_sep
from fsspec.utils import other_paths, stringify_path

from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.filesystem.joined import Source
from fsspec_avroglob.filesystem.walking import ObjectWalks
from fsspec_avroglob.glob.magic import escape

if TYPE_CHECKING:
    from fsspec_avroglob.glob.results import Matches

_Names = frozenset[str]


@dataclass(frozen=True)
class Selection:
    """What paths were expanded to.

    Attributes
    ----------
    files
        Objects that a listing returned.
    directories
        Directories. Some may be the names of objects, too.
    named
        Paths as the caller named them. Some may not exist.
    roots
        Directories that the caller named, and that were listed recursively.
    literals
        Paths that have magic characters and were not expanded, because they exist.
    """

    files: _Names = frozenset()
    directories: _Names = frozenset()
    named: _Names = frozenset()
    roots: _Names = frozenset()
    literals: _Names = frozenset()

    @property
    def paths(self) -> list[str]:
        """All paths, sorted."""
        return sorted(self.files | self.directories | self.named)

    @property
    def objects(self) -> _Names:
        """The paths that are not only those of directories."""
        return self.files | self.named

    @classmethod
    def of(cls, parts: Sequence[Matches]) -> Selection:
        """What listings returned."""
        from fsspec_avroglob.glob.results import names_of

        return cls(names_of(parts, directories=False), names_of(parts, directories=True))

    @classmethod
    def union(cls, parts: Collection[Selection]) -> Selection:
        """The paths of all *parts*."""
        return cls(
            _Names().union(*(part.files for part in parts)),
            _Names().union(*(part.directories for part in parts)),
            _Names().union(*(part.named for part in parts)),
            _Names().union(*(part.roots for part in parts)),
            _Names().union(*(part.literals for part in parts)),
        )


class ObjectSelection(ObjectWalks):
    """The expansion of paths, for all calls that take paths or patterns."""

    async def _expand_path(
        self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> list[str]:
        """As fsspec's, with braces, and without folder markers.

        A path that exists is not expanded, although it may have magic characters.
        """
        return (await self._selected(path, recursive, maxdepth, directories=True)).paths

    async def _selected(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        *,
        markers: bool = False,
        directories: bool = False,
    ) -> Selection:
        """Expand a path or a list of paths.

        Parameters
        ----------
        markers
            Whether folder markers are wanted as files.
        directories
            Whether a path that names a directory is literal, too. Always True for recursive calls.

        Raises
        ------
        FileNotFoundError
            If nothing is found.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        several = [path] if isinstance(path, str | os.PathLike) else path
        named: list[str] = []
        others: list[str] = []
        for text in map(stringify_path, several):
            known = not (recursive or text.endswith("/") or self._is_pattern(text))
            (named if known else others).append(text)
        selected = [Selection(named=_Names(map(self._strip_protocol, named)))]
        selected += await gather(
            self._select(text, recursive, maxdepth, markers, directories or recursive)
            for text in others
        )
        selection = Selection.union(selected)
        if not selection.paths:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return selection

    async def _select(
        self, text: str, recursive: bool, maxdepth: int | None, markers: bool, directories: bool
    ) -> Selection:
        path = self._strip_protocol(text)
        literals = _Names()
        if self._is_pattern(path):
            parts = await self._matches_unless_literal(
                text, maxdepth, markers=markers, directories=directories
            )
            if parts is not None:
                found = Selection.of(parts)
                if not recursive or maxdepth == 1:
                    return found
                deeper = None if maxdepth is None else maxdepth - 1
                tops = found.directories if deeper else _topmost(found.directories)
                trees = await gather(self._everything_below(top, deeper, markers) for top in tops)
                return Selection.union([found, *trees])
            literals = _Names([path])
        if recursive:
            tree = await self._everything_below(path, maxdepth, markers)
            if tree.paths:
                return Selection.union([tree, Selection(roots=_Names([path]), literals=literals)])
            exists = await self._exists(path)
            return Selection(named=_Names([path] if exists else []), literals=literals)
        if text.endswith("/"):
            path = await self._exact(text, markers)
        return Selection(named=_Names([path]), literals=literals)

    async def _exact(self, text: str, markers: bool = False) -> str:
        """Return the path that *text* states, with its last slashes if an object has that key.

        *markers*: whether a folder marker counts as an object.
        """
        path: str = self._strip_protocol(text)
        exact = path + text[len(text.rstrip("/")) :]
        try:
            info = await self._slash_info(exact)
        except PermissionError:
            return exact
        if info is None or (info["type"] == "directory" and not markers):
            return path
        return exact

    async def _everything_below(self, path: str, maxdepth: int | None, markers: bool) -> Selection:
        """All that is below the directory *path*, and *path* itself if there is something."""
        matches, _ = await self._below(path, maxdepth, markers=markers)
        return Selection.of([matches])

    # -- patterns and literal names --

    async def _matches_unless_literal(
        self,
        text: str,
        maxdepth: int | None = None,
        *,
        detail: bool = False,
        markers: bool = False,
        directories: bool = False,
        withdirs: bool = True,
    ) -> list[Matches] | None:
        """List what matches a pattern; None if an object has exactly that name.

        Parameters
        ----------
        directories
            Whether a directory of that name counts, too.
        detail, markers, withdirs
            Whether info dicts, folder markers as files, and directories are wanted.

        Raises
        ------
        PatternError
            For an invalid pattern that is not the name of an object.
        """
        from fsspec_avroglob.glob.pattern import GlobPattern
        from fsspec_avroglob.glob.results import names_of

        path = self._strip_protocol(text)
        if text.endswith("/") and await self._slash_info(path + "/") is not None:
            return None
        remembered = self.listings.info(path)
        if remembered is not None and (directories or remembered["type"] == "file"):
            return None
        try:
            plans = self._plans(text, maxdepth, withdirs)
            matches_itself = GlobPattern.parse(path).matches(path)
        except ValueError:
            if await self._is_literal(path, directories) is not False:
                return None
            raise
        for plan in plans:
            plan.with_markers = markers
        # A listing for braces or sets does not show the object of that name.
        literal = False if matches_itself else await self._is_literal(path, directories)
        if literal:
            return None
        try:
            parts = await self._matches_of(plans, detail)
        except PermissionError:
            if matches_itself:
                literal = await self._is_literal(path, directories)
            if literal is False:
                raise
            return None  # Only the use of the name can tell whether it exists.
        if matches_itself and (
            path in names_of(parts, directories=False)
            or (directories and path in names_of(parts, directories=True))
        ):
            return None
        return parts

    async def _is_literal(self, path: str, directories: bool = False) -> bool | None:
        """Whether an object has exactly the name *path*; None if the server does not tell.

        *directories*: whether a directory of that name counts, too.
        """
        bucket, key, _ = self.split_path(path)
        try:
            await self._call_s3("head_object", self.kwargs, Bucket=bucket, Key=key)
        except FileNotFoundError:
            if not directories:
                return False
        except PermissionError:
            pass
        else:
            return True
        try:
            found = await self._glob(escape(path), withdirs=directories)
        except PermissionError:
            return None
        return path in found

    async def _infos_unless_literal(self, pattern: str) -> dict[str, Any] | None:
        """Return the infos of the files that match, by path; None if an object has that name."""
        from fsspec_avroglob.glob.results import merged

        parts = await self._matches_unless_literal(pattern, detail=True, withdirs=False)
        found: dict[str, Any] | None = None if parts is None else merged(parts, detail=True)
        return found

    async def _sources(self, pattern: str) -> list[Source] | None:
        """Return the files that match *pattern*, sorted. None if an object has exactly that name.

        Raises FileNotFoundError if nothing matches.
        """
        found = await self._infos_unless_literal(pattern)
        if found is None:
            return None
        if not found:
            raise FileNotFoundError(errno.ENOENT, "No file matches the pattern", pattern)
        return [Source(path, info["size"], info.get("ETag")) for path, info in found.items()]

    # -- pairs of source and target --

    async def _copy_pairs(
        self, path1: Any, path2: Any, recursive: bool, maxdepth: int | None
    ) -> tuple[dict[str, str], Selection]:
        """Return the target of each object to copy, as fsspec chooses it."""
        selection = await self._selected(path1, recursive, maxdepth, markers=True)
        alone = isinstance(path1, str)
        into = isinstance(path2, str) and (trailing_sep(path2) or await self._is_target(path2))
        enters = alone and into and not trailing_sep(path1)
        pairs = paired(selection, path2, alone, enters, recursive and maxdepth is None)
        roots = [path for path in selection.roots if path in pairs]
        held = await gather(self._is_literal(path) for path in roots)
        objects = selection.objects.union(
            path for path, is_object in zip(roots, held, strict=True) if is_object
        )
        return {one: other for one, other in pairs.items() if one in objects}, selection

    async def _upload_pairs(
        self, lpath: Any, rpath: Any, recursive: bool, maxdepth: int | None
    ) -> tuple[list[str], list[str]]:
        """Return local files and directories, and the target of each, as fsspec chooses it."""
        alone = isinstance(lpath, str)
        if alone:
            lpath = make_path_posix(lpath)
        several = [lpath] if isinstance(lpath, str | os.PathLike) else lpath
        selection = _local_selection(several, recursive, maxdepth)
        into = isinstance(rpath, str) and (trailing_sep(rpath) or await self._is_target(rpath))
        enters = alone and into and not trailing_sep(lpath)
        target = self._strip_protocol(rpath)
        pairs = paired(selection, target, alone, enters, recursive and maxdepth is None)
        return list(pairs), list(pairs.values())

    async def _is_target(self, path: str) -> bool:
        """Whether *path* is a directory to copy into; False if it may not be listed."""
        try:
            return await self._isdir(path)
        except PermissionError:
            return False


def paired(
    selection: Selection, target: Any, alone: bool, enters: bool, directories: bool
) -> dict[str, str]:
    """Return the target of each path, as :func:`fsspec.utils.other_paths` names it.

    Parameters
    ----------
    target
        A path, or a list with the target of each path.
    alone
        Whether the caller named one path, not a list.
    enters
        Whether the path, if it is no pattern, goes into the directory *target*.
    directories
        Whether paths that are only directories stay among several paths.
    """
    paths = selection.paths
    if alone and not directories:
        paths = [path for path in paths if path in selection.objects]
    if not alone:
        paths = [path for path in paths if not path.endswith("/")]
    if not paths:
        return {}
    if alone and not selection.named and not selection.roots:  # a pattern
        enters = len(paths) == 1
    targets = other_paths(paths, target, exists=enters, flatten=not alone)
    return dict(zip(paths, targets, strict=True))


def _local_selection(paths: Iterable[Any], recursive: bool, maxdepth: int | None) -> Selection:
    """Expand local paths as fsspec does, except for those that exist."""
    fs = LocalFileSystem()
    selected = []
    for text in map(stringify_path, paths):
        path = fs._strip_protocol(text)
        pattern = has_magic(path) and not os.path.lexists(path)
        found = set(fs.expand_path([path], recursive, maxdepth, assume_literal=not pattern))
        directories = _Names(name for name in found if fs.isdir(name))
        files = found - directories
        if not pattern and path in files:
            selected.append(Selection(named=_Names([path])))
        else:
            roots = _Names([path]) if not pattern else _Names()
            selected.append(Selection(_Names(files), directories, roots=roots))
    return Selection.union(selected)


def _topmost(directories: Iterable[str]) -> list[str]:
    """Return the directories that are in none of the others."""
    tops: list[str] = []
    for path in sorted(directories, key=lambda path: path + "/"):
        if not (tops and path.startswith(tops[-1] + "/")):
            tops.append(path)
    return tops
