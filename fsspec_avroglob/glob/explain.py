"""A listing plan as people see it: its steps in order, with what they keep and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fsspec_avroglob.glob.pattern import Branch
from fsspec_avroglob.glob.plan import (
    Cost,
    Descend,
    Exact,
    Flat,
    Level,
    ListingPlan,
    Match,
    OrderedRange,
    State,
    Step,
    segments,
)

SHOWN_NAMES = 6
"""Of so many names or prefixes all are shown, of more the first few and the last."""


@dataclass(frozen=True)
class Node:
    """A step of a plan in its place.

    depth: levels below the bucket. template: the directories that it is taken in, as a pattern
    ("" or ending in ``/``). enters: names or patterns of the subdirectories that are entered.
    keeps: patterns of what is kept below *template*. cost: what it has cost, None if nothing;
    where equal steps stand in several places, the first one has their cost.
    """

    step: Step
    state: State
    depth: int
    template: str
    enters: tuple[str, ...]
    keeps: tuple[str, ...]
    cost: Cost | None = None

    @property
    def listed(self) -> bool:
        """Whether the step sends requests; stated names are only entered."""
        return self.cost is not None or not isinstance(self.step, Descend)

    @property
    def where(self) -> str:
        """The prefixes that the step is about, as a pattern."""
        match self.step:
            case Descend(names):
                return f"{self.template}{braced(names)}/"
            case OrderedRange(prefix, _):
                return self.template + prefix
            case Exact(names):
                return self.template + braced(names)
            case Match(stems) | Level(stems) | Flat(stems):
                return self.template + braced(stems)
            case _:
                raise AssertionError(self.step)

    @property
    def request(self) -> str:
        """The parameters of its LIST requests beside the prefix; how names are found otherwise."""
        match self.step:
            case Descend():
                return "found by a scan" if self.listed else "not listed"
            case Match() | Level():
                return "delimiter=/"
            case OrderedRange(_, stems):
                return f"from {stems[0]!r} to {stems[-1]!r}"
            case _:
                return ""

    def __str__(self) -> str:
        if isinstance(self.step, Descend):
            return f"descend into {self.where} ({self.request}){cost_text(self.cost)}"
        line = f"{self.step.kind}: LIST prefix={self.where} {self.request}".rstrip()
        return line + cost_text(self.cost)


def outline(plan: ListingPlan) -> Iterator[Node]:
    """The steps of a plan, each before those in the subdirectories that it leads to."""
    waiting = _nodes(plan, plan.root, "", 0)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        below = [
            inner
            for state, names in _children(plan, node).items()
            for inner in _nodes(plan, state, f"{node.template}{braced(names)}/", node.depth + 1)
        ]
        waiting += below[::-1]


def costed(plan: ListingPlan) -> tuple[list[Node], Cost | None]:
    """The outline with costs, and the cost of directories that no single place of it stands for.

    Such are those that several alternatives of the pattern lead to at once, and with a depth limit
    those below ``**``.
    """
    left = dict(plan.costs)
    nodes = []
    for node in outline(plan):
        cost = left.pop((node.state, node.step.kind), None)
        nodes.append(Node(**{**vars(node), "cost": cost}))
    return nodes, total(left.values()) if left else None


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs."""
    summed = Cost()
    for cost in costs:
        summed.requests += cost.requests
        summed.keys_seen += cost.keys_seen
        summed.keys_kept += cost.keys_kept
    return summed


def lines(plan: ListingPlan) -> Iterator[str]:
    """The plan as text: a line for each step, indented."""
    yield printable(f"{plan.pattern} in {plan.bucket}")
    nodes, elsewhere = costed(plan)
    for node in nodes:
        yield f"{'  ' * node.depth}└ {printable(str(node))}"
    if elsewhere is not None:
        yield f"└ {elsewhere_in(plan)}{cost_text(elsewhere)}"


def elsewhere_in(plan: ListingPlan) -> str:
    """What the directories are that no single place of the outline stands for."""
    return "further down, below **" if plan.limited else "where alternatives meet"


def cost_text(cost: Cost | None) -> str:
    """What follows a step that was taken."""
    if cost is None:
        return ""
    requests, keys = counted(cost.requests, "request"), counted(cost.keys_seen, "key")
    return f"  [{requests}, {keys} seen, {cost.keys_kept:,} kept]"


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 key``, ``1,000 keys``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def braced(names: Sequence[str]) -> str:
    """Alternatives as a pattern; many are shortened."""
    if len(names) > SHOWN_NAMES:
        names = [*names[: SHOWN_NAMES - 2], "…", names[-1]]
    return names[0] if len(names) == 1 else "{" + ",".join(names) + "}"


def printable(text: str) -> str:
    """Escape control characters, which a key may hold, a terminal would obey and XML refuses."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _nodes(plan: ListingPlan, state: State, template: str, depth: int) -> list[Node]:
    return [
        Node(
            step,
            state,
            depth,
            template,
            enters=_entered(step, state),
            keeps=_kept(plan, step, state),
        )
        for step in plan.steps(state)
    ]


def _entered(step: Step, state: State) -> tuple[str, ...]:
    if isinstance(step, Descend):
        return step.names
    if isinstance(step, Level):
        return tuple(str(segment) for segment in segments(state)[0])
    return ()


def _kept(plan: ListingPlan, step: Step, state: State) -> tuple[str, ...]:
    slash = "/" if plan.directories_only else ""
    match step:
        case Descend():
            return ()
        case Exact(names):
            return tuple(name + slash for name in names)
        case Flat():
            return tuple(_text(tail) + slash for tail in state)
        case _:
            return tuple(f"{segment}{slash}" for segment in segments(state)[1])


def _text(tail: Branch) -> str:
    return "/".join(map(str, tail))


def _children(plan: ListingPlan, node: Node) -> dict[State, list[str]]:
    """The states below a step, each with the names or patterns that lead to it."""
    children: dict[State, list[str]] = {}

    def enter(names: Iterable[str]) -> None:
        for name in names:
            children.setdefault(plan.enter(node.state, name, node.depth + 1), []).append(name)

    if isinstance(node.step, Descend):
        enter(node.step.names)
    elif isinstance(node.step, Level):
        for segment in segments(node.state)[0]:
            if segment.values is not None:
                enter(n for n in segment.values if f"{n}/".startswith(node.step.stems))
            elif not segment.recursive:
                below = tuple(t[1:] for t in node.state if t[0] == segment and len(t) > 1)
                children.setdefault(below, []).append(str(segment))
    return children
