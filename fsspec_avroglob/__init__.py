"""Fast globs, one retry layer and Avro tables over S3, for every fsspec-aware library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec_avroglob.avro.blocks import Dropped
    from fsspec_avroglob.errors import (
        AvroDecodeError,
        AvroGlobError,
        BlockDecodeError,
        BlockTooLargeError,
        CannotJoinError,
        CodecError,
        ConversionError,
        CorruptBlockError,
        EngineNotAbleError,
        FilesDifferError,
        HeaderLinesDifferError,
        InvalidSchemaError,
        NotAvroError,
        NotWritableError,
        OptionError,
        PatternError,
        RefusedKeysError,
        SchemaMismatchError,
        UncertainBlockError,
        UnsupportedTypeError,
    )
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
    from fsspec_avroglob.filesystem.routing import S3Route, use_for_s3
    from fsspec_avroglob.glob.magic import is_glob_pattern
    from fsspec_avroglob.glob.pattern import GlobPattern
    from fsspec_avroglob.readers.expand import (
        S3GlobUri,
        expand_path,
        expand_path_async,
        expand_paths,
        expand_paths_async,
        expand_s3_glob,
        expand_s3_glob_async,
        is_s3_uri,
        parse_s3_glob_uri,
    )
    from fsspec_avroglob.readers.lazy import scan_avro
    from fsspec_avroglob.readers.read import (
        AvroBatches,
        AvroRecords,
        aiter_avro_batches,
        aiter_avro_records,
        iter_avro_batches,
        iter_avro_records,
        read_avro,
        read_avro_async,
        read_avro_schema,
        read_avro_schema_async,
        read_avro_table,
        read_avro_table_async,
    )
    from fsspec_avroglob.readers.sources import ResolvedSources
    from fsspec_avroglob.readers.write import write_avro, write_avro_async
    from fsspec_avroglob.s3.config import S3Config
    from fsspec_avroglob.s3.retry import RetryEvent, RetryPolicy, is_retryable, with_retry
    from fsspec_avroglob.s3.snapshot import StatsSnapshot

__all__ = [
    "AvroBatches",
    "AvroDecodeError",
    "AvroGlobError",
    "AvroGlobFileSystem",
    "AvroRecords",
    "BlockDecodeError",
    "BlockTooLargeError",
    "CannotJoinError",
    "CodecError",
    "ConversionError",
    "CorruptBlockError",
    "Dropped",
    "EngineNotAbleError",
    "FilesDifferError",
    "GlobPattern",
    "HeaderLinesDifferError",
    "InvalidSchemaError",
    "NotAvroError",
    "NotWritableError",
    "OptionError",
    "PatternError",
    "RefusedKeysError",
    "ResolvedSources",
    "RetryEvent",
    "RetryPolicy",
    "S3Config",
    "S3GlobUri",
    "S3Route",
    "SchemaMismatchError",
    "StatsSnapshot",
    "UncertainBlockError",
    "UnsupportedTypeError",
    "aiter_avro_batches",
    "aiter_avro_records",
    "expand_path",
    "expand_path_async",
    "expand_paths",
    "expand_paths_async",
    "expand_s3_glob",
    "expand_s3_glob_async",
    "is_glob_pattern",
    "is_retryable",
    "is_s3_uri",
    "iter_avro_batches",
    "iter_avro_records",
    "parse_s3_glob_uri",
    "read_avro",
    "read_avro_async",
    "read_avro_schema",
    "read_avro_schema_async",
    "read_avro_table",
    "read_avro_table_async",
    "scan_avro",
    "use_for_s3",
    "with_retry",
    "write_avro",
    "write_avro_async",
]

# Where the public names come from, lightest first. They come when they are asked for: importing the
# package imports neither s3fs nor fastavro.
_HOMES = (
    "fsspec_avroglob.errors",
    "fsspec_avroglob.s3.retry",
    "fsspec_avroglob.glob.magic",
    "fsspec_avroglob.glob.pattern",
    "fsspec_avroglob.s3.config",
    "fsspec_avroglob.s3.snapshot",
    "fsspec_avroglob.filesystem.core",
    "fsspec_avroglob.filesystem.routing",
    "fsspec_avroglob.readers.expand",
    "fsspec_avroglob.readers.sources",
    "fsspec_avroglob.avro.blocks",
    "fsspec_avroglob.readers.read",
    "fsspec_avroglob.readers.lazy",
    "fsspec_avroglob.readers.write",
)


def __getattr__(name: str) -> Any:
    """Import a public name that is not there yet."""
    for module in map(import_module, _HOMES if name in __all__ else ()):
        if hasattr(module, name):
            return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
