"""Avro files become one table: their paths, their schema, and which column is where in each."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob.errors import InvalidSchemaError, NotAvroError, SchemaMismatchError
from fsspec_avroglob.readers.sources import ResolvedSources
from tests.conftest import PutObjects
from tests.support.avro_data import avro_file, header, record_schema, user_file
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).write_bytes(content)


def test_resolves_paths_and_schema(tmp_path: Path) -> None:
    first, other = {"a": "int", "b": "string"}, {"b": "string", "a": "int"}
    row = {"a": 1, "b": "x"}
    write(
        tmp_path,
        {
            "1.avro": avro_file([row], record_schema(first)),
            "2.avro": avro_file([row], record_schema(other)),
            "3.avro": avro_file([row], record_schema(first, doc="text")),
        },
    )

    resolved = ResolvedSources.resolve(tmp_path / "*.avro")

    assert resolved.paths == tuple(f"{tmp_path}/{n}.avro" for n in (1, 2, 3))
    assert [field["name"] for field in resolved.schema["fields"]] == ["a", "b"]
    assert resolved.column_mappings == (None, (1, 0), None)
    assert pickle.loads(pickle.dumps(resolved)) == resolved


async def test_resolves_as_coroutine(
    put: PutObjects, bucket: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    put({"a/1.avro": user_file(3), "a/2.avro": user_file(3)})
    write(tmp_path, {"3.avro": user_file(1)})
    sources = [f"s3://{bucket}/a/*.avro", tmp_path / "3.avro"]

    resolved = await ResolvedSources.resolve_async(sources, endpoint.storage_options)

    assert resolved == ResolvedSources.resolve(sources, endpoint.storage_options)
    assert len(resolved.paths) == 3


def test_unfit_schemas_name_both_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "1.avro": avro_file([], record_schema({"a": "int"})),
            "2.avro": avro_file([], record_schema({"a": "string"})),
        },
    )

    with pytest.raises(SchemaMismatchError) as caught:
        ResolvedSources.resolve(tmp_path / "*.avro")

    assert caught.value.first_path == f"{tmp_path}/1.avro"
    assert caught.value.path == f"{tmp_path}/2.avro"
    assert caught.value.field == "a"


BROKEN: dict[str, tuple[bytes, type[Exception], str]] = {
    "empty": (b"", NotAvroError, "empty"),
    "csv": (b"id,name\n", NotAvroError, "is not an Avro file"),
    "cut short": (user_file(10)[:60], NotAvroError, "ends within its Avro header"),
    "lying length": (b"Obj\x01\x02\x80\x80\x80\x01", NotAvroError, "ends within"),
    "schema": (header({"type": "unheard-of"}), InvalidSchemaError, "invalid Avro schema"),
}


@pytest.mark.parametrize(("content", "error", "message"), BROKEN.values(), ids=BROKEN)
def test_non_avro_file_is_named(
    tmp_path: Path, content: bytes, error: type[Exception], message: str
) -> None:
    write(tmp_path, {"1.avro": user_file(1), "2.avro": content})

    with pytest.raises(error, match=message) as caught:
        ResolvedSources.resolve(tmp_path / "*.avro")

    assert f"{tmp_path}/2.avro" in str(caught.value)


@pytest.mark.parametrize(("content", "error", "message"), BROKEN.values(), ids=BROKEN)
def test_non_avro_object_is_named(
    put: PutObjects,
    bucket: str,
    endpoint: Endpoint,
    content: bytes,
    error: type[Exception],
    message: str,
) -> None:
    put({"2.avro": content})

    with pytest.raises(error, match=message) as caught:
        ResolvedSources.resolve(f"s3://{bucket}/*.avro", endpoint.storage_options)

    assert f"s3://{bucket}/2.avro" in str(caught.value)


def test_missing_sources_are_named(tmp_path: Path, bucket: str, endpoint: Any) -> None:
    for name in (f"{tmp_path}/none.avro", f"s3://{bucket}/none.avro", f"s3://{bucket}/*"):
        with pytest.raises(FileNotFoundError) as caught:
            ResolvedSources.resolve(name, endpoint.storage_options)
        assert caught.value.filename == name


def test_no_sources_are_an_error() -> None:
    with pytest.raises(ValueError, match="no sources"):
        ResolvedSources.resolve([])


def test_header_costs_one_get(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({f"part-{n}.avro": user_file(20_000) for n in range(4)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    ResolvedSources.resolve(f"s3://{bucket}/part-*.avro", options)

    assert proxy.count("GetObject") == 4
    assert proxy.count("HeadObject") == 0
    proxy.clear()
    names = [f"s3://{bucket}/part-{n}.avro" for n in range(4)]
    ResolvedSources.resolve(names, options)
    assert [request.operation for request in proxy.requests] == ["GetObject"] * 4


def test_large_header_costs_two_gets(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    schema = record_schema({"a": "int"}, doc="x" * 300_000)
    put({"large.avro": avro_file([{"a": 1}], schema)})
    options = {**proxy.storage_options, "skip_instance_cache": True}

    resolved = ResolvedSources.resolve(f"s3://{bucket}/large.avro", options)

    assert resolved.schema["doc"] == "x" * 300_000
    assert proxy.count() == 2


def test_schema_is_kept_verbatim(tmp_path: Path) -> None:
    schema = {"type": "record", "name": "a.b.R", "fields": [], "custom": {"x": [1]}}
    write(tmp_path, {"1.avro": header(schema)})

    resolved = ResolvedSources.resolve(tmp_path / "1.avro")

    assert json.dumps(resolved.schema) == json.dumps(schema)
