"""Avro object container files: their structure, their schemas and readers over many of them.

This package re-exports what is pure; the readers, which use filesystems, are in
:mod:`fsspec_avroglob.readers.read`.
"""

from fsspec_avroglob.avro.blocks import Dropped, decompress, salvage_blocks
from fsspec_avroglob.avro.container import (
    Block,
    BlockHeader,
    ByteRange,
    ContainerHeader,
    NeedMoreBytes,
    blocks_in_range,
    find_block,
    parse_block_header,
    parse_header,
    split_ranges,
    walk_blocks,
)
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, column_mapping, parse_schema

__all__ = [
    "AvroSchema",
    "Block",
    "BlockHeader",
    "ByteRange",
    "ContainerHeader",
    "Dropped",
    "NeedMoreBytes",
    "ParsedSchema",
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
