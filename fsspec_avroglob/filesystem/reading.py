"""Reading objects whole, by ranges and into local files."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import chain
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.local import make_path_posix, trailing_sep
from s3fs.core import version_id_kw

from fsspec_avroglob.aio.tasks import cancels_its_tasks, collect, for_each
from fsspec_avroglob.errors import RefusedKeysError
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.objects import ObjectPart, ObjectRead, Version
from fsspec_avroglob.filesystem.selection import ObjectSelection, paired
from fsspec_avroglob.s3.client import get_object
from fsspec_avroglob.s3.requests import S3Request

_CONCURRENT_READS = 128


class ObjectReads(ObjectSelection):
    """The reads of a filesystem.

    A body that is cut short is resumed. No read mixes two versions of an object.
    """

    # -- one GET --

    async def _get_object(self, **arguments: Any) -> Any:
        """Send one GET."""
        client, arguments = await self._client_for("get_object", **arguments)
        return await get_object(client, arguments)

    async def _read(
        self,
        arguments: Mapping[str, Any],
        part: str | None = None,
        version: Version | None = None,
        max_bytes: int | None = None,
    ) -> ObjectRead:
        """Read an object or a range of it (see :class:`ObjectRead`), with retries."""
        version, local = version or Version(), bool(self.local_expiry_check)
        read = ObjectRead(self._get_object, arguments, part, version, max_bytes, local)
        await self._retried(
            read.attempt, S3Request.of("get_object", arguments), lambda: read.received
        )
        self.stats.bytes_read += read.received
        return read

    async def _read_part(
        self, path: str, start: int, end: int | None, etag: str | None = None
    ) -> ObjectPart:
        """Read the bytes [*start*, *end*) of an object, fewer where it ends, by one GET.

        Raises FileExpired if the ETag is not *etag*, IsADirectoryError for a bucket.
        """
        bucket, key, version = self.split_path(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, "Is a bucket, not a file in a bucket", path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version)}
        part = f"bytes={start}-{'' if end is None else end - 1}"
        read = await self._read(arguments, part, Version(etag))
        return ObjectPart(read.data, read.object_size, read.version.etag)

    async def _read_range(self, path: str, start: int, stop: int, etag: str | None) -> bytes:
        """Read the bytes [*start*, *stop*) of an object (see ``joined.RangeReader``)."""
        return (await self._read_part(path, start, stop, etag)).data

    # -- whole objects --

    async def _cat_file(
        self,
        path: str,
        version_id: str | None = None,
        start: int | None = None,
        end: int | None = None,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        versions: Mapping[str, Version] | None = None,
    ) -> bytes:
        """Read the bytes [*start*, *end*) of an object by one GET.

        A large object is read whole by concurrent GETs. Raises FileExpired if the version is not
        that of *versions*, a mapping by path.
        """
        one = Version() if versions is None else versions[path]
        bucket, key, version = self.split_path(path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        if start is not None or end is not None:
            if end is not None and (start or 0) * end >= 0 and (start or 0) >= end:
                return b""
            part = await self._process_limits(path, start, end)
            return (await self._read(arguments, part, one)).data
        found: dict[int, list[bytes]] = {}
        take = found.__setitem__
        await self._read_whole(arguments, chunksize, max_concurrency, take, version=one)
        return b"".join(chain.from_iterable(found[offset] for offset in sorted(found)))

    @cancels_its_tasks
    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """As fsspec's. Directories, which have no bytes, are left out."""
        paths = sorted((await self._selected(path, recursive)).objects)

        async def read(one: str) -> Any:
            try:
                return await self._cat_file(one, **kwargs)
            except Exception as error:
                if on_error == "raise":
                    raise
                return error

        found = await collect(paths, read, batch_size or self.batch_size or _CONCURRENT_READS)
        if not isinstance(path, list) and paths == [self._strip_protocol(path)]:
            return found[0]
        pairs = zip(paths, found, strict=True)
        return {k: v for k, v in pairs if on_error != "omit" or not isinstance(v, Exception)}

    @cancels_its_tasks
    async def _cat_ranges(self, paths: list[str], *args: Any, **kwargs: Any) -> list[Any]:
        """As fsspec's. Raises FileExpired if ranges of one object have different versions."""
        versions: defaultdict[str, Version] = defaultdict(Version)
        ranges: list[Any] = await super()._cat_ranges(paths, *args, versions=versions, **kwargs)
        return ranges

    async def _read_whole(
        self,
        arguments: Mapping[str, Any],
        chunksize: int | None,
        max_concurrency: int | None,
        take: Callable[[int, list[bytes]], object],
        sized: Callable[[int], object] = lambda size: None,
        version: Version | None = None,
    ) -> None:
        """Read an object, a large one by concurrent ranges.

        Calls ``sized(size)`` with the object's size, then ``take(offset, chunks)`` for its bytes.
        """
        chunksize = chunksize or self.default_block_size
        concurrency = max_concurrency or self.max_concurrency
        whole = await self._read(arguments, None, version, chunksize)
        size = whole.received if whole.size is None else whole.size
        sized(size)
        if size <= chunksize:
            take(0, whole.chunks)
            return

        async def read_part(start: int) -> None:
            part = f"bytes={start}-{min(start + chunksize, size) - 1}"
            take(start, (await self._read(arguments, part, whole.version)).chunks)

        await for_each(range(0, size, chunksize), read_part, concurrency)

    async def _get_file(
        self,
        rpath: str,
        lpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        version_id: str | None = None,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy an object to a local file, which appears when it is complete.

        What exists and is not a regular file, a pipe for example, receives the bytes in order.
        """
        if os.path.isdir(lpath):
            return
        bucket, key, version = self.split_path(rpath)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        special = os.path.exists(lpath) and not os.path.isfile(lpath)
        with (
            nullcontext(lpath) if special else atomic_path(lpath) as path,
            open(path, "wb") as file,
        ):

            def take(offset: int, chunks: list[bytes]) -> None:
                if not special:
                    file.seek(offset)
                file.writelines(chunks)
                callback.relative_update(sum(map(len, chunks)))

            concurrency = 1 if special else max_concurrency
            await self._read_whole(arguments, chunksize, concurrency, take, callback.set_size)

    @cancels_its_tasks
    async def _get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Copy objects to local files, as fsspec does. Nothing is written outside *lpath*.

        Raises RefusedKeysError, after the other objects are copied, for keys that cannot become a
        file of their own below *lpath*.
        """
        from fsspec_avroglob.filesystem.targets import Targets

        if isinstance(lpath, list):
            return await super()._get(rpath, lpath, recursive, callback, maxdepth, **kwargs)
        lpath = make_path_posix(lpath)
        selection = await self._selected(rpath, recursive, maxdepth)
        alone = isinstance(rpath, str)
        into_directory = trailing_sep(lpath) or os.path.isdir(lpath)
        enters = alone and into_directory and not trailing_sep(rpath)
        pairs = paired(selection, lpath, alone, enters, recursive and maxdepth is None)
        files = await self._only_files(
            {path: local for path, local in pairs.items() if path in selection.objects}
        )
        root = lpath.rstrip("/")
        targets = Targets.on_disk(root, files, [pairs[path] for path in pairs.keys() - files])
        targets.make_directories()
        try:
            copied = await super()._get(
                list(targets.files), list(targets.files.values()), callback=callback, **kwargs
            )
        except FileNotFoundError:
            # As in fsspec, a directory is not copied unless the call is recursive.
            if not (alone and selection.named and await self._isdir(rpath)):
                raise
            return None
        if targets.refused:
            raise RefusedKeysError(root, targets.refused)
        return copied

    async def _only_files(self, paths: dict[str, str]) -> dict[str, str]:
        """Return the entries of *paths*, by ``bucket/key``, that are not only directories."""
        from fsspec_avroglob.filesystem.targets import with_ancestors

        parents = with_ancestors(path.rpartition("/")[0] for path in paths)
        files = dict(paths)

        async def drop_marker(path: str) -> None:
            # Some tools mark a directory by an empty object of its name.
            if not (await self._info(path))["size"]:
                del files[path]

        candidates = [path for path in paths if path in parents]
        await for_each(candidates, drop_marker, self.max_concurrency)
        return files
