"""What the readers can be asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, TypeAlias, TypedDict

from fsspec.callbacks import Callback

from fsspec_avroglob.avro.blocks import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.readers.hive import Filters
from fsspec_avroglob.readers.pipeline import MAX_BYTES, MAX_CONCURRENCY, Limits
from fsspec_avroglob.s3.spelling import did_you_mean

Engine: TypeAlias = Literal["auto", "fastavro", "polars-avro"]
Columns: TypeAlias = Sequence[str | int] | None

# A 64-bit index counts as far from here, whatever the number of rows.
_MOST_ROWS = 1 << 62


class SourceOptions(TypedDict, total=False):
    """Options of every reader; :class:`ReadOptions` says what they mean."""

    glob: bool
    schema: AvroSchema | None
    filters: Filters | None
    ignore_errors: bool
    max_block_size: int
    max_concurrency: int
    max_bytes: int
    progress: bool | Callback


class TableOptions(SourceOptions, total=False):
    """Options of the readers of tables."""

    row_index_name: str | None
    row_index_offset: int
    include_file_paths: str | None
    hive: bool
    engine: Engine


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """One set of options for all readers.

    - ``columns``: names or indices of the columns wanted, in the order wanted; all by default.
    - ``n_rows``: most rows to read, from the first on. Nothing is asked for that is not needed for
      them: files after the last row are not opened, so their schemas are not compared.
    - ``row_index_name``: name of a first column (int64) that counts the rows, over all files, from
      ``row_index_offset`` on.
    - ``include_file_paths``: name of a last column with the file that a row is from.
    - ``hive``: whether ``key=value`` directories are columns: int64, date or string, by the texts
      of all files. A key that the files have a field for is none.
    - ``glob``: False takes paths literally.
    - ``schema``, ``filters``: as :meth:`ResolvedSources.resolve` has them.
    - ``ignore_errors``: leave out files that are not Avro and blocks that are corrupt; report them.
    - ``max_block_size``: most bytes that one block may inflate to.
    - ``max_concurrency``, ``max_bytes``: most reads under way, and bytes being fetched, at a time.
    - ``engine``: what decodes: "auto" takes the fastest that is installed and able for each file.
    - ``progress``: True for a bar (tqdm), or an fsspec callback, which is told of bytes.

    Raises ValueError and TypeError for values that cannot be.
    """

    columns: Columns = None
    n_rows: int | None = None
    row_index_name: str | None = None
    row_index_offset: int = 0
    include_file_paths: str | None = None
    hive: bool = True
    glob: bool = True
    schema: AvroSchema | None = None
    filters: Filters | None = None
    ignore_errors: bool = False
    max_block_size: int = MAX_BLOCK_BYTES
    max_concurrency: int = MAX_CONCURRENCY
    max_bytes: int = MAX_BYTES
    engine: Engine = "auto"
    progress: bool | Callback = False

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            raise TypeError(f"columns is a list of names; write [{self.columns!r}] for one column")
        if self.n_rows is not None:
            _at_least(0, n_rows=self.n_rows)
        _at_least(
            1,
            max_block_size=self.max_block_size,
            max_concurrency=self.max_concurrency,
            max_bytes=self.max_bytes,
        )
        _at_least(-_MOST_ROWS, row_index_offset=self.row_index_offset)
        if self.row_index_offset > _MOST_ROWS:
            raise ValueError(f"row_index_offset is {self.row_index_offset}, too large to count on")
        for name in ("row_index_name", "include_file_paths"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is the name of a column, not {value!r}")

    @classmethod
    def of(
        cls,
        reader: Callable[..., object],
        options: SourceOptions,
        columns: Columns = None,
        n_rows: int | None = None,
    ) -> ReadOptions:
        """What the function *reader* was given. Raises TypeError for an option that it has not."""
        for name in options:
            if name not in TableOptions.__annotations__:
                *own, _ = signature(reader).parameters  # the last one is **options
                known = [*own, *TableOptions.__annotations__]
                hint = did_you_mean(name, known) or f"; there is {', '.join(known)}"
                raise TypeError(
                    f"{reader.__name__}() got an unexpected keyword argument {name!r}{hint}"
                )
        return cls(columns=columns, n_rows=n_rows, **options)

    @property
    def limits(self) -> Limits:
        """The bounds that a pipeline keeps."""
        return Limits(self.max_concurrency, self.max_bytes, self.max_block_size, self.n_rows)


def _at_least(least: int, **values: Any) -> None:
    for name, value in values.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} is a whole number, not {value!r}")
        if operator.index(value) < least:
            wording = "must not be negative" if least == 0 else f"must be at least {least}"
            raise ValueError(f"{name} {wording}, it is {value}")
