"""pandas frames from Arrow batches; dtypes depend only on the schema."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy
import pandas
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.readers.directories import LeftOut
from fsspec_avroglob.readers.options import DtypeBackend

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
# "str" from pandas 3 on; before that None, for the default, object.
_TEXT = pandas.Series(["text"]).dtype
if not isinstance(_TEXT, pandas.StringDtype):
    _TEXT = None

_DAY = pa.timestamp("ms")
_DURATION = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("milliseconds", pa.int64())])

# pandas has dtypes for these types; all others keep their Arrow type, which loses nothing.
_PANDAS_HAS: tuple[Callable[[pa.DataType], bool], ...] = (
    types.is_integer,
    types.is_floating,
    types.is_boolean,
    types.is_string,
    types.is_timestamp,
    types.is_dictionary,
)


class FrameBuilder:
    """Builds a frame batch by batch.

    Numbers are copied to their final arrays at once, so that memory never holds them twice.
    *categories* are the symbols of the enum columns.
    """

    def __init__(
        self,
        schema: pa.Schema,
        dtype_backend: DtypeBackend | None = None,
        categories: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._rows = 0
        self._columns = {
            field.name: _column(field, dtype_backend, (categories or {}).get(field.name))
            for field in schema
        }

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._rows += batch.num_rows
        for column, part in zip(self._columns.values(), batch.columns, strict=True):
            column.add(part)

    def frame(
        self, errors: Sequence[Dropped] = (), left_out: LeftOut | None = None
    ) -> pandas.DataFrame:
        """Return the frame and release it.

        Its ``attrs["avroglob"]`` lists *errors*, and ``attrs["avroglob_left_out"]`` has the numbers
        of *left_out*; both only if there are any.

        Raises ValueError for a value that the pandas dtype cannot hold.
        """
        columns, self._columns = self._columns, {}
        names = list(columns)
        data = {name: columns.pop(name).finished() for name in names}
        result = pandas.DataFrame(data, index=pandas.RangeIndex(self._rows), copy=False)
        if not names:
            result.columns = pandas.Index([], dtype=object)
        if errors:
            result.attrs["avroglob"] = list(errors)
        if left_out:
            result.attrs["avroglob_left_out"] = asdict(left_out)
        return result


def _column(
    field: pa.Field, backend: DtypeBackend | None, symbols: Sequence[str] | None
) -> _ArrowChunks | _Numbers:
    """Choose how to build a column, by its dtype."""
    dtype = dtype_of(field, backend)
    if isinstance(dtype, pandas.Int32Dtype | pandas.Int64Dtype):
        return _Numbers(field.type, masked=True)
    numeric = types.is_floating(field.type) or (types.is_integer(field.type) and not field.nullable)
    if dtype is None and numeric:
        return _Numbers(field.type, masked=False)
    return _ArrowChunks(field, dtype, None if backend == "pyarrow" else symbols, backend)


class _Growing:
    """A NumPy array that grows at its end."""

    def __init__(self, dtype: Any) -> None:
        self._values = numpy.empty(0, dtype)
        self._length = 0

    def extend(self, part: numpy.ndarray[Any, Any]) -> None:
        stop = self._length + len(part)
        if stop > len(self._values):
            self._resize(stop + max(stop // 8, 1024))
        self._values[self._length : stop] = part
        self._length = stop

    def taken(self) -> numpy.ndarray[Any, Any]:
        self._resize(self._length)
        return self._values

    def _resize(self, length: int) -> None:
        # In place where the system can move pages; there are no views of the array.
        self._values.resize(length, refcheck=False)


class _Numbers:
    """Numbers as pandas stores them.

    With *masked* integers and a mask; else null floats are NaN, and integers are never null.
    """

    def __init__(self, type_: pa.DataType, *, masked: bool) -> None:
        self._values = _Growing(type_.to_pandas_dtype())
        self._mask = _Growing(bool) if masked else None

    def add(self, part: pa.Array) -> None:
        if self._mask is not None:
            self._mask.extend(part.is_null().to_numpy(zero_copy_only=False))
            part = part.fill_null(0)
        self._values.extend(part.to_numpy(zero_copy_only=False))

    def finished(self) -> Any:
        values = self._values.taken()
        if self._mask is None:
            return values
        return pandas.arrays.IntegerArray(values, self._mask.taken())


class _ArrowChunks:
    """All other types: Arrow arrays, which pyarrow converts at the end."""

    def __init__(
        self,
        field: pa.Field,
        dtype: Any,
        symbols: Sequence[str] | None,
        backend: DtypeBackend | None,
    ) -> None:
        self._name = field.name
        self._type = field.type
        self._dtype = dtype
        self._backend = backend
        self._symbols = symbols
        self._chunks: list[pa.Array] = []

    def add(self, part: pa.Array) -> None:
        self._chunks.append(part)

    def finished(self) -> Any:
        column = pa.chunked_array(self._chunks, self._type)
        self._chunks = []
        if self._symbols is not None:
            return _categorical(column, self._symbols)
        if types.is_dictionary(self._type) and self._dtype is None:
            column = column.unify_dictionaries()
        if types.is_interval(self._type):
            column = pa.chunked_array(map(_duration_parts, column.chunks), _DURATION)
        if types.is_date(self._type) and self._backend != "pyarrow":
            column = column.cast(_DAY)
        series = column.to_pandas(types_mapper=lambda _: self._dtype)
        if not types.is_timestamp(self._type):
            return series
        if series.isna().sum() > column.null_count:
            raise ValueError(
                f"column {self._name!r} holds the timestamp -2**63, which pandas reads as NaT; "
                "use dtype_backend='pyarrow'"
            )
        if self._backend != "pyarrow" and self._type.tz is not None:
            # pandas shows years above 9999 only with this object for UTC.
            return series.dt.tz_convert(datetime.UTC)
        return series


def _duration_parts(durations: pa.Array) -> pa.Array:
    """Make structs of intervals, which pandas cannot show."""
    parts = numpy.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
    held = numpy.frombuffer(durations.buffers()[1] or b"", parts)
    held = held[durations.offset : durations.offset + len(durations)]
    millis = held["nanoseconds"] // 1_000_000
    arrays = [pa.array(held["months"]), pa.array(held["days"]), pa.array(millis)]
    return pa.StructArray.from_arrays(arrays, fields=list(_DURATION), mask=durations.is_null())


def _categorical(column: pa.ChunkedArray, symbols: Sequence[str]) -> pandas.Series:
    """Make a categorical with all *symbols*, used or not."""
    values = [chunk.dictionary.take(chunk.indices) for chunk in column.chunks]
    indices = pc.index_in(pa.chunked_array(values, pa.string()), pa.array(symbols, pa.string()))
    dtype = pandas.CategoricalDtype(pandas.Index(symbols, dtype=_TEXT or object))
    codes = indices.fill_null(-1).to_numpy()
    return pandas.Series(pandas.Categorical.from_codes(codes, dtype=dtype))


def dtype_of(field: pa.Field, backend: DtypeBackend | None) -> Any:
    """Return the pandas dtype for an Arrow field; None for pyarrow's default."""
    if types.is_interval(field.type):
        return pandas.ArrowDtype(_DURATION)
    if backend == "pyarrow":
        return pandas.ArrowDtype(field.type)
    if types.is_date(field.type):
        return None  # it becomes a timestamp, pandas' only type of date that compares with text
    if not any(has(field.type) for has in _PANDAS_HAS):
        return pandas.ArrowDtype(field.type)
    if backend == "numpy_nullable":
        return _NUMPY_NULLABLE.get(field.type)
    if types.is_string(field.type):
        return _TEXT
    return _NULLABLE.get(field.type) if field.nullable else None
