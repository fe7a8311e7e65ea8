"""``UPath("avroglob://...")``: paths whose globs are planned; universal_pathlib imports this."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Self

from fsspec import register_implementation

try:
    from upath._flavour import WrappedFileSystemFlavour
    from upath.implementations.cloud import CloudPath
except ImportError as error:
    raise ImportError(
        "fsspec_avroglob.upath needs universal_pathlib: pip install 'fsspec-avroglob[upath]'"
    ) from error

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.magic import escape

# With the class at hand universal_pathlib need not guess how the protocol's URLs look.
register_implementation("avroglob", AvroGlobFileSystem, clobber=True)


class AvroGlobPath(CloudPath):
    """A path on S3, served by :class:`~fsspec_avroglob.filesystem.core.AvroGlobFileSystem`.

    universal_pathlib finds the class by its entry points: ``UPath("avroglob://bucket/key")`` makes
    one, with the filesystem's storage options as arguments by name. It behaves as ``UPath`` does
    for ``s3://``; globs are planned, and what a glob or :meth:`iterdir` returned is known:
    ``stat``, ``exists``, ``is_file``, ``is_dir`` and ``open`` of it ask S3 nothing more.
    """

    __slots__ = ()

    # universal_pathlib has this setting for the protocols that it knows itself.
    parser = WrappedFileSystemFlavour(
        AvroGlobFileSystem, netloc_is_anchor=True, supports_empty_parts=True
    )

    def glob(
        self,
        pattern: str,
        *,
        case_sensitive: bool | None = None,
        recurse_symlinks: bool = False,
    ) -> Iterator[Self]:
        """Paths below this one that match *pattern*, sorted, from one planned listing.

        The grammar is that of ``pattern``; it holds for *pattern* alone, this
        path is taken as it is. S3 has no symlinks, so *recurse_symlinks* changes nothing.

        Raises ValueError for an invalid pattern, NotImplementedError for one that is not relative
        and for ``case_sensitive=False``, which S3 cannot do.
        """
        if case_sensitive is False:
            raise NotImplementedError("keys of S3 are case-sensitive, and so are patterns")
        if pattern.startswith("/"):
            raise NotImplementedError(f"the pattern {pattern!r} is not relative")
        base = self.absolute()
        directory = base.path.rstrip("/") + "/"
        return base._at(base.fs.glob(escape(directory) + pattern))

    def rglob(
        self,
        pattern: str,
        *,
        case_sensitive: bool | None = None,
        recurse_symlinks: bool = False,
    ) -> Iterator[Self]:
        """As :meth:`glob` with ``**/`` before *pattern*."""
        return self.glob(
            f"**/{pattern}", case_sensitive=case_sensitive, recurse_symlinks=recurse_symlinks
        )

    def iterdir(self) -> Iterator[Self]:
        """Paths of the directory's entries, sorted, from one listing.

        Raises NotADirectoryError, as universal_pathlib does, also where nothing is there.
        """
        base = self.absolute()
        path = base.path.rstrip("/")
        try:
            listed: list[str] = base.fs.ls(path, detail=False)
        except FileNotFoundError:
            listed = [path]
        if listed == [path]:  # as a file is listed
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(self))
        # The empty object "directory/" is no entry of its directory.
        names = sorted(name for name in listed if name.rstrip("/") != path)
        return base._at(names)

    def _at(self, names: Iterable[str]) -> Iterator[Self]:
        """Paths on this one's filesystem; ``bucket/key`` and ``bucket/key/`` are the same path."""
        for name in dict.fromkeys(name.rstrip("/") for name in names):
            yield self.with_segments(f"{self.protocol}://{name}")
