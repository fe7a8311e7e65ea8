"""One object as a file."""

from __future__ import annotations

from typing import Any

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.filesystem.bodies import Version
from fsspec_avroglob.filesystem.written import WritableFile


class AvroGlobFile(WritableFile):
    """An S3 object as a file. All reads return bytes of one version."""

    read_kw: dict[str, Any]

    def _fetch_range(self, start: int, end: int) -> bytes:
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
