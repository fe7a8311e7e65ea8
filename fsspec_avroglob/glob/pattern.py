"""The glob grammar: the one parser of every function, option and command that takes a pattern.

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

A pattern without braces matches what it matches in :meth:`fsspec.AbstractFileSystem.glob`; an
unclosed ``[`` is literal there, too. A pattern with braces matches what any of its brace-free forms
matches.

A pattern is parsed into *branches*: sequences of :class:`Segment`, one for each path component.
Regular expressions, stems and values are derived from a segment's tokens.

>>> GlobPattern.parse("events/{2024,2025}/*.avro").matches("events/2024/part-0.avro")
True
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from fsspec_avroglob.errors import PatternError
from fsspec_avroglob.glob.tokens import (
    AnyRun,
    CharSet,
    Choice,
    Recursive,
    Separator,
    Text,
    Token,
    char_set,
    choice_forms,
    choiceless,
    count_forms,
    disjoint_prefixes,
    expand,
    join_text,
    leaves,
    nullable,
    stems,
    token_text,
    tokens_regex,
    ways,
)

MAX_BRANCHES = 1_024
"""Most branches of a pattern; braces that contain ``/`` multiply them."""

MAX_VALUES = 10_000
"""Most integers of one ``{first..last}``, and most brace-free forms of a pattern."""

MAX_CHARACTERS = 2**18
"""Most characters of a pattern."""

MAX_TOKENS = 2**15
"""Most tokens of a pattern; each integer of a range is one."""

MAX_EXPANDED_TOKENS = 2**16
"""Most tokens of all branches, or of all alternatives without braces."""

MAX_SEGMENTS = 512
"""Most path components of a pattern: a key of 1,024 bytes has at most 512 that are not empty."""

MAX_RECURSIONS = 64
"""Most ``**`` of a pattern; consecutive ones count once."""

MAX_NESTED = 50
"""Most braces within one another."""

_MAX_DIGITS = 18
_TOKEN = re.compile(
    r"""(?P<stars>\*+) | (?P<one>\?) | (?P<slash>/) | (?P<bracket>\[)
    | \{(?P<first>-?\d+)\.\.(?P<last>-?\d+)} | (?P<open>\{) | (?P<comma>,) | (?P<close>})
    | (?P<text>[^*?[{},/]+)""",
    re.VERBOSE,
)
_NOT_WHOLE = "'**' can only be an entire path component"


@dataclass(frozen=True)
class Segment:
    """A pattern for one path component. ``**`` is recursive and has no tokens."""

    tokens: tuple[Token, ...]
    recursive: bool = False

    @cached_property
    def values(self) -> tuple[str, ...] | None:
        """Every name that the segment matches, sorted; None if there are too many."""
        if self.recursive:
            return None
        names = expand(self.tokens, MAX_VALUES)
        return None if names is None else tuple(sorted(set(names)))

    @cached_property
    def ways(self) -> int:
        """Upper bound on the number of ways in which one name can match the segment."""
        return ways(self.tokens, MAX_VALUES)

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Sorted prefixes; every matching name starts with exactly one of them."""
        return ("",) if self.recursive else disjoint_prefixes(stems(self.tokens))

    @cached_property
    def regex(self) -> str:
        """Regular expression source for the name; ``**`` has none."""
        if self.tokens == (AnyRun(),):
            return "[^/]+"
        # A name that stars match is not empty.
        by_stars = nullable(self.tokens) and not nullable(self.tokens, stars=False)
        return ("(?=[^/])" if by_stars else "") + tokens_regex(self.tokens)

    def matches(self, name: str) -> bool:
        """Whether the segment matches *name*, a path component."""
        return self.recursive or self._compiled.fullmatch(name) is not None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.regex)

    def __str__(self) -> str:
        return "**" if self.recursive else "".join(map(token_text, self.tokens))


Branch: TypeAlias = tuple[Segment, ...]


@dataclass(frozen=True)
class GlobPattern:
    """A parsed pattern, made by :meth:`parse`.

    Attributes
    ----------
    text
        The pattern as given.
    branches
        The pattern matches what any of its branches matches.
    directories_only
        Whether the pattern ends with ``/`` and so matches only directories.
    """

    text: str
    branches: tuple[Branch, ...]
    directories_only: bool = False

    @classmethod
    def parse(cls, text: str) -> GlobPattern:
        """Parse *text*, a path or pattern without a protocol.

        Raises
        ------
        PatternError
            (a ValueError) if braces are unbalanced, ``**`` is only a part of a path component, or
            the pattern exceeds one of this module's limits.
        """
        if len(text) > MAX_CHARACTERS:
            raise PatternError(text, 0, f"it is longer than {MAX_CHARACTERS} characters")
        body = text.rstrip("/")
        flat = _distribute(_parse(body), body)
        branches = [_split_segments(tokens, body) for tokens in flat]
        _check(branches, text)
        return cls(text, tuple(dict.fromkeys(branches)), directories_only=text != body)

    @cached_property
    def brace_free(self) -> tuple[str, ...]:
        """Sorted patterns without braces that together match the same, for other glob engines."""
        end = "/" if self.directories_only else ""
        counts = (math.prod(count_forms(s.tokens) for s in branch) for branch in self.branches)
        if sum(counts) > MAX_VALUES:
            raise PatternError(self.text, 0, f"it has more than {MAX_VALUES} alternatives")
        paths = (itertools.product(*map(_brace_free, branch)) for branch in self.branches)
        return tuple(sorted({"/".join(names) + end for names in itertools.chain(*paths)}))

    @cached_property
    def _file_regex(self) -> re.Pattern[str]:
        return re.compile(path_regex(self.branches, directories_only=self.directories_only))

    @cached_property
    def _directory_regex(self) -> re.Pattern[str]:
        return re.compile(directory_regex(self.branches, directories_only=self.directories_only))

    def matches(self, path: str, is_dir: bool = False) -> bool:
        """Whether the pattern matches *path*, a file or directory, without a trailing ``/``."""
        if is_dir:
            return self._directory_regex.fullmatch(path + "/") is not None
        return self._file_regex.fullmatch(path) is not None

    def __str__(self) -> str:
        return self.text


def path_regex(branches: Iterable[Branch], *, directories_only: bool = False) -> str:
    """Regular expression source for the whole path of a file.

    With *directories_only*, only patterns with ``**`` match files, and only files whose names end
    in ``/``: the empty objects that mark directories.
    """
    if directories_only:
        return _union(_branch_regex(branch) + "/" for branch in branches if is_recursive(branch))
    return _union(map(_branch_regex, branches))


def directory_regex(branches: Iterable[Branch], *, directories_only: bool = False) -> str:
    """Regular expression source for a directory's path with a ``/`` appended."""
    return _union(
        _branch_regex(branch, slash=directories_only or not branch[-1].recursive)
        for branch in branches
    )


def is_recursive(branch: Branch) -> bool:
    """Whether the branch has ``**``."""
    return any(segment.recursive for segment in branch)


# --- parsing -----------------------------------------------------------------------------------


def _parse(text: str) -> tuple[Token, ...]:
    """The tokens of *text*; alternatives become :class:`Choice`."""
    size = end = 0
    tokens: list[Token] = []
    # Of each open brace: its position, the tokens before it, and its alternatives so far.
    braces: list[tuple[int, list[Token], list[tuple[Token, ...]]]] = []
    while found := _TOKEN.match(text, end):
        at, kind = found.start(), found.lastgroup
        end = found.end()
        match kind:
            case "stars" if len(found[0]) > 2:
                raise PatternError(text, at, _NOT_WHOLE)
            case "stars":
                tokens.append(AnyRun() if found[0] == "*" else Recursive(at))
            case "one":
                tokens.append(CharSet((), negated=True, text="?"))
            case "slash":
                tokens.append(Separator())
            case "bracket" if (close := _set_end(text, end)) is not None:
                tokens.append(char_set(text[end:close]))
                end = close + 1
            case "last":
                tokens.append(integers := _integers(found))
                size += len(integers.options)
            case "open" if len(braces) >= MAX_NESTED:
                raise PatternError(text, at, f"braces are nested more than {MAX_NESTED} deep")
            case "open":
                braces.append((at, tokens, []))
                tokens = []
            case "comma" | "close" if braces:
                _, outer, options = braces[-1]
                options.append(join_text(tokens))
                size += len(options[-1])
                tokens = []
                if kind == "close":
                    tokens = [*outer, Choice(tuple(dict.fromkeys(options)))]
                    braces.pop()
            case _:
                tokens.append(Text(found[0]))
        if size > MAX_TOKENS:
            break
    if size + len(joined := join_text(tokens)) > MAX_TOKENS:
        raise PatternError(text, 0, f"it has more than {MAX_TOKENS} tokens")
    if braces:
        reason = "'{' is not closed; write [{] for the character itself"
        raise PatternError(text, braces[-1][0], reason)
    return joined


def _set_end(text: str, start: int) -> int | None:
    """The index of the ``]`` that closes a set; None if its path component has none."""
    skipped = 2 if text.startswith("!]", start) else text.startswith(("!", "]"), start)
    end = text.find("]", start + skipped)
    return None if end < 0 or "/" in text[start:end] else end


def _integers(found: re.Match[str]) -> Choice:
    """The integers of a range such as ``{01..12}``."""
    bounds = found["first"], found["last"]
    width = max(map(len, bounds))
    if width > _MAX_DIGITS:
        reason = f"the range has numbers of more than {_MAX_DIGITS} digits"
        raise PatternError(found.string, found.start(), reason)
    low, high = sorted(map(int, bounds))
    if high - low >= MAX_VALUES:
        reason = f"the range has more than {MAX_VALUES} integers"
        raise PatternError(found.string, found.start(), reason)
    padded = any(re.match(r"-?0\d", bound) for bound in bounds)
    texts = (f"{number:0{width if padded else 0}d}" for number in range(low, high + 1))
    return Choice(tuple((Text(text),) for text in texts))


def _distribute(tokens: Sequence[Token], text: str) -> list[tuple[Token, ...]]:
    """Expand the choices that contain ``/``, ``**`` or a lone ``*``; others remain tokens."""
    results: list[tuple[Token, ...]] = [()]
    size = 0
    for endings in _endings(tokens, text):
        size = size * len(endings) + len(results) * sum(map(leaves, endings))
        if size > MAX_EXPANDED_TOKENS:
            raise PatternError(text, 0, f"it expands to more than {MAX_EXPANDED_TOKENS} tokens")
        if len(results) * len(endings) > MAX_BRANCHES:
            raise PatternError(text, 0, f"its braces expand to more than {MAX_BRANCHES} branches")
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
    """Whether the token is a choice that contains ``/``, ``**`` or a lone ``*``."""
    return isinstance(token, Choice) and any(
        isinstance(inner, Separator | Recursive) or _spans_segments(inner) or option == (AnyRun(),)
        for option in token.options
        for inner in option
    )


def _check(branches: Sequence[Branch], text: str) -> None:
    """Refuse what would end with a slash, or take long to match, or a long regular expression."""
    for branch in branches:
        if len(branch) > MAX_SEGMENTS:
            raise PatternError(text, 0, f"it has more than {MAX_SEGMENTS} path components")
        if sum(segment.recursive for segment in branch) > MAX_RECURSIONS:
            raise PatternError(text, 0, f"it has more than {MAX_RECURSIONS} '**'")
        final = branch[-1]
        if "{" in text and not final.recursive and nullable(final.tokens, stars=False):
            reason = "an alternative leaves the last path component empty"
            raise PatternError(text, text.rindex("{"), reason)
    size = 0
    for segment in itertools.chain.from_iterable(branches):
        if (forms := choice_forms(segment.tokens)) > 1:
            size += forms * leaves(segment.tokens)
    if size > MAX_EXPANDED_TOKENS:
        raise PatternError(text, 0, f"it expands to more than {MAX_EXPANDED_TOKENS} tokens")
    if any(s.ways > MAX_BRANCHES for s in set(itertools.chain.from_iterable(branches))):
        raise PatternError(
            text, 0, f"the braces of a component match in more than {MAX_BRANCHES} ways"
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


def _branch_regex(branch: Branch, *, slash: bool = False) -> str:
    """Regular expression source for the branch, with *slash* for a path that ends in ``/``."""
    parts: list[str] = []
    last = len(branch) - 1
    jump = None  # index of the part for the last "**"
    for index, segment in enumerate(branch):
        if segment.recursive:
            if jump is not None:
                # Any segments may follow, so the leftmost fit of those before it is final.
                parts[jump:] = [f"(?>(?:.+?/)??{''.join(parts[jump + 1 :])})"]
            jump = len(parts)
            parts.append("(?:.+/)?")
        else:
            # The name ends at this slash in whichever way it matched, so the match is final.
            ending = f"(?>{segment.regex}/)" if segment.ways > 1 else f"{segment.regex}/"
            parts.append(ending if index < last or slash else segment.regex)
    if branch[-1].recursive and not slash:
        parts[-1] = ".*"
    return "".join(parts)


def _union(regexes: Iterable[str]) -> str:
    joined = "|".join(regexes)
    return f"(?s:{joined})" if joined else "(?!)"


def _brace_free(segment: Segment) -> Iterator[str]:
    """The segment's brace-free forms, in the syntax of fsspec's glob."""
    if segment.recursive:
        yield "**"
    for tokens in () if segment.recursive else choiceless(segment.tokens):
        yield "".join(token_text(token, magic="*?[") for token in tokens)
