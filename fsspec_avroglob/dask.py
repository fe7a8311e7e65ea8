"""Avro files as a dask.dataframe: partitions of about one size, read and written on the workers."""

from __future__ import annotations

import datetime
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

try:
    import dask
    import dask.dataframe as dd
    from dask.dataframe.dask_expr import _expr as ex
    from dask.dataframe.dask_expr import new_collection
    from dask.dataframe.dask_expr._reductions import Len
    from dask.dataframe.dask_expr.io import FromMapProjectable
    from dask.system import CPU_COUNT
    from dask.utils import parse_bytes
    from pandas.api.types import is_object_dtype
except ImportError as error:
    raise ImportError(
        "fsspec_avroglob.dask needs dask.dataframe: pip install 'fsspec-avroglob[dask]'"
    ) from error

from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.readers.frames import DtypeBackend, FrameBuilder
from fsspec_avroglob.readers.hive import Filters, typed
from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.locate import Source, Sources, StorageOptions, source_names
from fsspec_avroglob.readers.options import Columns, Engine, ReadOptions, TableOptions
from fsspec_avroglob.readers.pieces import Piece, layout_of, pieces, read_piece
from fsspec_avroglob.readers.session import resolved_sources
from fsspec_avroglob.readers.sources import ResolvedSources
from fsspec_avroglob.readers.write import write_avro

if TYPE_CHECKING:
    import pandas

__all__ = ["read_avro", "to_avro"]

Blocksize: TypeAlias = int | str | None
"""Bytes, as a number or as text; None, or "auto"."""

_NO_PIECE = Piece(())
"""Stands for a partition in which no row can be wanted; nothing is read for it."""

_COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ex.EQ: operator.eq,
    ex.NE: operator.ne,
    ex.LT: operator.lt,
    ex.LE: operator.le,
    ex.GT: operator.gt,
    ex.GE: operator.ge,
}
# Other literals may compare with a column in ways of their own, as a Timestamp does with dates.
_LITERALS: Mapping[str, type] = {"int64": int, "date": datetime.date, "string": str}


def read_avro(
    urlpath: Sources | ResolvedSources,
    columns: Columns = None,
    blocksize: Blocksize = "auto",
    schema: AvroSchema | None = None,
    filters: Filters | None = None,
    storage_options: StorageOptions = None,
    include_file_paths: str | None = None,
    engine: Engine = "auto",
    *,
    dtype_backend: DtypeBackend | None = None,
    glob: bool = True,
    hive: bool = True,
    ignore_errors: bool = False,
    max_block_size: int | None = None,
) -> dd.DataFrame:
    """Read Avro files as a dask.dataframe.

    - ``urlpath``: path, URL or glob, or a list of them; rows are in the order of the files.
    - ``columns``: names or indices of the columns wanted, in the order wanted; all by default.
    - ``blocksize``: bytes of files (``"16 MiB"``) that a partition is made of, about: small files
      are grouped, large ones divided between blocks. None makes each file a partition. ``"auto"``
      is 64 MiB, or so much less that every thread gets a partition, but not below 4 MiB. Threads
      are those of the current client's cluster, else those that Dask starts in this process.
    - ``schema``: ``"first"``, ``"union"`` or a reader schema, for files whose schemas differ.
    - ``filters``: on ``key=value`` directories, ``[("year", ">=", 2024)]``; what they exclude is
      not listed where that can be told, and never read.
    - ``storage_options``: of the filesystem that serves the URLs, here and on the workers.
    - ``include_file_paths``: name of a last column with the file that a row is from.
    - ``engine``: what decodes: "auto", "fastavro" or "polars-avro".
    - ``dtype_backend``: as pandas has it; dtypes are those of :func:`fsspec_avroglob.read_avro`.
    - ``glob``, ``hive``, ``ignore_errors``, ``max_block_size``: as for
      :func:`fsspec_avroglob.read_avro`; what is left out is logged by the workers.

    The call itself lists the files and reads their headers; the meta follows from the schemas.
    Columns that the result is later narrowed to are the only ones decoded, and partitions that a
    later comparison (``==``, ``<``, ..., ``&``, ``|``) of a ``key=value`` column rules out are not
    read. Names of tasks depend on the files' versions, the arguments and, for "auto", the number
    of threads alone.

    Raises what :func:`fsspec_avroglob.read_avro` raises before it reads rows.
    """
    asked = ReadOptions(
        columns=columns,
        include_file_paths=include_file_paths,
        hive=hive,
        glob=glob,
        schema=schema,
        filters=filters,
        ignore_errors=ignore_errors,
    )
    resolved = resolved_sources(urlpath, storage_options, asked)
    # The workers would not get them, and the names of tasks are not to depend on them.
    files = tuple(replace(file, head=b"") for file in resolved.files)
    resolved = replace(resolved, files=files)
    layout = layout_of(resolved, asked)
    options: TableOptions = {"engine": engine, "ignore_errors": ignore_errors}
    if max_block_size is not None:
        options["max_block_size"] = max_block_size
    reader = PieceReader(layout, dict(resolved.storage_options or {}), options, dtype_backend)
    parts = _partitions(resolved, blocksize)
    return new_collection(_ReadAvro(reader, [parts], None, [], {}, True, reader.empty))


def _partitions(resolved: ResolvedSources, blocksize: Blocksize) -> list[Piece]:
    """At least one, even if it is of no rows."""
    if blocksize == "auto":
        found = pieces(resolved, readers=_threads())
    else:
        size = parse_bytes(blocksize) if isinstance(blocksize, str) else blocksize
        found = pieces(resolved, size)
    return found or [_NO_PIECE]


def _threads() -> int:
    """How many partitions can be read at once: by the current client's cluster, else here."""
    # There is a client only where somebody has imported this.
    distributed = sys.modules.get("distributed")
    threads = 0
    if distributed is not None:
        with suppress(ValueError):  # no client
            client = distributed.Client.current()
            threads = int(client.scheduler_info(n_workers=0)["total_threads"])
    return threads or int(dask.config.get("num_workers", None) or CPU_COUNT)


@dataclass(frozen=True)
class PieceReader:
    """Reads a piece as a pandas frame; travels to the workers.

    - ``layout``: of the whole table. ``storage_options``: for the files' filesystem.
    - ``options``: of :class:`ReadOptions` those about how to read. ``dtype_backend``: of pandas.
    """

    layout: TableLayout
    storage_options: Mapping[str, Any] = field(repr=False)
    options: TableOptions
    dtype_backend: DtypeBackend | None

    def __call__(self, piece: Piece, columns: Sequence[str]) -> pandas.DataFrame:
        """The rows of *piece*, of them these columns."""
        layout = self.layout.select(columns)
        if not piece.spans:
            return self._frame(layout, layout.arrow.empty_table())
        return self._frame(layout, read_piece(piece, layout, self.storage_options, **self.options))

    @property
    def empty(self) -> pandas.DataFrame:
        """A frame without rows, but with all columns: what dask calls meta."""
        return self._frame(self.layout, self.layout.arrow.empty_table())

    def _frame(self, layout: TableLayout, table: Any) -> pandas.DataFrame:
        builder = FrameBuilder(layout.arrow, self.dtype_backend, layout.categories)
        for batch in table.to_batches():
            builder.add(batch)
        return builder.frame()


class _ReadAvro(FromMapProjectable):  # type: ignore[misc]  # dask has no types
    """The expression behind :func:`read_avro`; columns and partitions are pushed into it."""

    @property
    def _name(self) -> str:
        return f"read-avro-{self.deterministic_token}"

    def _simplify_up(self, parent: ex.Expr, dependents: Any) -> ex.Expr | None:
        if isinstance(parent, ex.Filter) and parent.frame._name == self._name:
            return self._pruned(parent)
        if isinstance(parent, ex.Index | Len) and self.columns:
            # Rows are counted without a value being decoded.
            return type(parent)(self.substitute_parameters({"columns": [], "_series": False}))
        simpler: ex.Expr | None = super()._simplify_up(parent, dependents)
        return simpler

    def _pruned(self, parent: ex.Filter) -> ex.Filter | None:
        """*parent* over a table whose pieces without a row for it are not read; None if all are."""
        (parts,) = self.operand("iterables")
        kept = [part if self._may_hold(parent.predicate, part) else _NO_PIECE for part in parts]
        if kept == parts:
            return None
        return parent.substitute(self, self.substitute_parameters({"iterables": [kept]}))

    def _may_hold(self, predicate: ex.Expr, piece: Piece) -> bool:
        """Whether the predicate may be true of a row of *piece*, by its directories alone."""
        if isinstance(predicate, ex.And):
            return all(self._may_hold(side, piece) for side in (predicate.left, predicate.right))
        if isinstance(predicate, ex.Or):
            return any(self._may_hold(side, piece) for side in (predicate.left, predicate.right))
        condition = self._condition(predicate)
        if condition is None:
            return bool(piece.spans)
        key, holds = condition
        kind = self.operand("func").layout.hive[key]
        values = [typed(span.partition.get(key), kind) for span in piece.spans]
        return any(value is None or holds(value) for value in values)

    def _condition(self, predicate: ex.Expr) -> tuple[str, Callable[[Any], bool]] | None:
        """The column of directories that a comparison is about, and the comparison; else None."""
        compare = _COMPARISONS.get(type(predicate))
        if compare is None:
            return None
        key = self._directory(predicate.left, predicate.right)
        return None if key is None else (key, lambda value: compare(value, predicate.right))

    def _directory(self, column: Any, literal: Any) -> str | None:
        """The name of *column*, if it is one of directories and comparable with *literal*."""
        if not isinstance(column, ex.Projection) or column.frame._name != self._name:
            return None
        (key,) = column.columns
        kind = self.operand("func").layout.hive.get(key)
        comparable = kind is not None and type(literal) is _LITERALS[kind]
        return key if comparable else None


def to_avro(
    df: dd.DataFrame,
    url: Source,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    storage_options: StorageOptions = None,
    *,
    compute: bool = True,
) -> Any:
    """Write a dask.dataframe as Avro files, one a partition, each whole or not at all.

    - ``url``: with a ``*`` that stands for the number of the partition:
      ``avroglob://bucket/events/part-*.avro``. Files of these names are replaced.
    - ``schema``: the Avro schema; by default it follows from the dtypes of each partition, which
      must not depend on its values, as those of object columns do.
    - ``codec``, ``storage_options``: as for :func:`fsspec_avroglob.write_avro`.
    - ``compute``: False returns the writes as delayed values, each of a file's name.

    Returns the files' names. Raises ValueError for a *url* without ``*`` and for object columns
    without a *schema*, and what :func:`fsspec_avroglob.write_avro` raises.
    """
    (name,), storage_options = source_names(url, storage_options)
    if name.count("*") != 1:
        raise ValueError(f"{name!r} needs one *, which stands for the number of the partition")
    vague = [repr(column) for column, dtype in df.dtypes.items() if is_object_dtype(dtype)]
    if schema is None and vague:
        raise ValueError(
            f"columns {', '.join(vague)} have dtype object, which does not say what they hold; "
            "give schema=... or convert them, with astype('string') for text"
        )
    write = dask.delayed(_write_partition, pure=False)
    options = dict(storage_options or {})
    writes = [
        write(part, name.replace("*", f"{number:05}"), schema, codec, options)
        for number, part in enumerate(df.to_delayed())
    ]
    return list(dask.compute(*writes)) if compute else writes


def _write_partition(
    part: pandas.DataFrame,
    url: str,
    schema: AvroSchema | None,
    codec: str,
    storage_options: Mapping[str, Any],
) -> str:
    (written,) = write_avro(part, url, schema, codec, storage_options=storage_options)
    return written
