"""One object as a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.filesystem.reader import ObjectReader


class AvroGlobFile(ObjectReader):
    """An S3 object as a file. All reads return bytes of one version.

    A write that fails, or an error within the ``with`` block, aborts the upload and closes the
    file, so that nothing is stored.
    """

    mpu: dict[str, Any] | None
    buffer: Any
    _failed = False

    def _initiate_upload(self) -> None:
        with self._aborted_on_failure():
            super()._initiate_upload()

    def _upload_chunk(self, final: bool = False) -> Any:
        with self._aborted_on_failure():
            return super()._upload_chunk(final)

    def commit(self) -> None:
        """Store the file. Raises FileExistsError for mode "xb" if the object exists."""
        if self._failed:
            return  # a transaction commits all of its files
        with self._aborted_on_failure():
            if "x" in self.mode and self.tell() == 0:
                # s3fs would overwrite an object with an empty file.
                self.fs.pipe_file(self.path, b"", mode="create", **self.kwargs)
                self.buffer = None
            else:
                super().commit()

    @contextmanager
    def _aborted_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        self.closed, self.buffer, self._failed = True, None, True
        upload, self.mpu = self.mpu, None
        if upload is not None:
            abort = self.fs._abort
            sync(self.fs.loop, abort, self.bucket, self.key, upload["UploadId"], error)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and self.writable():
            self._give_up(error)
        self.close()
