"""Tables divided by the values of columns, for files in ``key=value`` directories."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fsspec_avroglob.errors import NotWritableError
from fsspec_avroglob.readers.hive import NULL

_ROW = "row of the table"

# What Hive escapes, and what is magic in patterns.
_ESCAPED = re.compile(r"""[\x00-\x1f\x7f"#%'*/:=?\\\[\]{}^]""")

_MIDNIGHT = datetime.time()


def partitions_of(table: pa.Table, keys: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield the directory of each combination of values, and its rows without these columns.

    Rows keep their order, and directories are in the order of their first rows. Raises
    NotWritableError for a column that *table* lacks or whose values have no text, and ValueError if
    no column is left.
    """
    for key in keys:
        if key not in table.column_names:
            raise NotWritableError(key, "partition_cols names it, and the table does not have it")
    rest = table.drop_columns(list(keys))
    if not rest.num_columns:
        raise ValueError(f"partition_cols={list(keys)!r} are all columns; files would have none")
    texts = [_texts(key, table[key]) for key in keys]
    names = [str(number) for number in range(len(keys))]
    rows = pa.table([*texts, pa.array(range(table.num_rows))], names=[*names, _ROW])
    groups = rows.group_by(names, use_threads=False).aggregate([(_ROW, "list")])
    for group in groups.to_pylist():
        directory = "/".join(
            f"{escaped(key)}={group[name]}" for key, name in zip(keys, names, strict=True)
        )
        yield directory, rest.take(pa.array(group[f"{_ROW}_list"], pa.int64()))


def escaped(text: str) -> str:
    """Percent-encode what Hive encodes in names and values, and the magic characters of globs."""
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _texts(key: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values as they stand in the names of directories."""
    text = _text_of(key, column.type)
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    codes = column.combine_chunks().dictionary_encode(null_encoding="mask")
    codes = codes if isinstance(codes, pa.DictionaryArray) else codes.chunk(0)
    values = [None if value is None else text(value) for value in codes.dictionary.to_pylist()]
    names = pa.array([NULL if value is None else _named(value) for value in values], pa.string())
    return pc.fill_null(names.take(codes.indices), NULL)


def _named(text: str) -> str:
    # A text that is Hive's name for null must not be read as null.
    return escaped(text) if text != NULL else "%5F" + NULL[1:]


def _text_of(key: str, type_: pa.DataType) -> Callable[[Any], str]:
    """Return a function that writes a value of a type as text. Raises NotWritableError."""
    if types.is_dictionary(type_):
        type_ = type_.value_type
    if types.is_boolean(type_):
        return lambda value: str(value).lower()
    if types.is_timestamp(type_):
        return _moment
    known = (types.is_integer, types.is_floating, types.is_decimal, types.is_date, types.is_null)
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if any(fits(type_) for fits in (*known, *texts)):
        return str
    raise NotWritableError(key, f"{type_} has no text for a directory's name; cast the column")


def _moment(value: Any) -> str:
    """Write a moment as ISO text; a day alone if it is a midnight without a zone."""
    if value.tzinfo is None and value.time() == _MIDNIGHT and not getattr(value, "nanosecond", 0):
        return str(value.date())
    return str(value.isoformat(sep=" "))
