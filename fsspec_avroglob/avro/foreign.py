"""What the bytes of a file are that is no Avro container, and what to do with it.

>>> foreign_format(b"PAR1...").name
'Parquet'
"""

from __future__ import annotations

import codecs
import json
import re
from typing import NamedTuple


class ForeignFormat(NamedTuple):
    """A format that is not an Avro container.

    - ``name``: of the format.
    - ``advice``: what to do with such a file.
    """

    name: str
    advice: str

    def __str__(self) -> str:
        return f"it is {self.name}; {self.advice}"


_DECOMPRESS = "decompress it first"

# The first bytes of formats that people store beside Avro files, or instead of them.
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "Parquet", "read it with pandas.read_parquet or pyarrow.parquet"),
    (b"PARE", "encrypted Parquet", "read it with pyarrow.parquet and its keys"),
    (b"ORC", "ORC", "read it with pandas.read_orc or pyarrow.orc"),
    (b"ARROW1", "an Arrow IPC file (Feather)", "read it with pyarrow.feather"),
    (b"SEQ", "a Hadoop sequence file", "convert it to Avro with Hadoop or Spark"),
    (b"SQLite format 3\0", "an SQLite database", "read it with sqlite3"),
    (b"\x89HDF\r\n\x1a\n", "HDF5", "read it with pandas.read_hdf"),
    (
        b"\x1f\x8b",
        "compressed with gzip",
        "give it a name that ends in .avro.gz, and it is decompressed while it is read, or "
        + _DECOMPRESS,
    ),
    (b"\x28\xb5\x2f\xfd", "compressed as a whole with Zstandard", _DECOMPRESS),
    (b"BZh", "compressed as a whole with bzip2", _DECOMPRESS),
    (b"\xfd7zXZ\0", "compressed as a whole with xz", _DECOMPRESS),
    (b"\x04\x22\x4d\x18", "compressed as a whole with LZ4", _DECOMPRESS),
    (b"\xff\x06\0\0sNaPpY", "compressed as a whole with Snappy (framed)", _DECOMPRESS),
    (b"PK\x03\x04", "a ZIP archive", "name a file in it: zip://name.avro::URL"),
    (b"PK\x05\x06", "an empty ZIP archive", "leave it out"),
    (b"%PDF-", "a PDF document", "leave it out"),
    (
        b"\xc3\x01",
        "an Avro message in single-object encoding (C3 01 and the fingerprint of its schema)",
        "decode it with fastavro.schemaless_reader from byte 10 on, and with the schema that has "
        "this fingerprint",
    ),
    (
        b"Obj",
        "an Avro container of an unknown version",
        "this package reads version 1, the only one that is specified",
    ),
)

_MARKUP = re.compile(r"<\?xml\b|<(!doctype\s+|)html\b|<!--|<[a-z][\w:.-]*[\s>/]", re.I)
_ERROR_CODE = re.compile(r"<Code>([\w.]{1,80})</Code>")
_PRINTABLE = re.compile(r"[^\x00-\x08\x0e-\x1f\x7f]*")


def foreign_format(data: bytes) -> ForeignFormat | None:
    """Return what *data*, the first bytes of a file, is; None if it is nothing known.

    The result for text is a guess: JSON, HTML, XML, or lines such as CSV.
    """
    if len(data) > 264 and data[257:262] == b"ustar":
        return ForeignFormat("a tar archive", "name a file in it: tar://name.avro::URL")
    for signature, name, advice in _SIGNATURES:
        if data.startswith(signature):
            return ForeignFormat(name, advice)
    if not data.strip(b"\0"):
        return ForeignFormat("zeros", "write it again: a crash or a copy left it without data")
    if data[:1] == b"\0" and len(data) >= 5:
        schema_id = int.from_bytes(data[1:5], "big")
        return ForeignFormat(
            f"perhaps a message in Confluent's wire format (magic byte 0, schema id {schema_id})",
            f"decode it with fastavro.schemaless_reader from byte 5 on, and with schema "
            f"{schema_id} of the schema registry",
        )
    return _text_format(data)


def _text_format(data: bytes) -> ForeignFormat | None:
    text = _text(data[:4096])
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n")
    if _MARKUP.match(start):
        return _markup(start)
    if start[:1] in ("{", "["):
        return _json(start, whole=len(data) <= 4096)
    if start.startswith("version https://git-lfs"):
        return ForeignFormat("a pointer of Git LFS", "fetch the file itself with git lfs pull")
    if start.startswith("T2JqA"):  # "Obj\x01"
        return ForeignFormat("Avro in Base64", "decode it first, with base64.b64decode")
    first = start.split("\n", 1)[0]
    for separator, name in ((",", "CSV"), ("\t", "TSV"), (";", "CSV"), ("|", "CSV")):
        if separator in first:
            return ForeignFormat(f"text, perhaps {name}", "read it with pandas.read_csv")
    return ForeignFormat("text", "leave it out, for example with a pattern such as *.avro")


def _text(data: bytes) -> str | None:
    """Decode UTF-8 or UTF-16, of which the last character may be cut; None for other bytes."""
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return None
    return text if text.strip() and _PRINTABLE.fullmatch(text) else None


def _markup(text: str) -> ForeignFormat:
    if code := _ERROR_CODE.search(text):
        return ForeignFormat(
            f"an error of S3 in XML ({code[1]}), not the object",
            "look at what stored it, or at the proxy that answered",
        )
    page = re.match(r"(?i)(<\?xml.*?\?>|<!--.*?-->|\s)*<(!doctype\s+)?html\b", text, re.S)
    if page:
        return ForeignFormat(
            "an HTML page",
            "a portal, a proxy or a page of login answered instead of the file; open the URL in "
            "a browser",
        )
    return ForeignFormat("XML", "leave it out, for example with a pattern such as *.avro")


def _json(text: str, *, whole: bool) -> ForeignFormat:
    if whole:
        try:
            value = json.loads(text)
        except ValueError:
            pass
        else:
            if isinstance(value, dict) and "type" in value and "fields" in value:
                return ForeignFormat(
                    "an Avro schema in JSON, without data", "give it to a reader as schema=..."
                )
    return ForeignFormat(
        "JSON text", "read it with pandas.read_json (lines=True for one object in each line)"
    )
