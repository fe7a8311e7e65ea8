"""What a path is: an object, a directory, or nothing. Only a 404 means nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fsspec.utils import stringify_path

from fsspec_avroglob.filesystem.connection import S3Connection
from fsspec_avroglob.s3.markers import is_marker


class ObjectInfo(S3Connection):
    """The questions about one path. An error that leaves the answer open is raised."""

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        """As s3fs's. A path that is remembered costs no request."""
        whole = stringify_path(path)
        path = self._strip_protocol(path)
        slashes = whole[len(whole.rstrip("/")) :]
        if not refresh and version_id is None:
            remembered = self.listings.info(path.lstrip("/"))
            if remembered is not None and not (slashes and remembered["type"] == "file"):
                return remembered
        if slashes and version_id is None:
            with suppress(PermissionError):  # who may not list may still ask for the object
                if (own := await self._slash_info(path + slashes)) is not None:
                    return own
        number = self.listings.begin()
        info: dict[str, Any] = await super()._info(path, bucket, key, refresh, version_id)
        if version_id is None and "?versionId=" not in path:
            self.listings.add_head(path.lstrip("/"), info, number=number)
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
        """As s3fs's. A path that is remembered costs no request."""
        stripped = self._strip_protocol(path).strip("/")
        remembered = self.listings.is_directory(stripped)
        if remembered is not None or not stripped:
            return remembered or not stripped
        try:
            entries = await self._entries(stripped)
        except FileNotFoundError:
            return False
        return entries is not None or "/" not in stripped

    async def _entries(self, path: str) -> list[dict[str, Any]] | None:
        """Return what is directly in a directory, None if there is no such directory."""
        raise NotImplementedError  # by ObjectLists

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

    # -- the memory, for s3fs's code --

    def _ls_from_cache(self, path: str) -> list[dict[str, Any]] | None:
        """Return the cached listing of *path*, None if there is none.

        s3fs and fsspec take a path that is not in the cached listing of its parent for missing.
        Here the server is asked.
        """
        if self.version_aware:
            listed: list[dict[str, Any]] | None = super()._ls_from_cache(path)
            return listed
        if (infos := self.listings.level(path.rstrip("/"))) is not None:
            return infos
        info = self.listings.info(path)
        return None if info is None else [info]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what is known of *path*, all below it, and what contains it; or everything."""
        if self.version_aware:
            super().invalidate_cache(path)
        if path is None:
            self.listings.forget()
        else:
            self.listings.forget_below(self._strip_protocol(path).strip("/"))
