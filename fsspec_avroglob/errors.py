"""Every exception class of the package, below one base class.

Each class is also the built-in type that fits it, so ``except ValueError`` catches what it says::

    AvroGlobError
    ├── OptionError             a storage option is unknown or wrong (ValueError, TypeError)
    ├── PatternError            a glob pattern is malformed (ValueError)
    ├── RefusedKeysError        keys that cannot become local files (ValueError)
    ├── CannotJoinError         matches of an opened pattern have no common format (ValueError)
    │   ├── FilesDifferError        Avro files with different codecs or schemas
    │   ├── HeaderLinesDifferError  CSV files with different header lines
    │   └── UncertainHeaderError    equal first lines that may be a header or a row
    ├── NotAvroError            a file is not an Avro container file (ValueError)
    ├── InvalidSchemaError      a schema is not valid Avro (ValueError)
    ├── SchemaMismatchError     the schemas of two files do not make one table (ValueError)
    ├── FieldError              a field cannot be converted (ValueError)
    │   ├── UnsupportedTypeError    Arrow or Polars has no type for it
    │   ├── ConversionError         a value does not fit the table's type
    │   └── NotWritableError        Avro has no type for it
    ├── AvroDecodeError         the data of a file is corrupt (ValueError)
    ├── CorruptBlockError       bytes are not a block of a container file (ValueError)
    │   └── UncertainBlockError     bytes look like a sync marker, but no block follows
    ├── BlockDecodeError        the content of a block does not fit its schema (ValueError)
    ├── CodecError              a block cannot be decompressed (ValueError)
    │   └── BlockTooLargeError      a block decompresses to more bytes than allowed
    ├── EngineNotAbleError      an engine is missing or cannot decode a schema (ValueError)
    └── StateConflictError      another run has committed (RuntimeError)

Failures of S3 are what s3fs raises: ``FileNotFoundError``, ``PermissionError``, other ``OSError``.

Examples
--------
>>> from fsspec_avroglob import AvroGlobError, GlobPattern
>>> try:
...     GlobPattern.parse("logs/{a,b")
... except AvroGlobError as error:
...     print(type(error).__name__)
PatternError
"""

from __future__ import annotations

from collections.abc import Mapping

_SHOWN_KEYS = 20
_SHOWN_LINE = 200
_SHOWN_PATTERN, _SHOWN_BEFORE_POSITION = 2_000, 1_000


def printable(text: str, keep: str = "") -> str:
    """Escape what a terminal obeys or hides: control, C1 and bidirectional characters.

    keep: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


class AvroGlobError(Exception):
    """Base class of the package's own exceptions."""


# --- options, patterns and files ------------------------------------------------------------------


class OptionError(AvroGlobError, ValueError, TypeError):
    """A storage option is unknown, has an invalid value, or contradicts another one.

    It is a TypeError too, because s3fs and botocore raise TypeError for such options.
    """


class PatternError(AvroGlobError, ValueError):
    """A glob pattern is malformed; the message marks the offending character.

    Attributes
    ----------
    pattern : str
        The pattern.
    position : int
        Index of the offending character, from 0.
    reason : str
        What is wrong.
    """

    def __init__(self, pattern: str, position: int, reason: str) -> None:
        super().__init__(pattern, position, reason)
        self.pattern, self.position, self.reason = pattern, position, reason

    def __str__(self) -> str:
        start = max(0, self.position - _SHOWN_BEFORE_POSITION)
        shown = self.pattern[start : start + _SHOWN_PATTERN]
        return f"Invalid pattern: {self.reason}\n  {shown}\n  {' ' * (self.position - start)}^"


class RefusedKeysError(AvroGlobError, ValueError):
    """Some objects were not downloaded because their keys do not name a file below the target.

    Attributes
    ----------
    root : str
        The target directory.
    refused : dict of str to str
        The reason for each path (``bucket/key``).
    """

    def __init__(self, root: str, refused: Mapping[str, str]) -> None:
        self.root, self.refused = root, dict(refused)
        super().__init__(root, self.refused)

    def __str__(self) -> str:
        shown = [f"{path!r}: {why}" for path, why in list(self.refused.items())[:_SHOWN_KEYS]]
        if len(self.refused) > _SHOWN_KEYS:
            shown.append(f"and {len(self.refused) - _SHOWN_KEYS} more")
        return f"not copied to {self.root!r}:\n  " + "\n  ".join(shown)


class CannotJoinError(AvroGlobError, ValueError):
    """Files that match an opened pattern cannot be joined into one file."""


class FilesDifferError(CannotJoinError):
    """Two Avro files cannot be joined because their codecs or schemas differ."""


class HeaderLinesDifferError(CannotJoinError):
    """Two CSV files cannot be joined because their header lines differ."""

    def __init__(self, first_path: str, first: bytes, path: str, other: bytes) -> None:
        super().__init__(first_path, first, path, other)

    def __str__(self) -> str:
        first_path, first, path, other = self.args
        return (
            f"the header line of {path} is {_line(other)}, that of {first_path} is "
            f"{_line(first)}; read files with different header lines one by one, or give "
            "storage_options={'header_lines': 0} for files without any"
        )


class UncertainHeaderError(CannotJoinError):
    """Files begin with the same line, which may be a header line or a row."""

    def __init__(self, first_path: str, path: str, line: bytes) -> None:
        super().__init__(first_path, path, line)

    def __str__(self) -> str:
        first_path, path, line = self.args
        return (
            f"{path} begins with the line {_line(line)}, as {first_path} does; it may be a header "
            "line or a row. Give storage_options={'header_lines': 1} for one header line in each "
            "file (2 for two, and so on), or {'header_lines': 0} for none"
        )


def _line(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN_LINE else f"{text[:_SHOWN_LINE]}...")


# --- Avro files and schemas -----------------------------------------------------------------------


class NotAvroError(AvroGlobError, ValueError):
    """A file is not an Avro object container file, or its header is damaged."""


class InvalidSchemaError(AvroGlobError, ValueError):
    """A schema is not valid by the Avro specification, or fastavro rejects it."""


class SchemaMismatchError(AvroGlobError, ValueError):
    """The schemas of two files do not make one table.

    Attributes
    ----------
    first_path, path : str
        The file that sets the schema, and the file that differs from it.
    field : str
        Dotted name of the field that differs; ``""`` if the schemas differ as a whole.
    first_type, type : str or None
        The field's type in each file; None if the file has no such field.
    advice : str
        The option that reads the files; ``""`` if unknown.
    """

    def __init__(
        self,
        first_path: str,
        path: str,
        field: str,
        first_type: str | None,
        type: str | None,
        advice: str = "",
    ) -> None:
        super().__init__(first_path, path, field, first_type, type, advice)
        self.advice = advice
        self.first_path, self.path, self.field = first_path, path, field
        self.first_type, self.type = first_type, type

    def __str__(self) -> str:
        subject = f"field {self.field!r}" if self.field else "the schema"
        if self.type is None:
            difference = f"{subject} is missing; it is {self.first_type} in {self.first_path}"
        elif self.first_type is None:
            difference = f"{subject} ({self.type}) is not in {self.first_path}"
        else:
            difference = f"{subject} is {self.type}; it is {self.first_type} in {self.first_path}"
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.path} does not fit {self.first_path}: {difference}{advice}"

    def advised(self, advice: str) -> SchemaMismatchError:
        """Return the same error with advice."""
        return type(self)(
            self.first_path, self.path, self.field, self.first_type, self.type, advice
        )


class FieldError(AvroGlobError, ValueError):
    """A field, or its values, cannot be converted.

    Attributes
    ----------
    field : str
        Dotted name of the field, with ``[]`` for items of arrays and ``{}`` for values of maps.
    reason : str
        What is wrong, and what to do.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field, self.reason = field, reason

    def __str__(self) -> str:
        return f"field {self.field!r}: {self.reason}"


class UnsupportedTypeError(FieldError):
    """Arrow has no type for a field; or Polars, if ``library`` says so."""

    def __init__(self, field: str, reason: str, library: str = "Arrow") -> None:
        super().__init__(field, reason)
        self.args, self.library = (field, reason, library), library

    def __str__(self) -> str:
        return f"field {self.field!r} has no {self.library} type: {self.reason}"


class ConversionError(FieldError):
    """A value does not fit the type that the table has for its field."""


class NotWritableError(FieldError):
    """Avro has no type, or no valid name, for a column."""

    def __str__(self) -> str:
        return f"field {self.field!r} cannot be written to Avro: {self.reason}"


# --- blocks ---------------------------------------------------------------------------------------


class AvroDecodeError(AvroGlobError, ValueError):
    """A file has an Avro header, but its data is corrupt.

    Attributes
    ----------
    path : str
        The file.
    reason : str
        What is wrong.
    block_index : int or None
        Number of the corrupt block, from 0; None if unknown.
    offset : int or None
        Offset of that block in the file, in bytes; None if unknown.
    """

    def __init__(
        self, path: str, reason: str, block_index: int | None = None, offset: int | None = None
    ) -> None:
        super().__init__(path, reason, block_index, offset)
        self.path, self.reason = path, reason
        self.block_index, self.offset = block_index, offset

    @classmethod
    def of(cls, error: CorruptBlockError, path: str) -> AvroDecodeError:
        """Return the error for a corrupt block of the file *path*."""
        return cls(error.path or path, error.reason, error.block_index, error.offset)

    def __str__(self) -> str:
        block = "" if self.block_index is None else f"block {self.block_index} "
        where = "" if self.offset is None else f" ({block}at byte {self.offset})"
        return f"{self.path} could not be decoded{where}: {self.reason}"


class CorruptBlockError(AvroGlobError, ValueError):
    """Bytes of a container file are not a valid block.

    Attributes
    ----------
    reason : str
        What is wrong.
    offset : int
        Offset of the block in the file, in bytes.
    path : str or None
        The file; None if unknown.
    block_index : int or None
        Number of the block, from 0; None if unknown.
    """

    def __init__(
        self, reason: str, offset: int, path: str | None = None, block_index: int | None = None
    ) -> None:
        super().__init__(reason, offset, path, block_index)
        self.reason, self.offset = reason, offset
        self.path, self.block_index = path, block_index

    def at(self, path: str | None, block_index: int | None) -> CorruptBlockError:
        """Return the same error with the file and the number of the block."""
        return type(self)(self.reason, self.offset, path, block_index)

    def __str__(self) -> str:
        block = "the block" if self.block_index is None else f"block {self.block_index}"
        file = "" if self.path is None else f"{self.path}: "
        return f"{file}{block} at byte {self.offset} is corrupt: {self.reason}"


class UncertainBlockError(CorruptBlockError):
    """No block follows a sync marker: the marker is part of data, or the next block is corrupt.

    Only reading from the start of the file shows which.
    """


class BlockDecodeError(AvroGlobError, ValueError):
    """The content of a block does not fit the schema."""


class CodecError(AvroGlobError, ValueError):
    """A block cannot be decompressed, or its codec is unknown or not installed."""


class BlockTooLargeError(CodecError):
    """A block decompresses to more bytes than allowed.

    Attributes
    ----------
    codec : str
        The codec.
    max_bytes : int
        Largest allowed size, in bytes.
    """

    def __init__(self, codec: str, max_bytes: int) -> None:
        super().__init__(codec, max_bytes)
        self.codec, self.max_bytes = codec, max_bytes

    def __str__(self) -> str:
        return (
            f"its data ({self.codec}) inflates to more than {self.max_bytes} bytes; "
            "raise max_block_size if you trust the file"
        )


class EngineNotAbleError(AvroGlobError, ValueError):
    """A decoding engine is not installed, or cannot decode files of a schema."""


# --- incremental globs ----------------------------------------------------------------------------


class StateConflictError(AvroGlobError, RuntimeError):
    """Another run has committed since the state of an incremental glob was read.

    Attributes
    ----------
    state : str
        The state file.
    """

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state

    def __str__(self) -> str:
        return (
            f"{self.state} was committed by another run since it was read; nothing is written. "
            "The files of this run may have been processed twice: let one job at a time use a state"
        )
