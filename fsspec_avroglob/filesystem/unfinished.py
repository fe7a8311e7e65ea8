"""Multipart uploads that were begun and neither completed nor aborted."""

from __future__ import annotations

import datetime as dt
import errno
from contextlib import suppress
from typing import Any, NamedTuple

from fsspec_avroglob.aio.blocking import sync_wrapper
from fsspec_avroglob.aio.tasks import for_each
from fsspec_avroglob.filesystem.connection import S3Connection


class Upload(NamedTuple):
    """An unfinished upload of an object.

    begun: when it was created, with a time zone.
    """

    bucket: str
    key: str
    upload_id: str
    begun: dt.datetime

    @property
    def path(self) -> str:
        """The path of the object that it would make."""
        return f"{self.bucket}/{self.key}"


class UnfinishedUploads(S3Connection):
    """The unfinished uploads of a filesystem. A process that is killed may leave one."""

    async def _uploads(
        self, prefix: str, older_than: dt.timedelta = dt.timedelta()
    ) -> list[Upload]:
        """Return the unfinished uploads of keys that begin with a prefix.

        Parameters
        ----------
        prefix : str
            ``bucket``, or ``bucket/prefix``. The prefix need not end at a slash.
        older_than : datetime.timedelta
            Only uploads that were created at least this long ago, by this machine's clock.
        """
        bucket, key, _ = self.split_path(prefix)
        if not bucket:
            raise ValueError("uploads needs the name of a bucket: s3://bucket/prefix")
        latest = dt.datetime.now(dt.UTC) - older_than
        found: list[Upload] = []
        marker: dict[str, Any] = {}
        while True:
            page = await self._call_s3(
                "list_multipart_uploads", Bucket=bucket, Prefix=key, **marker
            )
            for item in page.get("Uploads", ()):
                if not item["Key"].startswith(key):
                    what = f"the list of uploads holds {item['Key']!r}"
                    raise OSError(errno.EIO, what, f"{bucket}/{key}")
                upload = Upload(bucket, item["Key"], item["UploadId"], item["Initiated"])
                if upload.begun <= latest:
                    found.append(upload)
            if not page.get("IsTruncated"):
                return found
            following = {
                "KeyMarker": page.get("NextKeyMarker"),
                "UploadIdMarker": page.get("NextUploadIdMarker"),
            }
            following = {name: value for name, value in following.items() if value}
            if not following or following == marker:
                raise OSError(errno.EIO, "the list of uploads does not go on", f"{bucket}/{key}")
            marker = following

    async def _abort_uploads(
        self, prefix: str, older_than: dt.timedelta = dt.timedelta()
    ) -> list[Upload]:
        """Abort the uploads that :meth:`uploads` returns, and return them.

        An upload that ends meanwhile is no error. A file that is still being written fails.
        """
        found = await self._uploads(prefix, older_than)

        async def abort(upload: Upload) -> None:
            target = {"Bucket": upload.bucket, "Key": upload.key, "UploadId": upload.upload_id}
            with suppress(FileNotFoundError):  # it was completed or aborted
                await self._call_s3("abort_multipart_upload", **target)

        await for_each(found, abort, self.max_concurrency)
        return found

    uploads = sync_wrapper(_uploads)
    abort_uploads = sync_wrapper(_abort_uploads)
