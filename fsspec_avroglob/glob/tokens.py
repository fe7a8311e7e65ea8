r"""The tokens of a glob pattern, and what is derived from them: regular expressions, stems, values.

>>> tokens = (Text("part-"), CharSet((("0", "3"),)), AnyRun())
>>> tokens_regex(tokens), stems(tokens)
('part\\-[0-3][^/]*', ['part-0', 'part-1', 'part-2', 'part-3'])
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fsspec_avroglob.glob.magic import MAGIC, escape

MAX_STEMS = 64
"""Most prefixes that are derived from one segment; if there are more, shorter ones are used."""

MAX_VALUE_CHARACTERS = 10**7
"""Most characters that are joined to make the values of one segment."""

TRIE_DEPTH = 32
"""Most nested branches in the regular expression for a choice of texts."""


@dataclass(frozen=True, slots=True)
class Text:
    """Literal characters."""

    text: str


@dataclass(frozen=True, slots=True)
class AnyRun:
    """``*``: any run of characters within a segment."""


@dataclass(frozen=True, slots=True)
class CharSet:
    """``[...]``: one character inside (or, negated, outside) inclusive ranges of code points.

    ``?`` is one character outside no range. ``/`` is never matched.
    """

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False
    text: str = field(default="", compare=False)

    @property
    def regex(self) -> str:
        """Regular expression source for the character."""
        body = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in self.ranges)
        if self.negated:
            return f"[^/{body}]"
        slash = any(first <= "/" <= last for first, last in self.ranges)
        return ("(?!/)" if slash else "") + (f"[{body}]" if body else "(?!)")

    def characters(self, limit: int) -> list[str] | None:
        """The characters in order, or None if the set is negated or has more than *limit*."""
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
    """``**``, while parsing, with its position in the pattern."""

    position: int


Token: TypeAlias = Text | AnyRun | CharSet | Choice | Separator | Recursive


def char_set(body: str) -> Token:
    """The token for *body*, the text between brackets; a set of one character becomes text."""
    negated = body.startswith("!")
    at = int(negated)
    parts: list[str] = []
    while at < len(body):
        width = 3 if body[at + 1 : at + 2] == "-" and at + 2 < len(body) else 1
        parts.append(body[at : at + width])
        at += width
    parts = [part for part in parts if part[0] <= part[-1]]
    if not negated and parts and parts[0][0] == "!":
        # As in fnmatch, a "!" negates if only empty ranges precede it.
        negated = True
        parts[:1] = parts[0][1:]
    ranges = [(part[0], part[-1]) for part in parts]
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1] != "/":
        return Text(ranges[0][0])
    return CharSet(tuple(ranges), negated, f"[{body}]")


def join_text(tokens: Iterable[Token]) -> tuple[Token, ...]:
    """Join neighbouring :class:`Text` tokens."""
    joined: list[Token] = []
    for token in tokens:
        if isinstance(token, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + token.text)
        elif not (isinstance(token, Text) and not token.text):
            joined.append(token)
    return tuple(joined)


def expand(tokens: Sequence[Token], limit: int) -> list[str] | None:
    """Every text that the tokens match, or None if there are more than *limit*."""
    texts = [""]
    length = characters = 0
    for token in tokens:
        endings = _token_values(token, limit)
        if endings is None or len(texts) * len(endings) > limit:
            return None
        length += max(map(len, endings), default=0)
        characters += len(texts) * len(endings) * length
        if characters > MAX_VALUE_CHARACTERS:
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
                more = expand(option, limit)
                if more is None:
                    return None
                values += more
            return values
        case _:
            return None


def stems(tokens: Sequence[Token]) -> list[str]:
    """At most :data:`MAX_STEMS` prefixes, one of which every text has that the tokens match."""
    found = [""]
    for token in tokens:
        endings = _token_values(token, MAX_STEMS)
        final = endings is None
        if endings is None:
            if not isinstance(token, Choice):
                break
            endings = list(disjoint_prefixes(s for option in token.options for s in stems(option)))
        if len(found) * len(endings) > MAX_STEMS:
            break
        found = [stem + ending for stem in found for ending in endings]
        if final:
            break
    return found


def nullable(tokens: Iterable[Token], *, stars: bool = True) -> bool:
    """Whether the tokens match the empty text; *stars*: whether ``*`` may match it, too."""
    return all(
        (stars and isinstance(token, AnyRun))
        or (isinstance(token, Choice) and any(nullable(o, stars=stars) for o in token.options))
        for token in tokens
    )


def tokens_regex(tokens: Sequence[Token]) -> str:
    """A regular expression for the tokens that matches in linear time.

    Between two stars, the leftmost fit of fixed tokens is as good as any other, so it is atomic.
    A choice has fits of several lengths. Choices in a segment with several stars are therefore
    expanded into alternatives without choices.
    """
    if choice_forms(tokens) > 1:
        return f"(?:{'|'.join(tokens_regex(form) for form in choiceless(tokens))})"
    runs = [i for i, token in enumerate(tokens) if isinstance(token, AnyRun)]
    if len(runs) < 2:
        return "".join(map(_token_regex, tokens))
    parts = [tokens_regex(tokens[: runs[0]])]
    for start, stop in itertools.pairwise(runs):
        parts.append(f"(?>[^/]*?{tokens_regex(tokens[start + 1 : stop])})")
    return "".join(parts) + tokens_regex(tokens[runs[-1] :])


def choice_forms(tokens: Sequence[Token]) -> int:
    """Number of alternatives that :func:`tokens_regex` expands choices into; 1 if it does not."""
    choices = any(isinstance(token, Choice) for token in tokens)
    return count_forms(tokens) if choices and count_runs(tokens) > 1 else 1


def count_forms(tokens: Iterable[Token]) -> int:
    """Number of sequences that :func:`choiceless` makes, repeats included."""
    return math.prod(
        sum(map(count_forms, token.options)) for token in tokens if isinstance(token, Choice)
    )


def ways(tokens: Sequence[Token], limit: int) -> int:
    """Upper bound on the number of ways in which one text can match the tokens.

    Of a choice of at most *limit* texts, only texts that are prefixes of each other count.
    """
    forms = choice_forms(tokens)
    return forms if forms > 1 else math.prod(_token_ways(token, limit) for token in tokens)


def _token_ways(token: Token, limit: int) -> int:
    if not isinstance(token, Choice):
        return 1
    values = _token_values(token, limit)
    if values is None:
        return sum(ways(option, limit) for option in token.options)
    longest, chain = 1, list[str]()  # texts, each of which is a prefix of the next
    for value in sorted(values):
        while chain and not value.startswith(chain[-1]):
            chain.pop()
        chain.append(value)
        longest = max(longest, len(chain))
    return longest


def leaves(tokens: Iterable[Token]) -> int:
    """Number of tokens, those inside choices included."""
    return sum(1 for _ in _nested(tokens))


def count_runs(tokens: Iterable[Token]) -> int:
    """Number of ``*``, those inside choices included."""
    return sum(isinstance(token, AnyRun) for token in _nested(tokens))


def _nested(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        if isinstance(token, Choice):
            for option in token.options:
                yield from _nested(option)


def _token_regex(token: Token) -> str:
    match token:
        case Text(text):
            return re.escape(text)
        case AnyRun():
            return "[^/]*"
        case CharSet():
            return token.regex
        case Choice(options):
            return _options_regex(options)
        case _:
            raise AssertionError(token)


def _options_regex(options: Sequence[tuple[Token, ...]]) -> str:
    alternatives, texts = [], []
    for option in options:
        match option:
            case ():
                texts.append("")
            case (Text(text),):
                texts.append(text)
            case _:
                alternatives.append(tokens_regex(option))
    if texts:
        alternatives.append(_texts_regex(texts))
    return f"(?:{'|'.join(alternatives)})"


def _texts_regex(texts: Sequence[str], depth: int = TRIE_DEPTH) -> str:
    """A regular expression for any of the texts, as a trie, which reads each character once.

    ``re`` would try plain alternatives one after another: 10,000 for ``{0000..9999}``.
    """
    start = common_prefix(texts)
    rests = {text[len(start) :] for text in texts}
    optional = "?" if "" in rests else ""
    rests.discard("")
    if not rests:
        return re.escape(start)
    if not depth:
        options = list(map(re.escape, sorted(rests)))
    else:
        tails: dict[str, list[str]] = {}
        for rest in sorted(rests):
            tails.setdefault(rest[0], []).append(rest[1:])
        heads: dict[str, list[str]] = {}
        for head, rest_texts in tails.items():
            heads.setdefault(_texts_regex(rest_texts, depth - 1), []).append(re.escape(head))
        options = [
            (f"[{''.join(chars)}]" if len(chars) > 1 else chars[0]) + tail
            for tail, chars in heads.items()
        ]
    return f"{re.escape(start)}(?:{'|'.join(options)}){optional}"


def token_text(token: Token, magic: str = MAGIC) -> str:
    """The token in pattern syntax, with the characters *magic* escaped."""
    match token:
        case Text(text):
            return escape(text, magic)
        case AnyRun():
            return "*"
        case CharSet():
            return token.text
        case Choice(options):
            return "{" + ",".join("".join(map(token_text, option)) for option in options) + "}"
        case _:
            raise AssertionError(token)


def choiceless(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    """Sequences without choices that together match what the tokens match."""
    options = (
        [form for option in token.options for form in choiceless(option)]
        if isinstance(token, Choice)
        else [(token,)]
        for token in tokens
    )
    for combination in itertools.product(*options):
        form: list[Token] = []
        for token in itertools.chain.from_iterable(combination):
            if not (isinstance(token, AnyRun) and form and isinstance(form[-1], AnyRun)):
                form.append(token)
        yield join_text(form)


def disjoint_prefixes(prefixes: Iterable[str]) -> tuple[str, ...]:
    """The *prefixes*, sorted, without those that begin with another one."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(kept)


def common_prefix(texts: Sequence[str]) -> str:
    """The longest common prefix of *texts*, of which there must be at least one."""
    low, high = min(texts), max(texts)
    for index, character in enumerate(low):
        if character != high[index]:
            return low[:index]
    return low
