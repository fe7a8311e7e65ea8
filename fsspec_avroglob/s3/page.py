"""One ListObjectsV2 page: from the bytes of a response to keys, common prefixes and info dicts.

>>> page = parse_page(
...     b"<ListBucketResult><IsTruncated>false</IsTruncated>"
...     b"<Contents><Key>a.avro</Key><Size>3</Size></Contents></ListBucketResult>"
... )
>>> page.keys
['a.avro']
>>> page.infos(page.paths("bucket"))
[{'Key': 'bucket/a.avro', 'Size': 3, 'type': 'file', 'size': 3, 'name': 'bucket/a.avro'}]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from sys import getsizeof
from typing import Any, TypeAlias
from urllib.parse import unquote

from fsspec_avroglob.s3.entries import (
    Form,
    UnrecognizedPage,
    chosen_entries,
    page_fields,
    split_entries,
    take_entries,
    take_prefixes,
    unescape,
)

Columns: TypeAlias = Mapping[str, Sequence[Any]]
"""The fields of the keys of a page, without Key: the values of all keys for each field, None where
a key does not have the field. Millions of dicts cost the garbage collector time while a listing
goes on. Tuples of strings, numbers and dates do not, so dicts are made last."""


@dataclass(slots=True)
class Page:
    """One page of a listing.

    Attributes
    ----------
    keys
        Decoded object keys in the order of the page. Repeated keys stay repeated.
    prefixes
        Decoded common prefixes, each with its trailing delimiter.
    next_token
        Continuation token of the next page; None on the last page.
    source
        The other fields of the keys, or the text of the page and the form of its entries.
    nbytes
        Estimated memory of the source in bytes.
    thin
        True if the page is a copy that holds only some of the keys.
    """

    keys: list[str]
    prefixes: list[str]
    next_token: str | None
    source: Columns | tuple[str, Form] = field(repr=False, compare=False)
    nbytes: int = field(repr=False, compare=False)
    thin: bool = False

    @property
    def key_count(self) -> int:
        """Number of keys and common prefixes: what S3 counts against max-keys."""
        return len(self.keys) + len(self.prefixes)

    @property
    def columns(self) -> Columns:
        """The other fields of the keys, decoded on first use."""
        if isinstance(self.source, tuple):
            text, form = self.source
            self.source = _columns(split_entries(form, text, detail=True)[0])
        return self.source

    def paths(self, bucket: str, indices: Sequence[int] | None = None) -> tuple[str, ...]:
        """Return bucket/key for the keys at `indices`, or for all keys if it is None."""
        start, keys = bucket + "/", self.keys
        if indices is None:
            return tuple([start + key for key in keys])
        return tuple([start + keys[index] for index in indices])

    def infos(
        self, paths: Sequence[str], indices: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the info dicts of `infos_of` for the keys at `indices`, or for all keys."""
        return infos_of(self.columns, paths, indices)

    def thinned(self, indices: Sequence[int] | None) -> tuple[Page, Sequence[int] | None]:
        """Return a page that holds the keys at `indices`, and their indices in that page.

        If `indices` selects less than half of the keys, the result is a copy without the others,
        which needs less memory. Otherwise it is the page itself.
        """
        if indices is None or 2 * len(indices) >= len(self.keys):
            return self, indices
        return self._chosen(indices), None

    def within(self, prefix: str) -> Page:
        """The part of the page, which starts at *prefix* or before, that starts with *prefix*."""
        if all(entry.startswith(prefix) for entry in (*self.keys, *self.prefixes)):
            return self
        last = max((*self.keys, *self.prefixes))
        ended = last > prefix and not last.startswith(prefix)
        indices = [index for index, key in enumerate(self.keys) if key.startswith(prefix)]
        return replace(
            self._chosen(indices),
            prefixes=[name for name in self.prefixes if name.startswith(prefix)],
            next_token=None if ended else self.next_token,
        )

    def _chosen(self, indices: Sequence[int]) -> Page:
        """A copy with only the keys at *indices*."""
        keys = [self.keys[index] for index in indices]
        source, nbytes = self.source, self.nbytes * len(keys) // max(1, len(self.keys))
        if isinstance(source, tuple):
            source = chosen_entries(source[0], indices), source[1]
        else:
            source = _chosen(source, indices)
        return Page(keys, [], None, source, nbytes, thin=True)


def info_of_directory(path: str) -> dict[str, Any]:
    """Return the info dict of s3fs for a directory: a bucket, or bucket/prefix without slash."""
    return {
        "Key": path,
        "Size": 0,
        "StorageClass": "DIRECTORY",
        "type": "directory",
        "size": 0,
        "name": path,
    }


def page_from_response(response: Mapping[str, Any]) -> Page:
    """Return the page that botocore parsed and url-decoded.

    Raises
    ------
    UnrecognizedPage
        A required field is missing. A page that is truncated without a continuation token would
        end the listing early, as it does in botocore's paginator.
    """
    contents: Sequence[Mapping[str, Any]] = response.get("Contents", ())
    prefixes = [prefix.get("Prefix") for prefix in response.get("CommonPrefixes", ())]
    # Botocore makes a list of a field that is repeated.
    for name, values, kind in (
        ("Key", [item.get("Key") for item in contents], str),
        ("Size", [item.get("Size") for item in contents], int),
        ("Prefix", prefixes, str),
    ):
        if not all(isinstance(value, kind) for value in values):
            raise UnrecognizedPage(f"{name} is missing or repeated in an entry")
    if any(item["Size"] < 0 for item in contents):
        raise UnrecognizedPage("a Size is negative")
    names = dict.fromkeys(name for item in contents for name in item if name != "Key")
    columns = {name: [item.get(name) for item in contents] for name in names}
    return Page(
        keys=[item["Key"] for item in contents],
        prefixes=prefixes,
        next_token=_next_token(response.get("IsTruncated"), response.get("NextContinuationToken")),
        source=columns,
        nbytes=_ITEM_BYTES * len(contents),
    )


def parse_page(body: bytes, *, detail: bool = False) -> Page:
    """Decode the body of a ListObjectsV2 response, with or without EncodingType=url.

    Parameters
    ----------
    body
        The whole body, UTF-8.
    detail
        True decodes all fields at once, which is cheaper if the caller needs most info dicts.
        False decodes them on first use. The results are equal.

    Raises
    ------
    UnrecognizedPage
        Some part of the body is not fully understood: an error, a cut body, malformed XML, CDATA,
        comments, entity declarations, entries of different structure, unusual fields.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UnrecognizedPage(f"the body is not UTF-8: {error}") from None
    form, columns, rest = take_entries(text, detail)
    prefixes, rest = take_prefixes(rest)
    fields = page_fields(rest)
    if ("Contents" in fields, "CommonPrefixes" in fields) != (bool(columns), bool(prefixes)):
        raise UnrecognizedPage("Contents or CommonPrefixes is empty")
    if fields.get("EncodingType", "") not in ("", "url"):
        raise UnrecognizedPage("EncodingType is not url")
    decode = _unquote if fields.get("EncodingType") == "url" else unescape
    truncated = {"true": True, "false": False}.get(fields.get("IsTruncated", ""))
    return Page(
        keys=_each(decode, columns.get("Key", [])),
        prefixes=_each(decode, prefixes),
        next_token=_next_token(truncated, fields.get("NextContinuationToken")),
        source=_columns(columns) if detail or form is None else (text, form),
        nbytes=2 * getsizeof(text),
    )


def _next_token(truncated: bool | None, token: str | None) -> str | None:
    if truncated is None:
        raise UnrecognizedPage("IsTruncated is neither true nor false")
    if truncated and not token:
        raise UnrecognizedPage("IsTruncated is true and there is no NextContinuationToken")
    return token if truncated else None


# --- info dicts -----------------------------------------------------------------------------------

_ITEM_BYTES = 1_000  # about what botocore makes of one entry

# The fields whose values can be changed, so that each info dict needs a copy.
_COPIES: Mapping[str, Callable[[Any], Any]] = {
    "ChecksumAlgorithm": list,
    "Owner": dict,
    "RestoreStatus": dict,
}


def _chosen(columns: Columns, indices: Sequence[int]) -> Columns:
    """Return the columns of the keys at `indices` only."""
    return {name: tuple([column[i] for i in indices]) for name, column in columns.items()}


def infos_of(
    columns: Columns, paths: Sequence[str], indices: Sequence[int] | None
) -> list[dict[str, Any]]:
    """Return new info dicts, equal to those of s3fs. They share their keys (PEP 412).

    Parameters
    ----------
    columns
        The fields of the keys of a page.
    paths
        The paths of the keys at `indices`, as `Page.paths` returns them.
    indices
        Indices into the columns; None for all keys.
    """
    if indices is not None:
        columns = _chosen(columns, indices)
    fields: dict[str, Iterable[Any]] = {"Key": paths, **columns}
    for name in _COPIES.keys() & columns.keys():
        copy = _COPIES[name]
        fields[name] = [None if value is None else copy(value) for value in columns[name]]
    fields |= {"type": repeat("file"), "size": columns.get("Size", ()), "name": paths}
    infos: list[dict[str, Any]] = list(map(vars, map(_row(tuple(fields)), *fields.values())))
    for name in [name for name, column in columns.items() if None in column]:
        for info in infos:
            if info[name] is None:
                del info[name]
    return infos


@lru_cache(maxsize=64)
def _row(names: tuple[str, ...]) -> type:
    """Return a class with these attributes: the dicts of its instances share their keys."""
    return make_dataclass("_Row", names, repr=False, eq=False, match_args=False)


# --- values ---------------------------------------------------------------------------------------


def _unquote(text: str) -> str:
    """Replace XML references, then decode as urllib's unquote_plus, which is 10 times slower."""
    text = unescape(text).replace("+", " ")
    if "%" in text and text.isascii():
        # Python has a decoder in C for \xXX, so %XX becomes that.
        escaped = text.replace("\\", "\\\\").replace("%", "\\x").encode("ascii")
        try:
            return escaped.decode("unicode_escape").encode("latin-1").decode(errors="replace")
        except UnicodeDecodeError:
            pass  # two hexadecimal digits do not follow each %
    return unquote(text)


def _each(decode: Callable[[str], str], texts: list[str]) -> list[str]:
    """Decode many texts at once: a thousand calls cost more than one on a long string."""
    if not texts:
        return []
    decoded = decode("\n".join(texts)).split("\n")
    return decoded if len(decoded) == len(texts) else list(map(decode, texts))


def _columns(texts_of: Mapping[str, list[Any]]) -> Columns:
    """Convert the texts of all fields, None where a key does not have an optional field."""
    columns: dict[str, Sequence[Any]] = {}
    for name, texts in texts_of.items():
        if name == "Size":
            columns[name] = tuple(map(int, texts))
        elif name == "LastModified":
            columns[name] = tuple(map(datetime.fromisoformat, texts))
        elif name == "ETag":
            columns[name] = tuple(_each(unescape, texts))
        elif name != "Key":
            values = {text: None if text is None else _convert(name, text) for text in set(texts)}
            columns[name] = tuple([values[text] for text in texts])
    return columns


_leaves = re.compile("<([A-Za-z]+)>([^<]*)</").findall


def _convert(name: str, text: str) -> Any:
    """Convert the text of an optional field. Few texts differ, so speed does not matter."""
    if name not in _COPIES:
        return unescape(text)
    leaves = [(tag, unescape(inner)) for tag, inner in _leaves(text)]
    return tuple(leaves) if name == "Owner" else tuple(inner for _, inner in leaves)
