"""What an engine is: raw blocks of a physical schema in, a struct array out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa


class RawBlock(NamedTuple):
    """One block, inflated.

    - ``value_count``: how many records it claims to hold.
    - ``data``: their bytes.
    """

    value_count: int
    data: bytes


class RawEngine(Protocol):
    """Decodes blocks of one physical schema.

    Made from this schema and a struct of the top-level fields that are wanted, with the types that
    they should have. Raises EngineNotAbleError then if it cannot decode the schema.
    """

    name: str
    parallel: bool

    def decode(self, blocks: Sequence[RawBlock]) -> Iterator[pa.StructArray]:
        """The records of *blocks* in order, as arrays of structs that have the columns at least.

        Raises BlockDecodeError if the bytes are no such records, or are not all used up.
        """
