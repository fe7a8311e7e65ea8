"""The form in which a server writes a repeated XML element: read off one, compiled, run over all.

Servers differ in the order, spacing and choice of the fields in an element, but in one document
nearly all elements are alike. So the *layout* of an element is learned from the first one, compiled
(and remembered), and taken out of the document by the regular expression engine, values and all.
Elements which that layout does not match teach another one.

A layout is exact: what it matches is well-formed XML that holds what was expected and nothing else.
Whatever is not raises `UnrecognizedPage`. All is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, NamedTuple, NoReturn, TypeVar

__all__ = [
    "TEXT",
    "Column",
    "Element",
    "Extracted",
    "Field",
    "Layout",
    "UnrecognizedPage",
    "dicts",
    "extract",
    "node",
    "reject",
    "unescape",
]

T = TypeVar("T")


class UnrecognizedPage(ValueError):
    """A page is not of a form that is certain to be understood; another parser must read it."""


def reject(reason: str) -> NoReturn:
    """Raise UnrecognizedPage."""
    raise UnrecognizedPage(f"not a ListObjectsV2 page in a known form: {reason}")


# --- text -----------------------------------------------------------------------------------------

_SPACE = "[ \\t\\r\\n]*+"
_NAME = "[A-Za-z_][A-Za-z0-9_.-]*+"

# Printable ASCII but for < > &. Spelled as a positive set, which `re` tests in one step.
_PLAIN = "[ -%'-;=?-~]*+"

# References to most of the characters that XML allows. Other entities would have to be declared.
_REFERENCE = (
    "&(?:amp|lt|gt|quot|apos"
    "|#(?:9|10|13|3[2-9]|[4-9][0-9]|[1-9][0-9]{2,3}|[1-47-9][0-9]{4}|1[0-9]{5})"
    "|#x0{0,3}+(?:9|[AaDd]|[2-9A-Fa-f][0-9A-Fa-f]|[1-9A-Fa-f][0-9A-Fa-f]{2}"
    "|[1-9A-Ca-c][0-9A-Fa-f]{3}|1[0-9A-Fa-f]{4})"
    ");"
)
# XML parsers turn a raw carriage return into a newline, so it is not taken as it stands.
_RAW = "[^<>&\\x00-\\x08\\x0b-\\x1f]*+"
TEXT = f"{_RAW}(?:{_REFERENCE}{_RAW})*+"

_is_plain = re.compile(_PLAIN).fullmatch
_replace_references = re.compile("&([^;]*+);").sub
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def unescape(text: str) -> str:
    """Replace the references in text that `TEXT` has matched."""
    return _replace_references(_character, text) if "&" in text else text


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    if name.startswith("#x"):
        return chr(int(name[2:], 16))
    return chr(int(name[1:])) if name.startswith("#") else _NAMED[name]


# --- what is expected -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A child of an element.

    pattern: regular expression without groups for its text.
    convert: makes the value of that text.
    quoted: the text may be in quotes that are written as references, as in an ETag.
    repeated: there may be several in a row; the value is the list of their texts.
    fields: the children, if it holds elements instead of text; the value is a dict.
    """

    pattern: str = TEXT
    convert: Callable[[str], Any] = unescape
    quoted: bool = False
    repeated: bool = False
    fields: Mapping[str, Field] | None = None

    def structure(self, elements: str) -> dict[str, Any]:
        """The value of a field that holds elements."""
        fields = self.fields or {}
        leaves = _leaves(elements)
        return {name: fields[name].convert(text) for name, text in leaves if name in fields}


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """An element that repeats in a document.

    key: the field that is wanted alone.
    fields: those of interest. Others are passed over if they hold nothing but text.
    required: fields without which an element is not accepted.
    """

    tag: str
    key: str
    fields: Mapping[str, Field]
    required: frozenset[str]


# --- layouts --------------------------------------------------------------------------------------


class _Value(NamedTuple):
    """A part of a layout whose text differs between elements; nameless if of no interest.

    changeable: whether what `convert` makes can be changed, so that no two items may share it.
    """

    name: str
    pattern: str
    convert: Callable[[str], Any]
    changeable: bool = False


_Part = str | _Value


class Column(NamedTuple):
    """A field of several elements.

    values: one of each element, none of which can be changed. make: if given, it makes of each
    the real value, which can.
    """

    values: tuple[Any, ...]
    make: Callable[[Any], Any] | None = None

    def fresh(self) -> Iterable[Any]:
        """The values, those that can be changed anew each time."""
        return self.values if self.make is None else map(self.make, self.values)

    def only(self, indices: Sequence[int]) -> Column:
        """The values at `indices`."""
        values = self.values
        return Column(tuple([values[index] for index in indices]), self.make)


class Layout:
    """The form of an element, compiled."""

    def __init__(self, element: Element, parts: tuple[_Part, ...]) -> None:
        self._names = _names(parts)
        if not element.required <= set(self._names):
            reject(f"a field is missing in {element.tag}")
        values = (part for part in parts if isinstance(part, _Value))
        self._values = {value.name: value for value in values if value.name}
        self._element = element
        self._parts = parts

    # Compiled when first used: that takes milliseconds, and few layouts need all three.

    @cached_property
    def _with_key(self) -> re.Pattern[str]:
        source = _source(self._parts, (self._element.key,))
        return re.compile(f"<{self._element.tag}>{source}")

    @cached_property
    def _with_fields(self) -> re.Pattern[str]:
        return re.compile(f"<{self._element.tag}>{_source(self._parts, self._names)}")

    @cached_property
    def _match(self) -> Callable[[str], re.Match[str] | None]:
        return re.compile(_source(self._parts, self._names)).match

    @property
    def plain(self) -> bool:
        """Whether it takes nothing but plain text: others are slower where they are not needed."""
        return not any(TEXT in part.pattern for part in self._parts if isinstance(part, _Value))

    def begins(self, text: str, position: int) -> bool:
        """Whether there is an element of this form at `position`."""
        return self._with_key.match(text, position) is not None

    def take_keys(self, text: str) -> tuple[list[str], list[str]]:
        """Take the elements of this form out of text: what is between them, and their raw keys."""
        pieces = self._with_key.split(text)
        return pieces[::2], pieces[1::2]

    def take_columns(self, text: str) -> tuple[list[str], list[str], dict[str, Column]]:
        """The same, and the other fields of the elements by their names."""
        stride = len(self._names) + 1
        pieces = self._with_fields.split(text)
        columns = {
            name: _column(value, pieces[offset::stride])
            for offset, (name, value) in enumerate(self._values.items(), 1)
            if name != self._element.key
        }
        key = 1 + self._names.index(self._element.key)
        return pieces[::stride], pieces[key::stride], columns

    def take_items(self, text: str) -> tuple[list[str], list[dict[str, Any]]]:
        """The same as dicts, one for each element."""
        gaps, keys, columns = self.take_columns(text)
        fields = {name: column.fresh() for name, column in columns.items()}
        return gaps, dicts({self._element.key: keys, **fields})

    def item(self, element: str) -> dict[str, Any] | None:
        """The same for one element, given from behind its start tag; None if of another form."""
        match = self._match(element)
        if match is None:
            return None
        found = zip(self._values.values(), match.groups(), strict=True)
        return {value.name: value.convert(text) for value, text in found}


def _column(value: _Value, texts: list[str]) -> Column:
    number = len(texts)
    # The storage class of most keys is that of the others, and often so is the date.
    alike = number > 1 and texts[0] == texts[-1] and texts.count(texts[0]) == number
    found: Iterable[Any] = texts[:1] if alike else texts
    if value.changeable or value.convert is str:
        pass
    elif value.convert is _quoted and texts:
        found = _quoted('"\n"'.join(found)).split("\n")  # plain text has no newlines
    else:
        found = map(value.convert, found)
    values = tuple(found)
    return Column(values * number if alike else values, value.convert if value.changeable else None)


def dicts(columns: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """The rows of a table as dicts. A column may be longer than those before it.

    The dicts share their keys, as those of a class's instances do (PEP 412), and so take half of
    the memory of others.
    """
    return list(map(vars, map(_row(tuple(columns)), *columns.values())))


@lru_cache(maxsize=128)
def _row(names: tuple[str, ...]) -> type:
    return make_dataclass("_Row", names, repr=False, eq=False, match_args=False)


def _names(parts: Iterable[_Part]) -> tuple[str, ...]:
    names = tuple(part.name for part in parts if isinstance(part, _Value) and part.name)
    if len(set(names)) != len(names):
        reject("a field is repeated")  # botocore returns lists of elements then
    return names


def _source(parts: Iterable[_Part], groups: tuple[str, ...] = ()) -> str:
    sources = []
    for part in parts:
        if isinstance(part, str):
            sources.append(re.escape(part))
        else:
            sources.append(f"({part.pattern})" if part.name in groups else f"(?:{part.pattern})")
    return "".join(sources)


# Bounded for the sake of servers that make up a new form for each element.
_layout = lru_cache(maxsize=128)(Layout)
_latest: dict[Element, Layout] = {}
_MAX_LAYOUTS = 8
_MAX_FIELDS = 32
_MAX_SPACE = 64


class Extracted(NamedTuple):
    """The values found in order, the layouts of the elements, and the text that is left."""

    values: list[Any]
    layouts: tuple[Layout, ...]
    residue: str


def extract(
    text: str,
    element: Element,
    mark: str,
    take: Callable[[Layout, str], tuple[list[str], list[Any]]],
) -> Extracted:
    """Take all `element` out of text.

    mark: a character that is not in text; the residue has one for each element taken out.
    take: takes those of one layout, as Layout.take_keys and Layout.take_items do: what is between
        them, and their values.

    Raises UnrecognizedPage if there is an element that cannot be understood.
    """
    start_tag = f"<{element.tag}>"
    values: list[Any] = []
    layouts: list[Layout] = []
    while (start := text.find(start_tag)) >= 0:
        if len(layouts) == _MAX_LAYOUTS:
            reject(f"its {element.tag} have too many different forms")
        layout = _layout_at(text, start, element)
        gaps, found = take(layout, text)
        if start_tag in gaps[0]:
            reject(f"a value in a {element.tag} has an unknown form")
        values = _merge(values, gaps, found, mark) if values else found
        layouts.append(layout)
        text = mark.join(gaps)
    return Extracted(values, tuple(layouts), text)


def _layout_at(text: str, start: int, element: Element) -> Layout:
    """The layout of the element at `start`: that of the last document, if it has that one too."""
    layout = _latest.get(element)
    if layout is not None and layout.begins(text, start):
        return layout
    start_tag = f"<{element.tag}>"
    inside = start + len(start_tag)
    learned = _learn(text, inside, element.tag, element.fields)
    if text.find(start_tag, inside, learned.end) >= 0:
        reject(f"a {element.tag} is inside of another")
    layout = _layout(element, learned.parts)
    if layout.plain:
        _latest[element] = layout
    return layout


def _merge(earlier: list[T], gaps: list[str], found: list[T], mark: str) -> list[T]:
    """Put values found now in between those found earlier, of which each left a mark in a gap."""
    rest = iter(earlier)
    merged = list(islice(rest, gaps[0].count(mark)))
    for value, gap in zip(found, gaps[1:], strict=True):
        merged.append(value)
        if gap:
            merged.extend(islice(rest, gap.count(mark)))
    return merged


# --- learning -------------------------------------------------------------------------------------


class _Learned(NamedTuple):
    """Parts of a layout, and the position in the text where they end."""

    parts: tuple[_Part, ...]
    end: int


_QUOTES = ("&quot;", "&#34;")

# An element that holds text, or (without an end) the start of one that holds elements.
node = re.compile(
    f"(?P<space>{_SPACE})<(?P<name>{_NAME})"
    "(?:(?P<empty> ?/>)|>(?P<text>[^<]*+)(?P<end></(?P=name)>)?+)"
).match
_end = re.compile(f"(?P<space>{_SPACE})</(?P<name>{_NAME})>").match
_leaves = re.compile(f"<({_NAME})(?: ?/>|>([^<]*+)</)").findall


def _quoted(text: str) -> str:
    return f'"{text}"'


def _single(text: str) -> list[str]:
    return [text]


def _list(elements: str) -> list[str]:
    return [unescape(text) for _, text in _leaves(elements)]


def _learn(text: str, position: int, tag: str, fields: Mapping[str, Field]) -> _Learned:
    """Read the layout off one element `tag`, from behind its start tag to behind its end tag."""
    parts: list[_Part] = []
    for _ in range(_MAX_FIELDS):
        end = _end(text, position)
        if end and end["name"] == tag and len(end["space"]) <= _MAX_SPACE:
            return _Learned((*parts, end[0]), end.end())
        child = node(text, position)
        if child is None or len(child["space"]) > _MAX_SPACE:
            break
        learned = _learn_child(text, child, fields.get(child["name"]))
        parts += learned.parts
        position = learned.end
    reject(f"a {tag} has an unknown structure")


def _learn_child(text: str, child: re.Match[str], field: Field | None) -> _Learned:
    if field is not None and field.repeated:
        return _learn_list(text, child, field)
    if field is not None and field.fields is not None:
        return _learn_structure(text, child, field)
    return _learn_leaf(child, field)


def _learn_leaf(child: re.Match[str], field: Field | None) -> _Learned:
    """An element that holds text, of no interest if `field` is None."""
    name = child["name"] if field else ""
    field = field or Field()
    if child["empty"] and field.pattern == TEXT:
        return _Learned((child[0], _Value(name, "", str)), child.end())
    if not child["end"]:
        reject(f"{child['name']} does not hold plain text")
    quote, value = _learn_text(name, child["text"], field)
    start = f"{child['space']}<{child['name']}>{quote}"
    return _Learned((start, value, quote + child["end"]), child.end())


def _learn_text(name: str, text: str, field: Field) -> tuple[str, _Value]:
    """The value, and the quote that is around it."""
    if field.pattern != TEXT:
        return "", _Value(name, field.pattern, field.convert)
    for quote in _QUOTES if field.quoted else ():
        inner = text.removeprefix(quote).removesuffix(quote)
        if len(text) == len(inner) + 2 * len(quote) and _is_plain(inner):
            return quote, _Value(name, _PLAIN, _quoted)
    if _is_plain(text):
        return "", _Value(name, _PLAIN, str)
    return "", _Value(name, TEXT, unescape)


def _learn_list(text: str, child: re.Match[str], field: Field) -> _Learned:
    """Elements of one name in a row, each an item of one list."""
    name = child["name"]
    items: list[_Learned] = []
    following: re.Match[str] | None = child
    while following and following["name"] == name and len(items) < _MAX_FIELDS:
        items.append(_learn_leaf(following, field))
        following = node(text, items[-1].end)
    end = items[-1].end
    if len(items) == 1 and items[0].parts[1] == _Value(name, _PLAIN, str):
        start_tag, _, end_tag = items[0].parts
        return _Learned((start_tag, _Value(name, _PLAIN, _single, True), end_tag), end)
    pattern = "".join(_source(item.parts) for item in items)
    return _Learned((_Value(name, pattern, _list, True),), end)


def _learn_structure(text: str, child: re.Match[str], field: Field) -> _Learned:
    """An element that holds elements, as one value: such are few, or the same throughout."""
    name = child["name"]
    if child["empty"]:
        return _Learned((child[0], _Value(name, "", field.structure, True)), child.end())
    inner = _learn(text, child.start("text"), name, field.fields or {})
    _names(inner.parts)
    start_tag = f"{child['space']}<{name}>"
    value = _Value(name, _source(inner.parts), field.structure, True)
    return _Learned((start_tag, value), inner.end)
