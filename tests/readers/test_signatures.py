"""All readers spell out the same options, with the same defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, signature
from typing import Any

import pytest

import fsspec_avroglob as package
from fsspec_avroglob import dask
from fsspec_avroglob.readers.options import ReadOptions

DEFAULTS = {field.name: field.default for field in fields(ReadOptions)}
ADDED_COLUMNS = {
    "row_index_name",
    "row_index_offset",
    "include_file_paths",
    "engine",
    "recursive",
} | {
    "hive",
    "hive_partitioning",
}
RESULT = {"dtype_backend", "batch_size"}

READERS = {
    package.read_avro: {"batch_size"},
    package.read_avro_table: RESULT,
    package.iter_avro_batches: {"dtype_backend"},
    package.iter_avro_records: RESULT | ADDED_COLUMNS,
    package.scan_avro: RESULT,
    dask.read_avro: {
        "batch_size",
        "max_bytes",
        "max_concurrency",
        "n_rows",
        "progress",
        "row_index_name",
        "row_index_offset",
    },
}


@pytest.mark.parametrize("reader", READERS)
def test_reader_has_its_options(reader: Callable[..., Any]) -> None:
    parameters = signature(reader).parameters
    options = {name: p.default for name, p in parameters.items() if name in DEFAULTS}

    assert options == {k: v for k, v in DEFAULTS.items() if k not in READERS[reader]}
    assert next(iter(parameters)) == "urlpath"
    assert not {p.kind for p in parameters.values()} & {Parameter.VAR_KEYWORD}


@pytest.mark.parametrize(
    ("reader", "twin"),
    [
        (package.read_avro, package.read_avro_async),
        (package.read_avro_table, package.read_avro_table_async),
        (package.read_avro_schema, package.read_avro_schema_async),
        (package.iter_avro_batches, package.aiter_avro_batches),
        (package.iter_avro_records, package.aiter_avro_records),
    ],
)
def test_twin_has_same_parameters(reader: Callable[..., Any], twin: Callable[..., Any]) -> None:
    assert signature(twin) == signature(reader)
    assert twin.__name__ in {f"{reader.__name__}_async", f"a{reader.__name__}"}
    assert getattr(package, twin.__name__) is twin
    assert inspect.iscoroutinefunction(twin) == twin.__name__.endswith("_async")


def test_help_has_every_parameter() -> None:
    parameters, _, _ = (inspect.getdoc(package.read_avro) or "").partition("\nRaises\n")

    described = re.findall(r"(?m)^(\w+) : ", parameters)
    assert sorted(described) == sorted(signature(package.read_avro).parameters)
