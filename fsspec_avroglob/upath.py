"""``UPath("avroglob://...")``: paths with planned globs. universal_pathlib imports this module.

>>> from upath import UPath
>>> for path in UPath("avroglob://bucket/events").glob("day=*/*.avro"):  # doctest: +SKIP
...     print(path.name, path.stat().st_size)
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Any, Self

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

# universal_pathlib asks the registered class for the form of the protocol's URLs.
register_implementation("avroglob", AvroGlobFileSystem, clobber=True)


class AvroGlobPath(CloudPath):
    """A path on S3, served by :class:`~fsspec_avroglob.filesystem.core.AvroGlobFileSystem`.

    ``UPath("avroglob://bucket/key", **storage_options)`` makes one. It behaves as ``UPath`` does
    for ``s3://``. Globs are planned. For paths that a glob or :meth:`iterdir` returned, ``stat``,
    ``exists``, ``is_file``, ``is_dir`` and ``open`` send no request.
    """

    __slots__ = ()

    # universal_pathlib has this setting only for protocols that it knows.
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
        """Yield the paths below this one that match *pattern*, sorted, from one planned listing.

        Parameters
        ----------
        pattern : str
            A relative pattern of the filesystem's grammar. This path itself is not a pattern.
        case_sensitive : bool, optional
            False is not supported, because S3 keys are case-sensitive.
        recurse_symlinks : bool
            Has no effect, because S3 has no symlinks.

        Raises
        ------
        ValueError
            If the pattern is invalid.
        NotImplementedError
            If the pattern is not relative, or *case_sensitive* is False.
        """
        if case_sensitive is False:
            raise NotImplementedError("S3 keys are case-sensitive: leave out case_sensitive=False")
        if pattern.startswith("/"):
            raise NotImplementedError(f"the pattern {pattern!r} is not relative")
        base = self.absolute()
        directory = base.path.rstrip("/") + "/"
        return base._at(base.fs.glob(escape(directory) + pattern))

    def rglob(self, pattern: str, **options: Any) -> Iterator[Self]:
        """As :meth:`glob` with ``**/`` before *pattern*."""
        return self.glob(f"**/{pattern}", **options)

    def iterdir(self) -> Iterator[Self]:
        """Yield the paths of the directory's entries, sorted, from one listing.

        Raises NotADirectoryError for a file and, as universal_pathlib does, for a missing path.
        """
        base = self.absolute()
        path = base.path.rstrip("/")
        try:
            listed: list[str] = base.fs.ls(path, detail=False)
        except FileNotFoundError:
            listed = [path]
        if listed == [path]:  # the listing of a file
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(self))
        # The empty object "directory/" is not an entry of its directory.
        names = sorted(name for name in listed if name.rstrip("/") != path)
        return base._at(names)

    def _at(self, names: Iterable[str]) -> Iterator[Self]:
        """Yield paths of this path's filesystem, without last slashes and without duplicates."""
        for name in dict.fromkeys(name.rstrip("/") for name in names):
            yield self.with_segments(f"{self.protocol}://{name}")
