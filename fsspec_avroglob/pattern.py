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
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeAlias

MAX_BRANCHES = 1_024
"""Most sequences of segments that one pattern may expand to (braces that hold ``/`` multiply)."""

MAX_VALUES = 10_000
"""Most integers that one ``{first..last}`` may hold, and most brace-free forms of a pattern."""

MAX_STEMS = 64
"""Most literal prefixes that are told apart for one segment; beyond, their common prefix serves."""

_MAGIC = frozenset("*?[{")
_INTEGER_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that stand for themselves."""

    text: str


@dataclass(frozen=True, slots=True)
class AnyRun:
    """``*``: any run of characters within a segment."""


@dataclass(frozen=True, slots=True)
class AnyChar:
    """``?``: one character."""


@dataclass(frozen=True, slots=True)
class CharSet:
    """``[...]``: one character inside (or, negated, outside) inclusive ranges of code points."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False
    text: str = field(default="", compare=False)

    @property
    def regex(self) -> str:
        """Source of a regular expression for the character."""
        body = "".join(_range_regex(first, last) for first, last in self.ranges)
        if self.negated:
            return f"[^/{body}]"
        return f"[{body}]" if body else "(?!)"

    def characters(self, limit: int) -> list[str] | None:
        """The characters of the set in order, or None when negated or more than *limit*."""
        if self.negated or sum(ord(b) - ord(a) + 1 for a, b in self.ranges) > limit:
            return None
        found = {chr(c) for a, b in self.ranges for c in range(ord(a), ord(b) + 1)}
        return sorted(found - {"/"})


@dataclass(frozen=True, slots=True)
class Choice:
    """``{a,b}``: any of several sequences of tokens."""

    options: tuple[tuple[Token, ...], ...]


@dataclass(frozen=True, slots=True)
class Separator:
    """``/``, while parsing."""


@dataclass(frozen=True, slots=True)
class Recursive:
    """``**``, while parsing, with its place in the pattern's text."""

    position: int


Token: TypeAlias = Text | AnyRun | AnyChar | CharSet | Choice | Separator | Recursive


class PatternError(ValueError):
    """A pattern that the grammar does not allow; the message marks the offending character.

    Attributes: ``pattern`` (the text), ``position`` (0-based) and ``reason``.
    """

    def __init__(self, pattern: str, position: int, reason: str) -> None:
        self.pattern, self.position, self.reason = pattern, position, reason
        super().__init__(f"Invalid pattern: {reason}\n  {pattern}\n  {' ' * position}^")

    def __reduce__(self) -> tuple[type[PatternError], tuple[str, int, str]]:
        return type(self), (self.pattern, self.position, self.reason)


def is_glob_pattern(path: str) -> bool:
    """Whether *path* holds a character that the grammar gives a meaning: one of ``* ? [ {``."""
    return not _MAGIC.isdisjoint(path)


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
        names = _expand(self.tokens, MAX_VALUES)
        return None if names is None else tuple(sorted(set(names)))

    @property
    def literal(self) -> str | None:
        """The one name that the segment matches, or None."""
        return self.values[0] if self.values is not None and len(self.values) == 1 else None

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Sorted prefixes, none within another, one of which every matching name starts with."""
        if self.recursive:
            return ("",)
        return disjoint_prefixes(_stems(self.tokens))

    @cached_property
    def regex(self) -> str:
        """Source of a regular expression for the segment's text (never for ``**``)."""
        if self.tokens == (AnyRun(),):
            return "[^/]+"
        # A name made only of "*" is not empty; so is one that several nullable tokens make up.
        guard = "(?=[^/])" if _nullable(self.tokens) and _count_runs(self.tokens) else ""
        return guard + _tokens_regex(self.tokens)

    def matches(self, name: str) -> bool:
        """Whether *name*, a path segment without ``/``, is one that the segment describes."""
        return self.recursive or _compile(self.regex).fullmatch(name) is not None

    def __str__(self) -> str:
        return "**" if self.recursive else "".join(map(_token_text, self.tokens))


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
        characters in a segment, and patterns that expand to more than :data:`MAX_BRANCHES`.
        """
        body = text.rstrip("/")
        tokens = _Parser(body).parse()
        branches = []
        for flat in _distribute(tokens, body):
            branches.append(_split_segments(flat, body))
        for segment in {segment for branch in branches for segment in branch}:
            if _choice_forms(segment.tokens) > MAX_BRANCHES:
                raise PatternError(
                    text, 0, f"'*' beside braces with more than {MAX_BRANCHES} combinations"
                )
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


def disjoint_prefixes(prefixes: Iterable[str]) -> tuple[str, ...]:
    """The sorted *prefixes* without those that another one is a prefix of."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(kept)


# --- parsing -----------------------------------------------------------------------------------


class _Parser:
    """Recursive descent over the text; alternatives become :class:`Choice`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

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
        return _join_text(tokens)

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
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= MAX_VALUES:
            raise self._error(self.at, f"the range holds more than {MAX_VALUES} integers")
        padded = any(re.match(r"-?0\d", bound) for bound in match.groups())
        width = max(map(len, match.groups())) if padded else 0
        low, high = min(first, last), max(first, last)
        self.at = match.end() + 1
        return Choice(tuple((Text(f"{n:0{width}d}"),) for n in range(low, high + 1)))

    def _error(self, position: int, reason: str) -> PatternError:
        return PatternError(self.text, position, reason)


_NOT_WHOLE = "'**' can only be an entire path component"


def _char_set(body: str) -> Token:
    """The token for the text between brackets; a set of one character is that character."""
    negated = body.startswith("!")
    at = int(negated)
    ranges: list[tuple[str, str]] = []
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            first, last = body[at], body[at + 2]
            at += 3
        else:
            first = last = body[at]
            at += 1
        if first <= last:
            ranges.append((first, last))
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1] != "/":
        return Text(ranges[0][0])
    return CharSet(tuple(ranges), negated, f"[{body}]")


def _join_text(tokens: Iterable[Token]) -> tuple[Token, ...]:
    """Neighbouring :class:`Text` made one."""
    joined: list[Token] = []
    for token in tokens:
        if isinstance(token, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + token.text)
        elif not (isinstance(token, Text) and not token.text):
            joined.append(token)
    return tuple(joined)


def _distribute(tokens: Sequence[Token], text: str) -> list[tuple[Token, ...]]:
    """Multiply out the choices that hold ``/``, ``**`` or a lone ``*``; the others stay tokens."""
    results: list[tuple[Token, ...]] = [()]
    for token in tokens:
        endings: list[tuple[Token, ...]] = [(token,)]
        if isinstance(token, Choice) and _spans_segments(token):
            endings = [e for option in token.options for e in _distribute(option, text)]
        if len(results) * len(endings) > MAX_BRANCHES:
            raise PatternError(
                text, 0, f"its braces expand to more than {MAX_BRANCHES} sequences of segments"
            )
        results = [head + ending for head in results for ending in endings]
    return results


def _spans_segments(choice: Choice) -> bool:
    return any(
        isinstance(token, Separator | Recursive)
        or (isinstance(token, Choice) and _spans_segments(token))
        or option == (AnyRun(),)
        for option in choice.options
        for token in option
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
        segments.append(Segment((), True) if recursive else Segment(_join_text(members)))
    return tuple(segments)


# --- derived from tokens -------------------------------------------------------------------------


def _expand(tokens: Sequence[Token], limit: int) -> list[str] | None:
    """Every text that the tokens match, or None when infinitely or more than *limit* many."""
    texts = [""]
    for token in tokens:
        endings = _token_values(token, limit)
        if endings is None or len(texts) * len(endings) > limit:
            return None
        texts = [text + ending for text in texts for ending in endings]
    return texts


def _token_values(token: Token, limit: int) -> list[str] | None:
    match token:
        case Text(text):
            return [text]
        case CharSet():
            return token.characters(limit)
        case Choice(options):
            values: list[str] = []
            for option in options:
                more = _expand(option, limit)
                if more is None:
                    return None
                values += more
            return values
        case _:
            return None


def _stems(tokens: Sequence[Token]) -> list[str]:
    """Literal prefixes of what the tokens match, as many as :data:`MAX_STEMS`."""
    stems = [""]
    for token in tokens:
        endings = _token_values(token, MAX_STEMS)
        final = endings is None
        if endings is None:
            if not isinstance(token, Choice):
                break
            endings = list(disjoint_prefixes(s for option in token.options for s in _stems(option)))
        if len(stems) * len(endings) > MAX_STEMS:
            break
        stems = [stem + ending for stem in stems for ending in endings]
        if final:
            break
    return stems


def _nullable(tokens: Iterable[Token]) -> bool:
    return all(
        isinstance(token, AnyRun)
        or (isinstance(token, Choice) and any(_nullable(option) for option in token.options))
        for token in tokens
    )


def _tokens_regex(tokens: Sequence[Token]) -> str:
    """A regular expression for the tokens, in which no ``*`` is tried at many lengths in vain.

    Between two stars the leftmost fit of fixed tokens is as good as any other, so it is made
    atomic; that keeps matching linear. Choices have fits of several lengths, so where they stand
    beside several stars they are multiplied out.
    """
    if _choice_forms(tokens) > 1:
        return f"(?:{'|'.join(_tokens_regex(form) for form in _choiceless(tokens))})"
    runs = [i for i, token in enumerate(tokens) if isinstance(token, AnyRun)]
    if len(runs) < 2:
        return "".join(map(_token_regex, tokens))
    parts = [_tokens_regex(tokens[: runs[0]])]
    for start, stop in itertools.pairwise(runs):
        parts.append(f"(?>[^/]*?{_tokens_regex(tokens[start + 1 : stop])})")
    return "".join(parts) + _tokens_regex(tokens[runs[-1] :])


def _choice_forms(tokens: Sequence[Token]) -> int:
    """How many choiceless forms must be told apart for linear matching; 1 when none need be."""
    if _count_runs(tokens) < 2 or not any(isinstance(token, Choice) for token in tokens):
        return 1
    return _count_forms(tokens)


def _count_forms(tokens: Iterable[Token]) -> int:
    return math.prod(
        sum(map(_count_forms, token.options)) for token in tokens if isinstance(token, Choice)
    )


def _count_runs(tokens: Iterable[Token]) -> int:
    """The number of ``*``, those inside of choices too."""
    return sum(
        sum(map(_count_runs, token.options))
        if isinstance(token, Choice)
        else isinstance(token, AnyRun)
        for token in tokens
    )


def _token_regex(token: Token) -> str:
    match token:
        case Text(text):
            return re.escape(text)
        case AnyRun():
            return "[^/]*"
        case AnyChar():
            return "[^/]"
        case CharSet():
            return token.regex
        case Choice(options):
            return f"(?:{'|'.join(map(_tokens_regex, options))})"
        case _:
            raise AssertionError(token)


def _branch_regex(branch: Branch, *, directories_only: bool = False) -> str:
    """The branch as regular expression source; *directories_only*: for a path ending in ``/``."""
    parts: list[str] = []
    last = len(branch) - 1
    jump = None  # where the text for the "**" before this segment begins
    for index, segment in enumerate(branch):
        if segment.recursive:
            if index and branch[index - 1].recursive:
                continue
            if jump is not None:
                # Any segments may follow, so the leftmost fit of those before serves: no way back.
                parts[jump:] = [f"(?>(?:.+?/)??{''.join(parts[jump + 1 :])})"]
            jump = len(parts)
            parts.append("(?:.+/)?")
        else:
            parts.append(segment.regex + ("/" if index < last or directories_only else ""))
    if branch[-1].recursive and not directories_only:
        parts[-1] = ".*"
    return "".join(parts)


def _union(regexes: Iterable[str]) -> str:
    joined = "|".join(regexes)
    return f"(?s:{joined})" if joined else "(?!)"


def _range_regex(first: str, last: str) -> str:
    """``first-last`` for a character class, with ``/`` left out."""
    if first <= "/" <= last:
        before = _range_regex(first, ".") if first < "/" else ""
        after = _range_regex("0", last) if last > "/" else ""
        return before + after
    return re.escape(first) if first == last else f"{re.escape(first)}-{re.escape(last)}"


def _token_text(token: Token, magic: str = "*?[{") -> str:
    match token:
        case Text(text):
            return "".join(f"[{char}]" if char in magic else char for char in text)
        case AnyRun():
            return "*"
        case AnyChar():
            return "?"
        case CharSet():
            return token.text
        case Choice(options):
            return "{" + ",".join("".join(map(_token_text, option)) for option in options) + "}"
        case _:
            raise AssertionError(token)


def _brace_free(segment: Segment) -> Iterator[str]:
    """The segment's brace-free forms, in the syntax of fsspec's glob."""
    if segment.recursive:
        yield "**"
        return
    for tokens in _choiceless(segment.tokens):
        yield "".join(_token_text(token, magic="*?[") for token in tokens)


def _choiceless(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    options = (
        [form for option in token.options for form in _choiceless(option)]
        if isinstance(token, Choice)
        else [(token,)]
        for token in tokens
    )
    for combination in itertools.product(*options):
        form: list[Token] = []
        for token in itertools.chain.from_iterable(combination):
            if not (isinstance(token, AnyRun) and form and isinstance(form[-1], AnyRun)):
                form.append(token)
        yield _join_text(form)


@lru_cache(maxsize=1024)
def _compile(regex: str) -> re.Pattern[str]:
    return re.compile(regex)
