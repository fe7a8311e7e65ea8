"""Decoding runs of blocks: what they hold, or which block is corrupt and why.

:class:`RunDecoder` wraps a function that decodes runs. If the function fails, the decoder finds the
corrupt block. :func:`record_function` makes Python values, and the engines make Arrow arrays.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import fastavro
import fastavro._read_py

from fsspec_avroglob.avro.codecs import decompress
from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.avro.physical import endless_array, is_recursive
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.errors import AvroDecodeError, BlockDecodeError, InvalidSchemaError

R = TypeVar("R")

# A block without data may claim any number of values that take no bytes.
_MAX_EMPTY_VALUES = 1 << 24


@dataclass(frozen=True)
class Together(Generic[R]):
    """Decodes runs of several files in one call, which is faster for small runs.

    - ``alike``: equal for files whose runs may share a call.
    - ``function``: returns the result of each run, or raises any exception.
    """

    alike: object
    function: Callable[[Sequence[BlockRun]], list[R]]


@dataclass(frozen=True)
class RunDecoder(Generic[R]):
    """Decodes the runs of one file.

    - ``path``: the file.
    - ``function``: decodes a run, or its first values if it gets a number; raises any exception for
      corrupt data.
    - ``parallel``: whether several threads decode faster than one.
    - ``dropped``: receives the blocks that cannot be decoded; None raises instead.
    - ``several``: decodes small runs of several files together, if that is faster.
    """

    path: str
    function: Callable[[BlockRun, int | None], R]
    parallel: bool
    dropped: list[Dropped] | None
    several: Together[R] | None = None

    @property
    def alike(self) -> object | None:
        """Equal for files whose runs :meth:`together` may combine; None if that saves nothing."""
        return None if self.several is None else self.several.alike

    def together(self, runs: Sequence[BlockRun]) -> Sequence[R]:
        """Return the results of runs of files that are alike. Raises any exception."""
        assert self.several is not None
        return self.several.function(runs)

    def __call__(self, run: BlockRun, rows: int | None) -> Iterator[R]:
        """Yield the content of the run, or of its first *rows* values, in one or several parts.

        Raises AvroDecodeError, which names the corrupt block, after the blocks before it.
        """
        try:
            result = self.function(run, rows)
        except (OSError, MemoryError):
            raise  # says nothing about the data
        except Exception as error:  # codecs, engines and types raise whatever they do
            if len(run.contents) == 1:
                self._report(run, error)
                return
        else:
            yield result
            return
        # Decode block by block to find the corrupt one.
        for position, block in enumerate(run.blocks):
            yield from self(run.part(position, position + 1), rows)
            if rows is not None:
                rows -= block.value_count
                if rows <= 0:
                    return

    def _report(self, run: BlockRun, error: Exception) -> None:
        """Raise for a corrupt block, or add it to what was dropped."""
        block = run.blocks[0]
        reason = str(error) or type(error).__name__
        if self.dropped is None:
            raise AvroDecodeError(self.path, reason, run.first_index, block.offset) from error
        size_bytes = block.end - block.offset
        self.dropped.append(Dropped(self.path, run.first_index, block.offset, size_bytes, reason))


class BlockReader:
    """Reads decompressed blocks with fastavro.

    - ``writer``: schema of the values, ``reader``: schema to resolve them to, if any.
    - ``recursive``: whether the writer schema has recursive types.
    """

    def __init__(
        self, writer: AvroSchema, reader: AvroSchema | None = None, *, recursive: bool
    ) -> None:
        # Deep data overflow the C stack in fastavro's compiled reader. Its Python reader raises
        # RecursionError, but has no public name.
        self._read = (fastavro._read_py if recursive else fastavro).schemaless_reader
        # Consecutive values are encoded like an array of them without the counts.
        self._writer = fastavro.parse_schema({"type": "array", "items": writer})
        self._reader = reader and fastavro.parse_schema({"type": "array", "items": reader})

    def values(self, count: int, data: bytes) -> list[Any]:
        """Return the *count* values in *data*, records as dicts.

        Raises BlockDecodeError if *data* hold something else, or more.
        """
        check_count(count, data)
        if count == 0:
            return []
        stream = io.BytesIO(encode_long(count) + data + b"\x00")
        try:
            values: Any = self._read(stream, self._writer, self._reader)
        except MemoryError:
            raise
        except RecursionError as error:
            reason = "its records nest deeper than sys.getrecursionlimit() allows"
            raise BlockDecodeError(reason) from error
        except Exception as error:  # corrupt bytes fail in the way of their type
            raise BlockDecodeError(str(error) or type(error).__name__) from error
        if len(values) != count or stream.read(1):
            raise BlockDecodeError(f"its {count} values do not end where its data ends")
        return list(values)


def check_count(count: int, data: bytes) -> None:
    """Raise BlockDecodeError if *data* cannot hold *count* values."""
    if count > (len(data) or _MAX_EMPTY_VALUES):
        raise BlockDecodeError(f"it claims {count} values in {len(data)} bytes")
    if count == 0 and data:
        raise BlockDecodeError(f"it claims no values in {len(data)} bytes")


def record_function(
    codec: str,
    writer: ParsedSchema,
    reader: ParsedSchema | None,
    names: Sequence[str] | None,
    max_block_bytes: int,
) -> Callable[[BlockRun, int | None], list[Any]]:
    """Return a function that decodes runs as lists of values, records as dicts.

    - ``codec``, ``writer``: of the file.
    - ``reader``: schema to resolve to, None for the values as written.
    - ``names``: the fields of each dict, in order; None for all.
    """
    endless = endless_array(writer)
    if endless is not None:
        raise InvalidSchemaError(endless)
    blocks = BlockReader(writer.root, reader and reader.root, recursive=is_recursive(writer))

    def decode(run: BlockRun, rows: int | None) -> list[Any]:
        values: list[Any] = []
        for count, stored in run.stored():
            values += blocks.values(count, decompress(codec, stored, max_block_bytes))
        if rows is not None:
            del values[rows:]
        if names is not None:
            values = [{name: value[name] for name in names} for value in values]
        return values

    return decode
