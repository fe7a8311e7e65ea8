"""Files that are no Avro containers are named for what they are."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import zipfile

import fastavro
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet
import pytest

from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.avro.foreign import foreign_format
from fsspec_avroglob.errors import NotAvroError
from tests.support.avro_data import USER_SCHEMA, user, user_file


def written(write: object) -> bytes:
    out = io.BytesIO()
    write(pa.table({"a": [1]}), out)  # type: ignore[operator]
    return out.getvalue()


def single_object() -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, USER_SCHEMA, user(1))
    return b"\xc3\x01" + bytes(8) + out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x.avro", b"x")
    return out.getvalue()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "confluent": (b"\0\0\0\1\2\x06abc", "Confluent's wire format .*schema id 258.*schema registry"),
    "zeros": (bytes(100), "it is zeros"),
    "single object": (single_object(), "single-object encoding.*from byte 10"),
    "gzip": (gzip.compress(user_file(1)), r"compressed with gzip; .*ends in \.avro\.gz"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\0", "Zstandard; decompress"),
    "bzip2": (bz2.compress(user_file(1)), "bzip2; decompress"),
    "xz": (lzma.compress(user_file(1)), "xz; decompress"),
    "zip": (zipped(), "ZIP archive; name a file in it"),
    "parquet": (written(pa.parquet.write_table), "it is Parquet; .*read_parquet"),
    "orc": (written(pa.orc.write_table), "it is ORC; .*read_orc"),
    "feather": (written(pa.feather.write_feather), "Arrow IPC"),
    "json": (b'{"id": 1}\n{"id": 2}\n', "JSON text; .*read_json"),
    "json array": (b" \n[1, 2]", "JSON text"),
    "cut json": (b'{"id": "' + b"x" * 5000, "JSON text"),
    "schema": (json.dumps(USER_SCHEMA).encode(), "an Avro schema in JSON, without data"),
    "html": (b"\r\n<!doctype HTML>\n<html><title>Log in</title>", "HTML page; a portal"),
    "xhtml": (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC>", "HTML page"),
    "s3 error": (
        b'<?xml version="1.0"?>\n<Error><Code>SlowDown</Code></Error>',
        r"an error of S3 in XML \(SlowDown\)",
    ),
    "xml": (b"<?xml version='1.0'?><data/>", "it is XML"),
    "csv": (b"id,name\n1,ann\n", "text, perhaps CSV; .*read_csv"),
    "tsv": ("\ufeffid\tnäme\n".encode(), "text, perhaps TSV"),
    "utf-16": ("id;name\n".encode("utf-16"), "text, perhaps CSV"),
    "base64": (base64.b64encode(user_file(1)), "Avro in Base64"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "version": (b"Obj\x02", "unknown version"),
}


@pytest.mark.parametrize(("data", "message"), FOREIGN.values(), ids=FOREIGN)
def test_format_is_named_with_advice(data: bytes, message: str) -> None:
    with pytest.raises(NotAvroError, match=message):
        parse_header(data)


@pytest.mark.parametrize("data", [b"\x80\x81\x82\x83", b"\x01\x02\x03", b"\0\0", b"\x1b[31m"])
def test_other_bytes_are_shown(data: bytes) -> None:
    assert foreign_format(data) is None or data == b"\0\0"
    with pytest.raises(NotAvroError, match="starts with"):
        parse_header(data)
