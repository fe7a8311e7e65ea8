"""One ListObjectsV2 page: the bytes of a response in, keys, common prefixes and info dicts out.

Botocore builds an ElementTree of each page, twice, which costs some 80 microseconds a key. Here
regular expressions read a page at about one. They are strict: a page of which any part is not
understood raises `UnrecognizedPage`, and its caller lets botocore's parser have it. A page that is
accepted decodes to what botocore makes of it.

Formats followed: the ListObjectsV2 response of the Amazon S3 API reference; XML 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat
from sys import getsizeof
from typing import Any, Protocol
from urllib.parse import unquote

from fsspec_avroglob.s3.layout import (
    TEXT,
    Column,
    Element,
    Field,
    Layout,
    UnrecognizedPage,
    dicts,
    extract,
    node,
    reject,
    unescape,
)

__all__ = [
    "Items",
    "Page",
    "UnrecognizedPage",
    "info_of_directory",
    "page_from_response",
    "parse_page",
]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    keys: object keys, decoded, in the order of the page (repeated keys stay repeated).
    prefixes: common prefixes, decoded, each with its trailing delimiter.
    next_token: continuation token for the next page; None on the last one.
    items: what info dicts are made of.
    thin: whether keys were left out of it.
    """

    keys: list[str]
    prefixes: list[str]
    next_token: str | None
    items: Items = field(repr=False, compare=False)
    thin: bool = False

    @property
    def key_count(self) -> int:
        """Number of entries, common prefixes included, as S3 counts them against max-keys."""
        return len(self.keys) + len(self.prefixes)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the page holds beside the decoded keys."""
        return self.items.nbytes

    def paths(self, bucket: str, indices: Sequence[int] | None = None) -> tuple[str, ...]:
        """The paths, bucket/key, of the keys at `indices`: positions in `keys`, None for all."""
        start, keys = bucket + "/", self.keys
        if indices is None:
            return tuple([start + key for key in keys])
        return tuple([start + keys[index] for index in indices])

    def infos(
        self, paths: Sequence[str], indices: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Info dicts as s3fs makes them from a listing, for the keys at `indices`.

        paths: those of the same keys. Every call returns new dicts, which the caller may change.
        """
        return self.items.infos(paths, range(len(self.keys)) if indices is None else indices)

    def thinned(self, indices: Sequence[int] | None) -> tuple[Page, Sequence[int] | None]:
        """A page to keep the keys at `indices` by, and where they are in it.

        If these are few, it is one that holds no more memory than they need.
        """
        if indices is None or 2 * len(indices) >= len(self.keys):
            return self, indices
        keys = [self.keys[index] for index in indices]
        return Page(keys, [], None, self.items.only(indices), thin=True), None


def info_of_directory(path: str) -> dict[str, Any]:
    """Info dict, as s3fs has it, of a directory: a bucket, or bucket/prefix without its slash."""
    return {
        "Key": path,
        "Size": 0,
        "StorageClass": "DIRECTORY",
        "type": "directory",
        "size": 0,
        "name": path,
    }


def page_from_response(response: Mapping[str, Any]) -> Page:
    """The page that botocore parsed and url-decoded: the slow twin of `parse_page`.

    Raises UnrecognizedPage if the page says that more follows but not where. To stop there, as
    botocore's paginator does, would pass an incomplete listing off as complete.
    """
    contents: Sequence[Mapping[str, Any]] = response.get("Contents", ())
    return Page(
        keys=[item["Key"] for item in contents],
        prefixes=[item["Prefix"] for item in response.get("CommonPrefixes", ())],
        next_token=_next_token(
            truncated=response.get("IsTruncated", False),
            token=response.get("NextContinuationToken"),
        ),
        items=_ParsedItems(contents),
    )


def parse_page(body: bytes, *, detail: bool = False) -> Page:
    """Read the body of a ListObjectsV2 response, url-encoded (EncodingType) or not.

    body: the whole body, UTF-8.
    detail: True if the info dicts of all, or most, keys will be wanted: they are cheaper then than
        when asked for later. The result is the same.

    Raises UnrecognizedPage if any part of the body is not fully understood: errors, cut bodies,
    malformed XML, CDATA, comments, declarations of entities, unusual structure.
    """
    text = _text(body)
    tables: list[Mapping[str, Column]] = []

    def take_columns(layout: Layout, text: str) -> tuple[list[str], list[str]]:
        gaps, keys, columns = layout.take_columns(text)
        tables.append(columns)
        return gaps, keys

    take = take_columns if detail else Layout.take_keys
    contents = extract(text, _CONTENTS, _KEY_MARK, take)
    common = extract(contents.residue, _COMMON_PREFIXES, _PREFIX_MARK, Layout.take_keys)
    top_level = _top_level(common.residue)
    if top_level.get("IsTruncated") not in ("true", "false"):
        reject("IsTruncated is neither true nor false")
    if top_level.get("EncodingType", "") not in ("", "url"):
        reject("EncodingType is not url")
    url_encoded = top_level.get("EncodingType") == "url"
    items: Items = _TextItems(text, contents.layouts, contents.values)
    if len(tables) == 1:
        items = _TableItems(tables[0], items.nbytes)
    return Page(
        keys=_decode(contents.values, url_encoded),
        prefixes=_decode(common.values, url_encoded),
        next_token=_next_token(
            truncated=top_level["IsTruncated"] == "true",
            token=top_level.get("NextContinuationToken"),
        ),
        items=items,
    )


def _next_token(*, truncated: bool, token: str | None) -> str | None:
    if not truncated:
        return None
    if not token:
        reject("IsTruncated is true and there is no NextContinuationToken")
    return token


class Items(Protocol):
    """The items of a page."""

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory they hold."""
        ...

    def infos(self, paths: Sequence[str], indices: Sequence[int]) -> list[dict[str, Any]]:
        """Info dicts of those at `indices`, whose paths are `paths`."""
        ...

    def only(self, indices: Sequence[int]) -> Items:
        """Those at `indices`, without what the others need."""
        ...


_ITEM_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class _ParsedItems:
    """Items that botocore parsed."""

    items: Sequence[Mapping[str, Any]]

    @property
    def nbytes(self) -> int:
        return _ITEM_BYTES * len(self.items)

    def infos(self, paths: Sequence[str], indices: Sequence[int]) -> list[dict[str, Any]]:
        return _completed([deepcopy(dict(self.items[index])) for index in indices], paths)

    def only(self, indices: Sequence[int]) -> Items:
        return _ParsedItems([self.items[index] for index in indices])


def _completed(items: list[dict[str, Any]], paths: Sequence[str]) -> list[dict[str, Any]]:
    """The items, made info dicts."""
    for path, info in zip(paths, items, strict=True):
        info["Key"] = path
        info["type"] = "file"
        info["size"] = info["Size"]
        info["name"] = path
    return items


@dataclass(frozen=True, slots=True)
class _TableItems:
    """Items that have all been decoded, as columns.

    Tuples of values cost the garbage collector no time, as millions of dicts do while a listing
    goes on: those are made when they are asked for.
    """

    columns: Mapping[str, Column]
    nbytes: int

    def infos(self, paths: Sequence[str], indices: Sequence[int]) -> list[dict[str, Any]]:
        columns = self._chosen(indices)
        fields = {name: column.fresh() for name, column in columns.items()}
        size = columns["Size"].values
        more = {"type": repeat("file"), "size": size, "name": paths}
        return dicts({"Key": paths, **fields, **more})

    def only(self, indices: Sequence[int]) -> Items:
        return _TableItems(self._chosen(indices), self.nbytes * len(indices) // self._number)

    @property
    def _number(self) -> int:
        return len(self.columns["Size"].values)

    def _chosen(self, indices: Sequence[int]) -> Mapping[str, Column]:
        if indices == range(self._number):
            return self.columns
        return {name: column.only(indices) for name, column in self.columns.items()}


@dataclass(frozen=True, slots=True)
class _TextItems:
    """Items in the text of a page that was recognised, decoded when they are asked for."""

    text: str
    layouts: tuple[Layout, ...]
    raw_keys: Sequence[str]

    @property
    def nbytes(self) -> int:
        # The keys stand in the text, each beside more tags than a string needs for itself.
        return 2 * getsizeof(self.text)

    def infos(self, paths: Sequence[str], indices: Sequence[int]) -> list[dict[str, Any]]:
        return _completed(self._take(indices), paths)

    def only(self, indices: Sequence[int]) -> Items:
        text = "".join(_START_TAG + element for element in self._elements(indices))
        return _TextItems(text, self.layouts, [self.raw_keys[index] for index in indices])

    def _take(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        if 2 * len(indices) > len(self.raw_keys):
            items = extract(self.text, _CONTENTS, _KEY_MARK, Layout.take_items).values
            return items if indices == range(len(items)) else [dict(items[i]) for i in indices]
        return [
            next(item for form in self.layouts if (item := form.item(element)) is not None)
            for element in self._elements(indices)
        ]

    def _elements(self, indices: Sequence[int]) -> Iterator[str]:
        """The text of elements, from behind the start tag on."""
        text, number = self.text, len(self.raw_keys)
        if _MANY * len(indices) > number or len(set(self.raw_keys)) < number:
            elements = text.split(_START_TAG)
            yield from (elements[index + 1] for index in indices)
            return
        for index in indices:
            wanted = f"<Key>{self.raw_keys[index]}</Key>"
            # Elements are of much the same length, so this is a little before the right place.
            place = text.find(wanted, max(0, index * len(text) // number - _SLACK))
            place = place if place >= 0 else text.find(wanted)
            start = text.rfind(_START_TAG, 0, place) + len(_START_TAG)
            end = text.find(_START_TAG, place)
            yield text[start : end if end >= 0 else None]


# --- keys -----------------------------------------------------------------------------------------


def _decode(raw: list[str], url_encoded: bool) -> list[str]:
    """Decode all keys at once: an operation on one long string costs less than a thousand."""
    if not raw:
        return []
    joined = "\n".join(raw)
    decoded = _decode_text(joined, url_encoded)
    if decoded == joined:
        return raw
    keys = decoded.split("\n")
    if len(keys) != len(raw):  # some keys hold newlines themselves
        return [_decode_text(key, url_encoded) for key in raw]
    return keys


def _decode_text(text: str, url_encoded: bool) -> str:
    text = unescape(text)
    return _unquote(text) if url_encoded else text


def _unquote(text: str) -> str:
    """The same as urllib's unquote_plus(text), several times faster on long ASCII text."""
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    if text.isascii():
        # %XX is written as \xXX, for which Python has a decoder in C.
        escaped = text.replace("\\", "\\\\").replace("%", "\\x").encode("ascii")
        try:
            return escaped.decode("unicode_escape").encode("latin-1").decode(errors="replace")
        except UnicodeDecodeError:
            pass  # a % that no two hexadecimal digits follow
    return unquote(text)


# --- the form of a page ---------------------------------------------------------------------------

# Stand in the text of a page for the elements that were taken out of it. Control characters are no
# part of XML, so a page that is accepted holds none itself.
_KEY_MARK = "\0"
_PREFIX_MARK = "\1"

# Exact, so that no date is accepted that the calendar lacks. Most dates take the first branch.
_DATE = (
    "(?:20[0-9][0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|19[7-9][0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:19[7-9]|20[0-9])[0-9]-(?:(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    "|(?:197[26]|198[048]|199[26]|20(?:[02468][048]|[13579][26]))-02-29)"
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9}+)?+Z"
)
_INTEGER = "[0-9]{1,18}+"
_TIMESTAMP = Field(_DATE, datetime.fromisoformat)

# The fields of botocore's model of the response. It ignores those that are not in the model.
_CONTENTS = Element(
    tag="Contents",
    key="Key",
    fields={
        "Key": Field(),
        "LastModified": _TIMESTAMP,
        "ETag": Field(quoted=True),
        "ChecksumAlgorithm": Field(repeated=True),
        "ChecksumType": Field(),
        "Size": Field(_INTEGER, int),
        "StorageClass": Field(),
        "Owner": Field(fields={"DisplayName": Field(), "ID": Field()}),
        "RestoreStatus": Field(
            fields={
                "IsRestoreInProgress": Field("(?:true|false)", "true".__eq__),
                "RestoreExpiryDate": _TIMESTAMP,
            }
        ),
    },
    required=frozenset({"Key", "Size"}),  # without a size s3fs cannot make an info dict
)
_START_TAG = f"<{_CONTENTS.tag}>"
# One in so many elements, or more: the text is split at all of them, instead of searched for each.
_MANY = 20
_SLACK = 2000
_COMMON_PREFIXES = Element("CommonPrefixes", "Prefix", {"Prefix": Field()}, frozenset({"Prefix"}))
_NUMBERS = ("MaxKeys", "KeyCount")
_TOP_LEVEL = (
    *("IsTruncated", "Name", "Prefix", "Delimiter", "EncodingType", *_NUMBERS),
    *("ContinuationToken", "NextContinuationToken", "StartAfter"),
)

# The namespace does not matter; but those of XML itself may not be declared.
_prolog = re.compile(
    r"""(?:<\?xml[ ]version=(?P<v>["'])1\.0(?P=v)(?:[ ]encoding=(?P<e>["'])(?i:UTF-8)(?P=e))?
    (?:[ ]standalone=(?P<s>["'])(?:yes|no)(?P=s))?[ ]?\?>)?[ \t\r\n]*+
    <ListBucketResult(?:[ ]xmlns=(?P<n>["'])(?!http://www\.w3\.org)[A-Za-z0-9:/._-]*+(?P=n))?>""",
    re.VERBOSE,
).match
_skip_marks = re.compile(f"[ \\t\\r\\n{_KEY_MARK}{_PREFIX_MARK}]*+").match
_epilog = re.compile("</ListBucketResult>[ \\t\\r\\n]*+").fullmatch
_is_text = re.compile(TEXT).fullmatch
_is_integer = re.compile(_INTEGER).fullmatch


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UnrecognizedPage(f"the body of the page is not UTF-8: {error}") from None
    if _KEY_MARK in text or _PREFIX_MARK in text:
        reject("it holds control characters")
    if not text.isascii() and ("\ufffe" in text or "\uffff" in text):
        reject("it holds code points that are not characters")
    return text


def _top_level(residue: str) -> dict[str, str]:
    """The fields beside Contents and CommonPrefixes, from what is left of a page without these."""
    prolog = _prolog(residue)
    if prolog is None:
        reject("its root element is not ListBucketResult")
    fields: dict[str, str] = {}
    position = _after_marks(residue, prolog.end())
    while child := node(residue, position):
        name, text = child["name"], child["text"] or ""
        if not (child["empty"] or child["end"]) or not _is_text(text):
            reject(f"{name} has an unknown structure")
        if name in fields or name in (_CONTENTS.tag, _COMMON_PREFIXES.tag):
            reject(f"{name} is repeated or empty")
        if name in _NUMBERS and not _is_integer(text):
            reject(f"{name} is not a number")
        if name in _TOP_LEVEL:
            fields[name] = unescape(text)
        position = _after_marks(residue, child.end())
    if not _epilog(residue, position):
        reject("it does not end with the end of its root element")
    return fields


def _after_marks(residue: str, position: int) -> int:
    marks = _skip_marks(residue, position)
    return marks.end() if marks else position
