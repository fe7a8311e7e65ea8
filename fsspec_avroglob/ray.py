"""Avro files as a Ray dataset: pieces of about one size, read by Ray's tasks."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

try:
    from ray.data import Dataset, Datasource, read_datasource
    from ray.data.block import BlockMetadata
    from ray.data.datasource import ReadTask
except ImportError as error:
    raise ImportError("fsspec_avroglob.ray needs Ray Data: pip install 'ray[data]'") from error

from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import Columns, ReadOptions, TableOptions
from fsspec_avroglob.readers.pieces import PIECE_BYTES, Piece, layout_of, pieces, read_piece
from fsspec_avroglob.readers.session import resolved_sources
from fsspec_avroglob.readers.sources import ResolvedSources

__all__ = ["read_avro"]


def read_avro(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    blocksize: int | None = PIECE_BYTES,
    **options: Unpack[TableOptions],
) -> Dataset:
    """Read Avro files as a Ray dataset.

    - ``blocksize``: bytes of files that a task reads, about: small files are grouped, large ones
      divided between blocks. None makes each file a task.

    Other arguments and errors as of :func:`fsspec_avroglob.read_avro`, without ``row_index_name``.
    The call itself lists the files and reads their headers. What ``ignore_errors`` leaves out of
    a file is logged by the workers.
    """
    asked = ReadOptions.of(read_avro, options, columns)
    resolved = resolved_sources(urlpath, storage_options, asked)
    layout = layout_of(resolved, asked)
    reading: TableOptions = {**options, "schema": None, "filters": None}
    read = partial(_read, layout=layout, storage_options=resolved.storage_options, options=reading)
    source = _AvroDatasource(pieces(resolved, blocksize), layout, read)
    dataset: Dataset = read_datasource(source)
    return dataset


class _AvroDatasource(Datasource):  # type: ignore[misc]  # Ray has no types
    """A task for each piece, whatever parallelism Ray would like."""

    def __init__(self, parts: list[Piece], layout: TableLayout, read: Any) -> None:
        super().__init__()
        self._parts, self._layout, self._read = parts, layout, read

    def estimate_inmemory_data_size(self) -> int:
        return sum(part.size_bytes for part in self._parts)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        return [self._task(part, per_task_row_limit) for part in self._parts]

    def _task(self, part: Piece, row_limit: int | None) -> ReadTask:
        files = tuple(span.file.path for span in part.spans)
        known = BlockMetadata(None, part.size_bytes, exec_stats=None, input_files=files)
        return ReadTask(partial(self._read, part), known, self._layout.arrow, row_limit)


def _read(
    part: Piece, layout: TableLayout, storage_options: StorageOptions, options: TableOptions
) -> list[Any]:
    return [read_piece(part, layout, storage_options, **options)]
