"""Avro object container files: their structure, their schemas and readers over many of them.

This package re-exports what is pure; the readers, which use filesystems, are in
:mod:`fsspec_avroglob.avro.read`.
"""

from fsspec_avroglob.avro.container import (
    BlockHeader,
    ContainerHeader,
    NeedMoreBytes,
    NotAvroError,
    parse_block_header,
    parse_header,
)
from fsspec_avroglob.avro.schema import (
    AvroSchema,
    InvalidSchemaError,
    ParsedSchema,
    SchemaMismatchError,
    column_mapping,
    parse_schema,
)

__all__ = [
    "AvroSchema",
    "BlockHeader",
    "ContainerHeader",
    "InvalidSchemaError",
    "NeedMoreBytes",
    "NotAvroError",
    "ParsedSchema",
    "SchemaMismatchError",
    "column_mapping",
    "parse_block_header",
    "parse_header",
    "parse_schema",
]
