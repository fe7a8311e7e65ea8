"""The options of the readers, checked in one place."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, TypeVar

from fsspec.callbacks import Callback

from fsspec_avroglob.avro.codecs import MAX_BLOCK_BYTES
from fsspec_avroglob.avro.schema import AvroSchema
from fsspec_avroglob.readers.hive import Filters

Columns: TypeAlias = Sequence[str | int] | None
DtypeBackend: TypeAlias = Literal["numpy_nullable", "pyarrow"]
Engine: TypeAlias = Literal["auto", "fastavro", "polars-avro"]
Recursive: TypeAlias = Literal["json"]

MAX_CONCURRENCY = 64
"""Default of ``max_concurrency``."""

MAX_BYTES = 128 * 1024 * 1024
"""Default of ``max_bytes``."""

# Far enough from the ends of int64 for any number of rows.
_MAX_ROW_INDEX = 1 << 62

_LEAST = {
    "n_rows": 0,
    "batch_size": 1,
    "row_index_offset": -_MAX_ROW_INDEX,
    "max_block_size": 1,
    "max_concurrency": 1,
    "max_bytes": 1,
}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options of all readers; a reader has those that apply to it.

    Raises ValueError and TypeError for invalid values.

    Attributes
    ----------
    columns : list of str or int, optional
        Names or indices of the columns to read, in the order of the result; by default all.
    n_rows : int, optional
        Read at most this many rows, from the first on. Files after the last row are not opened,
        so their schemas are not compared.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        Dtypes of a pandas result, as in pandas' own readers.
    batch_size : int, optional
        Rows of each batch but the last; by default what decoding gives.
    row_index_name : str, optional
        Name of a first column (int64) that counts the rows over all files.
    row_index_offset : int
        Number of the first row.
    include_file_paths : str, optional
        Name of a last column with the file of each row.
    hive : bool
        Make columns of ``key=value`` directories: int64, date or string, depending on the values
        in all files. A field of the same name in the files has precedence.
    hive_partitioning : bool, optional
        The same as *hive*, under Polars' name.
    glob : bool
        False takes paths literally.
    schema : {"first", "last", "union", "union_by_name"} or an Avro schema, optional
        By default all files must have one schema, with fields in any order. ``"first"`` and
        ``"last"`` read all files with the schema of one, ``"union"`` with all their fields
        together, and ``"union_by_name"`` also matches records, enums and fixed types of different
        names by the names of the fields that they are in. A reader schema is a dict, list or name,
        its JSON text, or the path or URL of an ``.avsc`` file. It is resolved by the rules of the
        Avro specification. Fields that ``columns`` leaves out need not fit.
    filters : list of tuple, optional
        Conditions on ``key=value`` directories, such as ``[("year", ">=", 2024)]``; a list of
        lists are alternatives. Excluded directories are not read, nor listed where possible.
    ignore_errors : bool
        Skip files that are not Avro and blocks that are corrupt, and report them.
    max_block_size : int
        Most bytes that one block may inflate to.
    max_concurrency : int
        Most reads in flight.
    max_bytes : int
        Most bytes that are requested and not yet parsed.
    engine : {"auto", "fastavro", "polars-avro"}
        The decoder; "auto" takes the fastest that is installed and can decode the file.
    recursive : {"json"}, optional
        ``"json"`` gives columns of recursive types as JSON text. By default they are an error.
    progress : bool or fsspec.callbacks.Callback
        True shows a bar (needs tqdm); a callback receives the bytes read.
    """

    columns: Columns = None
    n_rows: int | None = None
    dtype_backend: DtypeBackend | None = None
    batch_size: int | None = None
    row_index_name: str | None = None
    row_index_offset: int = 0
    include_file_paths: str | None = None
    hive: bool = True
    hive_partitioning: bool | None = None
    glob: bool = True
    schema: AvroSchema | None = None
    filters: Filters | None = None
    ignore_errors: bool = False
    max_block_size: int = MAX_BLOCK_BYTES
    max_concurrency: int = MAX_CONCURRENCY
    max_bytes: int = MAX_BYTES
    engine: Engine = "auto"
    recursive: Recursive | None = None
    progress: bool | Callback = False

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            raise TypeError(f"columns is a list of names; write [{self.columns!r}] for one column")
        if self.hive_partitioning is not None:
            if self.hive_partitioning and not self.hive:
                raise ValueError("hive=False and hive_partitioning=True contradict; give one")
            object.__setattr__(self, "hive", self.hive_partitioning)
        if self.dtype_backend not in (None, "numpy_nullable", "pyarrow"):
            known = "'numpy_nullable' or 'pyarrow'"
            raise ValueError(f"dtype_backend is {known}, not {self.dtype_backend!r}")
        if self.recursive not in (None, "json"):
            raise ValueError(f"recursive is None or 'json', not {self.recursive!r}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("batch_size", "n_rows"):
                continue
            if not hasattr(value, "__index__"):
                raise TypeError(f"{name} is an integer, not {value!r}")
            if operator.index(value) < least:
                wording = f"must be at least {least}" if least else "must not be negative"
                raise ValueError(f"{name} {wording}, it is {value}")
        if self.row_index_offset > _MAX_ROW_INDEX:
            raise ValueError(f"row_index_offset is {self.row_index_offset}; int64 would overflow")
        for name in ("row_index_name", "include_file_paths"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is the name of a column, not {value!r}")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> ReadOptions:
        """Select the options among the arguments of a reader, its ``locals()``."""
        names = [field.name for field in fields(cls) if field.name in arguments]
        return cls(**{name: arguments[name] for name in names})


def with_options_documented(reader: F) -> F:
    """Add the descriptions of the options that *reader* has to its docstring, before "Raises"."""
    if reader.__doc__ and ReadOptions.__doc__:  # python -OO removes docstrings
        described = inspect.cleandoc(ReadOptions.__doc__).partition("----------\n")[2]
        entries = re.split(r"\n(?=\w+ : )", described)
        parameters = inspect.signature(reader).parameters
        known = [entry for entry in entries if entry.partition(" : ")[0] in parameters]
        before, raises, after = inspect.cleandoc(reader.__doc__).partition("\n\nRaises\n")
        reader.__doc__ = "\n".join([before, *known]) + raises + after
    return reader
