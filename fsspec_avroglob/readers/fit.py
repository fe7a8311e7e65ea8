"""The schema of a table, and whether files fit it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from fsspec_avroglob.avro.container import ContainerHeader
from fsspec_avroglob.avro.resolution import RecordStep, resolve, same_order
from fsspec_avroglob.avro.schema import (
    PRIMITIVES,
    AvroSchema,
    ParsedSchema,
    file_schema,
    parse_schema,
    with_fields,
    without_docs,
)
from fsspec_avroglob.avro.unify import union_schema
from fsspec_avroglob.errors import InvalidSchemaError, SchemaMismatchError
from fsspec_avroglob.readers.locate import StorageOptions, locate

ALL_HEADERS = ("last", "union", "union_by_name")
"""Values of ``schema`` for which the headers of all files are read first."""

_MODES = ("first", *ALL_HEADERS)


def reader_schema(schema: AvroSchema | None, storage_options: StorageOptions) -> AvroSchema | None:
    """Return what a reader's argument ``schema`` means: a mode, a schema, or None.

    JSON text is parsed, and a file ``.avsc`` is read. Raises InvalidSchemaError for other text, and
    what reading the file raises.
    """
    if isinstance(schema, os.PathLike) or (isinstance(schema, str) and schema.endswith(".avsc")):
        [file] = locate(schema, storage_options)
        return _parsed(file.fs.cat_file(file.path), file.name)
    if not isinstance(schema, str) or schema in _MODES or schema in PRIMITIVES:
        return schema
    if schema.lstrip()[:1] in ("{", "[", '"'):
        return _parsed(schema, "the schema given")
    modes = ", ".join(map(repr, _MODES))
    raise InvalidSchemaError(
        f"schema is {modes}, a schema, its JSON text, or the path of an .avsc file, not {schema!r}"
    )


def _parsed(text: str | bytes, name: str) -> AvroSchema:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSchemaError(f"{name} is not usable JSON ({error})") from error


class HasHeader(Protocol):
    """A file whose header was read."""

    @property
    def path(self) -> str:
        """Its name."""

    @property
    def header(self) -> ContainerHeader:
        """Its header."""


class SchemaFit:
    """Compares the schemas of files with the table's, each distinct schema once.

    *table_path* is the file or argument that *table* comes from. With *exact*, files must have the
    same schema, with fields in any order; otherwise the table's schema must resolve theirs. With
    *columns*, other fields need not fit.
    """

    def __init__(
        self,
        table: ParsedSchema,
        table_path: str,
        *,
        exact: bool,
        columns: Sequence[str | int] | None = None,
    ) -> None:
        self.table = table
        self.table_path = table_path
        self._exact = exact
        self._columns = columns
        self._compared = projected(table, columns)
        self._mappings: dict[str, tuple[int | None, ...] | None] = {}

    @classmethod
    def of_files(
        cls,
        files: Sequence[HasHeader],
        schema: AvroSchema | None,
        columns: Sequence[str | int] | None = None,
    ) -> SchemaFit:
        """Make it for the first files, for ALL_HEADERS all of them; *schema* as in options."""
        if schema is None or schema in ("first", "last"):
            file = files[-1 if schema == "last" else 0]
            table = file_schema(file.path, file.header)
            return cls(table, file.path, exact=schema is None, columns=columns)
        if schema not in ("union", "union_by_name"):
            return cls(parse_schema(schema), "the schema given", exact=False, columns=columns)
        distinct: dict[str, HasHeader] = {}
        for file in files:
            distinct.setdefault(without_docs(file.header.schema_text), file)
        schemas = [(file.path, file_schema(file.path, file.header)) for file in distinct.values()]
        by_name = schema == "union_by_name"
        try:
            table = union_schema(schemas, by_name=by_name)
        except SchemaMismatchError as error:
            if columns is None:
                raise _advised(error, schemas, columns, tried=schema) from error
            schemas = [(path, projected(one, columns)) for path, one in schemas]
            try:
                table = union_schema(schemas, by_name=by_name)
            except SchemaMismatchError as still:
                raise _advised(still, schemas, columns, tried=schema) from still
        return cls(table, "the union of the files' schemas", exact=False, columns=columns)

    @classmethod
    def of_resolved(
        cls,
        schema: AvroSchema,
        files: Sequence[HasHeader],
        mappings: Sequence[tuple[int | None, ...] | None],
    ) -> SchemaFit:
        """Make it for files that were compared with *schema*; each has an item of *mappings*."""
        fit = cls(parse_schema(schema), "the sources' schema", exact=False)
        for file, mapping in zip(files, mappings, strict=True):
            fit._mappings[without_docs(file.header.schema_text)] = mapping
        return fit

    def mapping(self, file: HasHeader) -> tuple[int | None, ...] | None:
        """Return the item of ``column_mappings`` for *file*, of the columns that are compared.

        Raises InvalidSchemaError, and SchemaMismatchError with both names.
        """
        text = without_docs(file.header.schema_text)
        if text in self._mappings:
            return self._mappings[text]
        found: tuple[int | None, ...] | None = None
        writer = file_schema(file.path, file.header)
        if writer.source != self.table.source:
            found = self._resolved(file.path, writer)
        self._mappings[text] = found
        return found

    def _resolved(self, path: str, writer: ParsedSchema) -> tuple[int | None, ...] | None:
        if self._exact:
            writer = projected(writer, self._columns)
        paths = {"writer_path": path, "reader_path": self.table_path}
        try:
            step = resolve(writer, self._compared, **paths, strict=self._exact)
        except SchemaMismatchError as error:
            both = [(self.table_path, self._compared), (path, writer)]
            raise _advised(error, both, self._columns, tried=None) from error
        if isinstance(step, RecordStep) and not (self._exact and same_order(step)):
            return tuple(field.position for field in step.fields)
        return None


def projected(schema: ParsedSchema, columns: Iterable[str | int] | None) -> ParsedSchema:
    """Return a schema of records without the fields that are not among *columns*.

    A schema stays whole if its columns are chosen by their index.
    """
    names = None if columns is None else set(columns)
    if names is None or not schema.is_record or not all(isinstance(one, str) for one in names):
        return schema
    return parse_schema(with_fields(schema, [name for name in schema.fields if name in names]))


def _advised(
    error: SchemaMismatchError,
    schemas: list[tuple[str, ParsedSchema]],
    columns: Sequence[str | int] | None,
    *,
    tried: Any,
) -> SchemaMismatchError:
    """Return the error with the option that reads the files."""
    for mode in ("union", "union_by_name"):
        if mode == tried:
            continue
        try:
            union_schema(schemas, by_name=mode == "union_by_name")
        except (SchemaMismatchError, InvalidSchemaError):
            continue
        return error.advised(f'schema="{mode}" reads them together')
    leave = "" if error.field == "" or columns is not None else "choose columns without it, or "
    return error.advised(f"{leave}give a reader schema (schema=...) that both files fit")
