"""Decoding runs of blocks: within bounds, and with the place of what is wrong."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import fastavro
import fastavro._read_py

from fsspec_avroglob.avro.blocks import Dropped, decompress
from fsspec_avroglob.avro.container import encode_long
from fsspec_avroglob.avro.physical import endless_array, is_recursive
from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, describe_type
from fsspec_avroglob.avro.stream import Run
from fsspec_avroglob.errors import AvroDecodeError, InvalidSchemaError

R = TypeVar("R")

# Values that take no bytes can be claimed in any number.
_MOST_EMPTY_VALUES = 1 << 24


@dataclass(frozen=True)
class Together(Generic[R]):
    """Decodes runs of several files at once, faster than one by one.

    - ``alike``: equal for files whose runs may be decoded so.
    - ``function``: returns what each run holds, or raises anything.
    """

    alike: object
    function: Callable[[Sequence[Run]], list[R]]


class RunDecoder(Generic[R]):
    """Decodes runs of one file's blocks.

    - ``path``: of the file.
    - ``function``: decodes a run, of the first so many values if that is given; may raise anything
      for damaged data.
    - ``parallel``: whether it is worth while in several threads at once.
    - ``dropped``: gets what cannot be decoded; None raises instead.
    - ``several``: what decodes small runs with those of other files, if that is faster.
    """

    def __init__(
        self,
        path: str,
        function: Callable[[Run, int | None], R],
        *,
        parallel: bool,
        dropped: list[Dropped] | None,
        several: Together[R] | None = None,
    ) -> None:
        self.parallel = parallel
        self._path = path
        self._function = function
        self._dropped = dropped
        self._several = several

    @property
    def alike(self) -> object | None:
        """Equal for files whose runs :meth:`together` takes; None if that saves nothing."""
        return None if self._several is None else self._several.alike

    def together(self, runs: Sequence[Run]) -> Sequence[R]:
        """What each of the runs holds, of files that are alike; raises anything if it cannot."""
        assert self._several is not None
        return self._several.function(runs)

    def __call__(self, run: Run, rows: int | None) -> Iterator[R]:
        """What the run holds, in one part or in several.

        Raises AvroDecodeError with the place of the block at fault, after what is before it.
        """
        try:
            found = self._function(run, rows)
        except (OSError, MemoryError):
            raise  # says nothing about the data
        except Exception as error:  # damaged bytes fail in whichever way the codec or type has
            if len(run.blocks) == 1:
                self._lose(run, error)
                return
        else:
            yield found
            return
        yield from self._one_by_one(run, rows)

    def _lose(self, run: Run, error: Exception) -> None:
        """Report a run of one block as left out, or raise."""
        block = run.blocks[0]
        reason = str(error) or type(error).__name__
        if self._dropped is None:
            raise AvroDecodeError(self._path, reason, run.first_index, block.offset) from error
        size_bytes = block.end - block.offset
        self._dropped.append(Dropped(self._path, run.first_index, block.offset, size_bytes, reason))

    def _one_by_one(self, run: Run, rows: int | None) -> Iterator[R]:
        """The blocks each on its own, which shows the one at fault."""
        for place, block in enumerate(run.blocks):
            limit = rows if rows is not None and rows < block.value_count else None
            yield from self(run.part(place, place + 1), limit)
            if rows is not None:
                rows -= block.value_count
                if rows <= 0:
                    return


def record_function(
    codec: str,
    writer: ParsedSchema,
    reader: ParsedSchema | None,
    names: Sequence[str] | None,
    max_block_bytes: int,
) -> Callable[[Run, int | None], list[Any]]:
    """Decodes runs as lists of values, records as dicts, with fastavro.

    - ``codec``, ``writer``: of the file.
    - ``reader``: what to resolve to, None for the values as they were written.
    - ``names``: the fields that each dict gets, in order; None for all as they come.
    """
    endless = endless_array(writer)
    if endless is not None:
        raise InvalidSchemaError(
            f"any number of items fits into no bytes of {describe_type(endless)}, so that damaged "
            "data could not be told"
        )
    # fastavro's compiled reader would overflow the C stack, its Python one raises RecursionError.
    reading = fastavro._read_py if is_recursive(writer) else fastavro
    # Values one after another are an array of them without its counts.
    written = fastavro.parse_schema({"type": "array", "items": writer.root})
    wanted = reader and fastavro.parse_schema({"type": "array", "items": reader.root})

    def decode(run: Run, rows: int | None) -> list[Any]:
        values: list[Any] = []
        for count, data in run.stored():
            inflated = decompress(codec, data, max_block_bytes)
            values += _decoded(reading.schemaless_reader, count, inflated, written, wanted)
        if rows is not None:
            del values[rows:]
        if names is not None:
            values = [{name: value[name] for name in names} for value in values]
        return values

    return decode


def _decoded(
    read: Callable[..., Any],
    count: int,
    data: bytes,
    written: AvroSchema,
    wanted: AvroSchema | None,
) -> list[Any]:
    if count > (len(data) or _MOST_EMPTY_VALUES):
        raise ValueError(f"it claims {count} values in {len(data)} bytes")
    if count == 0:
        if data:
            raise ValueError(f"{len(data)} bytes hold no value")
        return []
    stream = io.BytesIO(encode_long(count) + data + b"\x00")
    values = read(stream, written, wanted)
    if len(values) != count or stream.read(1):
        raise ValueError(f"its {count} values do not end where its data does")
    return list(values)
