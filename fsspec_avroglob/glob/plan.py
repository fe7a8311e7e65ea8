"""What a pattern needs listed: segments become steps, one kind of step for each way to list.

A pattern is an automaton over path segments. Its *state* at a directory is the set of *tails*, the
sequences of segments that may still follow there. From a state alone, without a server, follows

* the steps to take in the directory (:meth:`ListingPlan.steps`),
* the state of a subdirectory (:meth:`ListingPlan.enter`), empty where nothing below can match,
* the first place in key order, after a given key, where a match may stand
  (:meth:`ListingPlan.seek`).

:mod:`fsspec_avroglob.glob.lister` carries a plan out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, TypeAlias

from fsspec_avroglob.glob.pattern import (
    Branch,
    GlobPattern,
    Segment,
    directory_regex,
    is_recursive,
    path_regex,
)
from fsspec_avroglob.glob.tokens import AnyRun, Text, disjoint_prefixes

State: TypeAlias = tuple[Branch, ...]

EVERYTHING: State = ((Segment((), recursive=True),),)
"""The state of ``**``."""

ONE_LEVEL: State = ((Segment((AnyRun(),)),),)
"""The state of ``*``."""

LAST = "\U0010ffff"
"""The greatest character; what follows a prefix sorts after it only if it starts with it too."""


# --- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Something to do in one directory. Each kind of step is a subclass."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Descend(Step):
    """Go into subdirectories whose names the pattern states: nothing is listed."""

    names: tuple[str, ...]
    kind: ClassVar[str] = "descend"


@dataclass(frozen=True)
class Exact(Step):
    """Look whether names that the pattern states exist: one LIST each."""

    names: tuple[str, ...]
    kind: ClassVar[str] = "exact"


@dataclass(frozen=True)
class Match(Step):
    """List the directory below each stem, with a delimiter, for what the last segment matches."""

    stems: tuple[str, ...]
    kind: ClassVar[str] = "match"


@dataclass(frozen=True)
class OrderedRange(Step):
    """List keys from a lower to an upper bound: the last segment starts with a range of stems."""

    prefix: str
    stems: tuple[str, ...]
    kind: ClassVar[str] = "range"


@dataclass(frozen=True)
class Level(Step):
    """Find the subdirectories to enter: below each stem, by a delimiter listing or a flat one."""

    stems: tuple[str, ...]
    kind: ClassVar[str] = "level"


@dataclass(frozen=True)
class Flat(Step):
    """``**``: list everything below each stem without a delimiter."""

    stems: tuple[str, ...]
    kind: ClassVar[str] = "flat"


@dataclass
class Cost:
    """What the requests of one step have come to."""

    requests: int = 0
    keys_seen: int = 0
    keys_kept: int = 0


def below(directory: str) -> State:
    """The state of a bucket that matches everything below *directory* ("" or ending in ``/``)."""
    names = directory.split("/")[:-1]
    return ((*(Segment((Text(name),) if name else ()) for name in names), *EVERYTHING[0]),)


# --- the plan ------------------------------------------------------------------------------------


@dataclass
class ListingPlan:
    """The listings that find a pattern's matches in one bucket.

    bucket: its name. branches: the pattern's branches below the bucket. pattern: the pattern as the
    user wrote it. maxdepth: how many levels ``**`` may span, None for all. with_directories:
    whether directories are wanted; directories_only: whether nothing else is.

    unfiltered: keep everything that is listed (what ``ls`` and ``find`` want).

    ``costs`` holds, by state and kind of step, what runs of this plan have cost so far.
    """

    bucket: str
    branches: State
    pattern: str
    maxdepth: int | None = None
    with_directories: bool = True
    directories_only: bool = False
    unfiltered: bool = False
    costs: dict[tuple[State, str], Cost] = field(default_factory=dict)

    @classmethod
    def for_pattern(
        cls, pattern: GlobPattern, *, maxdepth: int | None = None, with_directories: bool = True
    ) -> list[ListingPlan]:
        """One plan for each bucket that the pattern names.

        Raises ValueError where the bucket is not stated: all of S3 is not listed.
        """
        by_bucket: dict[str, list[Branch]] = {}
        for branch in pattern.branches:
            names = branch[0].values
            if not names or "" in names:
                raise ValueError(f"Cannot traverse all of S3: {pattern.text!r} names no bucket")
            if len(branch) == 1:
                raise ValueError(f"{pattern.text!r} is a bucket alone; write bucket/* for its keys")
            for name in names:
                by_bucket.setdefault(name, []).append(branch[1:])
        return [
            cls(
                bucket,
                tuple(dict.fromkeys(branches)),
                pattern.text,
                maxdepth,
                with_directories,
                pattern.directories_only,
            )
            for bucket, branches in by_bucket.items()
        ]

    # -- matching --

    @cached_property
    def file_pattern(self) -> re.Pattern[str]:
        """Matches a file's whole key (depth aside)."""
        return re.compile(path_regex(self.branches, directories_only=self.directories_only))

    @cached_property
    def file_suffix(self) -> str:
        """What the key of every file that matches ends in, as far as the pattern states it."""
        ends = {branch[-1].tokens[-1:] for branch in self.branches}
        match ends.pop():
            case (Text(text),) if not ends and not self.directories_only:
                return text
        return ""

    @cached_property
    def directory_pattern(self) -> re.Pattern[str]:
        """Matches a directory's path in the bucket with a ``/`` appended (depth aside)."""
        return re.compile(directory_regex(self.branches, directories_only=self.directories_only))

    def keeps_file(self, key: str) -> bool:
        """Whether an object is a match."""
        return self.file_pattern.fullmatch(key) is not None and self._shallow(key)

    def keeps_directory(self, path: str) -> bool:
        """Whether a directory, its path ending in ``/``, is a match."""
        if self.unfiltered:
            return True
        return self.directory_pattern.fullmatch(path) is not None and self._shallow(path[:-1])

    def keeps_all(self, state: State) -> bool:
        """Whether every file below a directory in *state* is a match."""
        if self.unfiltered:
            return True
        return state == EVERYTHING and not self.limited and not self.directories_only

    def keeps_level(self, state: State) -> bool:
        """Whether every file right in a directory in *state*, its own marker aside, is a match."""
        return ONE_LEVEL[0] in state and not self.limited and not self.directories_only

    @cached_property
    def limited(self) -> bool:
        """Whether a depth limit has to be looked at."""
        return self.maxdepth is not None and any(map(is_recursive, self.branches))

    def _shallow(self, path: str) -> bool:
        if not self.limited:
            return True
        depth = path.count("/") + 1 if path else 0
        return any(
            depth <= self._depth_limit(branch)
            for branch in self.branches
            if re.fullmatch(path_regex([branch]), path)
            or re.fullmatch(directory_regex([branch]), path + "/")
        )

    def _depth_limit(self, branch: Branch) -> int:
        """Most segments that a match of the branch has below the bucket."""
        for index, segment in enumerate(branch):
            if segment.recursive and self.maxdepth is not None:
                return index + self.maxdepth
        return len(branch)

    @cached_property
    def _deepest(self) -> int:
        return max(map(self._depth_limit, self.branches))

    # -- the automaton --

    @cached_property
    def root(self) -> State:
        """The state of the bucket itself."""
        return self._within_limit(self.branches, 0)

    def enter(self, state: State, name: str, depth: int) -> State:
        """The state of subdirectory *name* of a directory in *state*; empty if none matches.

        depth: how many levels below the bucket the subdirectory is.
        """
        tails: dict[Branch, None] = {}
        for tail in state:
            self._enter_tail(tail, name, tails)
        return self._within_limit(tails, depth)

    def _enter_tail(self, tail: Branch, name: str, into: dict[Branch, None]) -> None:
        head, rest = tail[0], tail[1:]
        if head.recursive:
            into[tail] = None
            if rest:
                self._enter_tail(rest, name, into)
        elif rest and head.matches(name):
            into[rest] = None

    def _within_limit(self, tails: Iterable[Branch], depth: int) -> State:
        """What the tails can still mean in a directory so many levels down.

        Where the depth limit leaves ``**`` no level it goes, where just one, it is ``*``; a tail
        that cannot end in time goes as a whole.
        """
        if not self.limited:
            return tuple(tails)
        left: dict[Branch, None] = {}
        for tail in tails:
            stated = tuple(segment for segment in tail if not segment.recursive)
            levels = self._deepest - depth - len(stated)
            if len(stated) == len(tail) or levels > bool(not stated):
                left[tail] = None
            elif stated and not levels:
                left[stated] = None
            elif levels > 0:
                left[ONE_LEVEL[0]] = None
        return tuple(left)

    def state_at(self, path: str) -> State:
        """The state of the directory *path* ("" or ending in ``/``) below the bucket."""
        state = self.root
        for depth, name in enumerate(path.split("/")[:-1], start=1):
            state = self.enter(state, name, depth)
        return state

    def steps(self, state: State) -> tuple[Step, ...]:
        """What to do in a directory in *state*."""
        if self.lists_flat(state):
            return (Flat(disjoint_prefixes(_stems(state))),)
        inner, final = segments(state)
        open_inner = [segment for segment in inner if segment.values is None]
        names = sorted({name for s in inner if s.values is not None for name in s.values})
        if open_inner:
            # One listing of a level finds its files, and stated names that it comes past, as well.
            stems = disjoint_prefixes(stem for s in open_inner + final for stem in s.stems)
            aside = tuple(name for name in names if not (name + "/").startswith(stems))
            return (*([Descend(aside)] if aside else []), Level(stems))
        steps: list[Step] = [Descend(tuple(names))] if names else []
        return (*steps, *_final_steps(final))

    def lists_flat(self, state: State) -> bool:
        """Whether a walk would list all that is below a directory in *state* at once."""
        return any(tail[0].recursive for tail in state) and not self.limited

    def lists(self, state: State) -> bool:
        """Whether a walk would send a LIST for a directory in *state*."""
        return any(not isinstance(step, Descend) for step in self.steps(state))

    # -- order --

    def seek(self, state: State, directory: str, key: str) -> str | None:
        """The place after *key* from which matches below *directory* can still come.

        A bound for ``StartAfter``: no match lies between *key* and it, and it is not before *key*.
        None when no key after *key* below *directory* can match.
        """
        rest = key[len(directory) :]
        bounds = [b for tail in state if (b := _bound_after(tail, rest)) is not None]
        # What starts with LAST sorts after the bound that stands for the end of its directory.
        return max(key, directory + min(bounds)) if bounds else None

    def first(self, state: State, directory: str) -> str:
        """The ``StartAfter`` before the first possible match below *directory*."""
        return before(directory + min(_lead_text(tail) for tail in state))

    # -- what runs cost --

    def cost(self, step: type[Step], state: State) -> Cost:
        """What the step in directories in *state* has cost so far, to be added to."""
        return self.costs.setdefault((state, step.kind), Cost())


def segments(state: State) -> tuple[list[Segment], list[Segment]]:
    """What to enter in a directory in *state*, and what to keep there: segments for each."""
    inner: dict[Segment, None] = {}
    final: dict[Segment, None] = {}
    for tail in state:
        while tail:
            head, tail = tail[0], tail[1:]
            if tail or head.recursive:
                inner[head] = None
            if not tail:
                final[head] = None
            if not head.recursive:
                break
    return list(inner), list(final)


def stems_of(step: Step) -> tuple[str, ...]:
    """The names or prefixes that the step looks at, each at the price of a request."""
    match step:
        case Descend(names) | Exact(names):
            return names
        case Match(stems) | OrderedRange(_, stems) | Level(stems) | Flat(stems):
            return stems
        case _:
            raise AssertionError(step)


def _final_steps(final: list[Segment]) -> list[Step]:
    """How to look for the last segment."""
    names = sorted({name for s in final if s.values is not None for name in s.values})
    open_final = [segment for segment in final if segment.values is None]
    if not open_final:
        return [Exact(tuple(names))] if names else []
    stems = disjoint_prefixes([*names, *(stem for s in open_final for stem in s.stems)])
    if len(stems) > 1 and (prefix := _ordered_range(stems)) is not None:
        return [OrderedRange(prefix, stems)]
    return [Match(stems)]


def _ordered_range(stems: tuple[str, ...]) -> str | None:
    """The common prefix of stems whose last characters are neighbours; None for others."""
    prefix = stems[0][:-1]
    expected = range(ord(stems[0][-1:] or "\0"), ord(stems[0][-1:] or "\0") + len(stems))
    if all(s == prefix + chr(code) for s, code in zip(stems, expected, strict=True)):
        return prefix
    return None


def _stems(state: State) -> Iterator[str]:
    for tail in state:
        if tail[0].recursive:
            yield ""
        else:
            yield from tail[0].stems


# --- order ---------------------------------------------------------------------------------------


def _bound_after(tail: Branch, rest: str) -> str | None:
    """:meth:`ListingPlan.seek` for one tail, relative to the directory."""
    head = tail[0]
    if head.recursive:
        return rest
    name, slash, below = rest.partition("/")
    if not slash:
        return _next_name(tail, rest)
    if len(tail) > 1 and head.matches(name):
        deeper = _bound_after(tail[1:], below)
        if deeper is not None:
            return f"{name}/{deeper}"
    return _next_name(tail, f"{name}/{LAST}")


def _next_name(tail: Branch, bound: str) -> str | None:
    """The bound before the next name after *bound* that the tail's first segment may match."""
    head, last = tail[0], len(tail) == 1
    if head.values is None:
        for stem in head.stems:
            if bound.startswith(stem):
                return bound
            if stem > bound:
                return before(stem)
        return None
    for name in head.values:
        if last and name > bound:
            return max(bound, before(name))
        directory = name + "/"
        if directory > bound:
            return max(bound, before(directory if last else directory + _lead_text(tail[1:])))
    return None


def _lead_text(tail: Branch) -> str:
    """The text that the first possible match of the tail starts with."""
    head = tail[0]
    if head.recursive:
        return ""
    if head.values is None:
        return head.stems[0]
    if not head.values:
        return ""
    return head.values[0] + ("/" + _lead_text(tail[1:]) if len(tail) > 1 else "")


def before(text: str) -> str:
    """A string that sorts before *text*, with next to nothing in between."""
    if not text:
        return ""
    previous = ord(text[-1]) - 1
    if previous < 0x20:
        return text[:-1]
    if 0xD800 <= previous <= 0xDFFF:
        previous = 0xD7FF
    return text[:-1] + chr(previous) + LAST
