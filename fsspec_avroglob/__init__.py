"""Planned globs, one retry layer and Avro tables over S3, for every fsspec-aware library.

>>> import fsspec
>>> import fsspec_avroglob
>>> fs = fsspec.filesystem("avroglob", anon=True)
>>> fsspec_avroglob.parse_s3_glob_uri("s3://lake/events/year=*/*.avro").prefix
'events/'
"""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any
from warnings import warn

if TYPE_CHECKING:
    from fsspec_avroglob.avro.stream import Dropped as Dropped
    from fsspec_avroglob.errors import *  # noqa: F403
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem as AvroGlobFileSystem
    from fsspec_avroglob.filesystem.core import AvroGlobS3FileSystem as AvroGlobS3FileSystem
    from fsspec_avroglob.filesystem.routing import S3Route as S3Route
    from fsspec_avroglob.filesystem.routing import use_for_s3 as use_for_s3
    from fsspec_avroglob.glob.pattern import GlobPattern as GlobPattern
    from fsspec_avroglob.readers.expand import *  # noqa: F403
    from fsspec_avroglob.readers.incremental import IncrementalGlob as IncrementalGlob
    from fsspec_avroglob.readers.incremental import NewFile as NewFile
    from fsspec_avroglob.readers.lazy import scan_avro as scan_avro
    from fsspec_avroglob.readers.read import *  # noqa: F403
    from fsspec_avroglob.readers.sources import ResolvedSources as ResolvedSources
    from fsspec_avroglob.readers.write import write_avro as write_avro
    from fsspec_avroglob.readers.write import write_avro_async as write_avro_async
    from fsspec_avroglob.s3.config import S3Config as S3Config
    from fsspec_avroglob.s3.retry import RetryEvent as RetryEvent
    from fsspec_avroglob.s3.retry import RetryPolicy as RetryPolicy
    from fsspec_avroglob.s3.retry import is_retryable as is_retryable
    from fsspec_avroglob.s3.retry import with_retry as with_retry
    from fsspec_avroglob.s3.stats import StatsSnapshot as StatsSnapshot

_PUBLIC = {
    "avro.stream": "Dropped",
    "errors": "AvroDecodeError AvroGlobError BlockDecodeError BlockTooLargeError CannotJoinError "
    "CodecError ConversionError CorruptBlockError EngineNotAbleError FieldError FilesDifferError "
    "HeaderLinesDifferError InvalidSchemaError NotAvroError NotWritableError OptionError "
    "PatternError RefusedKeysError SchemaMismatchError StateConflictError UncertainBlockError "
    "UncertainHeaderError UnsupportedTypeError",
    "filesystem.core": "AvroGlobFileSystem AvroGlobS3FileSystem",
    "filesystem.routing": "S3Route use_for_s3",
    "glob.pattern": "GlobPattern",
    "readers.expand": "S3GlobUri expand_path expand_path_async expand_paths expand_paths_async "
    "parse_s3_glob_uri",
    "readers.incremental": "IncrementalGlob NewFile",
    "readers.lazy": "scan_avro",
    "readers.read": "AvroBatches AvroRecords aiter_avro_batches aiter_avro_records "
    "iter_avro_batches iter_avro_records read_avro read_avro_async read_avro_schema "
    "read_avro_schema_async read_avro_table read_avro_table_async",
    "readers.sources": "ResolvedSources",
    "readers.write": "write_avro write_avro_async",
    "s3.config": "S3Config",
    "s3.retry": "RetryEvent RetryPolicy is_retryable with_retry",
    "s3.stats": "StatsSnapshot",
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = [*_MODULES]

# Old names, until the next release, with their modules and what to use instead.
_DEPRECATED = {
    "expand_s3_glob": ("readers.expand", "expand_path"),
    "expand_s3_glob_async": ("readers.expand", "expand_path_async"),
    "is_glob_pattern": ("glob.magic", "expand_path, which takes both paths and globs"),
    "is_s3_uri": ("readers.locate", "parse_s3_glob_uri, which raises ValueError for other URIs"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the package itself imports neither s3fs nor fastavro."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("fsspec-avroglob")
    elif name in _MODULES:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    elif name in _DEPRECATED:
        module, instead = _DEPRECATED[name]
        message = f"fsspec_avroglob.{name} goes with the next release; use {instead}"
        warn(message, DeprecationWarning, stacklevel=2)
        return getattr(import_module(f"{__name__}.{module}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


# Modules of release 0.1 that pickles or its documentation name, and where they are now.
_MOVED = {
    "avro.blocks": "avro.stream",
    "avro.options": "readers.options",
    "avro.pieces": "readers.pieces",
    "avro.table": "readers.layout",
    "classification": "s3.classification",
    "drawing": "glob.svg",
    "expand": "readers.expand",
    "joined": "filesystem.joined",
    "lines": "filesystem.join_text",
    "objects": "filesystem.objects",
    "opening": "filesystem.open_glob",
    "options": "s3.config",
    "pattern": "glob.pattern",
    "retry": "s3.retry",
    "snapshot": "s3.stats",
    "sources": "readers.sources",
    "targets": "errors",
    "tokens": "glob.tokens",
}


class _MovedModules:
    """Finds and loads modules under their old names; they forward to the new ones."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        new = _MOVED.get(name.removeprefix("fsspec_avroglob."))
        return ModuleSpec(name, self, loader_state=new) if new else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        new = import_module(f"fsspec_avroglob.{module.__spec__.loader_state}")
        vars(module)["__getattr__"] = partial(getattr, new)


sys.meta_path.append(_MovedModules())
