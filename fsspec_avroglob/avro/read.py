"""Readers over many Avro files: records, a pandas DataFrame, or just the schema.

Fetching is fsspec's, decoding fastavro's (:func:`_decoded` is the only place that knows it). The
schemas of all files are read and compared before the first record is.
"""

from __future__ import annotations

import datetime
import difflib
import operator
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import fastavro
import fastavro.read

from fsspec_avroglob.avro.schema import AvroSchema, ParsedSchema, parse_schema
from fsspec_avroglob.sources import ResolvedSources, Source, StorageOptions, filesystem_for

if TYPE_CHECKING:
    import pandas

Sources: TypeAlias = Source | Iterable[Source]
"""One path, URL or glob, or several of them."""

VALUE_COLUMN = "value"
"""The one column of a table read from files whose top-level schema is no record."""

# Turned into columns at a time: enough to make the loop cheap, few enough for the CPU's cache.
_BATCH_RECORDS = 1024

_UTC_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

# What fastavro returns for a type, as far as pandas infers another dtype than object from it.
_SAMPLE_VALUES: Mapping[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "string": "",
    "enum": "",
    "timestamp-millis": _UTC_EPOCH,
    "timestamp-micros": _UTC_EPOCH,
    "local-timestamp-millis": _UTC_EPOCH.replace(tzinfo=None),
    "local-timestamp-micros": _UTC_EPOCH.replace(tzinfo=None),
}


class AvroDecodeError(ValueError):
    """A file that has an Avro header, but data that cannot be decoded.

    - ``path``: the file.
    - ``reason``: what was found wrong.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} could not be decoded: {self.reason}"


def read_avro(
    urlpath: Sources,
    storage_options: StorageOptions = None,
    columns: Sequence[str] | None = None,
    n_rows: int | None = None,
    *,
    glob: bool = True,
) -> pandas.DataFrame:
    """Read Avro files as one pandas DataFrame with a row for each record.

    - ``urlpath``: path, URL or glob, or a list of them; rows are in the order of the files.
    - ``storage_options``: of the filesystem that serves the URLs.
    - ``columns``: names of the fields wanted, in the order wanted; all by default.
    - ``n_rows``: most rows to read, from the first on; no file after the last of them is opened.
    - ``glob``: False takes paths literally.

    Dtypes are those that pandas infers from the values. Thus a nullable integer column without
    nulls is ``int64`` and with them ``float64``, which is exact up to 2**53. A frame without rows
    has what would be inferred for its schema. Values of a top level that is no record make the one
    column ``value``.

    Raises ImportError without pandas, ValueError for a column that does not exist or a negative
    ``n_rows``, what :meth:`ResolvedSources.resolve` raises, and AvroDecodeError for corrupt data.
    """
    pandas = _import_pandas()
    table = _Table.resolve(urlpath, storage_options, n_rows, glob=glob)
    names = table.selected(columns)
    values: dict[str, list[Any]] = {name: [] for name in names}
    count = 0
    with closing(table.records(None)) as records:
        while batch := list(islice(records, _BATCH_RECORDS)):
            count += len(batch)
            if not table.schema.is_record:
                batch = [{VALUE_COLUMN: value} for value in batch]
            for name, column in values.items():
                column.extend([record[name] for record in batch])
    if count == 0:
        return _empty_frame({name: table.column_types[name] for name in names}, table.schema)
    return pandas.DataFrame(values, columns=names, index=pandas.RangeIndex(count))


def iter_avro_records(
    urlpath: Sources,
    storage_options: StorageOptions = None,
    columns: Sequence[str] | None = None,
    n_rows: int | None = None,
    *,
    glob: bool = True,
) -> Generator[Any, None, None]:
    """Iterate over the records of Avro files as dicts, one file open at a time.

    Arguments and errors are those of :func:`read_avro`; all of it that does not need data (names,
    headers, schemas) is checked by the call itself, before the first record is asked for. A dict
    has the fields in the order of the first file's schema, or of ``columns``. Of a top level that
    is no record the values themselves are yielded, and there are no columns to choose.

    Closing the iterator closes the file.
    """
    table = _Table.resolve(urlpath, storage_options, n_rows, glob=glob)
    if columns is None:
        return table.records(None)
    if not table.schema.is_record:
        raise ValueError(f"{table.sources.paths[0]} holds no records to choose columns of")
    return table.records(table.selected(columns))


def read_avro_schema(
    urlpath: Sources, storage_options: StorageOptions = None, *, glob: bool = True
) -> AvroSchema:
    """The Avro schema of files that make one table, as it stands in the first.

    The headers of all files are read and compared; errors as of :meth:`ResolvedSources.resolve`.
    """
    return ResolvedSources.resolve(urlpath, storage_options, glob=glob).schema


@dataclass(frozen=True)
class _Table:
    """Resolved sources with what is needed to read rows from them."""

    sources: ResolvedSources
    schema: ParsedSchema
    storage_options: StorageOptions
    n_rows: int | None

    @classmethod
    def resolve(
        cls, urlpath: Sources, storage_options: StorageOptions, n_rows: int | None, *, glob: bool
    ) -> _Table:
        if n_rows is not None and operator.index(n_rows) < 0:
            raise ValueError(f"n_rows must not be negative, it is {n_rows}")
        sources = ResolvedSources.resolve(urlpath, storage_options, glob=glob)
        return cls(sources, parse_schema(sources.schema), storage_options, n_rows)

    @property
    def column_types(self) -> Mapping[str, AvroSchema]:
        return self.schema.fields if self.schema.is_record else {VALUE_COLUMN: self.schema.root}

    def selected(self, columns: Sequence[str] | None) -> list[str]:
        """The names of the columns asked for, all of which exist, once each."""
        if columns is None:
            return list(self.column_types)
        if isinstance(columns, str):
            raise TypeError(f"columns is a list of names; write [{columns!r}] for one column")
        for name in columns:
            if name not in self.column_types:
                raise ValueError(_unknown_column(name, list(self.column_types)))
        if len(set(columns)) < len(columns):
            raise ValueError(f"columns names a column twice: {list(columns)}")
        return list(columns)

    def records(self, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        """The first ``n_rows`` records of the files: as they are, or dicts of some columns."""
        with closing(self._all_records(columns)) as records:
            yield from islice(records, self.n_rows)

    def _all_records(self, columns: Sequence[str] | None) -> Generator[Any, None, None]:
        for path, mapping in zip(self.sources.paths, self.sources.column_mappings, strict=True):
            names = list(self.schema.fields) if columns is None and mapping else columns
            with closing(_file_records(path, self.storage_options)) as records:
                yield from records if names is None else map(_picker(names), records)


def _file_records(path: str, storage_options: StorageOptions) -> Generator[Any, None, None]:
    fs, path_in_fs = filesystem_for(path, storage_options)
    with fs.open(path_in_fs, "rb") as file:
        try:
            yield from _decoded(file)
        except (OSError, MemoryError):
            raise  # says nothing about the data
        except Exception as error:  # damaged bytes fail in whichever way the codec or type has
            raise AvroDecodeError(path, str(error) or type(error).__name__) from error


def _decoded(file: BinaryIO) -> Iterator[Any]:
    # By blocks, since a block's sync marker is checked before any record of it is decoded.
    reader = _BoundedReader(file)
    blocks = fastavro.block_reader(cast(BinaryIO, reader))
    end = reader.tell()
    for block in blocks:
        if block.num_records < 0:
            raise ValueError(f"a block claims {block.num_records} values")
        yield from block
        end = block.offset + block.size
    if reader.tell() != end:  # fastavro takes a count that is cut short for the end of the file
        raise EOFError("it ends within the header of a block")


class _BoundedReader:
    """A file from its start on, in which a length that lies allocates no more than the file has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._size = getattr(file, "size", None)  # None where fsspec cannot tell it, as in streams

    def read(self, length: int) -> bytes:
        if length < 0:
            raise ValueError(f"something in it claims {length} bytes")
        if self._size is not None:
            length = min(length, self._size - self._position)
        data = self._file.read(length)
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda record: {name: record[name] for name in names}


def _unknown_column(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(name), known) or known
    return f"no column {name!r}; there is {', '.join(map(repr, near)) or 'none'}"


def _empty_frame(types: Mapping[str, AvroSchema], schema: ParsedSchema) -> pandas.DataFrame:
    """A frame without rows, with the dtypes that pandas infers from samples of each type."""
    pandas = _import_pandas()
    series = {name: pandas.Series(_samples(schema, type_)) for name, type_ in types.items()}
    dtypes = {name: sample.dtype for name, sample in series.items()}
    return pandas.DataFrame({n: pandas.Series([], dtype=d) for n, d in dtypes.items()})


def _samples(schema: ParsedSchema, type_: AvroSchema) -> list[Any]:
    """One value for each branch of a type, or for the type; bytes stand for what is an object."""
    branches = type_ if isinstance(type_, list) else [type_]
    return [_sample(schema.definition(branch)) for branch in branches]


def _sample(type_: AvroSchema) -> Any:
    if isinstance(type_, str):
        return _SAMPLE_VALUES.get(type_, b"")
    kind, logical = type_["type"], type_.get("logicalType")
    converted = f"{kind}-{logical}" in fastavro.read.LOGICAL_READERS
    return _SAMPLE_VALUES.get(logical if converted else kind, b"")


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "read_avro needs pandas, which is not installed: "
            "pip install 'fsspec-avroglob[pandas]' (iter_avro_records does without)"
        ) from error
    return pandas
