"""Takes the entries, common prefixes and fields out of the text of a ListObjectsV2 page.

Botocore's XML parser takes about 80 microseconds per key; this takes less than 1. The order of the
fields in the first entry of a page makes one regular expression, which every entry must match. It
is strict: `UnrecognizedPage` means that some part of a page does not match and that the page needs
botocore's parser.

Formats: the ListObjectsV2 response of the Amazon S3 API reference; XML 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias


class UnrecognizedPage(ValueError):
    """A page does not have the exact form that a decoder accepts."""


# Botocore reads pages with other references. "&amp;" is last: what it leaves is no reference.
_REFERENCES = {
    **{"&quot;": '"', "&#34;": '"', "&apos;": "'", "&#39;": "'", "&lt;": "<", "&gt;": ">"},
    **{"&#x9;": "\t", "&#xA;": "\n", "&#xD;": "\r", "&#13;": "\r", "&amp;": "&"},
}


def unescape(text: str) -> str:
    """Replace XML references."""
    for reference, character in _REFERENCES.items():
        if "&" not in text:
            break
        text = text.replace(reference, character)
    return text


# --- entries --------------------------------------------------------------------------------------

_START, _END = "<Contents>", "</Contents>"
_MAX_FIELDS = 32  # start tags of one entry; an entry with more does not match
_MAX_FORMS = 8  # attempts for one page

_BLANK = " \t\n"
_SPACE = "[ \\t\\n]*+"
_NAME = "[A-Za-z_][A-Za-z0-9_.-]*+"
# Text that XML parsers leave as it is, with known references; no ">", which may end "]]>".
_PLAIN = "[ -%'-;=?-\\x7f]*+"  # ASCII
_OTHER = f"[\\t\\n\\x80-\\ufffd\\U00010000-\\U0010ffff]++|{'|'.join(_REFERENCES)}"
_TEXT = f"{_PLAIN}(?:(?:{_OTHER}){_PLAIN})*+"
_INTEGER = "[0-9]{1,18}+"
# Only dates that exist. Most match the first branch.
_DATE = (
    "(?:(?:20[0-9]|19[7-9])[0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:19[7-9]|20[0-9])[0-9]-(?:(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    "|(?:197[26]|198[048]|199[26]|20(?:[02468][048]|[13579][26]))-02-29)"
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9}+)?+Z"
)
# The fields of botocore's model. A page with RestoreStatus is left to botocore.
_REQUIRED = frozenset({"Key", "LastModified", "ETag", "Size"})
_OPTIONAL = frozenset({"ChecksumAlgorithm", "ChecksumType", "StorageClass", "Owner"})


Form: TypeAlias = tuple[str, ...]
"""The fields of the entries of a page in order: the required ones, and all others that occur."""


def _captured(form: Form, detail: bool) -> list[str]:
    """Return the fields to capture: all known ones, or only Key."""
    known = _REQUIRED | _OPTIONAL if detail else {"Key"}
    return [name for name in form if name in known]


def _merged(form: Form, other: Form) -> Form:
    """Return a form that may match the entries of both forms.

    It adds the optional fields of the other form that are missing, each behind the field that
    precedes it there. If no field is missing, the optional fields take the order of the other form.
    """
    optional = [name for name in other if name in _OPTIONAL]
    missing = [name for name in optional if name not in form]
    names = list(form)
    for name in missing or optional:
        if name in names:
            names.remove(name)
        before = other[: other.index(name)]
        position = max((names.index(one) for one in before if one in names), default=-1)
        names.insert(position + 1, name)
    return tuple(names)


_start_tags = re.compile(f"<({_NAME})").finditer


@lru_cache(maxsize=64)
def _splitter(form: Form, detail: bool) -> Callable[[str], list[Any]]:
    """Return the `split` of the regular expression that matches one entry."""
    captured = _captured(form, detail)
    parts = [_START, _SPACE]
    for name in form:
        group = "(" if name in captured else "(?:"
        field = f"<{re.escape(name)}>{group}{_content(name)})</{re.escape(name)}>{_SPACE}"
        if name == "ChecksumAlgorithm":  # the only field that may repeat
            field = f"{group}(?:<{name}>{_TEXT}</{name}>{_SPACE})++)"
        parts.append(field if name in _REQUIRED else f"(?:{field})?+")
    return re.compile("".join([*parts, _END])).split


def _content(name: str) -> str:
    """Return the regular expression for the content of a field."""
    if name == "Owner":
        ident, display = (f"(?:<{one}>{_TEXT}</{one}>{_SPACE})" for one in ("ID", "DisplayName"))
        return f"{_SPACE}(?:{ident}{display}?+|{display}{ident}?+)?+"
    return {"LastModified": _DATE, "Size": _INTEGER}.get(name, _TEXT)


def split_entries(form: Form, text: str, detail: bool) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the texts of each field, None where an entry does not have it, and the other text.

    The other text is a list: what is before, between and after the entries.
    """
    pieces = _splitter(form, detail)(text)
    names = _captured(form, detail)
    stride = 1 + len(names)
    return {name: pieces[at::stride] for at, name in enumerate(names, 1)}, pieces[::stride]


def chosen_entries(text: str, indices: Sequence[int]) -> str:
    """Return the text of the entries at `indices` only."""
    entries = text.split(_START)
    chosen = [entries[index + 1].partition(_END)[0] for index in indices]
    return "".join([f"{_START}{entry}{_END}" for entry in chosen])


def _form_at(text: str) -> Form | None:
    """Return the form of the first entry in a text; None if there is no entry."""
    start = text.find(_START)
    if start < 0:
        return None
    entry = text[start + len(_START) : text.find(_END, start)]
    found = {tag[1]: None for tag in islice(_start_tags(entry), _MAX_FIELDS)}
    names = tuple(name for name in found if name not in ("ID", "DisplayName"))  # of Owner
    if "Key" not in names or "Size" not in names:
        raise UnrecognizedPage("Key or Size is missing in an entry")
    if "RestoreStatus" in names or "Contents" in names:
        raise UnrecognizedPage("an entry has an unusual field")
    return names


# --- pages ----------------------------------------------------------------------------------------

_NUMBERS = ("MaxKeys", "KeyCount")

# The namespace does not matter, except that a page must not declare those of XML itself.
_root = re.compile(
    r"""(?:<\?xml[ ]version=(?P<v>["'])1\.0(?P=v)(?:[ ]encoding=(?P<e>["'])(?i:UTF-8)(?P=e))?
    (?:[ ]standalone=(?P<s>["'])(?:yes|no)(?P=s))?[ ]?\?>)?[ \t\n]*+
    <ListBucketResult(?:[ ]xmlns=(?P<n>["'])(?!http://www\.w3\.org)[A-Za-z0-9:/._-]*+(?P=n))?>""",
    re.VERBOSE,
).match
_split_prefixes = re.compile(
    f"<CommonPrefixes>{_SPACE}<Prefix>({_TEXT})</Prefix>{_SPACE}</CommonPrefixes>"
).split
_field = re.compile(f"{_SPACE}<({_NAME})(?: ?/>|>({_TEXT})</\\1>)").match
_end = re.compile(f"{_SPACE}</ListBucketResult>{_SPACE}").fullmatch
_integer = re.compile(_INTEGER).fullmatch


def take_entries(text: str, detail: bool) -> tuple[Form | None, dict[str, list[Any]], str]:
    """Return the form of the entries of a page, their columns, and the page without them.

    The form is that of the first entry. An entry that does not match adds its optional fields.
    """
    form = _form_at(text)
    if form is None:
        return None, {}, text
    for _ in range(_MAX_FORMS):
        columns, gaps = split_entries(form, text, detail)
        other = _form_at("".join(gaps))
        if other is None:
            return form, columns, _joined(gaps, "Contents")
        merged = _merged(form, other)
        if merged == form:
            break
        form = merged
    raise UnrecognizedPage("the entries have different forms")


def take_prefixes(text: str) -> tuple[list[str], str]:
    """Return the encoded common prefixes of a page, and the page without them."""
    pieces = _split_prefixes(text)
    return pieces[1::2], _joined(pieces[::2], "CommonPrefixes")


def _joined(gaps: list[str], tag: str) -> str:
    """Put one empty element in place of adjacent elements that were taken out of a text."""
    if "".join(gaps[1:-1]).strip(_BLANK):
        raise UnrecognizedPage(f"there is something between the {tag}")
    return gaps[0] if len(gaps) == 1 else f"{gaps[0]}<{tag}/>{gaps[-1]}"


def page_fields(text: str) -> dict[str, str]:
    """Return the texts of all other elements of a page, by name."""
    root = _root(text)
    if root is None:
        raise UnrecognizedPage("its root element is not ListBucketResult")
    fields: dict[str, str] = {}
    position = root.end()
    while child := _field(text, position):
        name, value = child[1], child[2] or ""
        if name in fields:
            raise UnrecognizedPage(f"{name} is repeated")
        if name in _NUMBERS and not _integer(value):
            raise UnrecognizedPage(f"{name} is not a number")
        fields[name] = unescape(value)
        position = child.end()
    if not _end(text, position):
        raise UnrecognizedPage("it has an unknown structure or is cut")
    return fields
