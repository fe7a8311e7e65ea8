"""What a path is: an object, a directory, or nothing. Only a 404 means nothing."""

from __future__ import annotations

from contextlib import suppress

from fsspec_avroglob.filesystem.connection import S3Connection


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
