"""Modules of release 0.1 that have moved: imports and pickles still find what they name."""

from __future__ import annotations

import pickle
from importlib import import_module

import pytest

from fsspec_avroglob import AvroGlobFileSystem, RetryPolicy, parse_s3_glob_uri

# What release 0.1 wrote with protocol 0.
POLICY = b"""ccopy_reg\n_reconstructor\np0\n(cfsspec_avroglob.retry\nRetryPolicy\np1
c__builtin__\nobject\np2\nNtp3\nRp4\n(dp5\nVmax_retries\np6\nI3\nsVbase_delay\np7\nF1.0
sVmultiplier\np8\nF2.0\nsVmax_delay\np9\nF30.0\nsVjitter\np10\nF0.5\nsVtimeout\np11\nF5.0\nsb."""
URI = b"""ccopy_reg\n_reconstructor\np0\n(cfsspec_avroglob.expand\nS3GlobUri\np1
c__builtin__\ntuple\np2\n(Vb\np3\nVa/\np4\nVa/*.avro\np5\ntp6\ntp7\nRp8\n."""
FILESYSTEM = b"""cfsspec.spec\nmake_instance\np0\n(cfsspec_avroglob.filesystem
AvroGlobFileSystem\np1\n(t(dp2\nVanon\np3\nI01\nstp4\nRp5\n."""

PICKLED = [
    "avro.arrow.TableSchema",
    "avro.blocks.Dropped",
    "avro.container.ContainerHeader",
    "avro.container.CorruptBlockError",
    "avro.container.NotAvroError",
    "avro.decode.AvroDecodeError",
    "avro.options.ReadOptions",
    "avro.pieces.Piece",
    "avro.pieces.Span",
    "avro.schema.InvalidSchemaError",
    "avro.schema.ParsedSchema",
    "avro.table.TableLayout",
    "dask.PieceReader",
    "drawing.GlobPlan",
    "expand.S3GlobUri",
    "filesystem.AvroGlobFileSystem",
    "joined.JoinedFile",
    "options.OptionError",
    "options.S3Config",
    "pattern.GlobPattern",
    "pattern.PatternError",
    "retry.RetryPolicy",
    "snapshot.StatsSnapshot",
    "sources.ResolvedSources",
    "sources.SourceFile",
    "targets.RefusedKeysError",
    "upath.AvroGlobPath",
]


@pytest.mark.parametrize("old_name", PICKLED)
def test_old_class_path_works(old_name: str) -> None:
    module, _, name = old_name.rpartition(".")

    found = pickle.loads(f"cfsspec_avroglob.{module}\n{name}\n.".encode())

    assert found is getattr(import_module(found.__module__), name)
    assert found is getattr(import_module(f"fsspec_avroglob.{module}"), name)


def test_old_pickles_load() -> None:
    assert pickle.loads(POLICY) == RetryPolicy(max_retries=3, timeout=5.0)
    assert pickle.loads(URI) == parse_s3_glob_uri("s3://b/a/*.avro")
    assert pickle.loads(FILESYSTEM) == AvroGlobFileSystem(anon=True)


def test_unknown_module_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        import_module("fsspec_avroglob.no_such")
