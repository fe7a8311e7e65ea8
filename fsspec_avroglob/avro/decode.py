"""Decoding runs of blocks: what they hold, or which block is corrupt and why.

:class:`RunDecoder` wraps a function that decodes runs. If the function fails, the decoder finds the
corrupt block. :class:`BlockReader` decodes the data of blocks into Python values.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import fastavro

from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.avro.interpreter import MAX_EMPTY_VALUES, Interpreter
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.avro.stream import BlockRun, Dropped
from fsspec_avroglob.errors import AvroDecodeError, BlockDecodeError

R = TypeVar("R")


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
    """Reads decompressed blocks of *schema*.

    - ``interpreted``: whether only Python does so within bounds, see ``physical.needs_python``.
    """

    def __init__(self, schema: AvroSchema, *, interpreted: bool) -> None:
        self._values: Callable[[int, bytes], list[Any]]
        if interpreted:
            self._values = Interpreter(schema).values
            return
        # Consecutive values are encoded like an array of them without the counts.
        array = fastavro.parse_schema({"type": "array", "items": schema})

        def values(count: int, data: bytes) -> list[Any]:
            stream = io.BytesIO(encode_long(count) + data + b"\x00")
            with _collector_paused():
                found: Any = fastavro.schemaless_reader(stream, array, None)
            if len(found) != count or stream.read(1):
                raise BlockDecodeError(f"its {count} values do not end where its data ends")
            return cast(list[Any], found)

        self._values = values

    def values(self, count: int, data: bytes) -> list[Any]:
        """Return the *count* values in *data*, records as dicts.

        Raises BlockDecodeError if *data* hold something else, or more.
        """
        check_count(count, data)
        if count == 0:
            return []
        try:
            return self._values(count, data)
        except (MemoryError, BlockDecodeError):
            raise
        except RecursionError as error:
            reason = "its records nest deeper than sys.getrecursionlimit() allows"
            raise BlockDecodeError(reason) from error
        except Exception as error:  # corrupt bytes fail in the way of their type
            raise BlockDecodeError(str(error) or type(error).__name__) from error


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from examining the new values of a block again and again.

    Values of nested types would take twice the CPU time.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def check_count(count: int, data: bytes) -> None:
    """Raise BlockDecodeError if *data* cannot hold *count* values."""
    if count > (len(data) or MAX_EMPTY_VALUES):
        raise BlockDecodeError(f"it claims {count} values in {len(data)} bytes")
    if count == 0 and data:
        raise BlockDecodeError(f"it claims no values in {len(data)} bytes")
