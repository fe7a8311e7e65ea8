"""Parts of files of any filesystem, each by one request where it is S3."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.filesystem.objects import ObjectPart
from fsspec_avroglob.readers.expand import NO_FILE, Location, must_be_file
from fsspec_avroglob.s3.translation import error_code


async def read_part(
    file: Location, start: int, end: int | None, etag: str | None = None
) -> ObjectPart:
    """The bytes [*start*, *end*) of *file*, fewer where it ends; runs on fsspec's I/O loop.

    - ``end``: None for the end of the file.
    - ``etag``: the version that must be read, as far as the filesystem knows versions.

    Raises FileNotFoundError and IsADirectoryError with the user's name of the file, and FileExpired
    for another version.
    """
    if end is not None and start >= end:
        return ObjectPart(b"", None, etag)
    try:
        if isinstance(file.fs, AvroGlobFileSystem):
            return await file.fs._read_part(file.path, start, end, etag)
        return await asyncio.to_thread(_blocking_part, file, start, end)
    except IsADirectoryError as error:
        raise IsADirectoryError(errno.EISDIR, NO_FILE, file.name) from error
    except FileNotFoundError as error:
        if error_code(error.__cause__) == "NoSuchBucket":
            raise FileNotFoundError(errno.ENOENT, "The bucket does not exist", file.name) from error
        await must_be_file(file)
        raise FileNotFoundError(errno.ENOENT, "No such file", file.name) from error
    except OSError as error:
        if _starts_past_the_end(error):
            return ObjectPart(b"", None if start else 0, etag)
        raise


def _blocking_part(file: Location, start: int, end: int | None) -> ObjectPart:
    data: bytes = file.fs.cat_file(file.path, start=start, end=end)
    if end is None or len(data) < end - start:
        return ObjectPart(data, start + len(data), None)
    if len(data) > end - start:  # a server that knows no ranges
        return ObjectPart(data, len(data), None) if start == 0 else _cut(data, start, end)
    return ObjectPart(data, file.size if file.size is not None else _size(file), None)


def _cut(data: bytes, start: int, end: int) -> ObjectPart:
    return ObjectPart(data[start:end], len(data), None)


def _size(file: Location) -> int | None:
    try:
        size: int | None = file.fs.info(file.path)["size"]
    except FileNotFoundError:  # as of a URL that is signed for reading alone
        return None
    return size


def _starts_past_the_end(error: OSError) -> bool:
    """Whether a server refused a range (HTTP 416) because the object ends before it starts."""
    response: Any = getattr(error.__cause__ or error.__context__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in ("InvalidRange", "416")
