"""Reading objects whole, by ranges and into local files."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.local import make_path_posix, trailing_sep
from s3fs.core import version_id_kw

from fsspec_avroglob.aio.tasks import cancels_its_tasks, collect, for_each, task_group
from fsspec_avroglob.errors import RefusedKeysError
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.bodies import (
    CUT_SHORT,
    PART_BYTES,
    PARTS_IN_FLIGHT,
    Memory,
    ObjectPart,
    ObjectRead,
    Version,
    is_beyond_end,
)
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
        *,
        whole: bool = False,
        begun: Callable[[ObjectRead], object] | None = None,
        write: Callable[[int, bytes], object] | None = None,
    ) -> ObjectRead:
        """Read an object or a range of it (see :class:`ObjectRead`), with retries."""
        version, local = version or Version(), bool(self.local_expiry_check)
        read = ObjectRead(self._get_object, arguments, part, version, whole, begun, write, local)
        request = S3Request.of("get_object", arguments)
        try:
            await self._retried(read.attempt, request, lambda: read.received)
        except CUT_SHORT as error:
            if read.stop is None:
                raise
            raise read.too_short(error) from error
        self.stats.bytes_read += read.received
        return read

    async def _read_span(
        self,
        arguments: Mapping[str, Any],
        begin: Callable[[int], object],
        write: Callable[[int, bytes], object],
        start: int = 0,
        stop: int | None = None,
        *,
        version: Version | None = None,
        part_bytes: int | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Read the bytes [*start*, *stop*) of an object, many of them by concurrent GETs.

        The first GET reads the first part, and tells how long the object is. Then ``begin(size)``
        receives the number of bytes, and ``write(offset, chunk)`` each chunk. Without *stop*, the
        whole object is read.
        """
        version = version or Version()
        part_bytes = part_bytes or self._part_bytes
        concurrency = concurrency or self._parts_in_flight
        first = start + part_bytes if stop is None else min(stop, start + part_bytes)
        rest: Iterator[int] = iter(())
        end = first

        async def read_rest() -> None:
            for at in rest:
                part = f"bytes={at}-{min(at + part_bytes, end) - 1}"
                await self._read(arguments, part, version, write=write)

        def begun(read: ObjectRead) -> None:
            nonlocal rest, end
            assert read.stop is not None
            end = min(size for size in (stop, version.size) if size is not None)
            begin(end - start)
            offsets = range(read.stop, end, part_bytes)
            rest = iter(offsets)
            for _ in range(min(len(offsets), concurrency - 1)):
                group.create_task(read_rest())

        async with task_group() as group:
            try:
                part, whole = f"bytes={start}-{first - 1}", stop is None
                await self._read(arguments, part, version, whole=whole, begun=begun, write=write)
            except OSError as error:
                if start or stop is not None or not is_beyond_end(error):
                    raise
                begin(0)  # an empty object has no first byte
            await read_rest()

    async def _read_bytes(
        self,
        arguments: Mapping[str, Any],
        start: int = 0,
        stop: int | None = None,
        version: Version | None = None,
        part_bytes: int | None = None,
        concurrency: int | None = None,
    ) -> bytes:
        """Return the bytes [*start*, *stop*) of an object (see :meth:`_read_span`)."""
        memory = Memory(start)
        await self._read_span(
            arguments,
            memory.begin,
            memory.write,
            start,
            stop,
            version=version,
            part_bytes=part_bytes,
            concurrency=concurrency,
        )
        return memory.take()

    async def _read_first(
        self, arguments: Mapping[str, Any], version: Version, max_bytes: int
    ) -> bytes:
        """Return the first *max_bytes* bytes of an object, fewer if it ends; *version* is set."""
        try:
            return (await self._read(arguments, f"bytes=0-{max_bytes - 1}", version)).data
        except OSError as error:
            if not is_beyond_end(error):
                raise
            version.size = 0  # an empty object has no first byte
            return b""

    def _remembered_object(self, path: str) -> dict[str, Any] | None:
        """Return the info of an object that is remembered; it costs no request."""
        name = path if path.endswith("/") else self._strip_protocol(path)
        info: dict[str, Any] | None = self.listings.info(name)
        return info if info and info["type"] == "file" else None

    @property
    def _part_bytes(self) -> int:
        """The size of the parts of a long range."""
        return int(self.config.others.get("default_block_size") or PART_BYTES)

    @property
    def _parts_in_flight(self) -> int:
        """The most GETs in flight for one range."""
        return int(self.config.others.get("max_concurrency") or PARTS_IN_FLIGHT)

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
        return ObjectPart(read.data, read.version.size, read.version.etag)

    async def _read_range(self, path: str, start: int, stop: int, etag: str | None) -> bytes:
        """Read the bytes [*start*, *stop*) of an object (see ``joined.RangeReader``)."""
        if start >= stop:
            return b""
        bucket, key, version = self.split_path(path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version)}
        return await self._read_bytes(arguments, start, stop, Version(etag))

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
        """Read the bytes [*start*, *end*) of an object, many of them by concurrent GETs.

        Raises FileExpired if the version is not that of *versions*, a mapping by path.
        """
        one = Version() if versions is None else versions[path]
        bucket, key, version = self.split_path(path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        limits = one, chunksize, max_concurrency
        first = start or 0
        if first < 0 and end is None:
            return (await self._read(arguments, f"bytes={first}", one)).data
        if end is not None and (first < 0 or end < 0):
            info = await self._info(path, refresh=True)  # an old size would mean other bytes
            first, end, _ = slice(first, end).indices(info["size"])
            if not (one.etag or version_id or version or self.version_aware):
                one.etag = info.get("ETag")
        if end is not None and first >= end:
            return b""
        return await self._read_bytes(arguments, first, end, *limits)

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

            def write(offset: int, chunk: bytes) -> None:
                if not special:
                    file.seek(offset)
                file.write(chunk)
                callback.relative_update(len(chunk))

            await self._read_span(
                arguments,
                callback.set_size,
                write,
                part_bytes=chunksize,
                concurrency=1 if special else max_concurrency,
            )

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
            if targets.refused:
                raise RefusedKeysError(root, targets.refused)
        except (FileNotFoundError, RefusedKeysError):
            # As in fsspec, a directory is not copied unless the call is recursive.
            if not (alone and selection.named and await self._isdir(rpath)):
                raise
            return None
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
