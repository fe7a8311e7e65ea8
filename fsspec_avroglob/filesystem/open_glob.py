"""Opening a glob: one file over all files that match it, if their format can be joined."""

from __future__ import annotations

import errno
import os
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.aio.tasks import gather
from fsspec_avroglob.avro.container import MAGIC
from fsspec_avroglob.errors import CannotJoinError
from fsspec_avroglob.filesystem.join_avro import avro_stretches
from fsspec_avroglob.filesystem.join_text import CompressedLines, line_stretches
from fsspec_avroglob.filesystem.joined import JoinedFile, ObjectPart, Source, Stretch
from fsspec_avroglob.glob.pattern import GlobPattern

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_LINES = (".jsonl", ".ndjson", ".txt", ".log")
_CSV = (".csv", ".tsv")

# Formats of which many are met, and what reads many of their files.
_INSTEAD = {
    ".parquet": "pandas.read_parquet(fs.glob(pattern), filesystem=fs), or "
    "pyarrow.dataset.dataset with the same arguments",
    ".orc": "pyarrow.dataset.dataset(fs.glob(pattern), filesystem=fs, format='orc')",
    ".arrow": "pyarrow.dataset.dataset(fs.glob(pattern), filesystem=fs, format='arrow')",
    ".feather": "pyarrow.dataset.dataset(fs.glob(pattern), filesystem=fs, format='feather')",
}


class _Format(NamedTuple):
    """``kind``: "csv", "lines" or a suffix that is neither's; ``codec``: "gzip", "zstd" or None."""

    kind: str
    codec: str | None


def open_glob(
    fs: AvroGlobFileSystem,
    pattern: str,
    block_size: int,
    cache_type: str,
    cache_options: dict[str, Any] | None,
) -> JoinedFile | CompressedLines | None:
    """The one file over all that match *pattern*, "bucket/key", in sorted order.

    - ``block_size``, ``cache_type``, ``cache_options``: of fsspec's read caches.

    Returns None if there is an object of that very name. A single match is opened as it is,
    whatever its format. Raises FileNotFoundError if nothing matches, CannotJoinError for formats
    that cannot be joined, and what :func:`avro_stretches` and :func:`line_stretches` raise.
    """
    sources: list[Source] | None = sync(fs.loop, _matches, fs, pattern)
    if sources is None:
        return None
    format_ = _common_format(sources)
    if format_.codec is not None and len(sources) > 1:
        if format_.kind not in ("csv", "lines"):
            raise _not_joinable(format_, sources[0])
        csv = format_.kind == "csv"
        return CompressedLines(fs, pattern, sources, codec=format_.codec, csv=csv)
    stretches: Sequence[Stretch] = sync(fs.loop, _stretches, fs, sources, format_)
    return JoinedFile(
        fs,
        pattern,
        stretches,
        block_size=block_size,
        cache_type=cache_type,
        cache_options=cache_options,
    )


async def _matches(fs: AvroGlobFileSystem, pattern: str) -> list[Source] | None:
    """The files that match, sorted; None if there is an object named as the pattern is."""
    try:
        matches_itself = GlobPattern.parse(pattern).matches(pattern)
    except ValueError:
        if await _exists(fs, pattern):
            return None
        raise
    if not matches_itself:
        # Braces and sets do not stand for themselves, so the listing will not show it.
        asked: list[Coroutine[Any, Any, Any]] = [
            fs._glob(pattern, detail=True),
            _exists(fs, pattern),
        ]
        found, exists = await gather(asked)
    else:
        found = await fs._glob(pattern, detail=True)
        exists = pattern in found
    if exists:
        return None
    sources = [
        Source(path, info["size"], info.get("ETag"))
        for path, info in sorted(found.items())
        if info["type"] == "file"
    ]
    if not sources:
        raise FileNotFoundError(errno.ENOENT, "No file matches the pattern", pattern)
    return sources


async def _exists(fs: AvroGlobFileSystem, path: str) -> bool:
    bucket, key, _ = fs.split_path(path)
    try:
        await fs._call_s3("head_object", Bucket=bucket, Key=key)
    except FileNotFoundError:
        return False
    return True


async def _stretches(
    fs: AvroGlobFileSystem, sources: Sequence[Source], format_: _Format
) -> Sequence[Stretch]:
    if len(sources) == 1:
        return [ObjectPart(sources[0])]
    if format_.kind in ("csv", "lines"):
        return await line_stretches(fs, sources, csv=format_.kind == "csv")
    if format_.kind == ".avro" or await sources[0].read(fs, 0, len(MAGIC)) == MAGIC:
        return await avro_stretches(fs, sources)
    raise _not_joinable(format_, sources[0])


def _not_joinable(format_: _Format, source: Source) -> CannotJoinError:
    instead = _INSTEAD.get(format_.kind, "fs.glob(pattern) and open the files one by one")
    return CannotJoinError(
        f"many files such as {source.path} cannot be opened as one: Avro and lines "
        f"({', '.join((*_LINES, *_CSV))}; lines with .gz or .zst too) can; use {instead}"
    )


def _common_format(sources: Sequence[Source]) -> _Format:
    """The format that the names say. Raises CannotJoinError, naming the first that differs."""
    first = _format_by_name(sources[0].path)
    for source in sources[1:]:
        if _format_by_name(source.path) != first:
            raise CannotJoinError(
                f"{source.path} and {sources[0].path} are not of one format, and cannot be opened "
                "as one file; use a pattern that matches files of one format"
            )
    return first


def _format_by_name(path: str) -> _Format:
    stem, suffix = os.path.splitext(path.lower())
    codec = _COMPRESSIONS.get(suffix)
    if codec is not None:
        suffix = os.path.splitext(stem)[1]
    if suffix in _CSV or suffix in _LINES:
        suffix = "csv" if suffix in _CSV else "lines"
    return _Format(suffix, codec)
