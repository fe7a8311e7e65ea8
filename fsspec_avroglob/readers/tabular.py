"""The data that a user gives to a writer, as an Arrow table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from fsspec_avroglob.errors import NotWritableError


def is_records(data: Any) -> bool:
    """Whether *data* is an iterable that is no table. Raises TypeError if it is neither."""
    if _is_lazy(data) or _is_batches(data):
        return False
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
        if not hasattr(data, "__arrow_c_stream__"):
            raise TypeError(f"expected a table or records, not {type(data).__name__}")
        return False
    return not hasattr(data, "__arrow_c_stream__")


def arrow_table(data: Any) -> Any:
    """Convert a frame, a table, record batches or a list of records.

    Raises NotWritableError for a column that Arrow cannot hold, TypeError for other data, and
    ImportError without pyarrow.
    """
    pyarrow = _import_pyarrow()
    if _is_lazy(data):
        data = data.collect()
    elif _is_batches(data):
        return pyarrow.Table.from_batches(data, data.schema)
    library = type(data).__module__.partition(".")[0]
    if library in ("pandas", "polars"):
        if not hasattr(data, "columns"):
            raise TypeError(f"expected a table or records, not {type(data).__name__}")
        from_pandas = partial(pyarrow.Table.from_pandas, preserve_index=False)
        return _converted(data, from_pandas if library == "pandas" else _polars_table)
    if not hasattr(data, "__arrow_c_stream__"):
        return _records_table(pyarrow, list(data))
    try:
        return pyarrow.table(data)
    except (pyarrow.ArrowInvalid, TypeError) as error:
        kind = type(data).__name__
        raise TypeError(f"expected a table or records, not {kind}: {error}") from error


def _is_lazy(data: Any) -> bool:
    """Whether *data* is a LazyFrame of Polars."""
    return type(data).__module__.startswith("polars.") and type(data).__name__ == "LazyFrame"


def _is_batches(data: Any) -> bool:
    """Whether *data* iterates over Arrow batches, as ``iter_avro_batches`` does."""
    schema = type(getattr(data, "schema", None))
    return schema.__module__.startswith("pyarrow.") and not hasattr(data, "__arrow_c_stream__")


def _import_pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "writing tables, or records without a schema, needs pyarrow: "
            "pip install 'fsspec-avroglob[arrow]'"
        ) from error
    return pyarrow


def _converted(frame: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert a frame; raises NotWritableError for the first column that cannot be converted."""
    try:
        return convert(frame)
    except Exception:
        for name in frame.columns:
            _column_of(str(name), convert, frame[[name]])
        raise


def _column_of(name: str, convert: Callable[[Any], Any], values: Any) -> Any:
    """Convert a column; raises NotWritableError with its name."""
    try:
        return convert(values)
    except Exception as error:  # pyarrow and polars raise many types
        text = str(error.args[0]) if error.args else str(error)
        raise NotWritableError(name, f"{text}; convert the column, or leave it out") from error


def _polars_table(frame: Any) -> Any:
    import polars

    if polars.Object in frame.dtypes:  # Polars would write their addresses
        raise TypeError("Arrow has no type for Python objects")
    # pyarrow lacks conversions for the view types of newer Polars.
    return frame.to_arrow(compat_level=polars.CompatLevel.oldest())


def _records_table(pyarrow: Any, records: list[Any]) -> Any:
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(f"row {number} is {record!r}, not a dict; values need schema=...")
    # Table.from_pylist would take only the fields of the first record.
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        raise ValueError("there are no records to derive a schema from; give schema=...")
    columns = {name: [record.get(name) for record in records] for name in names}
    return pyarrow.table({k: _column_of(str(k), pyarrow.array, v) for k, v in columns.items()})


def symbols_of(table: Any) -> dict[str, list[str]]:
    """Return the values of dictionary columns, by name."""
    unified = table.unify_dictionaries()
    return {
        name: column.chunk(0).dictionary.to_pylist()
        for name, column in zip(unified.column_names, unified.columns, strict=True)
        if hasattr(column.type, "index_type") and column.num_chunks
    }
