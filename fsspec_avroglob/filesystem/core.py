"""The filesystem: :class:`AvroGlobFileSystem` puts its parts together.

============================================== ===================================================
:class:`~.connection.S3Connection`             options, sessions, requests and their retries
:class:`~.globs.ObjectGlobs`                   globs
:class:`~.listing.ObjectLists`                 listings of directories, info
:class:`~.selection.ObjectSelection`           the objects that a path means
:class:`~.refused.ObjectInfoByListing`         info where HEAD is refused
:class:`~.reading.ObjectReads`                 reads of whole objects and ranges, downloads
:class:`~.writing.ObjectWrites`                uploads, copies, removals
:class:`~.unfinished.UnfinishedUploads`        uploads that nobody finished
:class:`~.objects.AvroGlobFile`                one object as a file
:func:`~.open_glob.open_glob`                  all objects that match a pattern as one file
============================================== ===================================================

The parts import what only some operations need when it is first needed, so that the import takes
hardly longer than that of s3fs. The code that handles failures is an exception, because it must be
there when no more files can be opened.

>>> import fsspec
>>> fs = fsspec.filesystem("avroglob", anon=True)
>>> fs.glob("bucket/year=2024/*/part-*.avro")  # doctest: +SKIP
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fsspec_avroglob.aio.blocking import sync, with_sync_methods
from fsspec_avroglob.filesystem.objects import AvroGlobFile
from fsspec_avroglob.filesystem.parts import PART_BYTES
from fsspec_avroglob.filesystem.readahead import ReadAhead
from fsspec_avroglob.filesystem.reading import ObjectReads
from fsspec_avroglob.filesystem.refused import ObjectInfoByListing
from fsspec_avroglob.filesystem.unfinished import UnfinishedUploads
from fsspec_avroglob.filesystem.writer import close_together
from fsspec_avroglob.filesystem.writing import ObjectWrites

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.join_text import CompressedLines
    from fsspec_avroglob.filesystem.joined import JoinedFile

__all__ = ["AvroGlobFileSystem", "AvroGlobS3FileSystem"]


@with_sync_methods
class AvroGlobFileSystem(ObjectInfoByListing, ObjectReads, ObjectWrites, UnfinishedUploads):
    """S3 with planned globs and one retry layer. It does all that s3fs does.

    fsspec finds it for ``avroglob://bucket/key`` URLs.

    Parameters
    ----------
    max_retries : int, default 2
        Retries after the first attempt of each operation.
    retry : RetryPolicy or dict
        A :class:`~fsspec_avroglob.s3.retry.RetryPolicy`, or its fields.
    listing_concurrency : int, default 64
        The most LIST requests in flight for one listing.
    header_lines : int, optional
        The lines that each file of an opened glob of tables begins with, and that only the first
        keeps. By default a header line of CSV files is found, or an error says that it is unclear.
    on_retry : callable, str or list
        Called with a ``RetryEvent`` before each wait. A str names a callable as
        "package.module:function".
    **storage_options
        The options of s3fs, also under the names that other tools use for them (see
        :class:`~fsspec_avroglob.s3.config.S3Config`).

    Raises
    ------
    OptionError
        For options that are unknown or contradict each other.
    """

    protocol = ("avroglob", "s3", "s3a")

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file, as fsspec does. Closing a compressed file stores the object.

        fsspec's closes the compressor only, and the object when it is collected. fsspec also strips
        the slash at the end of a key, which may be part of the key of an object that is not empty.
        """
        if "r" in mode and path.endswith("/"):
            kwargs["exact"] = sync(self.loop, self._exact, path)
        compressed = compression is not None and "b" in mode and "r" not in mode
        inner = None if compressed else compression
        file = super().open(path, mode, block_size, cache_options, inner, **kwargs)
        if not compressed:
            return file
        from fsspec.compression import compr
        from fsspec.core import get_compression

        return close_together(compr[get_compression(path, compression)](file, mode=mode[0]), file)

    @property
    def _has_own_cache(self) -> bool:
        """Whether the options of the instance say how files are cached."""
        names = ("default_block_size", "default_cache_type", "default_fill_cache")
        return any(self.config.others.get(name) is not None for name in names)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        acl: str | bool = False,
        version_id: str | None = None,
        fill_cache: bool | None = None,
        cache_type: str | None = None,
        autocommit: bool = True,
        size: int | None = None,
        requester_pays: bool | None = None,
        cache_options: dict[str, Any] | None = None,
        exact: str | None = None,
        header_lines: int | None = None,
        **kwargs: Any,
    ) -> AvroGlobFile | JoinedFile | CompressedLines:
        """Open one object, with s3fs's parameters and defaults.

        A pattern opens all objects that match as one file (see ``open_glob``), unless an object
        has exactly that name. *exact* replaces a path from which fsspec stripped what belongs to
        its key. Raises FileExistsError for mode "xb" if the object exists.
        """
        path = exact or path
        if "x" in mode:
            with suppress(PermissionError):  # the write itself fails if the object exists
                if self.exists(path):
                    name = self._strip_protocol(path)
                    raise FileExistsError(errno.EEXIST, "the object exists", name)
        if version_id and not self.version_aware:
            raise ValueError("version_id needs a filesystem with version_aware=True")
        usual = not (block_size or cache_type or cache_options or self._has_own_cache)
        if "r" not in mode and not self.config.others.get("default_block_size"):
            block_size = block_size or PART_BYTES
        block_size = block_size or self.default_block_size
        cache_type = cache_type or self.default_cache_type
        if mode == "rb" and version_id is None and self._is_pattern(path):
            sources = sync(self.loop, self._sources, path)
            if sources is not None:
                # This imports the Avro modules.
                from fsspec_avroglob.filesystem.open_glob import open_glob

                lines = self.config.header_lines if header_lines is None else header_lines
                return open_glob(self, path, sources, block_size, cache_type, cache_options, lines)
        extra = {**self.s3_additional_kwargs, **kwargs}
        return AvroGlobFile(
            self,
            path,
            mode,
            block_size=block_size,
            acl=acl or extra.get("ACL") or extra.get("acl") or False,
            version_id=version_id,
            fill_cache=self.default_fill_cache if fill_cache is None else fill_cache,
            s3_additional_kwargs=extra,
            autocommit=autocommit,
            cache_type=ReadAhead.name if usual else cache_type,
            requester_pays=bool(self.req_kw) if requester_pays is None else requester_pays,
            cache_options=cache_options,
            size=size,
        )


class AvroGlobS3FileSystem(AvroGlobFileSystem):
    """The filesystem for ``s3://`` URLs (see ``use_for_s3``): names that leave it are such URLs."""

    protocol = ("s3", "s3a", "avroglob")
