"""From the names that users give (paths, URLs, globs, lists of them) to files and their one schema.

Paths are expanded by the grammar of :mod:`fsspec_avroglob.pattern` wherever the files are. ``s3://``,
``s3a://`` and ``avroglob://`` are served by :class:`AvroGlobFileSystem`, everything else by the
filesystem that fsspec knows for it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.asyn import get_loop
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.avro.container import (
    MAX_HEADER_BYTES,
    ContainerHeader,
    NeedMoreBytes,
    NotAvroError,
    parse_header,
)
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    InvalidSchemaError,
    ParsedSchema,
    column_mapping,
    parse_schema,
)
from fsspec_avroglob.blocking import sync
from fsspec_avroglob.filesystem import AvroGlobFileSystem
from fsspec_avroglob.pattern import GlobPattern, is_glob_pattern

__all__ = [
    "ResolvedSources",
    "S3GlobUri",
    "Source",
    "StorageOptions",
    "expand_path",
    "expand_path_async",
    "expand_paths",
    "expand_paths_async",
    "expand_s3_glob",
    "expand_s3_glob_async",
    "filesystem_for",
    "is_glob_pattern",
    "is_s3_uri",
    "parse_s3_glob_uri",
]

Source: TypeAlias = str | os.PathLike[str]
"""A path, a URL or a glob of either. ``~`` at the start of a local one is the home directory."""

StorageOptions: TypeAlias = Mapping[str, Any] | None
"""Options of the filesystem that serves a URL, as fsspec has them; local paths have none."""

S3_SCHEMES = ("s3", "s3a", "avroglob")

# Most headers fit, and a server answers 64 KiB about as fast as one byte.
_HEADER_READ_BYTES = 64 * 1024

# Tasks alive at once in one call; how many requests they may send is the filesystem's decision.
_TASKS_AT_ONCE = 128

T = TypeVar("T")
U = TypeVar("U")


class S3GlobUri(NamedTuple):
    """The parts of an S3 URI.

    - ``bucket``: its name.
    - ``prefix``: the key up to the last ``/`` before the first magic character; without a magic
      character the whole key.
    - ``pattern``: the whole key, magic characters included.
    """

    bucket: str
    prefix: str
    pattern: str


def is_s3_uri(path: Source) -> bool:
    """Whether *path* is a URL that this package's S3 filesystem serves."""
    return os.fsdecode(path).startswith(tuple(f"{scheme}://" for scheme in S3_SCHEMES))


def parse_s3_glob_uri(uri: str) -> S3GlobUri:
    """Take an S3 URI, glob or not, apart.

    >>> parse_s3_glob_uri("s3://bucket/path/to/part-*.avro")
    S3GlobUri(bucket='bucket', prefix='path/to/', pattern='path/to/part-*.avro')

    Raises ValueError if it is no S3 URI, names no bucket or no key, or has a glob for a bucket.
    """
    if not is_s3_uri(uri):
        raise ValueError(f"{uri!r} is not an S3 URI, such as s3://bucket/path/*.avro")
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket or not key:
        raise ValueError(f"{uri!r} names no {'key' if bucket else 'bucket'}")
    if is_glob_pattern(bucket):
        raise ValueError(f"{uri!r} has a pattern for its bucket; name one bucket")
    prefix = key[: _literal_directory_end(key)] if is_glob_pattern(key) else key
    return S3GlobUri(bucket, prefix, key)


def filesystem_for(
    url: Source, storage_options: StorageOptions = None, asynchronous: bool = False
) -> tuple[AbstractFileSystem, str]:
    """The filesystem that serves *url*, and the path of *url* in it.

    In chained URLs (``simplecache::s3://...``) too, S3 is this package's filesystem. With
    *asynchronous*, a filesystem that has coroutines is a new instance for the running loop, whose
    session is the caller's to close.
    """
    text, options = os.fsdecode(url), dict(storage_options or {})
    mode = {"asynchronous": True, "skip_instance_cache": True} if asynchronous else {}
    if is_s3_uri(text) and "::" not in text:
        fs = AvroGlobFileSystem(**options, **mode)
        return fs, fs._strip_protocol(text)
    if _is_local(text):
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(text)
    if "::" in text:
        text, options = _s3_links_served(text, options)
    elif getattr(get_filesystem_class(split_protocol(text)[0]), "async_impl", False):
        options |= mode
    found: tuple[AbstractFileSystem, str] = url_to_fs(text, **options)
    return found


def expand_path(
    path: Source, storage_options: StorageOptions = None, *, glob: bool = True
) -> list[str]:
    """The files that *path* stands for: those that match a glob, sorted, or the one it names.

    Local paths stay paths and URLs stay URLs; directories are left out. With ``glob=False`` the
    path is returned as it is, neither expanded nor looked for.

    Raises FileNotFoundError, naming the path, if nothing matches or the one file does not exist,
    IsADirectoryError if it is a directory, and ValueError for an invalid pattern.
    """
    return expand_paths([path], storage_options, glob=glob)


async def expand_path_async(
    path: Source, storage_options: StorageOptions = None, *, glob: bool = True
) -> list[str]:
    """:func:`expand_path` as a coroutine."""
    return await expand_paths_async([path], storage_options, glob=glob)


def expand_s3_glob(uri: str, storage_options: StorageOptions = None) -> list[str]:
    """:func:`expand_path` for S3 URIs only; raises ValueError for others."""
    parse_s3_glob_uri(uri)
    return expand_paths([uri], storage_options)


async def expand_s3_glob_async(uri: str, storage_options: StorageOptions = None) -> list[str]:
    """:func:`expand_s3_glob` as a coroutine."""
    parse_s3_glob_uri(uri)
    return await expand_paths_async([uri], storage_options)


def expand_paths(
    paths: Source | Iterable[Source], storage_options: StorageOptions = None, *, glob: bool = True
) -> list[str]:
    """The files of several paths, expanded at once, in the order of the arguments.

    Each glob is sorted, and a file that an earlier path stands for too is left out. For the rest
    see :func:`expand_path`.
    """
    located = [_locate(name, storage_options) for name in _names(paths)]
    files: list[_Location] = sync(get_loop(), _expand, located, glob, True)
    return [file.name for file in files]


async def expand_paths_async(
    paths: Source | Iterable[Source], storage_options: StorageOptions = None, *, glob: bool = True
) -> list[str]:
    """:func:`expand_paths` as a coroutine."""
    async with _located_async(_names(paths), storage_options) as located:
        return [file.name for file in await _expand(located, glob, check=True)]


@dataclass(frozen=True)
class ResolvedSources:
    """Avro files that make one table.

    - ``paths``: the files, in the order of their rows.
    - ``schema``: the schema of the first, as it stands in the file.
    - ``column_mappings``: one item a file: None if its schema describes the same bytes as the
      first's, else for each field of the first schema the index of that file's field.

    Made by :meth:`resolve` or :meth:`resolve_async`.
    """

    paths: tuple[str, ...]
    schema: AvroSchema
    column_mappings: tuple[tuple[int, ...] | None, ...]

    @classmethod
    def resolve(
        cls,
        sources: Source | Iterable[Source],
        storage_options: StorageOptions = None,
        *,
        glob: bool = True,
    ) -> ResolvedSources:
        """Expand *sources*, read the header of every file at once and compare the schemas.

        Costs the listings and one small read a file (a second for a header over 64 KiB).

        Raises what :func:`expand_path` raises, NotAvroError for a file that is empty or not Avro,
        InvalidSchemaError, and SchemaMismatchError when the files do not make one table; the
        message names the file. ValueError if there are no sources.
        """
        located = [_locate(name, storage_options) for name in _names(sources)]
        resolved: ResolvedSources = sync(get_loop(), _resolve, located, glob)
        return resolved

    @classmethod
    async def resolve_async(
        cls,
        sources: Source | Iterable[Source],
        storage_options: StorageOptions = None,
        *,
        glob: bool = True,
    ) -> ResolvedSources:
        """:meth:`resolve` as a coroutine."""
        async with _located_async(_names(sources), storage_options) as located:
            return await _resolve(located, glob)


# --- where a name is -----------------------------------------------------------------------------


class _Location(NamedTuple):
    """A file or pattern: what the user calls it, and where that is."""

    name: str
    fs: AbstractFileSystem
    path: str

    @property
    def identity(self) -> tuple[Any, str]:
        """Equal for two names of one file, so far as this shows without asking the filesystem."""
        if isinstance(self.fs, AvroGlobFileSystem | LocalFileSystem):
            return type(self.fs), self.path
        return None, self.name  # the path alone may lack what tells two files apart, as the host


def _names(sources: Source | Iterable[Source]) -> list[str]:
    several = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    for source in several:
        if not isinstance(source, str | os.PathLike):
            raise TypeError(f"a source is a str or a path, not {source!r}")
    return [os.path.expanduser(os.fsdecode(source)) for source in several]


def _locate(name: str, storage_options: StorageOptions) -> _Location:
    return _Location(name, *filesystem_for(name, storage_options))


@asynccontextmanager
async def _located_async(
    names: Sequence[str], storage_options: StorageOptions
) -> AsyncIterator[list[_Location]]:
    """Locations for the running loop: S3 has its own session there, which ends with the block."""
    s3: AvroGlobFileSystem | None = None
    located = []
    try:
        for name in names:
            if is_s3_uri(name) and "::" not in name:
                if s3 is None:
                    s3, _ = filesystem_for(name, storage_options, asynchronous=True)
                located.append(_Location(name, s3, s3._strip_protocol(name)))
            elif _is_local(name):
                located.append(_locate(name, None))
            else:  # making the instance may read, from an archive for one
                located.append(await asyncio.to_thread(_locate, name, storage_options))
        yield located
    finally:
        if s3 is not None and s3._s3 is not None:
            await s3._s3creator.__aexit__(None, None, None)


def _is_local(text: str) -> bool:
    return "::" not in text and split_protocol(text)[0] in (None, "file", "local")


def _s3_links_served(text: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A chained URL and its options with this package's filesystem in the place of s3fs."""
    links = []
    for link in text.split("::"):
        scheme, rest = split_protocol(link)
        links.append(f"avroglob://{rest}" if scheme in S3_SCHEMES else link)
    served = {k: dict(v) if isinstance(v, Mapping) else v for k, v in options.items()}
    for scheme in S3_SCHEMES:
        if scheme in served:
            served["avroglob"] = served.pop(scheme)
    return "::".join(links), served


# --- expanding -----------------------------------------------------------------------------------


async def _expand(located: Sequence[_Location], glob: bool, check: bool) -> list[_Location]:
    """The files of all locations in order, each once. *check*: a file without magic must exist."""

    async def one(location: _Location) -> list[_Location]:
        if glob and _has_magic(location.name):
            return await _matches(location)
        if glob and check:
            await _must_be_file(location)
        return [location]

    files: dict[tuple[Any, str], _Location] = {}
    for found in await _in_order(one, located):
        for file in found:
            files.setdefault(file.identity, file)
    return list(files.values())


async def _matches(pattern: _Location) -> list[_Location]:
    infos: dict[str, dict[str, Any]] = {}
    for path in _paths_for_glob(pattern):
        infos |= await _call(pattern.fs, "glob", path, detail=True)
    found = sorted(path for path, info in infos.items() if info["type"] != "directory")
    if not found:
        raise FileNotFoundError(errno.ENOENT, "No file matches the pattern", pattern.name)
    return [_Location(_name_of_match(pattern, path), pattern.fs, path) for path in found]


def _paths_for_glob(pattern: _Location) -> Sequence[str]:
    """The pattern in the forms that its filesystem understands: one, or one without each brace."""
    # fsspec strips a closing slash, which asks for directories, with the protocol.
    path = pattern.path.rstrip("/") + ("/" if pattern.name.endswith("/") else "")
    if isinstance(pattern.fs, AvroGlobFileSystem):
        return [path]
    return GlobPattern.parse(path).brace_free


async def _must_be_file(location: _Location) -> None:
    try:
        info = await _call(location.fs, "info", location.path)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "No such file", location.name) from error
    if info["type"] == "directory":
        text = "Is a directory; name its files with a pattern, such as *.avro in it"
        raise IsADirectoryError(errno.EISDIR, text, location.name)


def _name_of_match(pattern: _Location, path: str) -> str:
    """What the user would have called the file: as the pattern is written, so is its name."""
    before, link, after = _linked(pattern.name)
    directory = pattern.path[: _literal_directory_end(pattern.path)]
    if path.startswith(directory):
        written = link[: _literal_directory_end(link)]
        return before + written + path[len(directory) :] + after
    return before + str(pattern.fs.unstrip_protocol(path)) + after


def _has_magic(name: str) -> bool:
    _, link, _ = _linked(name)
    if link.startswith(("http://", "https://")):
        link = link.replace("?", "")  # opens the query there, as fsspec's HTTP glob has it
    return is_glob_pattern(link)


def _linked(name: str) -> tuple[str, str, str]:
    """A chained URL as the text before, of and after the link that the path stands in."""
    links = name.split("::")
    at = next((i for i, link in enumerate(links) if link.partition("://")[2]), len(links) - 1)
    before, after = links[:at], links[at + 1 :]
    return "".join(f"{x}::" for x in before), links[at], "".join(f"::{x}" for x in after)


def _literal_directory_end(text: str) -> int:
    """Where the part of *text* ends that is a directory and holds no magic character."""
    magic = next((i for i, char in enumerate(text) if is_glob_pattern(char)), len(text))
    return text.rfind("/", 0, magic) + 1


# --- headers and schemas -------------------------------------------------------------------------


async def _resolve(located: Sequence[_Location], glob: bool) -> ResolvedSources:
    if not located:
        raise ValueError("no sources: name at least one file or pattern")
    files = await _expand(located, glob, check=False)  # reading the header is the check
    headers = await _in_order(_read_header, files)
    paths = tuple(file.name for file in files)
    first = _parsed(headers[0], paths[0])
    # Most files of one table have one schema, to the letter.
    mappings: dict[str, tuple[int, ...] | None] = {headers[0].schema_text: None}
    for path, header in zip(paths, headers, strict=True):
        if header.schema_text not in mappings:
            other = _parsed(header, path)
            mappings[header.schema_text] = column_mapping(
                first, other, first_path=paths[0], path=path
            )
    return ResolvedSources(paths, first.source, tuple(mappings[h.schema_text] for h in headers))


def _parsed(header: ContainerHeader, path: str) -> ParsedSchema:
    try:
        return parse_schema(header.schema)
    except (NotAvroError, InvalidSchemaError) as error:
        raise type(error)(f"{path}: {error}") from error


async def _read_header(file: _Location) -> ContainerHeader:
    data, wanted = b"", _HEADER_READ_BYTES
    while True:
        more = await _read_range(file, len(data), wanted)
        data += more
        if not data:
            raise NotAvroError(f"{file.name} is empty, not an Avro file")
        try:
            return parse_header(data)
        except NotAvroError as error:
            raise NotAvroError(f"{file.name} is not an Avro file: {error}") from error
        except NeedMoreBytes as error:
            if len(data) < wanted:
                raise NotAvroError(f"{file.name} ends within its Avro header") from error
            wanted = min(error.size_bytes + _HEADER_READ_BYTES, 2 * MAX_HEADER_BYTES)


async def _read_range(file: _Location, start: int, end: int) -> bytes:
    try:
        data: bytes = await _call(file.fs, "cat_file", file.path, start=start, end=end)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "No such file", file.name) from error
    except OSError as error:
        if _starts_past_the_end(error):
            return b""
        raise
    return data


def _starts_past_the_end(error: OSError) -> bool:
    """Whether a server refused a range (HTTP 416) because the object ends before it starts."""
    response = getattr(error.__cause__ or error.__context__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in ("InvalidRange", "416")


# --- calling filesystems -------------------------------------------------------------------------


async def _call(fs: AbstractFileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
    """A method of *fs*: its coroutine where this package knows the loop, else in a thread."""
    if isinstance(fs, AvroGlobFileSystem):
        return await getattr(fs, f"_{method}")(*args, **kwargs)
    return await asyncio.to_thread(getattr(fs, method), *args, **kwargs)


async def _in_order(function: Callable[[T], Awaitable[U]], items: Iterable[T]) -> list[U]:
    """The results of *function* over *items*, called at once, ended together if one fails."""
    gate = asyncio.Semaphore(_TASKS_AT_ONCE)

    async def gated(item: T) -> U:
        async with gate:
            return await function(item)

    tasks = [asyncio.ensure_future(gated(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
