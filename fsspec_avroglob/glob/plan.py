"""Plans: which listings find the matches of a pattern, decided without a request.

A pattern is an automaton over path components. Its *state* at a directory is the set of *tails*:
the sequences of segments that may still follow there. A state determines

* the steps to take in the directory (:meth:`ListingPlan.steps`),
* the state of a subdirectory (:meth:`ListingPlan.enter`), which is empty if nothing below matches,
* the next key, in key order, that may match (:meth:`ListingPlan.seek`).

:mod:`fsspec_avroglob.glob.lister` runs plans.

>>> [plan] = ListingPlan.for_pattern(GlobPattern.parse("bucket/events/*/part-*.avro"))
>>> plan.steps(plan.root), plan.steps(plan.enter(plan.root, "events", 1))
((Descend(stems=('events',)),), (Level(stems=('',)),))
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import TypeAlias

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
"""The greatest character: a prefix with it appended sorts after all keys with the prefix."""


# --- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What to do in one directory; each kind of step is a subclass.

    stems: names or prefixes in the directory, each of which may cost a request.
    """

    stems: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The name of the kind, in lower case."""
        return type(self).__name__.lower()


class Descend(Step):
    """Enter subdirectories that the pattern names, without a request."""


class Exact(Step):
    """Look up names that the pattern states, with one LIST each."""


class Match(Step):
    """List the directory below each stem, with a delimiter, for matches of the last segment."""


class Range(Step):
    """List the keys from the first stem to the last, which differ only in the last character."""


class Level(Step):
    """Find subdirectories to enter below each stem, with or without a delimiter."""


class Flat(Step):
    """List everything below each stem without a delimiter, for ``**``."""


@dataclass
class Cost:
    """The requests of one kind of step in one state, and the keys that they returned."""

    requests: int = 0
    keys_seen: int = 0
    keys_kept: int = 0


def below(directory: str) -> State:
    """The state of a bucket that matches all below *directory*, which is "" or ends in ``/``."""
    names = directory.split("/")[:-1]
    return ((*(Segment((Text(name),) if name else ()) for name in names), *EVERYTHING[0]),)


# --- the plan ------------------------------------------------------------------------------------


@dataclass
class ListingPlan:
    """The listings that find a pattern's matches in one bucket.

    Attributes
    ----------
    bucket
        The name of the bucket.
    branches
        The pattern's branches below the bucket.
    pattern
        The pattern as the user wrote it.
    maxdepth
        Most levels that ``**`` matches, None for any number.
    with_directories, directories_only
        Whether directories are wanted, and whether only directories are.
    unfiltered
        Whether everything that is listed matches, as in ``ls`` and ``find``.
    with_markers
        Whether folder markers are wanted as files (see ``s3/markers``), as in ``rm``.
    after
        Only keys that sort after this one are listed; None for all.
    costs
        What runs of the plan have cost so far, by state and kind of step.
    """

    bucket: str
    branches: State
    pattern: str
    maxdepth: int | None = None
    with_directories: bool = True
    directories_only: bool = False
    unfiltered: bool = False
    with_markers: bool = False
    after: str | None = None
    costs: defaultdict[tuple[State, type[Step]], Cost] = field(
        default_factory=lambda: defaultdict(Cost)
    )

    @classmethod
    def for_pattern(
        cls, pattern: GlobPattern, *, maxdepth: int | None = None, with_directories: bool = True
    ) -> list[ListingPlan]:
        """One plan for each bucket that the pattern names.

        Raises
        ------
        ValueError
            If the pattern does not name its buckets, or names nothing below them.
        """
        by_bucket: dict[str, list[Branch]] = {}
        for branch in pattern.branches:
            names = branch[0].values
            if not names or "" in names:
                raise ValueError(f"Cannot traverse all of S3: {pattern.text!r} names no bucket")
            if len(branch) == 1:
                raise ValueError(f"{pattern.text!r} is only a bucket; write bucket/* for its keys")
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
        """Matches a file's whole key, without regard to *maxdepth*."""
        return re.compile(path_regex(self.branches, directories_only=self.directories_only))

    @cached_property
    def file_suffix(self) -> str:
        """A literal suffix of every matching file's key, possibly empty."""
        ends = {branch[-1].tokens[-1:] for branch in self.branches}
        match ends.pop():
            case (Text(text),) if not ends and not self.directories_only:
                return text
        return ""

    @cached_property
    def directory_pattern(self) -> re.Pattern[str]:
        """Matches a directory's path with a ``/`` appended, without regard to *maxdepth*."""
        return re.compile(directory_regex(self.branches, directories_only=self.directories_only))

    def keeps_file(self, key: str) -> bool:
        """Whether the object *key* matches."""
        return self.file_pattern.fullmatch(key) is not None and self._shallow(key)

    def keeps_directory(self, path: str) -> bool:
        """Whether the directory *path*, which ends in ``/``, matches."""
        if self.unfiltered:
            return True
        return self.directory_pattern.fullmatch(path) is not None and self._shallow(path[:-1])

    def keeps_all(self, state: State) -> bool:
        """Whether every file below a directory in *state* matches."""
        if self.unfiltered:
            return True
        return state == EVERYTHING and not self.limited and not self.directories_only

    def keeps_level(self, state: State) -> bool:
        """Whether every file in a directory in *state* matches, except one of its own name."""
        return ONE_LEVEL[0] in state and not self.limited and not self.directories_only

    @property
    def saw_keys(self) -> bool:
        """Whether runs of the plan have received keys, also those that did not match."""
        return any(cost.keys_seen for cost in self.costs.values())

    @cached_property
    def limited(self) -> bool:
        """Whether *maxdepth* limits what matches."""
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
        """Most path components, below the bucket, of a match of the branch."""
        for index, segment in enumerate(branch):
            if segment.recursive and self.maxdepth is not None:
                return index + self.maxdepth
        return len(branch)

    @cached_property
    def _deepest(self) -> int:
        return max(map(self._depth_limit, self.branches))

    @cached_property
    def literal_directory(self) -> str:
        """The directory, "" or ending in ``/``, that all matches are below, as far as stated."""
        stated = [
            list(takewhile(lambda names: len(names or ()) == 1, (s.values for s in branch[:-1])))
            for branch in self.branches
        ]
        common = takewhile(lambda level: len(set(level)) == 1, zip(*stated, strict=False))
        return "".join(f"{level[0][0]}/" for level in common if level[0])

    # -- the automaton --

    @cached_property
    def root(self) -> State:
        """The state of the bucket itself."""
        return self._within_limit(self.branches, 0)

    def enter(self, state: State, name: str, depth: int) -> State:
        """The state of subdirectory *name* of a directory in *state*; empty if nothing matches.

        depth: levels of the subdirectory below the bucket.
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
        """The tails that can still match in a directory *depth* levels below the bucket.

        A ``**`` with no level left is dropped, and one with a single level left becomes ``*``.
        """
        if not self.limited:
            return tuple(tails)
        left: dict[Branch, None] = {}
        for tail in tails:
            fixed = tuple(segment for segment in tail if not segment.recursive)
            levels = self._deepest - depth - len(fixed)
            if len(fixed) == len(tail) or levels > (not fixed):
                left[tail] = None
            elif fixed and not levels:
                left[fixed] = None
            elif levels > 0:
                left[ONE_LEVEL[0]] = None
        return tuple(left)

    def steps(self, state: State) -> tuple[Step, ...]:
        """What to do in a directory in *state*."""
        if self.lists_flat(state):
            return (Flat(disjoint_prefixes(stem for tail in state for stem in tail[0].stems)),)
        inner, final = segments(state)
        open_inner = [segment for segment in inner if segment.values is None]
        names = sorted({name for segment in inner for name in segment.values or ()})
        if open_inner:
            # Listing the level finds its files, too, and the stated names that have a stem.
            stems = disjoint_prefixes(stem for s in open_inner + final for stem in s.stems)
            names = [name for name in names if not f"{name}/".startswith(stems)]
        steps: list[Step] = [Descend(tuple(names))] if names else []
        return (*steps, *([Level(stems)] if open_inner else _final_steps(final)))

    def lists_flat(self, state: State) -> bool:
        """Whether a directory in *state* is listed without a delimiter, for ``**``."""
        return any(tail[0].recursive for tail in state) and not self.limited

    # -- order --

    def seek(self, state: State, directory: str, key: str) -> str | None:
        """A ``StartAfter``, at least *key*, that skips no match below *directory* after *key*.

        None if no key after *key* below *directory* can match.
        """
        rest = key[len(directory) :]
        bounds = [b for tail in state if (b := _bound_after(tail, rest)) is not None]
        # A name that starts with LAST sorts after the bound at the end of its directory.
        return max(key, directory + min(bounds)) if bounds else None

    def first(self, state: State, directory: str) -> str:
        """The ``StartAfter`` before the first possible match below *directory*."""
        return before(directory + min(_lead_text(tail) for tail in state))


def segments(state: State) -> tuple[list[Segment], list[Segment]]:
    """The segments that match subdirectories to enter in a directory in *state*, and matches."""
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


def _final_steps(final: list[Segment]) -> list[Step]:
    """The steps that find matches of the last segment."""
    names = sorted({name for segment in final for name in segment.values or ()})
    open_final = [segment for segment in final if segment.values is None]
    if not open_final:
        return [Exact(tuple(names))] if names else []
    stems = disjoint_prefixes([*names, *(stem for s in open_final for stem in s.stems)])
    return [Range(stems) if _are_consecutive(stems) else Match(stems)]


def _are_consecutive(stems: tuple[str, ...]) -> bool:
    """Whether there are several stems that differ in their last characters, without gaps."""
    prefix, first = stems[0][:-1], stems[0][-1:]
    return len(stems) > 1 and all(s == prefix + chr(ord(first) + i) for i, s in enumerate(stems))


# --- order ---------------------------------------------------------------------------------------


def _bound_after(tail: Branch, rest: str) -> str | None:
    """:meth:`ListingPlan.seek` for one tail; *rest* and the bound are relative to the directory."""
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
    """The bound just before the next name, after *bound*, that the first segment may match."""
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
    """A prefix of the first possible match of the tail."""
    head = tail[0]
    if not head.values:
        return head.stems[0] if head.values is None else ""
    return head.values[0] + ("/" + _lead_text(tail[1:]) if len(tail) > 1 else "")


def before(text: str) -> str:
    """A string just before *text* in key order, of characters that XML allows."""
    if not text:
        return ""
    previous = ord(text[-1]) - 1
    if previous < 0x20:
        return text[:-1]
    if 0xD800 <= previous <= 0xDFFF:
        previous = 0xD7FF
    return text[:-1] + chr(previous) + LAST
