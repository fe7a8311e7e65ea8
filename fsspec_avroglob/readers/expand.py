"""Paths, URLs and globs as lists of files: the functions for users.

>>> from fsspec_avroglob import expand_path
>>> expand_path("s3://lake/events/year=2025/**/*.avro")  # doctest: +SKIP
['s3://lake/events/year=2025/month=01/part-0.avro', ...]
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Unpack

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import on_io_loop
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.conditions import Conditions, FileConditions
from fsspec_avroglob.glob.magic import is_glob_pattern, literal_directory
from fsspec_avroglob.readers.locate import (
    SourcePath,
    Sources,
    StorageOptions,
    expand,
    is_s3_uri,
    locate,
)


class S3GlobUri(NamedTuple):
    """The parts of an S3 URI.

    Attributes
    ----------
    bucket : str
        Name of the bucket.
    prefix : str
        The key up to the last ``/`` before the first magic character; the whole key if it has
        no magic character.
    pattern : str
        The whole key.
    """

    bucket: str
    prefix: str
    pattern: str


def parse_s3_glob_uri(uri: str) -> S3GlobUri:
    """Split an S3 URI, with or without a glob, into its parts.

    Raises
    ------
    ValueError
        *uri* is not an S3 URI, lacks a bucket or a key, or has a pattern for a bucket.

    Examples
    --------
    >>> parse_s3_glob_uri("s3://bucket/path/to/part-*.avro")
    S3GlobUri(bucket='bucket', prefix='path/to/', pattern='path/to/part-*.avro')
    """
    if not is_s3_uri(uri):
        raise ValueError(f"{uri!r} is not an S3 URI, such as s3://bucket/path/*.avro")
    bucket, key = AvroGlobFileSystem._find_bucket_key(None, uri.partition("://")[2])
    if not bucket or not key:
        raise ValueError(f"{uri!r} names no {'key' if bucket else 'bucket'}")
    if is_glob_pattern(bucket):
        raise ValueError(f"{uri!r} has a pattern for its bucket; name one bucket")
    prefix = literal_directory(key) if is_glob_pattern(key) else key
    return S3GlobUri(bucket, prefix, key)


def expand_path(
    path: SourcePath,
    storage_options: StorageOptions = None,
    *,
    glob: bool = True,
    **conditions: Unpack[Conditions],
) -> list[str]:
    """Return the files that match a glob, sorted, or the one file that *path* names.

    Local paths stay paths and URLs stay URLs. Directories are not in the result.

    Parameters
    ----------
    path : str or path
        A path, a URL or a glob of either.
    storage_options : mapping, optional
        Options of the filesystem that serves the URL.
    glob : bool
        False returns *path* unchanged, without a request.
    modified_after, modified_before : datetime, date, timedelta or str, optional
        Only files modified in this time: a time (ISO text, UTC without a zone), or how long ago
        ("12h", "2d"). The result may be empty.
    min_size, max_size : int, optional
        Only files of this size in bytes.

    Raises
    ------
    FileNotFoundError
        Nothing matches the pattern, or the file does not exist.
    IsADirectoryError
        *path* is a directory.
    PatternError
        The pattern is malformed.
    """
    return expand_paths([path], storage_options, glob=glob, **conditions)


async def expand_path_async(
    path: SourcePath,
    storage_options: StorageOptions = None,
    *,
    glob: bool = True,
    **conditions: Unpack[Conditions],
) -> list[str]:
    """:func:`expand_path` as a coroutine."""
    return await expand_paths_async([path], storage_options, glob=glob, **conditions)


def expand_paths(
    paths: Sources,
    storage_options: StorageOptions = None,
    *,
    glob: bool = True,
    **conditions: Unpack[Conditions],
) -> list[str]:
    """Return the files of several paths, in the order of the paths; listings run concurrently.

    The matches of each glob are sorted, and each file appears once. Parameters and errors are
    those of :func:`expand_path`.
    """
    wanted = _wanted(conditions, glob)
    located = locate(paths, storage_options)
    files = blocking(expand, located, glob=glob, check=True, conditions=wanted)
    return [file.name for file in files]


async def expand_paths_async(
    paths: Sources,
    storage_options: StorageOptions = None,
    *,
    glob: bool = True,
    **conditions: Unpack[Conditions],
) -> list[str]:
    """:func:`expand_paths` as a coroutine."""
    wanted = _wanted(conditions, glob)
    # Creating a filesystem may block: an archive reads its index.
    located = await asyncio.to_thread(locate, paths, storage_options)
    files = await on_io_loop(expand, located, glob=glob, check=True, conditions=wanted)
    return [file.name for file in files]


def _wanted(conditions: Conditions, glob: bool) -> FileConditions | None:
    if conditions and not glob:
        raise ValueError(f"{', '.join(conditions)} cannot be checked with glob=False")
    return FileConditions.of(**conditions) if conditions else None


def expand_s3_glob(uri: str, storage_options: StorageOptions = None) -> list[str]:
    """:func:`expand_path` for S3 URIs alone; raises ValueError for others."""
    parse_s3_glob_uri(uri)
    return expand_paths([uri], storage_options)


async def expand_s3_glob_async(uri: str, storage_options: StorageOptions = None) -> list[str]:
    """:func:`expand_s3_glob` as a coroutine."""
    parse_s3_glob_uri(uri)
    return await expand_paths_async([uri], storage_options)
