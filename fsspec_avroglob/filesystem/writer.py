"""An object as a file to write: sent in parts while it is written, stored whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from s3fs.core import S3File

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.filesystem.parts import (
    MAX_PARTS,
    MAX_PUT_BYTES,
    PartQueue,
    part_entry,
    parts_at_once,
)
from fsspec_avroglob.filesystem.unwinding import unwinding

logger = logging.getLogger("fsspec_avroglob")

# Parts are of equal size as long as this suffices. A stream without end would reach MAX_PARTS.
_EQUAL_PARTS = 5_000
_LATER_PARTS = 16  # times the size of the first ones


class ObjectWriter(S3File):  # type: ignore[misc]  # s3fs has no types
    """The writing half of a file.

    Parts of equal size are sent concurrently while more is written. Nothing is stored, and the
    upload is aborted, if

    - a write fails,
    - an error ends the ``with`` block of the file or of a wrapper, or a ``finally`` closes it
      (see :mod:`.unwinding`),
    - the file or its wrapper is collected without ``close()``: then with a ResourceWarning.
    """

    mpu: dict[str, Any] | None
    parts: list[dict[str, Any]] | None
    buffer: Any
    offset: int | None
    _failed = False  # nothing will be stored
    _discarded = False  # by the caller
    _stored = False
    _queue: PartQueue | None = None
    _opened_during: BaseException | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._opened_during = sys.exception()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self.closed = True
            raise

    # -- parts --

    def write(self, data: Any) -> int:
        """Write bytes. Sends each part that is full; waits if enough of them are on their way."""
        view = memoryview(data)
        size: int = view.nbytes
        if self._failed and not self.closed:
            return size  # a wrapper that is collected writes its rest
        if not self.writable():
            raise ValueError("I/O operation on closed file." if self.closed else "not writable")
        if self.forced:
            raise ValueError("This file has been force-flushed, can only close")
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        at = 0
        while at < size:
            part_bytes = self._part_bytes
            room = part_bytes - self.buffer.tell()
            if room == part_bytes == size and isinstance(data, bytes):
                self.loc += size
                self._send_part(data)
                break
            piece = view[at : at + room]
            at += self.buffer.write(piece)
            self.loc += len(piece)
            if len(piece) == room:
                self._send_part(self._taken())
        return size

    @property
    def _part_bytes(self) -> int:
        grows = len(self.parts or ()) >= _EQUAL_PARTS and not self.fs.fixed_upload_size
        first: int = self.blocksize
        return min(first * _LATER_PARTS, MAX_PUT_BYTES) if grows else first

    def _taken(self) -> bytes:
        """Take the bytes out of the buffer, without a copy."""
        taken: bytes = self.buffer.getvalue()
        self.buffer = io.BytesIO()
        return taken

    def _send_part(self, body: bytes) -> None:
        with self._discarded_on_failure():
            if self.offset is None:
                self.offset = 0
                self._initiate_upload()
            assert self.parts is not None
            number = len(self.parts) + 1
            if number > MAX_PARTS:
                reason = f"more than {MAX_PARTS:,} parts; open it with a larger block_size"
                raise OSError(errno.EFBIG, reason, self.path)
            part: dict[str, Any] = {"PartNumber": number}
            self.parts.append(part)
            self.offset += len(body)
            sync(self.fs.loop, self._parts_in_flight.put, number, body)

    @property
    def _parts_in_flight(self) -> PartQueue:
        if self._queue is None:
            assert self.mpu is not None
            assert self.parts is not None
            fs, bucket, key, upload = self.fs, self.bucket, self.key, self.mpu["UploadId"]
            parts, call = self.parts, (self.s3_additional_kwargs, self._request_payer_kw)
            algorithm = {**fs.s3_additional_kwargs, **self.s3_additional_kwargs}.get(
                "ChecksumAlgorithm"
            )

            # Refers to no file, so that a file nobody holds is collected.
            async def send(number: int, body: bytes) -> None:
                target = {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": number}
                answer = await fs._call_s3("upload_part", *call, **target, Body=body)
                parts[number - 1].update(part_entry(number, answer, algorithm))

            concurrency = parts_at_once(self.blocksize, fs.max_concurrency)
            abort = partial(fs._abort, bucket, key, upload)
            self._queue = PartQueue(send, abort, concurrency)
        return self._queue

    def _initiate_upload(self) -> None:
        with self._discarded_on_failure():
            super()._initiate_upload()

    def _upload_chunk(self, final: bool = False) -> bool:
        """Send what is left. Returns False: the buffer is emptied here."""
        if final and self.mpu is None:
            self.buffer = io.BytesIO(self._taken())  # commit() reads it without a copy
        elif rest := self._taken():
            self._send_part(rest)
        if final and self.autocommit:
            self.commit()
        elif final and self._queue is not None:
            with self._discarded_on_failure():
                sync(self.fs.loop, self._queue.join)
        return False

    # -- the end --

    def commit(self) -> None:
        """Store the file. Raises FileExistsError for mode "xb" if the object exists."""
        if self._discarded:
            raise ValueError(f"cannot commit {self.path}: it was discarded")
        if self._failed:
            return  # a transaction commits all of its files
        with self._discarded_on_failure():
            if self._queue is not None:
                sync(self.fs.loop, self._queue.join)
            if "x" in self.mode and self.tell() == 0:
                # s3fs would overwrite an object with an empty file.
                self.fs.pipe_file(self.path, b"", mode="create", **self.kwargs)
                self.buffer = None
            else:
                super().commit()
        self._stored = True

    def close(self) -> None:
        """Store the file, unless an error is on its way through the code that closes it."""
        if not self.closed and self.mode != "rb":
            if self._failed:
                self.closed = True
                return
            error = unwinding(self._opened_during)
            if error is not None:
                self._give_up(error)
        super().close()
        self._opened_during = None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and self.writable():
            self._give_up(error)
        self.close()

    @contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        """Store nothing, because of *error*."""
        self.closed, self.buffer, self._failed = True, None, True
        queue = self._take_queue()
        if queue is not None:
            sync(self.fs.loop, queue.discard, error)

    def _take_queue(self) -> PartQueue | None:
        queue = None if self.mpu is None or self._stored else self._parts_in_flight
        self.mpu = self._queue = None
        return queue

    def discard(self) -> None:
        """Store nothing. The file cannot be committed afterwards."""
        self._discarded = True
        self._give_up(RuntimeError("discarded"))

    # -- files that nobody closes --

    def _dealloc_warn(self, source: object) -> None:
        """Store nothing; called by a wrapper of this file, *source*, that is collected."""
        if self._failed or self.closed:
            return
        self._failed = True
        message = f"{self.path} was not closed; nothing is stored. Close files, or use 'with'."
        logger.warning(message)
        warnings.warn(message, ResourceWarning, stacklevel=2, source=source)
        self._abort_soon()

    def _abort_soon(self) -> None:
        """Abort the upload without waiting: the garbage collector runs in any thread."""
        queue, loop = self._take_queue(), self.fs.loop
        if queue is not None and loop is not None and loop.is_running():
            with suppress(RuntimeError):  # the loop ends
                asyncio.run_coroutine_threadsafe(queue.discard(ResourceWarning()), loop)

    def __del__(self) -> None:
        if getattr(self, "mode", "rb") == "rb":
            super().__del__()
        elif not self.closed:
            self._dealloc_warn(self)
            self.closed = True
        elif not self._failed and self.mpu is not None and not self._stored:
            self._abort_soon()  # closed, but neither committed nor discarded


def close_together(outer: Any, inner: ObjectWriter) -> Any:
    """Return *outer*, a compressor that writes to *inner*, so that closing it closes both."""
    if outer is inner:
        return inner
    close_outer = outer.close

    def close() -> None:
        if getattr(outer, "_finalizing", False):  # set by IOBase.__del__
            inner._dealloc_warn(outer)
        with inner._discarded_on_failure():
            close_outer()
        inner.close()

    with suppress(AttributeError):  # some types of C close the inner file themselves
        outer.close = close
    return outer
