"""Avro files as a Ray dataset; tasks read pieces of about equal size."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

try:
    from ray.data import Dataset, Datasource, read_datasource
    from ray.data.block import BlockMetadata
    from ray.data.datasource import ReadTask
except ImportError as error:
    raise ImportError("fsspec_avroglob.ray needs Ray Data: pip install 'ray[data]'") from error

from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.readers.hive import Filters
from fsspec_avroglob.readers.layout import TableLayout
from fsspec_avroglob.readers.locate import Sources, StorageOptions
from fsspec_avroglob.readers.options import (
    MAX_BYTES,
    MAX_CONCURRENCY,
    Columns,
    Engine,
    ReadOptions,
    Recursive,
)
from fsspec_avroglob.readers.pieces import PIECE_BYTES, Piece, layout_of, pieces, read_piece
from fsspec_avroglob.readers.session import resolved_sources
from fsspec_avroglob.readers.sources import ResolvedSources

__all__ = ["read_avro"]


def read_avro(
    urlpath: Sources | ResolvedSources,
    storage_options: StorageOptions = None,
    columns: Columns = None,
    blocksize: int | None = PIECE_BYTES,
    *,
    include_file_paths: str | None = None,
    hive: bool = True,
    hive_partitioning: bool | None = None,
    glob: bool = True,
    schema: AvroSchema | None = None,
    filters: Filters | None = None,
    ignore_errors: bool = False,
    max_block_size: int = MAX_BLOCK_BYTES,
    max_concurrency: int = MAX_CONCURRENCY,
    max_bytes: int = MAX_BYTES,
    engine: Engine = "auto",
    recursive: Recursive | None = None,
) -> Dataset:
    """Read Avro files as a Ray dataset.

    The call lists the files and reads their headers; Ray's tasks read the data. The other
    parameters and errors are those of :func:`fsspec_avroglob.read_avro`. The workers log what
    ``ignore_errors`` skips.

    Parameters
    ----------
    blocksize : int, optional
        Bytes of files for a task, about: small files are grouped, large ones are divided between
        blocks. None makes each file a task.

    Examples
    --------
    >>> from fsspec_avroglob.ray import read_avro
    >>> read_avro("s3://lake/events/*.avro", columns=["id"]).count()  # doctest: +SKIP
    300
    """
    options = ReadOptions.of(locals())
    resolved = resolved_sources(urlpath, storage_options, options)
    layout = layout_of(resolved, options)
    options = replace(options, schema=None, filters=None)
    read = partial(_read, layout=layout, storage_options=resolved.storage_options, options=options)
    source = _AvroDatasource(pieces(resolved, blocksize), layout, read)
    dataset: Dataset = read_datasource(source)
    return dataset


class _AvroDatasource(Datasource):  # type: ignore[misc]  # Ray has no types
    """One task for each piece; Ray's own parallelism is ignored."""

    def __init__(self, parts: list[Piece], layout: TableLayout, read: Any) -> None:
        super().__init__()
        self._parts, self._layout, self._read = parts, layout, read

    def estimate_inmemory_data_size(self) -> int:
        return sum(part.size_bytes for part in self._parts)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        tasks = []
        for part in self._parts:
            files = tuple(span.file.path for span in part.spans)
            known = BlockMetadata(None, part.size_bytes, exec_stats=None, input_files=files)
            read = partial(self._read, part)
            tasks.append(ReadTask(read, known, self._layout.arrow, per_task_row_limit))
        return tasks


def _read(
    part: Piece, layout: TableLayout, storage_options: StorageOptions, options: ReadOptions
) -> list[Any]:
    return [read_piece(part, layout, storage_options, options)]
