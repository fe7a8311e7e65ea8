"""Avro object container files: their structure, their schemas and readers over many of them.

This package re-exports what is pure; the readers, which use filesystems, are in
:mod:`fsspec_avroglob.readers.read`.
"""

from fsspec_avroglob.avro.blocks import (
    BlockTooLargeError,
    CodecError,
    Dropped,
    decompress,
    salvage_blocks,
)
from fsspec_avroglob.avro.container import (
    Block,
    BlockHeader,
    ByteRange,
    ContainerHeader,
    CorruptBlockError,
    NeedMoreBytes,
    NotAvroError,
    UncertainBlockError,
    blocks_in_range,
    find_block,
    parse_block_header,
    parse_header,
    split_ranges,
    walk_blocks,
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
    "Block",
    "BlockHeader",
    "BlockTooLargeError",
    "ByteRange",
    "CodecError",
    "ContainerHeader",
    "CorruptBlockError",
    "Dropped",
    "InvalidSchemaError",
    "NeedMoreBytes",
    "NotAvroError",
    "ParsedSchema",
    "SchemaMismatchError",
    "UncertainBlockError",
    "blocks_in_range",
    "column_mapping",
    "decompress",
    "find_block",
    "parse_block_header",
    "parse_header",
    "parse_schema",
    "salvage_blocks",
    "split_ranges",
    "walk_blocks",
]
