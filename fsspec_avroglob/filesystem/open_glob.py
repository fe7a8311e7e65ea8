"""Open a glob: one file over all files that match, if their format can be joined.

>>> with fs.open("bucket/day=*/*.avro") as file:  # doctest: +SKIP
...     records = list(fastavro.reader(file))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from fsspec_avroglob.aio.blocking import sync
from fsspec_avroglob.avro.container import AVRO_MAGIC
from fsspec_avroglob.errors import CannotJoinError
from fsspec_avroglob.filesystem.header_lines import HeaderRule
from fsspec_avroglob.filesystem.join_avro import avro_stretches
from fsspec_avroglob.filesystem.join_text import CompressedLines, line_stretches
from fsspec_avroglob.filesystem.joined import JoinedFile, RangeReader, Source, Stretch, Tail

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
# Text may be a table, with a header line that each file repeats.
_KINDS = dict.fromkeys((".csv", ".tsv"), "csv") | {".txt": "text"}
_KINDS |= dict.fromkeys((".jsonl", ".ndjson", ".log"), "lines")

# What reads many files of common formats that cannot be joined.
_INSTEAD = {
    ".parquet": "pandas.read_parquet(fs.glob(pattern), filesystem=fs), or "
    "pyarrow.dataset.dataset with the same arguments",
    ".orc": "pyarrow.dataset.dataset(fs.glob(pattern), filesystem=fs, format='orc')",
    ".arrow": "pyarrow.dataset.dataset(fs.glob(pattern), filesystem=fs, format='arrow')",
    ".feather": "pyarrow.dataset.dataset(fs.glob(pattern), filesystem=fs, format='feather')",
}


class _Format(NamedTuple):
    """The format that a file name states."""

    kind: str  # "csv", "text", "lines" or another suffix
    codec: str | None  # "gzip" or "zstd"


def open_glob(
    reader: RangeReader,
    pattern: str,
    sources: Sequence[Source],
    block_size: int,
    cache_type: str,
    cache_options: dict[str, Any] | None,
    header_lines: int | None = None,
) -> JoinedFile | CompressedLines:
    """Open *sources*, the files that match *pattern*, as one file.

    header_lines: the number of lines that only the first file keeps, for files of lines; None to
    find out.

    A single file may have any format. Raises CannotJoinError if the files have different formats,
    or one that cannot be joined, and what :func:`avro_stretches` and :func:`line_stretches` raise.
    """
    format_ = _common_format(sources)
    rule = HeaderRule(format_.kind, header_lines)
    if format_.codec is not None and len(sources) > 1:
        if format_.kind not in _KINDS.values():
            raise _not_joinable(format_, sources[0])
        return CompressedLines(reader, pattern, sources, format_.codec, rule)
    stretches: Sequence[Stretch] = sync(reader.loop, _stretches, reader, sources, rule)
    return JoinedFile(reader, pattern, stretches, block_size, cache_type, cache_options)


async def _stretches(
    reader: RangeReader, sources: Sequence[Source], rule: HeaderRule
) -> Sequence[Stretch]:
    if len(sources) == 1:
        return [Tail(sources[0])]
    if rule.kind in _KINDS.values():
        return await line_stretches(reader, sources, rule)
    if rule.kind == ".avro" or await sources[0].read(reader, 0, len(AVRO_MAGIC)) == AVRO_MAGIC:
        return await avro_stretches(reader, sources)
    raise _not_joinable(_format_by_name(sources[0].path), sources[0])


def _not_joinable(format_: _Format, source: Source) -> CannotJoinError:
    instead = _INSTEAD.get(format_.kind, "fs.glob(pattern) and open the files one by one")
    return CannotJoinError(
        f"cannot open many files of the format of {source.path} as one: only Avro files and files "
        f"of lines ({', '.join(_KINDS)}; lines also with .gz or .zst) can be joined; "
        f"use {instead}"
    )


def _common_format(sources: Sequence[Source]) -> _Format:
    """Return the format that all names state. Raises CannotJoinError for the first that differs."""
    first = _format_by_name(sources[0].path)
    for source in sources[1:]:
        if _format_by_name(source.path) != first:
            raise CannotJoinError(
                f"cannot open many files as one: {source.path} and {sources[0].path} have "
                "different formats; use a pattern that matches files of one format"
            )
    return first


def _format_by_name(path: str) -> _Format:
    stem, suffix = os.path.splitext(path.lower())
    codec = _COMPRESSIONS.get(suffix)
    if codec is not None:
        suffix = os.path.splitext(stem)[1]
    return _Format(_KINDS.get(suffix, suffix), codec)
