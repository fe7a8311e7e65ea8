"""Avro files as a dask.dataframe; workers read and write partitions of about equal size."""

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
    from numpy import datetime64
    from pandas import NaT, Timestamp
    from pandas.api.types import is_object_dtype
except ImportError as error:
    raise ImportError(
        "fsspec_avroglob.dask needs dask.dataframe: pip install 'fsspec-avroglob[dask]'"
    ) from error

from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.readers.frames import FrameBuilder
from fsspec_avroglob.readers.hive import Filters, typed
from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.locate import SourcePath, Sources, StorageOptions, source_names
from fsspec_avroglob.readers.options import Columns, DtypeBackend, Engine, ReadOptions, Recursive
from fsspec_avroglob.readers.pieces import Piece, layout_of, pieces, read_piece
from fsspec_avroglob.readers.session import resolved_sources
from fsspec_avroglob.readers.sources import ResolvedSources
from fsspec_avroglob.readers.write import WriteJob, delete_others

if TYPE_CHECKING:
    import pandas

__all__ = ["read_avro", "to_avro"]

Blocksize: TypeAlias = int | str | None
"""Bytes as an int or as text, None, or "auto"."""

_NO_PIECE = Piece(())
"""A partition without rows, for which nothing is read."""

_COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ex.EQ: operator.eq,
    ex.NE: operator.ne,
    ex.LT: operator.lt,
    ex.LE: operator.le,
    ex.GT: operator.gt,
    ex.GE: operator.ge,
}
# Others, such as numbers with a fraction, have their own comparison with these values.
_LITERALS: Mapping[str, type] = {"int64": int, "string": str}


def read_avro(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    blocksize: Blocksize = "auto",
    schema: AvroSchema | None = None,
    filters: Filters | None = None,
    include_file_paths: str | None = None,
    engine: Engine = "auto",
    *,
    dtype_backend: DtypeBackend | None = None,
    glob: bool = True,
    hive: bool = True,
    hive_partitioning: bool | None = None,
    ignore_errors: bool = False,
    max_block_size: int = MAX_BLOCK_BYTES,
    recursive: Recursive | None = None,
) -> dd.DataFrame:
    """Read Avro files as a dask.dataframe; the call lists the files and reads their headers.

    Only the columns that the result uses are decoded. Comparisons of a ``key=value`` column
    (``==``, ``<``, ..., ``&``, ``|``) skip the partitions that they rule out. Task names depend on
    the versions of the files, on the arguments and, for "auto", on the number of threads.
    The other parameters and errors are those of :func:`fsspec_avroglob.read_avro`; the workers log
    what ``ignore_errors`` skips.

    Parameters
    ----------
    blocksize : int or str, optional
        Bytes of files for a partition, about, such as ``"16 MiB"``: small files are grouped, large
        ones are divided between blocks. None makes each file a partition. ``"auto"`` is 64 MiB, or
        less (at least 4 MiB) if that gives every thread of the client's cluster, or else of this
        process, a partition.

    Examples
    --------
    >>> from fsspec_avroglob.dask import read_avro
    >>> len(read_avro("s3://lake/events/*.avro", blocksize="16 MiB"))  # doctest: +SKIP
    300
    """
    options = ReadOptions.of(locals())
    resolved = resolved_sources(urlpath, storage_options, options)
    # Without heads, which the workers do not receive and task names must not depend on.
    files = tuple(replace(file, head=b"") for file in resolved.files)
    resolved = replace(resolved, files=files)
    layout, storage = layout_of(resolved, options), dict(resolved.storage_options or {})
    # The layout holds the others.
    decoding = ReadOptions(
        dtype_backend=dtype_backend,
        ignore_errors=ignore_errors,
        max_block_size=max_block_size,
        engine=engine,
    )
    reader = PieceReader(layout, storage, decoding)
    if blocksize == "auto":
        parts = pieces(resolved, readers=_threads())
    else:
        size = parse_bytes(blocksize) if isinstance(blocksize, str) else blocksize
        parts = pieces(resolved, size)
    parts = parts or [_NO_PIECE]  # Dask needs at least one
    meta = reader(_NO_PIECE, layout.arrow.names)
    return new_collection(_ReadAvro(reader, [parts], None, [], {}, True, meta))


def _threads() -> int:
    """Return the number of threads of the current client's cluster, or else of this process."""
    # Without this import there is no client.
    distributed = sys.modules.get("distributed")
    threads = 0
    if distributed is not None:
        with suppress(ValueError):  # no client
            client = distributed.Client.current()
            threads = int(client.scheduler_info(n_workers=0)["total_threads"])
    return threads or int(dask.config.get("num_workers", None) or CPU_COUNT)


@dataclass(frozen=True)
class PieceReader:
    """Reads a piece as a pandas frame, on the workers."""

    layout: TableLayout
    storage_options: Mapping[str, Any] = field(repr=False)
    options: ReadOptions

    def __call__(self, piece: Piece, columns: Sequence[str]) -> pandas.DataFrame:
        """Read these columns of *piece*."""
        layout = self.layout.select(columns)
        builder = FrameBuilder(layout.arrow, self.options.dtype_backend, layout.categories)
        if piece.spans:
            table = read_piece(piece, layout, self.storage_options, self.options)
            for batch in table.to_batches():
                builder.add(batch)
        return builder.frame()


class _ReadAvro(FromMapProjectable):  # type: ignore[misc]  # dask has no types
    """The expression of :func:`read_avro`, into which Dask pushes columns and filters."""

    @property
    def _name(self) -> str:
        return f"read-avro-{self.deterministic_token}"

    def _simplify_up(self, parent: ex.Expr, dependents: Any) -> ex.Expr | None:
        if isinstance(parent, ex.Filter) and parent.frame._name == self._name:
            return self._pruned(parent)
        if isinstance(parent, ex.Index | Len) and self.columns:
            # Counting rows decodes no column.
            return type(parent)(self.substitute_parameters({"columns": [], "_series": False}))
        simpler: ex.Expr | None = super()._simplify_up(parent, dependents)
        return simpler

    def _pruned(self, parent: ex.Filter) -> ex.Filter | None:
        """Replace the pieces that *parent* excludes by empty ones; None if it excludes none."""
        (parts,) = self.operand("iterables")
        kept = [part if self._may_hold(parent.predicate, part) else _NO_PIECE for part in parts]
        if kept == parts:
            return None
        return parent.substitute(self, self.substitute_parameters({"iterables": [kept]}))

    def _may_hold(self, predicate: ex.Expr, piece: Piece) -> bool:
        """Whether the directories of *piece* allow rows that satisfy the predicate."""
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
        """Return the ``key=value`` column of a comparison and its test, else None."""
        compare = _COMPARISONS.get(type(predicate))
        column = None if compare is None else predicate.left
        if not isinstance(column, ex.Projection) or column.frame._name != self._name:
            return None
        (key,) = column.columns
        reader, right = self.operand("func"), predicate.right
        kind = reader.layout.hive.get(key)
        if compare is None or kind is None:
            return None
        if kind == "date" and reader.options.dtype_backend != "pyarrow":
            moment = _moment(right)
            return None if moment is None else (key, lambda day: compare(Timestamp(day), moment))
        if type(right) is not _LITERALS.get(kind, datetime.date):
            return None
        return key, lambda value: compare(value, right)


def _moment(literal: Any) -> Timestamp | None:
    """Return what pandas compares a column of datetimes with for a literal; None if unknown."""
    if not isinstance(literal, str | datetime.datetime | datetime64):
        return None
    try:
        moment = Timestamp(literal)
    except ValueError:
        return None
    return None if moment is NaT or moment.tzinfo is not None else moment


def to_avro(
    df: dd.DataFrame,
    url: SourcePath,
    schema: AvroSchema | None = None,
    codec: str = "snappy",
    storage_options: StorageOptions = None,
    *,
    partition_cols: Sequence[str] | None = None,
    overwrite: bool = False,
    compute: bool = True,
) -> Any:
    """Write a dask.dataframe as Avro files, one for each partition.

    A file appears when it is complete, and replaces one of the same name. The other parameters and
    errors are those of :func:`fsspec_avroglob.write_avro`.

    Parameters
    ----------
    df : dask.dataframe.DataFrame
        The table.
    url : path or URL
        With one ``*`` for the number of the partition: ``avroglob://bucket/events/part-*.avro``. A
        directory, with a ``/`` at its end or with *partition_cols*, gets files ``part-*.avro``.
    schema : Avro schema, optional
        By default derived from the dtypes; object columns need one.
    partition_cols : list of str, optional
        Write ``key=value`` directories of these columns; in each, one file for each partition that
        has such rows.
    overwrite : bool
        When all files are written, delete the other files of an earlier run: those that *url* names
        with a number for its ``*``. Needs *compute*.
    compute : bool
        False returns delayed values, one for each partition: lists of the names of its files.

    Returns
    -------
    list of str
        The names of the files.
    """
    (name,), storage_options = source_names(url, storage_options)
    if name.endswith("/"):
        name += "part-*.avro"
    if name.count("*") != 1 and not partition_cols:
        raise ValueError(f"{name!r} needs exactly one *, for the number of the partition")
    if overwrite and not compute:
        raise ValueError("overwrite=True needs compute=True: it deletes when all is written")
    vague = [repr(column) for column, dtype in df.dtypes.items() if is_object_dtype(dtype)]
    if schema is None and vague:
        raise ValueError(
            f"columns {', '.join(vague)} have dtype object, from which no Avro type follows; "
            "give schema=... or convert them, with astype('string') for text"
        )
    options = dict(storage_options or {})
    job = WriteJob.of(name, schema, codec, None, options, partition_cols, numbered=True)
    write = dask.delayed(_write_partition, pure=False)
    writes = [write(part, job, number) for number, part in enumerate(df.to_delayed())]
    if not compute:
        return writes
    written = [name for names in dask.compute(*writes) for name in names]
    if overwrite:
        delete_others(job.url, written, options)
    return written


def _write_partition(part: pandas.DataFrame, job: WriteJob, number: int) -> list[str]:
    return replace(job, url=job.url.replace("*", f"{number:05}")).run(part)
