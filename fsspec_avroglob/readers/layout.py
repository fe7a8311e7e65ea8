"""The columns of a table: those of the files, of their directories, and added ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fsspec_avroglob.avro.arrow import TableSchema
from fsspec_avroglob.avro.columns import chosen_columns
from fsspec_avroglob.avro.schema import AvroSchema, branches_of, kind_of
from fsspec_avroglob.readers.hive import Kind, Partition, column_kinds, partition_of, typed
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.sources import OpenedFile

_KINDS: Mapping[Kind, pa.DataType] = {
    "int64": pa.int64(),
    "date": pa.date32(),
    "string": pa.string(),
}


@dataclass(frozen=True)
class TableLayout:
    """The columns of a table; can be pickled.

    ``table`` has the chosen columns of the files, ``hive`` the types of those of directories,
    ``hive_nulls`` the names of the latter that lack a value in some file, and ``names`` all in
    their order. :class:`ReadOptions` describes the others.
    """

    table: TableSchema
    hive: Mapping[str, Kind]
    names: tuple[str, ...]
    row_index_name: str | None = None
    include_file_paths: str | None = None
    hive_nulls: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, schema: AvroSchema, partitions: Iterable[Partition], options: ReadOptions
    ) -> TableLayout:
        """Return the layout of files with a reader schema, in the directories *partitions*.

        Raises ValueError for unknown and duplicate columns, and UnsupportedTypeError for a column
        whose type Arrow lacks.
        """
        table = TableSchema.of(schema, recursive=options.recursive)
        partitions = list(partitions)
        kinds = column_kinds(partitions) if options.hive else {}
        kinds = {name: kind for name, kind in kinds.items() if name not in table.columns}
        known = (*table.columns, *kinds)
        names = known if options.columns is None else chosen_columns(options.columns, known)
        hive = {name: kind for name, kind in kinds.items() if name in names}
        both = (options.row_index_name, options.include_file_paths)
        for added in [name for name in both if name is not None]:
            if added in names or both.count(added) > 1:
                raise ValueError(f"there is a column {added!r} already; choose another name")
        nulls = {name for name in hive if any(one.get(name) is None for one in partitions)}
        layout = cls(_narrowed(table, names), hive, names, both[0], both[1], frozenset(nulls))
        _ = layout.arrow  # raises UnsupportedTypeError
        return layout

    def select(self, columns: Sequence[str]) -> TableLayout:
        """Return the layout of these columns, in this order; paths of files stay last.

        Raises ValueError for unknown and duplicate columns.
        """
        names = chosen_columns(columns, self.arrow.names)
        row, file = self.row_index_name, self.include_file_paths
        return TableLayout(
            _narrowed(self.table, names),
            {name: kind for name, kind in self.hive.items() if name in names},
            tuple(name for name in names if name not in (row, file)),
            row if row in names else None,
            file if file in names else None,
            self.hive_nulls,
        )

    @cached_property
    def arrow(self) -> pa.Schema:
        """The schema of the table."""
        fields = {
            name: pa.field(name, _KINDS[kind], nullable=name in self.hive_nulls)
            for name, kind in self.hive.items()
        }
        fields |= {field.name: field for field in self.table.arrow}
        listed = [fields[name] for name in self.names]
        if self.row_index_name is not None:
            listed.insert(0, pa.field(self.row_index_name, pa.int64(), nullable=False))
        if self.include_file_paths is not None:
            listed.append(pa.field(self.include_file_paths, pa.string(), nullable=False))
        return pa.schema(listed)

    @property
    def categories(self) -> dict[str, list[str]]:
        """The symbols of the enum columns, by name."""
        found = {}
        for name in self.table.columns:
            if pa.types.is_dictionary(self.table.arrow.field(name).type):
                found[name] = _symbols(self.table, name)
        return found

    def batch(self, held: pa.RecordBatch, file: OpenedFile, first_row: int) -> pa.RecordBatch:
        """Make rows of the table from *held*, the decoded columns of *file*.

        *first_row* is the number of the first row.
        """
        if self.arrow.equals(self.table.arrow):
            return held
        rows = held.num_rows
        arrays: dict[str, pa.Array] = dict(zip(held.schema.names, held.columns, strict=True))
        partition = partition_of(file.location.path)
        for name, kind in self.hive.items():
            arrays[name] = _repeated(typed(partition.get(name), kind), _KINDS[kind], rows)
        if self.row_index_name is not None:
            steps = _repeated(1, pa.int64(), rows)
            arrays[self.row_index_name] = pc.cumulative_sum(steps, start=first_row - 1)
        if self.include_file_paths is not None:
            arrays[self.include_file_paths] = _repeated(file.source.path, pa.string(), rows)
        if not len(self.arrow):
            return held.select([])
        return pa.RecordBatch.from_arrays(
            [arrays[name] for name in self.arrow.names], schema=self.arrow
        )


def _narrowed(table: TableSchema, names: Sequence[str]) -> TableSchema:
    """Select columns by name; values that are not records always keep their only one."""
    wanted = frozenset(names)
    held = [name for name in table.columns if name in wanted]
    if len(held) == len(table.columns):
        return table
    return table.select(held) if held or table.parsed.is_record else table


def _symbols(table: TableSchema, name: str) -> list[str]:
    type_ = table.parsed.definition(table.types[name])
    branches = [table.parsed.definition(one) for one in branches_of(type_)]
    return next(list(one["symbols"]) for one in branches if kind_of(one) == "enum")


def _repeated(value: Any, type_: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), count)
