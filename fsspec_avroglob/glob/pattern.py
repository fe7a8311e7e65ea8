"""The glob grammar: one parser for every place where a pattern may be given.

========================  =====================================================================
token                     matches
========================  =====================================================================
``*``                     any run of characters within one segment (a segment that is ``*``
                          alone is not empty)
``?``                     one character, not ``/``
``[abc]``, ``[a-z]``      one character of the set, never ``/``
``[!a-z]``                one character outside the set, never ``/``
``**`` (whole segment)    zero or more segments
``{a,b*,c/d}``            any of the alternatives; they nest and may hold ``/``
``{01..12}``              the integers of the range, zero-padded as written
``[*]``, ``[{]``          the character itself
========================  =====================================================================

Without braces a pattern means what it means to :meth:`fsspec.AbstractFileSystem.glob`, an unclosed
``[`` (a literal) included. With braces it means the union of what its brace-free forms mean.

A pattern is parsed into *branches*: sequences of :class:`Segment` that hold no ``/`` and no
alternative that does. Everything else (regular expressions, literal stems, finite values) is
derived from a segment's tokens.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

from fsspec_avroglob.errors import PatternError
from fsspec_avroglob.glob.tokens import (
    AnyChar,
    AnyRun,
    CharSet,
    Choice,
    Recursive,
    Separator,
    Text,
    Token,
    choice_forms,
    choiceless,
    count_runs,
    disjoint_prefixes,
    expand,
    join_text,
    leaves,
    nullable,
    stems,
    token_text,
    tokens_regex,
    vanishing,
    ways,
)

MAX_BRANCHES = 1_024
"""Most sequences of segments that one pattern may expand to (braces that hold ``/`` multiply)."""

MAX_VALUES = 10_000
"""Most integers that one ``{first..last}`` may hold, and most brace-free forms of a pattern."""

MAX_CHARACTERS = 2**18
"""Longest text that is parsed as a pattern."""

MAX_TOKENS = 2**15
"""Most tokens of one pattern, each integer of a range being one."""

MAX_EXPANDED_TOKENS = 2**16
"""Most tokens of all that a pattern's braces are multiplied out to."""

MAX_SEGMENTS = 512
"""Most path components of a pattern: a key of 1,024 bytes has no more that are not empty."""

MAX_RECURSIONS = 64
"""Most ``**`` between which something else stands."""

_INTEGER_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_MAX_DIGITS = 18


@dataclass(frozen=True)
class Segment:
    """What one path segment must look like. ``**`` is the segment without tokens that recurses."""

    tokens: tuple[Token, ...]
    recursive: bool = False

    @cached_property
    def values(self) -> tuple[str, ...] | None:
        """Every name the segment matches, sorted, when these are finitely (and not too) many."""
        if self.recursive:
            return None
        names = expand(self.tokens, MAX_VALUES)
        return None if names is None else tuple(sorted(set(names)))

    @property
    def literal(self) -> str | None:
        """The one name that the segment matches, or None."""
        return self.values[0] if self.values is not None and len(self.values) == 1 else None

    @cached_property
    def ways(self) -> int:
        """In how many ways, at most, a name may have to be tried against the segment."""
        return ways(self.tokens, MAX_VALUES)

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Sorted prefixes, none within another, one of which every matching name starts with."""
        if self.recursive:
            return ("",)
        return disjoint_prefixes(stems(self.tokens))

    @cached_property
    def regex(self) -> str:
        """Source of a regular expression for the segment's text (never for ``**``)."""
        if self.tokens == (AnyRun(),):
            return "[^/]+"
        # A name made only of "*" is not empty; so is one that several nullable tokens make up.
        some = nullable(self.tokens) and count_runs(self.tokens) and not vanishing(self.tokens)
        return ("(?=[^/])" if some else "") + tokens_regex(self.tokens)

    def matches(self, name: str) -> bool:
        """Whether *name*, a path segment without ``/``, is one that the segment describes."""
        return self.recursive or _compile(self.regex).fullmatch(name) is not None

    def __str__(self) -> str:
        return "**" if self.recursive else "".join(map(token_text, self.tokens))


Branch: TypeAlias = tuple[Segment, ...]


@dataclass(frozen=True)
class GlobPattern:
    """A parsed pattern: the union of *branches*, each a sequence of segments.

    Parse with :meth:`parse`. ``text`` is the pattern as given, ``directories_only`` whether it ends
    with ``/``, which asks for directories.
    """

    text: str
    branches: tuple[Branch, ...]
    directories_only: bool = False

    @classmethod
    def parse(cls, text: str) -> GlobPattern:
        """Parse *text*, a path with or without magic characters and without a protocol.

        Raises :class:`PatternError` (a ValueError) for unbalanced braces, ``**`` beside other
        characters in a segment, and patterns that are or expand to more than this module's limits.
        """
        if len(text) > MAX_CHARACTERS:
            raise PatternError(text, 0, f"it is longer than {MAX_CHARACTERS} characters")
        body = text.rstrip("/")
        tokens = _Parser(body).parse()
        branches = []
        for flat in _distribute(tokens, body):
            branches.append(_split_segments(flat, body))
        _refuse_depth(branches, text)
        if len(branches) > 1 or "{" in body:
            _refuse_empty_ends(branches, text)
        _refuse_ambiguity(branches, text)
        return cls(text, tuple(dict.fromkeys(branches)), directories_only=text != body)

    @cached_property
    def brace_free(self) -> tuple[str, ...]:
        """The pattern as brace-free texts whose union it is, sorted (for other glob engines)."""
        end = "/" if self.directories_only else ""
        texts: dict[str, None] = {}
        for branch in self.branches:
            forms = [list(_brace_free(segment)) for segment in branch]
            for combination in itertools.product(*forms):
                texts["/".join(combination) + end] = None
                if len(texts) > MAX_VALUES:
                    raise PatternError(self.text, 0, f"it has more than {MAX_VALUES} alternatives")
        return tuple(sorted(texts))

    @cached_property
    def _file_regex(self) -> re.Pattern[str]:
        return _compile(path_regex(self.branches, directories_only=self.directories_only))

    @cached_property
    def _directory_regex(self) -> re.Pattern[str]:
        return _compile(directory_regex(self.branches, directories_only=self.directories_only))

    def matches(self, path: str, is_dir: bool = False) -> bool:
        """Whether *path* (without a trailing ``/``) of a file or directory matches."""
        if is_dir:
            return self._directory_regex.fullmatch(path + "/") is not None
        return self._file_regex.fullmatch(path) is not None

    def __str__(self) -> str:
        return self.text


def path_regex(branches: Iterable[Branch], *, directories_only: bool = False) -> str:
    """Regular expression source that matches the whole path of a file.

    With *directories_only* a file matches only where the pattern ends in ``**/`` and its name in
    ``/`` (the empty objects that mark directories).
    """
    kept = (b for b in branches if not directories_only or is_recursive(b))
    return _union(_branch_regex(b) + ("/" if directories_only else "") for b in kept)


def directory_regex(branches: Iterable[Branch], *, directories_only: bool = False) -> str:
    """Regular expression source that matches a directory's path with a ``/`` appended."""

    def one(branch: Branch) -> str:
        if directories_only or not branch[-1].recursive:
            return _branch_regex(branch, directories_only=True)
        return _branch_regex(branch)

    return _union(map(one, branches))


def is_recursive(branch: Branch) -> bool:
    """Whether the branch holds ``**``."""
    return any(segment.recursive for segment in branch)


# --- parsing -----------------------------------------------------------------------------------


class _Parser:
    """Recursive descent over the text; alternatives become :class:`Choice`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.count = 0

    def parse(self) -> tuple[Token, ...]:
        return self._sequence(depth=0)

    def _sequence(self, depth: int) -> tuple[Token, ...]:
        tokens: list[Token] = []
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if depth and char in ",}":
                break
            if char == "*":
                tokens.append(self._stars())
            elif char == "?":
                self.at += 1
                tokens.append(AnyChar())
            elif char == "[" and (end := self._set_end()) is not None:
                tokens.append(_char_set(text[self.at + 1 : end]))
                self.at = end + 1
            elif char == "{":
                tokens.append(self._braces(depth))
            else:
                self.at += 1
                tokens.append(Separator() if char == "/" else Text(char))
        joined = join_text(tokens)
        self._take(len(joined))
        return joined

    def _take(self, tokens: int) -> None:
        self.count += tokens
        if self.count > MAX_TOKENS:
            raise self._error(0, f"it has more than {MAX_TOKENS} tokens")

    def _stars(self) -> Token:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] == "*":
            self.at += 1
        count = self.at - start
        if count > 2:
            raise self._error(start, _NOT_WHOLE)
        return AnyRun() if count == 1 else Recursive(start)

    def _set_end(self) -> int | None:
        """Where the set that starts here is closed; None if it is not, within the segment."""
        end = self.at + 1
        if self.text.startswith("!", end):
            end += 1
        if self.text.startswith("]", end):
            end += 1
        end = self.text.find("]", end)
        return None if end < 0 or "/" in self.text[self.at : end] else end

    def _braces(self, depth: int) -> Token:
        start = self.at
        if depth >= 50:
            raise self._error(start, "braces are nested more than 50 deep")
        if integers := self._integers():
            return integers
        options: list[tuple[Token, ...]] = []
        while True:
            self.at += 1  # the opening brace, or a comma
            options.append(self._sequence(depth + 1))
            if self.at >= len(self.text):
                raise self._error(start, "'{' is not closed; write [{] for the character itself")
            if self.text[self.at] == "}":
                self.at += 1
                break
        return Choice(tuple(dict.fromkeys(options)))

    def _integers(self) -> Token | None:
        match = _INTEGER_RANGE.match(self.text, self.at + 1)
        if match is None or not self.text.startswith("}", match.end()):
            return None
        if max(map(len, match.groups())) > _MAX_DIGITS:
            raise self._error(self.at, f"the range has numbers of more than {_MAX_DIGITS} digits")
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= MAX_VALUES:
            raise self._error(self.at, f"the range holds more than {MAX_VALUES} integers")
        padded = any(re.match(r"-?0\d", bound) for bound in match.groups())
        width = max(map(len, match.groups())) if padded else 0
        low, high = min(first, last), max(first, last)
        self._take(high - low + 1)
        self.at = match.end() + 1
        return Choice(tuple((Text(f"{n:0{width}d}"),) for n in range(low, high + 1)))

    def _error(self, position: int, reason: str) -> PatternError:
        return PatternError(self.text, position, reason)


_NOT_WHOLE = "'**' can only be an entire path component"


def _char_set(body: str) -> Token:
    """The token for the text between brackets; a set of one character is that character."""
    negated = body.startswith("!")
    at = int(negated)
    parts: list[str] = []
    while at < len(body):
        width = 3 if body[at + 1 : at + 2] == "-" and at + 2 < len(body) else 1
        parts.append(body[at : at + width])
        at += width
    parts = [part for part in parts if part[0] <= part[-1]]
    if not negated and parts and parts[0][0] == "!":
        # As in fnmatch, how a set begins counts after empty ranges have been taken out of it.
        negated = True
        parts[:1] = parts[0][1:]
    ranges = [(part[0], part[-1]) for part in parts]
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1] != "/":
        return Text(ranges[0][0])
    return CharSet(tuple(ranges), negated, f"[{body}]")


def _distribute(tokens: Sequence[Token], text: str) -> list[tuple[Token, ...]]:
    """Multiply out the choices that hold ``/``, ``**`` or a lone ``*``; the others stay tokens."""
    results: list[tuple[Token, ...]] = [()]
    size = 0
    for endings in _endings(tokens, text):
        size = size * len(endings) + len(results) * sum(map(leaves, endings))
        if size > MAX_EXPANDED_TOKENS:
            raise PatternError(text, 0, f"it expands to more than {MAX_EXPANDED_TOKENS} tokens")
        if len(results) * len(endings) > MAX_BRANCHES:
            raise PatternError(
                text, 0, f"its braces expand to more than {MAX_BRANCHES} sequences of segments"
            )
        results = [head + ending for head in results for ending in endings]
    return results


def _endings(tokens: Sequence[Token], text: str) -> Iterator[list[tuple[Token, ...]]]:
    for spanning, group in itertools.groupby(tokens, _spans_segments):
        if not spanning:
            yield [tuple(group)]
            continue
        for token in group:
            assert isinstance(token, Choice)
            yield [e for option in token.options for e in _distribute(option, text)]


def _spans_segments(token: Token) -> bool:
    """Whether the token is a choice that holds ``/``, ``**`` or a lone ``*``."""
    return isinstance(token, Choice) and any(
        isinstance(inner, Separator | Recursive) or _spans_segments(inner) or option == (AnyRun(),)
        for option in token.options
        for inner in option
    )


def _refuse_depth(branches: Iterable[Branch], text: str) -> None:
    for branch in branches:
        if len(branch) > MAX_SEGMENTS:
            raise PatternError(text, 0, f"it has more than {MAX_SEGMENTS} path components")
        if sum(segment.recursive for segment in branch) > MAX_RECURSIONS:
            raise PatternError(text, 0, f"it has more than {MAX_RECURSIONS} '**'")


def _refuse_ambiguity(branches: Iterable[Branch], text: str) -> None:
    """Refuse what would take long to match, or a long regular expression."""
    size = 0
    for segment in itertools.chain.from_iterable(branches):
        if (forms := choice_forms(segment.tokens)) > 1:
            size += forms * leaves(segment.tokens)
    if size > MAX_EXPANDED_TOKENS:
        raise PatternError(text, 0, f"it expands to more than {MAX_EXPANDED_TOKENS} tokens")
    if any(s.ways > MAX_BRANCHES for s in set(itertools.chain.from_iterable(branches))):
        raise PatternError(text, 0, f"braces of a component have more than {MAX_BRANCHES} readings")


def _refuse_empty_ends(branches: Iterable[Branch], text: str) -> None:
    """Refuse alternatives that turn the pattern into one that ends with a slash."""
    for branch in branches:
        if not branch[-1].recursive and vanishing(branch[-1].tokens):
            raise PatternError(
                text, text.rindex("{"), "an alternative leaves the last path component empty"
            )


def _split_segments(tokens: Iterable[Token], text: str) -> Branch:
    segments: list[Segment] = []
    for is_separator, group in itertools.groupby(
        [*tokens, Separator()], lambda token: isinstance(token, Separator)
    ):
        members = list(group)
        if is_separator:
            segments += [Segment(())] * (len(members) - 1 + (not segments))
            continue
        recursive = [token for token in members if isinstance(token, Recursive)]
        if recursive and len(members) > 1:
            raise PatternError(text, recursive[0].position, _NOT_WHOLE)
        if not recursive:
            segments.append(Segment(join_text(members)))
        elif not (segments and segments[-1].recursive):  # "**/**" means what "**" does
            segments.append(Segment((), True))
    return tuple(segments)


# --- derived from branches ----------------------------------------------------------------------


def _branch_regex(branch: Branch, *, directories_only: bool = False) -> str:
    """The branch as regular expression source; *directories_only*: for a path ending in ``/``."""
    parts: list[str] = []
    last = len(branch) - 1
    jump = None  # where the text for the "**" before this segment begins
    for index, segment in enumerate(branch):
        if segment.recursive:
            if jump is not None:
                # Any segments may follow, so the leftmost fit of those before serves: no way back.
                parts[jump:] = [f"(?>(?:.+?/)??{''.join(parts[jump + 1 :])})"]
            jump = len(parts)
            parts.append("(?:.+/)?")
        else:
            closed = index < last or directories_only
            # However the name was read, it ends at this slash: no other reading need be tried.
            ending = f"(?>{segment.regex}/)" if segment.ways > 1 else f"{segment.regex}/"
            parts.append(ending if closed else segment.regex)
    if branch[-1].recursive and not directories_only:
        parts[-1] = ".*"
    return "".join(parts)


def _union(regexes: Iterable[str]) -> str:
    joined = "|".join(regexes)
    return f"(?s:{joined})" if joined else "(?!)"


def _brace_free(segment: Segment) -> Iterator[str]:
    """The segment's brace-free forms, in the syntax of fsspec's glob."""
    if segment.recursive:
        yield "**"
        return
    for tokens in choiceless(segment.tokens):
        yield "".join(token_text(token, magic="*?[") for token in tokens)


@lru_cache(maxsize=1024)
def _compile(regex: str) -> re.Pattern[str]:
    return re.compile(regex)
