"""What an engine is: it turns blocks of a physical schema into struct arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa


class RawEngine(Protocol):
    """Decodes blocks of one physical schema (see :mod:`fsspec_avroglob.avro.physical`).

    Its constructor takes the schema and a struct type: the columns to return and their types. It
    raises EngineNotAbleError if the engine cannot decode the schema.
    """

    name: str
    parallel: bool

    def decode(self, blocks: Sequence[tuple[int, bytes]]) -> Iterator[pa.StructArray]:
        """Yield the records of *blocks* in order, as struct arrays that have at least the columns.

        - ``blocks``: for each block how many records it claims to hold, and its decompressed data.

        Raises BlockDecodeError if the bytes are not such records, or if bytes are left over.
        """
