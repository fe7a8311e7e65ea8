r"""A listing plan as text: its steps in order, what they keep, and what they have cost.

>>> from fsspec_avroglob.glob.pattern import GlobPattern
>>> [plan] = ListingPlan.for_pattern(GlobPattern.parse("bucket/events/*/part-*.avro"))
>>> print(*lines(plan), sep="\n")
bucket/events/*/part-*.avro in bucket
└ descend into events/ (not listed)
  └ level: LIST prefix=events/ delimiter=/
    └ match: LIST prefix=events/*/part- delimiter=/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace

from fsspec_avroglob.errors import printable
from fsspec_avroglob.glob.plan import (
    Cost,
    Descend,
    Exact,
    Flat,
    Level,
    ListingPlan,
    Match,
    Range,
    State,
    Step,
    segments,
)

SHOWN_NAMES = 6
"""Most names or prefixes that are shown in full; longer lists are elided in the middle."""


class Elsewhere(Step):
    """Steps that are not shown one by one; the only stem describes them."""


@dataclass(frozen=True)
class Node:
    """A step of a plan, and the directories in which it is taken.

    Attributes
    ----------
    depth
        Levels of these directories below the bucket.
    template
        The directories as a pattern, "" or ending in ``/``.
    cost
        What the step has cost, None if it was not taken. Of several nodes that are the same step
        in the same state, the first has the cost of all.
    """

    plan: ListingPlan
    step: Step
    state: State
    depth: int
    template: str
    cost: Cost | None = None

    @property
    def where(self) -> str:
        """The prefixes that the step lists or enters, as a pattern."""
        if isinstance(self.step, Range):
            return self.template + self.step.stems[0][:-1]
        slash = "/" if isinstance(self.step, Descend) else ""
        return self.template + braced(self.step.stems) + slash

    @property
    def enters(self) -> tuple[str, ...]:
        """Names or patterns of the subdirectories that the step enters."""
        if isinstance(self.step, Level):
            return tuple(map(str, segments(self.state)[0]))
        return self.step.stems if isinstance(self.step, Descend) else ()

    @property
    def keeps(self) -> tuple[str, ...]:
        """Patterns of the matches, below the template, that the step finds."""
        names: Iterable[object]
        match self.step:
            case Descend() | Elsewhere():
                return ()
            case Exact(names):
                pass
            case Flat():
                names = ("/".join(map(str, tail)) for tail in self.state)
            case _:
                names = segments(self.state)[1]
        return tuple(f"{name}/" if self.plan.directories_only else f"{name}" for name in names)

    @property
    def request(self) -> str:
        """The parameters of the LIST requests besides the prefix."""
        match self.step:
            case Descend():
                return "not listed" if self.cost is None else "found by a scan"
            case Range(stems):
                return f"from {stems[0]!r} to {stems[-1]!r}"
            case Exact() | Flat() | Elsewhere():
                return ""
        return "delimiter=/"

    @property
    def pruned(self) -> str:
        """What the step leaves out, which is never listed."""
        match self.step:
            case Descend():
                return "any other name: never listed"
            case Level() if not {"*", "**"} & set(self.enters):
                return "other directories: not entered"
            case Match() | Range():
                return "directories: not entered"
        return ""

    def __str__(self) -> str:
        match self.step:
            case Descend():
                line = f"descend into {self.where} ({self.request})"
            case Elsewhere():
                line = self.where
            case _:
                line = f"{self.step.kind}: LIST prefix={self.where} {self.request}".rstrip()
        return line + (f"  [{cost_text(self.cost)}]" if self.cost else "")

    def below(self) -> list[Node]:
        """The steps in the subdirectories that this step enters."""
        names_by_state: dict[State, list[str]] = {}
        for state, name in self._entered():
            names_by_state.setdefault(state, []).append(name)
        return [
            Node(self.plan, step, state, self.depth + 1, f"{self.template}{braced(names)}/")
            for state, names in names_by_state.items()
            for step in self.plan.steps(state)
        ]

    def _entered(self) -> Iterator[tuple[State, str]]:
        """The states of subdirectories, each with a name or pattern that leads to it."""
        if isinstance(self.step, Descend):
            yield from map(self._enter, self.step.stems)
        if not isinstance(self.step, Level):
            return
        for segment in segments(self.state)[0]:
            if segment.values is not None:
                names = (n for n in segment.values if f"{n}/".startswith(self.step.stems))
                yield from map(self._enter, names)
            elif not segment.recursive:
                below = (t[1:] for t in self.state if t[0] == segment and len(t) > 1)
                yield tuple(below), str(segment)

    def _enter(self, name: str) -> tuple[State, str]:
        return self.plan.enter(self.state, name, self.depth + 1), name


def outline(plan: ListingPlan) -> Iterator[Node]:
    """The steps of a plan, each followed by those in the subdirectories that it enters."""
    waiting = [Node(plan, step, plan.root, 0, "") for step in plan.steps(plan.root)][::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.below()[::-1]


def costed(plan: ListingPlan) -> list[Node]:
    """The outline with costs; the last node has the cost of directories that are in no other one.

    These are directories that several alternatives of the pattern lead to at once and, with a
    depth limit, those below ``**``.
    """
    left = dict(plan.costs)
    nodes = [
        replace(node, cost=left.pop((node.state, type(node.step)), None)) for node in outline(plan)
    ]
    if left:
        where = "further down, below **" if plan.limited else "where alternatives meet"
        nodes.append(elsewhere(plan, where, total(left.values())))
    return nodes


def elsewhere(plan: ListingPlan, where: str, cost: Cost | None) -> Node:
    """A node for several steps."""
    return Node(plan, Elsewhere((where,)), (), 0, "", cost)


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs."""
    return Cost(*map(sum, zip(*map(astuple, costs), strict=True)))


def lines(plan: ListingPlan) -> Iterator[str]:
    """The plan as text: a line for each step, indented."""
    start = "" if plan.after is None else f", after {plan.after}"
    yield printable(f"{plan.pattern} in {plan.bucket}{start}")
    for node in costed(plan):
        yield f"{'  ' * node.depth}└ {printable(str(node))}"


def cost_text(cost: Cost) -> str:
    """A cost: ``2 requests, 1,000 keys seen, 12 kept``."""
    requests, keys = counted(cost.requests, "request"), counted(cost.keys_seen, "key")
    return f"{requests}, {keys} seen, {cost.keys_kept:,} kept"


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 key``, ``1,000 keys``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def braced(names: Sequence[str]) -> str:
    """Alternatives as a pattern, elided if there are more than :data:`SHOWN_NAMES`."""
    if len(names) > SHOWN_NAMES:
        names = [*names[: SHOWN_NAMES - 2], "…", names[-1]]
    return names[0] if len(names) == 1 else "{" + ",".join(names) + "}"
