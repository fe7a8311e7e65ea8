"""From the names that users give (paths, URLs, globs, lists of them) to files.

Paths are expanded by the grammar of :mod:`fsspec_avroglob.glob.pattern` wherever the files are. ``s3://``,
``s3a://`` and ``avroglob://`` are served by :class:`AvroGlobFileSystem`, everything else by the
filesystem that fsspec knows for it.
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

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import collect, on_io_loop
from fsspec_avroglob.errors import OptionError
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.s3.config import FSSPEC_OPTIONS, known_options
from fsspec_avroglob.s3.spelling import did_you_mean

__all__ = [
    "Location",
    "S3GlobUri",
    "Source",
    "Sources",
    "StorageOptions",
    "expand",
    "expand_path",
    "expand_path_async",
    "expand_paths",
    "expand_paths_async",
    "expand_s3_glob",
    "expand_s3_glob_async",
    "filesystem_for",
    "is_glob_pattern",
    "is_s3_uri",
    "locate",
    "parse_s3_glob_uri",
]


class RemotePath(Protocol):
    """A path of universal_pathlib that is not local: ``str(path)`` is its URL."""

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """Options of the filesystem that serves it."""
        ...

    def joinpath(self, *pathsegments: str) -> RemotePath:
        """The path of these names below it."""
        ...


Source: TypeAlias = str | os.PathLike[str] | RemotePath
"""A path, a URL or a glob of either. ``~`` at the start of a local one is the home directory.

A ``UPath`` brings its own storage options, which count before those that are given beside it.
"""

Sources: TypeAlias = Source | Iterable[Source]
"""One path, URL or glob, or several of them."""

StorageOptions: TypeAlias = Mapping[str, Any] | None
"""Options of the filesystem that serves a URL, as fsspec has them; local paths have none.

For URLs of several protocols they are given by protocol, as fsspec has it for chained URLs:
``{"s3": {"anon": True}, "https": {"headers": {}}}``.
"""

S3_SCHEMES = ("s3", "s3a", "avroglob")

NO_FILE = "Is a directory; name its files with a pattern, such as *.avro in it"

# Tasks alive at once in one call; how many requests they may send is the filesystem's decision.
_TASKS_AT_ONCE = 128


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
    return _text(path).startswith(tuple(f"{scheme}://" for scheme in S3_SCHEMES))


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

    Raises ValueError for an unknown scheme and for options of S3 with an HTTP URL.
    """
    (text,), storage_options = named(url, storage_options)
    _check_schemes(text)
    options = _options_for(text, storage_options or {})
    mode = {"asynchronous": True, "skip_instance_cache": True} if asynchronous else {}
    if is_s3_uri(text) and "::" not in text:
        fs = AvroGlobFileSystem(**options, **mode)
        return fs, fs._strip_protocol(text)
    if _is_local(text):
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(text)
    if "::" in text:
        text, options = _s3_links_served(text, options)
    else:
        cls = get_filesystem_class(split_protocol(text)[0])
        _refuse_s3_options(text, cls, options)
        options |= mode if getattr(cls, "async_impl", False) else {}
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
    paths: Sources, storage_options: StorageOptions = None, *, glob: bool = True
) -> list[str]:
    """The files of several paths, expanded at once, in the order of the arguments.

    Each glob is sorted, and a file that an earlier path stands for too is left out. For the rest
    see :func:`expand_path`.
    """
    located = locate(paths, storage_options)
    files = blocking(expand, located, glob=glob, check=True)
    return [file.name for file in files]


async def expand_paths_async(
    paths: Sources, storage_options: StorageOptions = None, *, glob: bool = True
) -> list[str]:
    """:func:`expand_paths` as a coroutine."""
    # Making a filesystem may read, from an archive for one.
    located = await asyncio.to_thread(locate, paths, storage_options)
    files = await on_io_loop(expand, located, glob=glob, check=True)
    return [file.name for file in files]


# --- where a name is -----------------------------------------------------------------------------


class Location(NamedTuple):
    """A file or pattern: what the user calls it, where that is, and what a listing said of it.

    - ``size``: in bytes, of a file that a glob has found; None where not known.
    """

    name: str
    fs: AbstractFileSystem
    path: str
    size: int | None = None

    @property
    def identity(self) -> tuple[Any, str]:
        """Equal for two names of one file, so far as this shows without asking the filesystem."""
        if isinstance(self.fs, AvroGlobFileSystem | LocalFileSystem):
            return type(self.fs), self.path
        return None, self.name  # the path alone may lack what tells two files apart, as the host


def locate(sources: Sources, storage_options: StorageOptions = None) -> list[Location]:
    """Where each of *sources* is; none is expanded or looked for."""
    names, options = named(sources, storage_options)
    expanded = map(os.path.expanduser, names)
    return [Location(name, *filesystem_for(name, options)) for name in expanded]


def named(sources: Sources, storage_options: StorageOptions) -> tuple[list[str], StorageOptions]:
    """The sources as text, and the storage options, those that a ``UPath`` brings included.

    Raises TypeError for what is no source or no mapping of options, and ValueError for paths that
    bring different options, and for chained ones, whose options are not told by protocol.
    """
    if _is_source(sources):
        several = [sources]
    elif isinstance(sources, bytes) or not isinstance(sources, Iterable):
        raise TypeError(f"a source is a str or a path, or there is a list of them; not {sources!r}")
    else:
        several = list(sources)
    options: object = storage_options
    if not isinstance(options, Mapping | None):
        given = type(options).__name__
        raise TypeError(f"storage_options is a dict such as {{'endpoint_url': ...}}, not a {given}")
    own: Mapping[str, Any] | None = None
    for source in several:
        if not _is_source(source):
            raise TypeError(f"a source is a str or a path, not {source!r}")
        if isinstance(source, str | os.PathLike):
            continue
        text = str(source)
        if "::" in text:
            raise ValueError(
                f"{text!r}: of a chained UPath give str(path), and storage_options by protocol, "
                "such as {'s3': {...}}"
            )
        if own is not None and own != source.storage_options:
            raise ValueError(
                f"{text!r} has other storage options than the paths before it; "
                "paths that are read together have the same"
            )
        own = source.storage_options
        storage_options = {**_options_for(text, options or {}), **own}
    return [_text(source) for source in several], storage_options


def _is_source(given: object) -> TypeGuard[Source]:
    if isinstance(given, str | os.PathLike):
        return True
    return hasattr(given, "storage_options") and hasattr(given, "joinpath")


def _text(source: Source) -> str:
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else str(source)


def _is_local(text: str) -> bool:
    return "::" not in text and split_protocol(text)[0] in (None, "file", "local")


def _known_schemes() -> set[str]:
    """The schemes that fsspec or this package serves, those that were registered included."""
    return {*S3_SCHEMES, *available_protocols(), *registry}


def _check_schemes(text: str) -> None:
    """Raise ValueError for a URL, or a link of a chained one, whose scheme nobody serves."""
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
            "avroglob://; fsspec.available_protocols() has the others)"
        )


def _refuse_s3_options(url: str, cls: type[AbstractFileSystem], options: Mapping[str, Any]) -> None:
    """Raise OptionError for what fsspec's HTTP filesystem would only stumble over when it reads."""
    scheme, _ = split_protocol(url)
    if scheme not in ("http", "https"):
        return
    taken = signature(cls.__init__).parameters.keys() | FSSPEC_OPTIONS
    if wrong := [name for name in options if name in known_options() and name not in taken]:
        raise OptionError(
            f"{url}: S3 has storage options such as {', '.join(map(repr, wrong))}, {scheme} has "
            "not; those of S3 alone are given as storage_options={'s3': {...}}"
        )


def _options_for(text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for a URL, where they are given by protocol those of its own."""
    if "::" in text or not options.keys() <= _known_schemes():
        return dict(options)
    scheme = split_protocol(text)[0]
    schemes = S3_SCHEMES if scheme in S3_SCHEMES else (scheme,)
    return {k: v for one in schemes for k, v in options.get(one, {}).items()}


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


async def expand(located: Sequence[Location], *, glob: bool, check: bool) -> list[Location]:
    """The files of all locations in order, each once. *check*: a file without magic must exist."""

    async def one(location: Location) -> list[Location]:
        if glob and _has_magic(location.name):
            return await _matches(location)
        if glob and check:
            await must_be_file(location)
        return [location]

    files: dict[tuple[Any, str], Location] = {}
    for found in await collect(located, one, _TASKS_AT_ONCE):
        for file in found:
            files.setdefault(file.identity, file)
    return list(files.values())


async def _matches(pattern: Location) -> list[Location]:
    infos: dict[str, dict[str, Any]] = {}
    for path in _paths_for_glob(pattern):
        infos |= await call(pattern.fs, "glob", path, detail=True)
    found = sorted(path for path, info in infos.items() if info["type"] != "directory")
    if not found:
        text = f"No {_kind(pattern)} matches the pattern"
        raise FileNotFoundError(errno.ENOENT, text, pattern.name)
    return [
        Location(
            _name_of_match(pattern, path),
            pattern.fs,
            path,
            infos[path].get("size"),
        )
        for path in found
    ]


def _paths_for_glob(pattern: Location) -> Sequence[str]:
    """The pattern in the forms that its filesystem understands: one, or one without each brace."""
    # fsspec strips a closing slash, which asks for directories, with the protocol.
    path = pattern.path.rstrip("/") + ("/" if pattern.name.endswith("/") else "")
    if isinstance(pattern.fs, AvroGlobFileSystem):
        return [path]
    return GlobPattern.parse(path).brace_free


async def must_be_file(location: Location) -> None:
    """Raise FileNotFoundError or IsADirectoryError, with the user's name, for what is no file."""
    try:
        info = await call(location.fs, "info", location.path)
    except FileNotFoundError as error:
        text = f"No such {_kind(location)}"
        raise FileNotFoundError(errno.ENOENT, text, location.name) from error
    if info["type"] == "directory":
        raise IsADirectoryError(errno.EISDIR, NO_FILE, location.name)


def _kind(location: Location) -> str:
    """What is looked for: a key without its scheme, which is soon written, is a local path."""
    return "local file" if isinstance(location.fs, LocalFileSystem) else "file"


def _name_of_match(pattern: Location, path: str) -> str:
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


# --- calling filesystems -------------------------------------------------------------------------


async def call(fs: AbstractFileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
    """A method of *fs*: its coroutine where this package knows the loop, else in a thread."""
    if isinstance(fs, AvroGlobFileSystem):
        return await getattr(fs, f"_{method}")(*args, **kwargs)
    return await asyncio.to_thread(getattr(fs, method), *args, **kwargs)
