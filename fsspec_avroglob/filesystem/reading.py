"""Reading objects whole, by ranges and into local files."""

from __future__ import annotations

import errno
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.local import make_path_posix, trailing_sep
from fsspec.utils import other_paths
from s3fs import S3FileSystem
from s3fs.core import version_id_kw

from fsspec_avroglob.aio.tasks import for_each
from fsspec_avroglob.errors import RefusedKeysError
from fsspec_avroglob.filesystem.objects import ObjectPart, ObjectRead, Version
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.s3.client import get_object
from fsspec_avroglob.s3.requests import S3Request


class ObjectReads(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """The reads of a filesystem: each body goes on where it was cut, none mixes two versions.

    A part of ``AvroGlobFileSystem``, which sends the requests.
    """

    def _object_read(
        self,
        arguments: Mapping[str, Any],
        first: str | None = None,
        version: Version | None = None,
        max_bytes: int | None = None,
    ) -> ObjectRead:
        """A GET that is yet to be carried out (see :class:`ObjectRead` for the arguments)."""
        return ObjectRead(
            self._get_object,
            arguments,
            first,
            version or Version(),
            max_bytes,
            bool(self.local_expiry_check),
        )

    async def _get_object(self, **arguments: Any) -> Any:
        """Send one GET."""
        client, arguments = await self._client_for("get_object", **arguments)
        return await get_object(client, arguments)

    async def _read(self, read: ObjectRead) -> bytes:
        """Carry *read* out; a body that is cut short goes on where it stopped."""
        request = S3Request.of("get_object", read.arguments)
        await self._retried(read.attempt, request, read.progress)
        self.stats.bytes_read += len(read.data)
        return bytes(read.data)

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
        """The bytes [*start*, *end*) of an object, by one GET (large objects: concurrent ones).

        versions: which version of each path must be read. Raises FileExpired for another one.
        """
        one = Version() if versions is None else versions[path]
        bucket, key, version = self.split_path(path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        if start is not None or end is not None:
            if end is not None and (start or 0) * end >= 0 and (start or 0) >= end:
                return b""
            part = await self._process_limits(path, start, end)
            return await self._read(self._object_read(arguments, part, one))
        pieces: dict[int, bytes] = {}
        take = pieces.__setitem__
        await self._read_whole(arguments, chunksize, max_concurrency, take, version=one)
        return b"".join(pieces[offset] for offset in sorted(pieces))

    async def _cat_ranges(self, paths: list[str], *args: Any, **kwargs: Any) -> list[Any]:
        """As fsspec's; the ranges of one object are all of one version, else FileExpired."""
        versions: defaultdict[str, Version] = defaultdict(Version)
        ranges: list[Any] = await super()._cat_ranges(paths, *args, versions=versions, **kwargs)
        return ranges

    async def _read_part(
        self, path: str, start: int, end: int | None, etag: str | None = None
    ) -> ObjectPart:
        """The bytes [*start*, *end*) of an object, fewer where it ends, by one GET.

        etag: the version that must be read. Raises FileExpired for another one, IsADirectoryError
        for a bucket.
        """
        bucket, key, version = self.split_path(path)
        if not key:
            raise IsADirectoryError(errno.EISDIR, "Is a bucket, no file in one", path)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version)}
        part = f"bytes={start}-{'' if end is None else end - 1}"
        read = self._object_read(arguments, part, Version(etag))
        return ObjectPart(await self._read(read), read.object_size, read.version.etag)

    async def _read_whole(
        self,
        arguments: Mapping[str, Any],
        chunksize: int | None,
        max_concurrency: int | None,
        take: Callable[[int, bytes], object],
        sized: Callable[[int], object] = lambda size: None,
        version: Version | None = None,
    ) -> None:
        """Read an object, a large one by ranges at once; ``take(offset, data)`` gets its bytes.

        sized: told the object's size before its bytes come.
        """
        chunksize = chunksize or self.default_block_size
        concurrency = max_concurrency or self.max_concurrency
        whole = self._object_read(arguments, None, version, chunksize)
        data = await self._read(whole)
        size = len(data) if whole.size is None else whole.size
        sized(size)
        if size <= chunksize:
            take(0, data)
            return

        async def read_part(start: int) -> None:
            part = f"bytes={start}-{min(start + chunksize, size) - 1}"
            take(start, await self._read(self._object_read(arguments, part, whole.version)))

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
        """Copy an object to a local file, which appears when it is complete."""
        if os.path.isdir(lpath):
            return
        bucket, key, version = self.split_path(rpath)
        arguments = {"Bucket": bucket, "Key": key, **version_id_kw(version_id or version)}
        special = os.path.exists(lpath) and not os.path.isfile(lpath)
        # A name of its own: the object's may be as long as the file system allows.
        part = os.path.join(os.path.dirname(lpath), f".{uuid.uuid4().hex}.part")
        target = lpath if special else part
        try:
            with open(target, "wb") as file:

                def take(offset: int, data: bytes) -> None:
                    if not special:
                        file.seek(offset)
                    file.write(data)
                    callback.relative_update(len(data))

                concurrency = 1 if special else max_concurrency
                await self._read_whole(arguments, chunksize, concurrency, take, callback.set_size)
            if not special:
                os.replace(target, lpath)
        except BaseException:
            if not special and os.path.exists(target):
                os.remove(target)
            raise

    async def _get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Copy objects to local files, as fsspec does; nothing is written outside *lpath*.

        Raises RefusedKeysError, after all others have been copied, for keys that stand for no file
        of their own there.
        """
        from fsspec_avroglob.filesystem.download import Targets

        if isinstance(lpath, list):
            return await super()._get(rpath, lpath, recursive, callback, maxdepth, **kwargs)
        lpath = make_path_posix(lpath)
        rpaths, lpaths = await self._paired(rpath, lpath, recursive, maxdepth)
        root = lpath.rstrip("/")
        files = await self._only_files(dict(zip(rpaths, lpaths, strict=True)))
        targets = Targets.on_disk(root, files)
        targets.make_directories()
        copied = await super()._get(
            list(targets.files), list(targets.files.values()), callback=callback, **kwargs
        )
        if targets.refused:
            raise RefusedKeysError(root, targets.refused)
        return copied

    async def _paired(
        self, rpath: Any, lpath: str, recursive: bool, maxdepth: int | None
    ) -> tuple[list[str], list[str]]:
        """The objects and directories that *rpath* stands for, and where fsspec would put each."""
        alone = isinstance(rpath, str)
        enters = alone and not trailing_sep(rpath)
        stripped = self._strip_protocol(rpath)
        rpaths = await self._expand_path(stripped, recursive=recursive, maxdepth=maxdepth)
        if alone and (not recursive or maxdepth is not None):
            rpaths = [p for p in rpaths if not (trailing_sep(p) or await self._isdir(p))]
        if not rpaths:
            return [], []
        into_directory = trailing_sep(lpath) or os.path.isdir(lpath)
        if alone and is_glob_pattern(stripped) and stripped not in rpaths:
            exists = len(rpaths) == 1
        else:
            exists = alone and into_directory and enters
        return rpaths, other_paths(rpaths, lpath, exists=exists, flatten=not alone)

    async def _only_files(self, paths: dict[str, str]) -> dict[str, str]:
        """The entries of *paths* (by ``bucket/key``) that are objects, and not only directories."""
        from fsspec_avroglob.filesystem.download import with_ancestors

        parents = with_ancestors(path.rpartition("/")[0] for path in paths)
        files = dict(paths)

        async def judge(path: str) -> None:
            # An empty object of a directory's name only marks it; nothing is lost with it.
            if not (await self._info(path))["size"]:
                del files[path]

        await for_each([path for path in paths if path in parents], judge, self.max_concurrency)
        return files
