"""The filesystem: :class:`AvroGlobFileSystem` puts its parts together.

============================================== ===================================================
:class:`~.connection.S3Connection`             options, sessions, requests and their retries
:class:`~.listing.ObjectLists`                 globs, listings of directories, info
:class:`~.selection.ObjectSelection`           the objects that a path means
:class:`~.reading.ObjectReads`                 reads of whole objects and ranges, downloads
:class:`~.writing.ObjectWrites`                uploads, copies, removals
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
from typing import TYPE_CHECKING, Any

from fsspec_avroglob.aio.blocking import sync, with_sync_methods
from fsspec_avroglob.filesystem.objects import AvroGlobFile
from fsspec_avroglob.filesystem.reading import ObjectReads
from fsspec_avroglob.filesystem.writing import ObjectWrites

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.join_text import CompressedLines
    from fsspec_avroglob.filesystem.joined import JoinedFile

__all__ = ["AvroGlobFileSystem"]


@with_sync_methods
class AvroGlobFileSystem(ObjectReads, ObjectWrites):
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
        **kwargs: Any,
    ) -> AvroGlobFile | JoinedFile | CompressedLines:
        """Open one object, with s3fs's parameters and defaults.

        A pattern opens all objects that match as one file (see ``open_glob``), unless an object
        has exactly that name. Raises FileExistsError for mode "xb" if the object exists.
        """
        if "x" in mode and self.exists(path):
            raise FileExistsError(errno.EEXIST, "the object exists", self._strip_protocol(path))
        if version_id and not self.version_aware:
            raise ValueError("version_id needs a filesystem with version_aware=True")
        block_size = block_size or self.default_block_size
        cache_type = cache_type or self.default_cache_type
        if mode == "rb" and version_id is None and self._is_pattern(path):
            sources = sync(self.loop, self._sources, path)
            if sources is not None:
                # This imports the Avro modules.
                from fsspec_avroglob.filesystem.open_glob import open_glob

                return open_glob(self, path, sources, block_size, cache_type, cache_options)
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
            cache_type=cache_type,
            requester_pays=bool(self.req_kw) if requester_pays is None else requester_pays,
            cache_options=cache_options,
            size=size,
        )
