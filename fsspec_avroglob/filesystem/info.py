"""What a path is: an object, a directory, or nothing. Only a 404 means nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fsspec.utils import stringify_path

from fsspec_avroglob.filesystem.connection import S3Connection
from fsspec_avroglob.s3.markers import is_marker


class ObjectInfo(S3Connection):
    """The questions about one path. An error that leaves the answer open is raised."""

    async def _isfile(self, path: str) -> bool:
        """Whether *path* is an object. Raises errors that leave the answer open, as 403 does."""
        try:
            info = await self._info(path)
        except FileNotFoundError:
            return False
        return bool(info["type"] == "file")

    async def _exists(self, path: str) -> bool:
        """Whether *path* exists. Raises errors that leave the answer open, as 403 does."""
        path = self._strip_protocol(path)
        bucket, key, _ = self.split_path(path)
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        except PermissionError:
            if key or not await self._bucket_answers(bucket):
                raise
        return True

    async def _bucket_answers(self, bucket: str) -> bool:
        """Whether a bucket that may not be listed grants another request."""
        for method, limit in (("get_bucket_location", {}), ("list_objects_v2", {"MaxKeys": 1})):
            with suppress(PermissionError):
                await self._call_s3(method, Bucket=bucket, **limit, **self.req_kw)
                return True
        return False

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        """As s3fs's. A path that a listing returned costs no request."""
        whole = stringify_path(path)
        path = self._strip_protocol(path)
        slashes = whole[len(whole.rstrip("/")) :]
        if slashes and version_id is None:
            with suppress(PermissionError):  # who may not list may still ask for the object
                if (own := await self._slash_info(path + slashes)) is not None:
                    return own
        if not refresh and version_id is None and not self._in_dircache(path):
            remembered = self.listings.info(path.lstrip("/"))
            if remembered is not None:
                return remembered
        info: dict[str, Any] = await super()._info(path, bucket, key, refresh, version_id)
        return info

    async def _slash_info(self, path: str) -> dict[str, Any] | None:
        """Return the info of *path*, which ends in a slash; None if nothing has this prefix.

        That is the object of exactly this key or, if it is a marker or there is none, a directory.
        """
        bucket, key, _ = self.split_path(path)
        if not key:
            return None
        arguments = {"Bucket": bucket, "Prefix": key, "Delimiter": "/", "MaxKeys": 1}
        answer = await self._call_s3("list_objects_v2", self.kwargs, **arguments)
        first: dict[str, Any] = next(iter(answer.get("Contents", ())), {})
        if first.get("Key") == key and not is_marker(key, first["Size"]):
            own = {"Key": path, "name": path, "size": first["Size"], "type": "file"}
            return {**first, **own}
        if first or answer.get("CommonPrefixes"):
            from fsspec_avroglob.s3.page import info_of_directory

            return info_of_directory(path.rstrip("/"))
        return None

    async def _isdir(self, path: str) -> bool:
        """Whether *path* is a directory. A path that a listing returned costs no request."""
        stripped = self._strip_protocol(path).strip("/")
        remembered = None if self._in_dircache(stripped) else self.listings.is_directory(stripped)
        if remembered is not None:
            return remembered
        cached = stripped in self.dircache or self._parent(stripped) in self.dircache
        if cached or not self.split_path(stripped)[1]:
            found: bool = await super()._isdir(path)
            return found
        try:
            return await self._slash_info(stripped + "/") is not None
        except FileNotFoundError:
            return False

    def _in_dircache(self, path: str) -> bool:
        """Whether s3fs's cache of whole directories knows that *path* exists."""
        try:
            return self._ls_from_cache(path.lstrip("/")) is not None
        except FileNotFoundError:
            return False

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings of *path* and its parents, and all results of globs."""
        super().invalidate_cache(path)
        self.listings.forget()
