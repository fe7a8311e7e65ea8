"""pandas frames of Arrow tables, with dtypes that follow from the schema alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

import pandas
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fsspec_avroglob.avro.blocks import Dropped
from fsspec_avroglob.tasks import usable_cpus

DtypeBackend: TypeAlias = Literal["numpy_nullable", "pyarrow"]

_NULLABLE: dict[pa.DataType, Any] = {
    pa.int32(): pandas.Int32Dtype(),
    pa.int64(): pandas.Int64Dtype(),
    pa.bool_(): pandas.BooleanDtype(),
}
_NUMPY_NULLABLE: dict[pa.DataType, Any] = {
    **_NULLABLE,
    pa.float32(): pandas.Float32Dtype(),
    pa.float64(): pandas.Float64Dtype(),
    pa.string(): pandas.StringDtype(),
}
# "str" from pandas 3 on; object, which needs no saying, before.
_TEXT = pandas.Series(["text"]).dtype
if not isinstance(_TEXT, pandas.StringDtype):
    _TEXT = None
_CELLS_FOR_THREADS = 1_000_000

# What pandas has dtypes for; all else is Arrow's, which loses nothing.
_PANDAS_HAS: tuple[Callable[[pa.DataType], bool], ...] = (
    types.is_integer,
    types.is_floating,
    types.is_boolean,
    types.is_string,
    types.is_timestamp,
    types.is_dictionary,
)


def frame(
    holder: list[pa.Table],
    errors: Sequence[Dropped] = (),
    dtype_backend: DtypeBackend | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> pandas.DataFrame:
    """A frame of the one table in *holder*, which is taken out: its memory goes as columns do.

    - ``errors``: for ``attrs["avroglob"]``, where they are kept as text.
    - ``categories``: of the columns that are enums, see :attr:`TableLayout.categories`.

    Raises ValueError for an unknown *dtype_backend*.
    """
    if dtype_backend not in (None, "numpy_nullable", "pyarrow"):
        known = "'numpy_nullable' or 'pyarrow'"
        raise ValueError(f"dtype_backend is {known}, not {dtype_backend!r}")
    table = holder.pop()
    schema, rows = table.schema, table.num_rows
    columns = dict(zip(schema.names, table.columns, strict=True))
    del table

    def series_of(field: pa.Field) -> pandas.Series:
        column = columns.pop(field.name)
        if types.is_dictionary(field.type) and dtype_backend != "pyarrow":
            return _categorical(column, (categories or {}).get(field.name))
        return column.to_pandas(types_mapper=lambda _: dtype_of(field, dtype_backend))

    if rows * len(schema) < _CELLS_FOR_THREADS:
        converted = list(map(series_of, schema))
    else:  # Arrow and NumPy leave the GIL to others while they copy
        with ThreadPoolExecutor(usable_cpus(), thread_name_prefix="avroglob-frame") as pool:
            converted = list(pool.map(series_of, schema))
    series = dict(zip(schema.names, converted, strict=True))
    result = pandas.DataFrame(series, index=pandas.RangeIndex(rows), copy=False)
    if not len(schema):
        result.columns = pandas.Index([], dtype=object)
    if errors:
        result.attrs["avroglob"] = [str(error) for error in errors]
    return result


def _categorical(column: pa.ChunkedArray, symbols: Sequence[str] | None) -> pandas.Series:
    """A categorical of all *symbols*, whichever of them there are."""
    if symbols is None:
        return column.unify_dictionaries().to_pandas()
    values = [chunk.dictionary.take(chunk.indices) for chunk in column.chunks]
    places = pc.index_in(pa.chunked_array(values, pa.string()), pa.array(symbols, pa.string()))
    dtype = pandas.CategoricalDtype(pandas.Index(symbols, dtype=_TEXT or object))
    codes = places.fill_null(-1).to_numpy()
    return pandas.Series(pandas.Categorical.from_codes(codes, dtype=dtype))


def dtype_of(field: pa.Field, backend: DtypeBackend | None) -> Any:
    """The pandas dtype of an Arrow field's column; None leaves it to pyarrow, which has one."""
    if backend == "pyarrow":
        return pandas.ArrowDtype(field.type)
    if not any(has(field.type) for has in _PANDAS_HAS):
        return pandas.ArrowDtype(field.type)
    if backend == "numpy_nullable":
        return _NUMPY_NULLABLE.get(field.type)
    if types.is_string(field.type):
        return _TEXT
    return _NULLABLE.get(field.type) if field.nullable else None
