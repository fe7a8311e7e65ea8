"""Find the files behind sources: names that users give (paths, URLs, globs, lists of them).

``s3://``, ``s3a://`` and ``avroglob://`` URLs are served by :class:`AvroGlobFileSystem`, all others
by the filesystem that fsspec has for them. Globs follow one grammar on every filesystem,
:mod:`fsspec_avroglob.glob.pattern`.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard

from fsspec import AbstractFileSystem, available_protocols, get_filesystem_class
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import registry

from fsspec_avroglob.aio.tasks import collect
from fsspec_avroglob.errors import OptionError
from fsspec_avroglob.filesystem.bodies import ObjectPart
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.conditions import FileConditions
from fsspec_avroglob.glob.magic import is_glob_pattern, literal_directory
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.s3.config import FSSPEC_OPTIONS, did_you_mean, known_options
from fsspec_avroglob.s3.translation import error_code


class RemotePath(Protocol):
    """A path of universal_pathlib that is not local: ``str(path)`` is its URL."""

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """Options of the filesystem that serves it."""
        ...

    def joinpath(self, *pathsegments: str) -> RemotePath:
        """Append path segments."""
        ...


SourcePath: TypeAlias = str | os.PathLike[str] | RemotePath
"""A path, a URL or a glob of either. A leading ``~`` of a local path is the home directory.

The storage options of a ``UPath`` override those of the call.
"""

Sources: TypeAlias = SourcePath | Iterable[SourcePath]
"""One path, URL or glob, or several of them."""

StorageOptions: TypeAlias = Mapping[str, Any] | None
"""Options of the filesystem that serves a URL; local paths ignore them.

URLs of several protocols need them by protocol, as fsspec's chained URLs do:
``{"s3": {"anon": True}, "https": {"headers": {}}}``.
"""

S3_SCHEMES = ("s3", "s3a", "avroglob")

_IS_DIRECTORY = "Is a directory; name its files with a pattern, such as *.avro in it"

# Concurrent tasks of one call; the filesystem limits the requests in flight.
_CONCURRENT_TASKS = 128


class Location(NamedTuple):
    """A file or pattern: its name as the user wrote it, its filesystem, and its path there.

    ``size`` is in bytes; None unless a glob found the file.
    """

    name: str
    fs: AbstractFileSystem
    path: str
    size: int | None = None

    @property
    def identity(self) -> tuple[Any, str]:
        """Equal for two names of one file, if that shows without a request."""
        if isinstance(self.fs, AvroGlobFileSystem | LocalFileSystem):
            return type(self.fs), self.path
        return None, self.name  # the path alone may lack the host


# --- from names to filesystems -------------------------------------------------------------------


def locate(sources: Sources, storage_options: StorageOptions = None) -> list[Location]:
    """Return the filesystem and path of each source, without a request."""
    names, options = source_names(sources, storage_options)
    expanded = map(os.path.expanduser, names)
    return [Location(name, *filesystem_for(name, options)) for name in expanded]


def source_names(
    sources: Sources, storage_options: StorageOptions
) -> tuple[list[str], StorageOptions]:
    """Return the sources as text, and the storage options merged with those of ``UPath`` sources.

    Raises TypeError for invalid types, and ValueError for a chained ``UPath`` and for ``UPath``
    sources with different options.
    """
    if _is_source(sources):
        several = [sources]
    elif isinstance(sources, bytes) or not isinstance(sources, Iterable):
        raise TypeError(f"expected a path or a list of paths, not {sources!r}")
    else:
        several = list(sources)
    options: object = storage_options
    if not isinstance(options, Mapping | None):
        given = type(options).__name__
        raise TypeError(f"storage_options is a dict such as {{'endpoint_url': ...}}, not a {given}")
    own: Mapping[str, Any] | None = None
    for source in several:
        if not _is_source(source):
            raise TypeError(f"expected a str or a path, not {source!r}")
        if isinstance(source, str | os.PathLike):
            continue
        text = str(source)
        if "::" in text:
            raise ValueError(
                f"{text!r} is a chained UPath; give str(path), and storage_options by protocol, "
                "such as {'s3': {...}}"
            )
        if own is not None and own != source.storage_options:
            raise ValueError(
                f"{text!r} has other storage options than the paths before it; "
                "read paths with different options in separate calls"
            )
        own = source.storage_options
        storage_options = {**_options_for(text, options or {}), **own}
    return [_text(source) for source in several], storage_options


def is_s3_uri(path: SourcePath) -> bool:
    """Whether this package's S3 filesystem serves *path*."""
    return _text(path).startswith(tuple(f"{scheme}://" for scheme in S3_SCHEMES))


def filesystem_for(
    url: SourcePath, storage_options: StorageOptions = None
) -> tuple[AbstractFileSystem, str]:
    """Return the filesystem that serves *url*, and the path of *url* in it.

    S3 links of chained URLs (``simplecache::s3://...``) use this package's filesystem, too. Raises
    ValueError for an unknown scheme and for S3 options with an HTTP URL.
    """
    (text,), storage_options = source_names(url, storage_options)
    _check_schemes(text)
    options = _options_for(text, storage_options or {})
    scheme, _ = split_protocol(text)
    if "::" in text:
        text, options = _with_own_s3(text, options)
    elif is_s3_uri(text):
        fs = AvroGlobFileSystem(**options)
        return fs, fs._strip_protocol(text)
    elif scheme in (None, "file", "local"):
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(text)
    elif scheme in ("http", "https"):
        _refuse_s3_options(text, options)
    found: tuple[AbstractFileSystem, str] = url_to_fs(text, **options)
    return found


def _is_source(given: object) -> TypeGuard[SourcePath]:
    if isinstance(given, str | os.PathLike):
        return True
    return hasattr(given, "storage_options") and hasattr(given, "joinpath")


def _text(source: SourcePath) -> str:
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else str(source)


def _known_schemes() -> set[str]:
    return {*S3_SCHEMES, *available_protocols(), *registry}


def _check_schemes(text: str) -> None:
    """Raise ValueError if no filesystem serves a scheme of *text*, which may be chained."""
    known = _known_schemes()
    for link in text.split("::"):
        scheme, _ = split_protocol(link)
        if scheme is None or scheme in known:
            continue
        if scheme.lower() in known:
            hint = f"; schemes are lower case, write {scheme.lower()}://"
        else:
            hint = did_you_mean(scheme, known)
        raise ValueError(
            f"{text!r}: no filesystem serves {scheme}://{hint} (S3 is s3://, s3a:// and "
            "avroglob://; fsspec.available_protocols() lists the others)"
        )


def _refuse_s3_options(url: str, options: Mapping[str, Any]) -> None:
    """Raise OptionError for S3 options with an HTTP URL: fsspec would fail only when it reads."""
    scheme, _ = split_protocol(url)
    taken = signature(get_filesystem_class(scheme).__init__).parameters.keys() | FSSPEC_OPTIONS
    if wrong := [name for name in options if name in known_options() and name not in taken]:
        raise OptionError(
            f"{url}: {', '.join(map(repr, wrong))} are storage options of S3, not of {scheme}; "
            "give those of S3 as storage_options={'s3': {...}}"
        )


def _options_for(text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Select the options of the URL's protocol if *options* are by protocol."""
    if "::" in text or not options.keys() <= _known_schemes():
        return dict(options)
    scheme = split_protocol(text)[0]
    schemes = S3_SCHEMES if scheme in S3_SCHEMES else (scheme,)
    return {k: v for one in schemes for k, v in options.get(one, {}).items()}


def _with_own_s3(text: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Rename S3 to ``avroglob`` in a chained URL and its options: s3fs would serve it."""
    links = []
    for link in text.split("::"):
        scheme, rest = split_protocol(link)
        links.append(f"avroglob://{rest}" if scheme in S3_SCHEMES else link)
    renamed = {k: dict(v) if isinstance(v, Mapping) else v for k, v in options.items()}
    for scheme in S3_SCHEMES:
        if scheme in renamed:
            renamed["avroglob"] = renamed.pop(scheme)
    return "::".join(links), renamed


# --- from patterns to files ----------------------------------------------------------------------


async def expand(
    located: Sequence[Location],
    *,
    glob: bool,
    check: bool,
    conditions: FileConditions | None = None,
) -> list[Location]:
    """Return the files of all locations in order, each once, that fulfil *conditions*.

    With *check*, a name without magic characters must be an existing file. Runs on fsspec's I/O
    loop. Raises FileNotFoundError, IsADirectoryError and PatternError.
    """

    async def one(location: Location) -> list[Location]:
        if glob and _has_magic(location.name):
            return await _matches(location, conditions)
        if glob and check:
            info = await _check_file(location)
            if conditions is not None and not conditions.holds(info):
                return []
        return [location]

    files: dict[tuple[Any, str], Location] = {}
    for found in await collect(located, one, _CONCURRENT_TASKS):
        for file in found:
            files.setdefault(file.identity, file)
    return list(files.values())


async def matching_infos(pattern: Location, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the infos of the files that match a pattern, sorted by path; possibly none.

    options: those of ``glob``.
    """
    # fsspec strips a trailing slash, which restricts the pattern to directories.
    path = pattern.path.rstrip("/") + ("/" if pattern.name.endswith("/") else "")
    own = isinstance(pattern.fs, AvroGlobFileSystem)
    infos: dict[str, dict[str, Any]] = {}
    for brace_free in [path] if own else GlobPattern.parse(path).brace_free:
        infos |= await call(pattern.fs, "glob", brace_free, detail=True, **options)
    return {path: infos[path] for path in sorted(infos) if infos[path]["type"] != "directory"}


async def _matches(pattern: Location, conditions: FileConditions | None = None) -> list[Location]:
    """Return the files that match; the pattern itself if an object of S3 has exactly that name."""
    if isinstance(pattern.fs, AvroGlobFileSystem) and not pattern.name.endswith("/"):
        found = await pattern.fs._infos_unless_literal(pattern.path)
        if found is None:
            if conditions is not None and not conditions.holds(await _check_file(pattern)):
                return []
            return [pattern]
        infos = found
    else:
        infos = await matching_infos(pattern)
    if not infos:
        text = f"No {_kind(pattern)} matches the pattern"
        raise FileNotFoundError(errno.ENOENT, text, pattern.name)
    return [
        Location(match_name(pattern, path), pattern.fs, path, info.get("size"))
        for path, info in infos.items()
        if conditions is None or conditions.holds(info)
    ]


async def _check_file(location: Location) -> dict[str, Any]:
    """Return the info of a file. Raises FileNotFoundError and IsADirectoryError by its name."""
    try:
        info = await call(location.fs, "info", location.path)
    except FileNotFoundError as error:
        text = f"No such {_kind(location)}"
        raise FileNotFoundError(errno.ENOENT, text, location.name) from error
    if info["type"] == "directory":
        raise IsADirectoryError(errno.EISDIR, _IS_DIRECTORY, location.name)
    return dict(info)


def _kind(location: Location) -> str:
    # "local" hints at a forgotten s3://.
    return "local file" if isinstance(location.fs, LocalFileSystem) else "file"


def match_name(pattern: Location, path: str) -> str:
    """Return the name of a match in the form in which the user wrote the pattern."""
    before, link, after = split_links(pattern.name)
    directory = literal_directory(pattern.path)
    if path.startswith(directory):
        return before + literal_directory(link) + path[len(directory) :] + after
    return before + str(pattern.fs.unstrip_protocol(path)) + after


def _has_magic(name: str) -> bool:
    _, link, _ = split_links(name)
    if link.startswith(("http://", "https://")):
        link = link.replace("?", "")  # it starts the query string, as in fsspec's HTTP glob
    return is_glob_pattern(link)


def split_links(name: str) -> tuple[str, str, str]:
    """Split a chained URL around the link that holds the path."""
    links = name.split("::")
    at = next((i for i, link in enumerate(links) if link.partition("://")[2]), len(links) - 1)
    return "::".join([*links[:at], ""]), links[at], "::".join(["", *links[at + 1 :]])


async def call(fs: AbstractFileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of *fs*: its coroutine if *fs* is ours, else in a thread."""
    if isinstance(fs, AvroGlobFileSystem):
        return await getattr(fs, f"_{method}")(*args, **kwargs)
    return await asyncio.to_thread(getattr(fs, method), *args, **kwargs)


# --- bytes of files ------------------------------------------------------------------------------


async def read_part(
    file: Location, start: int, end: int | None, etag: str | None = None
) -> ObjectPart:
    """Read the bytes [*start*, *end*) of *file*, fewer at its end; one request on S3.

    Runs on fsspec's I/O loop. An *end* of None is the end of the file; *etag* is the version to
    read, on S3 only. Raises FileNotFoundError and IsADirectoryError with the user's name of the
    file, and FileExpired for another version.
    """
    if end is not None and start >= end:
        return ObjectPart(b"", None, etag)
    try:
        if isinstance(file.fs, AvroGlobFileSystem):
            return await file.fs._read_part(file.path, start, end, etag)
        return await asyncio.to_thread(_read_part_blocking, file, start, end)
    except IsADirectoryError as error:
        raise IsADirectoryError(errno.EISDIR, _IS_DIRECTORY, file.name) from error
    except FileNotFoundError as error:
        if error_code(error.__cause__) == "NoSuchBucket":
            raise FileNotFoundError(errno.ENOENT, "The bucket does not exist", file.name) from error
        await _check_file(file)
        raise FileNotFoundError(errno.ENOENT, "No such file", file.name) from error
    except OSError as error:
        if error_code(error.__cause__ or error.__context__) in ("InvalidRange", "416"):
            # The range starts after the end of the object.
            return ObjectPart(b"", None if start else 0, etag)
        raise


def _read_part_blocking(file: Location, start: int, end: int | None) -> ObjectPart:
    data: bytes = file.fs.cat_file(file.path, start=start, end=end)
    if end is None or len(data) < end - start:
        return ObjectPart(data, start + len(data), None)
    if len(data) > end - start:  # the server ignores ranges
        return ObjectPart(data if start == 0 else data[start:end], len(data), None)
    size = file.size
    if size is None:
        try:
            size = file.fs.info(file.path)["size"]
        except FileNotFoundError:  # a URL that is signed only for reading
            size = None
    return ObjectPart(data, size, None)
