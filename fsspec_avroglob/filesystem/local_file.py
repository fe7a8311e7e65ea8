"""A local file that is sent: its bytes must not change before all of them are sent."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import tempfile
from typing import IO, Self

_SHORT_BYTES = 2**20  # reading this much takes less time than asking a thread for it


class LocalFile:
    """A local file to send, which must stay as it is until all of it is sent.

    What has no size of its own, a pipe for example, is read into a temporary file first.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115  # closed by __exit__
        self._turn = asyncio.Lock()
        try:
            self._state: os.stat_result | None = os.fstat(self._file.fileno())
            if not stat.S_ISREG(self._state.st_mode):
                source, self._file = self._file, tempfile.TemporaryFile()  # noqa: SIM115
                with source:
                    shutil.copyfileobj(source, self._file)
                self._file.flush()
                self._state = None
            self.size = os.fstat(self._file.fileno()).st_size
        except BaseException:
            self._file.close()
            raise

    @classmethod
    async def open(cls, path: str) -> Self:
        """Open a file. Opening and reading a pipe waits for its other end, in a thread."""
        regular = stat.S_ISREG(os.stat(path).st_mode)
        return cls(path) if regular else await asyncio.to_thread(cls, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    async def read(self, start: int, stop: int) -> bytes:
        """Read the bytes [*start*, *stop*). Raises OSError if the file has fewer."""

        def read() -> bytes:
            self._file.seek(start)
            return self._file.read(stop - start)

        async with self._turn:
            short = stop - start <= _SHORT_BYTES
            data = read() if short else await asyncio.to_thread(read)
        if len(data) != stop - start:
            raise self._changed("is shorter")
        return data

    def check(self) -> None:
        """Raise OSError if the file is not the one that was opened, or has changed."""
        if self._state is None:
            return
        try:
            now = os.stat(self.path)
        except OSError as error:
            raise self._changed("was removed") from error
        if (now.st_dev, now.st_ino) != (self._state.st_dev, self._state.st_ino):
            raise self._changed("was replaced")
        if now.st_size != self._state.st_size:
            raise self._changed(f"has {now.st_size:,} bytes instead of {self.size:,}")
        if now.st_mtime_ns != self._state.st_mtime_ns:
            raise self._changed("was written to")
        # Files of /proc state no size.
        self._file.seek(self.size)
        if self._file.read(1):
            raise self._changed(f"has more than {self.size:,} bytes")

    def _changed(self, how: str) -> OSError:
        message = f"nothing is stored: the file {how} while it was sent; send it again"
        return OSError(errno.EBUSY, message, self.path)
