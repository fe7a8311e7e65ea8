"""Reading one object as a file: what is asked for, and ahead of a sequential reader."""

from __future__ import annotations

import errno
from typing import Any

from s3fs.core import S3File, version_id_kw
from s3fs.utils import FileExpired

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.filesystem.bodies import FIRST_BYTES, Memory, Version
from fsspec_avroglob.filesystem.readahead import ReadAhead

_LINE_BYTES = 1 << 16  # of one search for the end of a line
_TAIL_BYTES = 1 << 16  # what readers of Parquet ask for first


class ObjectReader(S3File):  # type: ignore[misc]  # s3fs has no types
    """The side of a file that reads. All reads return bytes of one version.

    With the cache of :mod:`.readahead`, a path that is remembered is opened without a request. Any
    other path is opened by a GET of the first bytes, which also tells the size.
    """

    read_kw: dict[str, Any]
    _details: dict[str, Any] | None
    _unproven = False  # what is remembered of the object was neither told to anyone nor confirmed

    def __init__(
        self,
        fs: Any,
        path: str,
        mode: str = "rb",
        *args: Any,
        cache_type: str = ReadAhead.name,
        size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if mode != "rb" or cache_type != ReadAhead.name:
            super().__init__(fs, path, mode, *args, cache_type=cache_type, size=size, **kwargs)
            return
        self.fs, self.path = fs, path
        bucket, key, version_id = fs.split_path(path)
        payer = {"RequestPayer": "requester"} if kwargs.get("requester_pays") else {}
        version_id = kwargs.get("version_id") or version_id
        self._arguments = {"Bucket": bucket, "Key": key, **payer, **version_id_kw(version_id)}
        self._version, data = Version(), b""
        known: dict[str, Any] | None = None
        if key and size is None and not fs.version_aware:
            known = None if version_id else fs._remembered_object(path)
            if known is None:
                data = self._first_bytes()
            else:
                self._version, self._unproven = Version(known.get("ETag"), size=known["size"]), True
            size = self._version.size
        super().__init__(fs, path, mode, *args, cache_type="none", size=size, **kwargs)
        if known is not None:
            self._details = known
        if fs.version_aware and self._details is not None:
            self._version = Version(self._details.get("ETag"), size=self.size)
            self._arguments.update(version_id_kw(self.version_id))
        self._read_by(data)

    def _first_bytes(self) -> bytes:
        """Read the first bytes, of whatever version there is now."""
        self._version = Version()
        try:
            data: bytes = sync(
                self.fs.loop, self.fs._read_first, self._arguments, self._version, FIRST_BYTES
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "No such object", self.path) from error
        return data

    def _read_by(self, data: bytes) -> None:
        """Make the cache, with the first bytes of the object."""
        self.cache = ReadAhead(self.fs.loop, self.size or 0, self._read_chunks, self._read_into)
        if data:
            self.cache.keep(data)

    async def _read_chunks(self, start: int, stop: int) -> list[bytes]:
        part = f"bytes={start}-{stop - 1}"
        read = await self.fs._read(self._arguments, part, self._version)
        self._check_end(stop)
        chunks: list[bytes] = read.chunks
        return chunks

    async def _read_into(self, start: int, stop: int, memory: Memory) -> None:
        await self.fs._read_span(
            self._arguments,
            lambda size: self._check_end(stop),
            memory.write,
            start,
            stop,
            version=self._version,
        )

    def _check_end(self, stop: int) -> None:
        size = self._version.size
        if size is not None and size < stop:
            message = f"the object has {size} bytes, not {self.size} as the caller stated"
            raise OSError(errno.EIO, message, self.path)

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Read for a cache of fsspec."""
        if start >= end:
            return b""
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Key": self.key, **self.read_kw}
        etag = arguments.pop("IfMatch", None)
        if self.fs.local_expiry_check:
            etag = self.details.get("ETag")
        if self.version_id:
            arguments["VersionId"] = self.version_id
        version = Version(etag)
        data: bytes = sync(self.fs.loop, self.fs._read_bytes, arguments, start, end, version)
        if version.etag is not None and not self.fs.local_expiry_check:
            self.read_kw = {**self.read_kw, "IfMatch": version.etag}
        return data

    def read(self, length: int | None = -1) -> bytes:
        """Return the next *length* bytes, fewer at the end; all for -1 or None."""
        try:
            data: bytes = super().read(length)
        except (FileExpired, FileNotFoundError):
            if not self._unproven or self.loc:
                raise
            self._open_again()
            data = super().read(length)
        self._unproven = False
        return data

    def _open_again(self) -> None:
        """Forget what was remembered, which was wrong, and look at the object that is there now."""
        self.fs.listings.forget(self.path)
        self._unproven, self._details = False, None
        data = self._first_bytes()
        self.size = self._version.size
        self._read_by(data)

    def _prove(self) -> None:
        """Read the end, which a caller who goes there reads next; open again if that fails.

        A small object is read whole.
        """
        size = self.size or 0
        try:
            if not size:
                self._open_again()
            self.cache._fetch(0 if size <= FIRST_BYTES else max(0, size - _TAIL_BYTES), size)
        except (FileExpired, FileNotFoundError):
            if not self._unproven:
                raise
            self._open_again()
        self._unproven = False

    def seek(self, loc: int, whence: int = 0) -> int:
        """Go to a byte counted from the start, from here or, with 2, from the end."""
        if whence == 2 and self._unproven:
            self._prove()  # the caller learns the size
        position: int = super().seek(loc, whence)
        return position

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """Return the bytes up to the next *char*, with it. blocks: bytes of one search."""
        if blocks is None and isinstance(self.cache, ReadAhead):
            blocks = _LINE_BYTES
        data: bytes = super().readuntil(char, blocks)
        return data

    def close(self) -> None:
        """Close the file, and end what it reads ahead."""
        cache = getattr(self, "cache", None)
        if isinstance(cache, ReadAhead):
            cache.close()
        super().close()
