"""Codecs: the data of blocks, decompressed within bounds.

Follows "Required Codecs" and "Optional Codecs" of the Apache Avro 1.12 specification. A block
states its stored size but not its decompressed size, so a few kilobytes may ask for gigabytes. No
function here decompresses more than its caller allows.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from fsspec_avroglob.errors import BlockTooLargeError, CodecError

MAX_BLOCK_BYTES = 256 << 20
"""Default bound of a block's decompressed size.

Writers make blocks of 16 KiB to a few MiB. Decoding takes three to four times the size of a block,
so that this one fits a laptop with 4 GiB.
"""

_SNAPPY_CRC_BYTES = 4

# `xz -9` needs a window of 65 MiB; a header may ask for 4 GiB.
_XZ_MEMORY_BYTES = 256 << 20


def decompress(codec: str, data: bytes, max_bytes: int = MAX_BLOCK_BYTES) -> bytes:
    """Return the decompressed data of a block.

    - ``codec``: a name from the specification: null, deflate, bzip2, snappy, xz or zstandard.
    - ``data``: as stored, for snappy including the checksum at the end.
    - ``max_bytes``: most bytes to decompress to.

    Raises BlockTooLargeError after at most one byte more than *max_bytes*, and CodecError for
    damaged or incomplete data, a wrong checksum, and an unknown codec or one that is not installed.
    """
    if codec == "snappy":
        return _decompress_snappy(data, max_bytes)
    if codec != "null":
        return b"".join(_decompress_streams(codec, data, max_bytes))
    if len(data) > max_bytes:
        raise BlockTooLargeError(codec, max_bytes)
    return data


def _decompress_streams(codec: str, data: bytes, max_bytes: int) -> Iterator[bytes]:
    """Decompress stream by stream. Arguments and errors: :func:`decompress`."""
    new_decompressor, error_types = _codec(codec)
    total = 0
    try:
        decompressor = new_decompressor()
        while True:
            piece = decompressor.decompress(data, max_bytes + 1 - total)
            total += len(piece)
            if total > max_bytes:
                raise BlockTooLargeError(codec, max_bytes)
            yield piece
            # zlib returns the input that it has not used; the others keep it.
            data = getattr(decompressor, "unconsumed_tail", b"")
            if not decompressor.eof:
                if not piece and not data:
                    raise CodecError(f"its data ends before its {codec} stream does")
            elif codec != "deflate" and decompressor.unused_data:
                decompressor, data = new_decompressor(), decompressor.unused_data
            else:
                return
    except error_types as error:
        raise CodecError(f"its data is not {codec}: {error}") from error


def _codec(name: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """Return a function that makes a decompressor, and the exceptions that it raises."""
    match name:
        case "deflate":
            # A negative window size selects a raw stream, without zlib's header and checksum.
            return lambda: zlib.decompressobj(-zlib.MAX_WBITS), (zlib.error,)
        case "bzip2":
            return bz2.BZ2Decompressor, (OSError,)
        case "xz":
            return lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES), (lzma.LZMAError,)
        case "zstandard":
            zstd = zstandard()
            return zstd.ZstdDecompressor, (zstd.ZstdError,)
    raise CodecError(f"its codec {name!r} is none of Avro's; write the file with another codec")


def zstandard() -> Any:
    """Import ``zstd`` of Python 3.14, or its backport. Raises CodecError if neither exists."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        try:
            from backports import zstd
        except ImportError as error:
            raise _missing("zstandard", "backports.zstd") from error
    return zstd


def _missing(codec: str, package: str) -> CodecError:
    return CodecError(
        f"its codec {codec!r} needs the package {package}: pip install 'fastavro[{codec}]'"
    )


def _decompress_snappy(data: bytes, max_bytes: int) -> bytes:
    try:
        from cramjam import snappy
    except ImportError as error:
        raise _missing("snappy", "cramjam") from error
    stored, checksum = data[:-_SNAPPY_CRC_BYTES], data[-_SNAPPY_CRC_BYTES:]
    if not stored:
        raise CodecError(f"its {len(data)} bytes are too few for snappy data and its checksum")
    try:
        too_large = snappy.decompress_raw_len(stored) > max_bytes
        decompressed = b"" if too_large else bytes(snappy.decompress_raw(stored))
    except Exception as error:  # cramjam's exceptions have no other common base
        raise CodecError(f"its data is not snappy: {error}") from error
    if too_large:
        raise BlockTooLargeError("snappy", max_bytes)
    if zlib.crc32(decompressed) != int.from_bytes(checksum, "big"):
        raise CodecError("its data does not match the checksum that follows")
    return decompressed
