"""What ``explain`` returns: plans that print as text and draw themselves as SVG and Mermaid."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from fsspec_avroglob.glob.explain import (
    Node,
    braced,
    costed,
    counted,
    elsewhere_in,
    lines,
    printable,
    total,
)
from fsspec_avroglob.glob.plan import Cost, Descend, Level, ListingPlan

MAX_STEPS = 60
"""Steps that a drawing shows of one plan; how many more there are is told."""

MAX_COLUMNS = 84
"""Characters of a line in a drawing; longer text is cut in the middle and told by a tooltip."""

MAX_TOOLTIP = 400
"""Characters of a tooltip."""

MAX_INDENT = 12
"""Levels that a drawing indents; deeper steps stand below one another."""


@dataclass(frozen=True)
class GlobPlan:
    """The plans of a pattern, one a bucket: their steps, and what these have cost.

    Printed it is a tree of text, at the end of a notebook's cell a drawing.
    """

    pattern: str
    plans: tuple[ListingPlan, ...]

    @property
    def requests(self) -> int:
        """LIST requests that runs of the plan have sent so far."""
        return sum(cost.requests for plan in self.plans for cost in plan.costs.values())

    def __str__(self) -> str:
        return "\n".join(line for plan in self.plans for line in lines(plan))

    def to_svg(self) -> str:
        """A drawing as an SVG document, without scripts or references to anything outside."""
        return svg(self.plans)

    def to_mermaid(self) -> str:
        """The plan as a Mermaid flowchart."""
        return mermaid(self.plans)

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.to_svg()}</div>'


# --- what a drawing says -------------------------------------------------------------------------

_VERBS = {
    "descend": "enter",
    "exact": "look up",
    "match": "list",
    "range": "list range",
    "level": "list level",
    "flat": "list flat",
}


@dataclass(frozen=True)
class _Card:
    """What is drawn of a step: its kind, where it lists, how, and what it leaves out."""

    kind: str
    where: str
    how: str
    pruned: str
    depth: int
    cost: Cost | None


def _cards(plan: ListingPlan) -> list[_Card]:
    """The steps in words, in the outline's order."""
    nodes, elsewhere = costed(plan)
    cards = [
        _Card(
            node.step.kind,
            node.where or "(the whole bucket)",
            _how(node),
            _pruned(node),
            node.depth,
            node.cost,
        )
        for node in nodes[:MAX_STEPS]
    ]
    if elsewhere is not None:
        cards.append(_Card("level", elsewhere_in(plan), "", "", 0, elsewhere))
    if left := nodes[MAX_STEPS:]:
        spent = [node.cost for node in left if node.cost is not None]
        more = f"and {len(left):,} more steps"
        cards.append(_Card("descend", more, "", "", 0, total(spent) if spent else None))
    return cards


def _how(node: Node) -> str:
    parts = [node.request]
    if isinstance(node.step, Level):
        parts.append(f"enters {braced(node.enters)}")
    if node.keeps:
        parts.append(f"keeps {braced(node.keeps)}")
    return " · ".join(part for part in parts if part)


def _pruned(node: Node) -> str:
    """What is left out unseen, or seen and left."""
    if isinstance(node.step, Descend):
        return "any other name: never listed"
    if isinstance(node.step, Level):
        return "" if {"*", "**"} & set(node.enters) else "other directories: not entered"
    return "directories: not entered" if node.step.kind in ("match", "range") else ""


def _summary(plan: ListingPlan) -> str:
    if not plan.costs:
        return f"bucket {plan.bucket} · not run"
    cost = total(plan.costs.values())
    return (
        f"bucket {plan.bucket} · {counted(cost.requests, 'request')} · "
        f"{counted(cost.keys_seen, 'key')} seen · {cost.keys_kept:,} kept"
    )


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _fitted(text: str, columns: int = MAX_COLUMNS) -> str:
    """*text* in at most so many columns, its middle left out where it is longer."""
    text = printable(text)
    if _columns(text) <= columns:
        return text
    half = (columns - 1) // 2
    while _columns(text[:half]) + _columns(text[-half:]) >= columns:
        half -= 1
    return f"{text[:half]}…{text[-half:]}"


# --- SVG -----------------------------------------------------------------------------------------

_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_COLOURS = {  # with white text on them, on either background
    "descend": "#68717b",
    "exact": "#0b7a75",
    "match": "#1a7f37",
    "range": "#8250df",
    "level": "#0969da",
    "flat": "#bc4c00",
}
_LIGHT = {"card": "#ffffff", "line": "#c4cad1", "text": "#1f2328", "soft": "#59636e"}
_DARK = {"card": "#161b22", "line": "#4a525b", "text": "#e6edf3", "soft": "#9da7b1"}
# Colours stand at the elements, where every viewer finds them; only darkness needs a style sheet.
_STYLE = (
    "<style>@media (prefers-color-scheme: dark) {"
    f".avroglob-card {{ fill: {_DARK['card']}; stroke: {_DARK['line']} }}"
    f".avroglob-line {{ stroke: {_DARK['line']} }}"
    f".avroglob-text {{ fill: {_DARK['text']} }}"
    f".avroglob-soft {{ fill: {_DARK['soft']} }}"
    "}</style>"
)
_PAD, _INDENT, _PILL, _ROW, _GHOST, _HEAD, _FIGURES, _GAP = 20, 28, 78, 48, 20, 74, 190, 12


def svg(plans: Sequence[ListingPlan]) -> str:
    """Draw plans below one another, as an SVG document."""
    sheets = [(plan, _cards(plan)) for plan in plans[:MAX_STEPS]]
    width = max(_width(plan, cards) for plan, cards in sheets)
    body: list[str] = []
    top = 0
    for plan, cards in sheets:
        body.append(f'<g transform="translate(0 {top})">{"".join(_sheet(plan, cards, width))}</g>')
        top += _sheet_height(cards) + _GAP
    height = top - _GAP + 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {width + 2} {height}" '
        f'width="{width + 2}" height="{height}" role="img" aria-label="Listing plan" '
        f"font-family={quoteattr(_SANS)}>{_STYLE}{''.join(body)}</svg>"
    )


def _sheet(plan: ListingPlan, cards: Sequence[_Card], width: int) -> Iterator[str]:
    """One plan: its pattern and totals, the tree on the left, figures on the right."""
    yield (
        f'<rect class="avroglob-card" width="{width}" height="{_sheet_height(cards)}" rx="10" '
        f'fill="{_LIGHT["card"]}" stroke="{_LIGHT["line"]}"/>'
    )
    yield _text(_PAD, 32, plan.pattern, size=15, mono=True, bold=True)
    yield _text(_PAD, 54, _summary(plan), soft=True, size=12)
    most = max((card.cost.requests for card in cards if card.cost), default=0)
    trunk = {0: _HEAD - 8.0}  # where the line that leads to a card at a level starts
    top = _HEAD
    for card in cards:
        yield from _branch(card, trunk, top)
        yield from _pill_and_text(card, top)
        if plan.costs:
            yield from _figures(card, top, width, most)
        top += _height(card)


def _branch(card: _Card, trunk: dict[int, float], top: int) -> Iterator[str]:
    """The lines that lead to a card, and the broken one to what is left out below it."""
    indent = min(card.depth, MAX_INDENT)
    left, middle = _left(card), top + 15
    if indent:
        x = left - _INDENT + 13
        yield _line(f"M{x} {trunk[indent]}V{middle - 6}q0 6 6 6H{left}")
        trunk[indent] = middle - 6
    trunk[indent + 1] = middle + 11
    if card.pruned:
        x, y = left + 13, top + _ROW + 4
        yield _line(f"M{x} {trunk[indent + 1]}V{y - 6}q0 6 6 6H{left + 26}", broken=True)
        yield _line(f"M{left + 30} {y - 4}l8 8m0 -8l-8 8")
        yield _text(left + 46, y + 4, card.pruned, soft=True, size=11, italic=True)


def _pill_and_text(card: _Card, top: int) -> Iterator[str]:
    left = _left(card)
    yield (
        f'<rect x="{left}" y="{top + 4}" width="{_PILL}" height="22" rx="11" '
        f'fill="{_COLOURS[card.kind]}"/>'
    )
    yield (
        f'<text x="{left + _PILL / 2}" y="{top + 19}" text-anchor="middle" font-size="11" '
        f'font-weight="600" fill="#ffffff">{_VERBS[card.kind]}</text>'
    )
    yield _text(left + _PILL + 10, top + 20, card.where, size=13, mono=True)
    yield _text(left + _PILL + 10, top + 37, card.how, size=11.5, soft=True)


def _figures(card: _Card, top: int, width: int, most: int) -> Iterator[str]:
    """Requests with a bar beside them, keys below."""
    right = width - _PAD
    if card.cost is None:
        if card.kind != "descend":
            yield _text(right, top + 20, "no request of its own", size=11.5, soft=True, end=True)
        return
    bar = max(3.0, 60 * card.cost.requests / most)
    yield (
        f'<rect x="{right - bar:.1f}" y="{top + 11}" width="{bar:.1f}" height="9" rx="2" '
        f'fill="{_COLOURS[card.kind]}"/>'
    )
    yield _text(right - 68, top + 20, counted(card.cost.requests, "request"), size=12, end=True)
    keys = f"{counted(card.cost.keys_seen, 'key')} seen, {card.cost.keys_kept:,} kept"
    yield _text(right, top + 37, keys, size=11.5, soft=True, end=True)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    mono: bool = False,
    bold: bool = False,
    italic: bool = False,
    soft: bool = False,
    end: bool = False,
) -> str:
    """A line of text, shortened to fit; then the whole of it is a tooltip."""
    kind = "soft" if soft else "text"
    style = [f'class="avroglob-{kind}" fill="{_LIGHT[kind]}" x="{x}" y="{y}" font-size="{size}"']
    style += [f"font-family={quoteattr(_MONO)}"] if mono else []
    style += ['font-weight="600"'] if bold else []
    style += ['font-style="italic"'] if italic else []
    style += ['text-anchor="end"'] if end else []
    shown, whole = _fitted(text), _fitted(text, MAX_TOOLTIP)
    tooltip = "" if shown == whole else f"<title>{escape(whole)}</title>"
    return f'<text xml:space="preserve" {" ".join(style)}>{tooltip}{escape(shown)}</text>'


def _line(path: str, *, broken: bool = False) -> str:
    dashes = ' stroke-dasharray="3 3"' if broken else ""
    return (
        f'<path class="avroglob-line" d="{path}" fill="none" stroke="{_LIGHT["line"]}" '
        f'stroke-width="1.5"{dashes}/>'
    )


def _width(plan: ListingPlan, cards: Sequence[_Card]) -> int:
    """Room for the longest line, in px; characters are counted at what common fonts take."""
    lines_px = [480.0, 2 * _PAD + 9.1 * _columns(_fitted(plan.pattern))]
    figures = _FIGURES if plan.costs else 0
    for card in cards:
        rest = (
            _PILL + 10 + 7.9 * _columns(_fitted(card.where)) + figures,
            _PILL + 10 + 6.2 * _columns(_fitted(card.how)) + figures,
            46 + 5.9 * _columns(_fitted(card.pruned)),
        )
        lines_px.append(_left(card) + max(rest) + _PAD)
    return int(max(lines_px))


def _sheet_height(cards: Sequence[_Card]) -> int:
    return _HEAD + sum(map(_height, cards)) + 4


def _height(card: _Card) -> int:
    return _ROW + (_GHOST if card.pruned else 0)


def _left(card: _Card) -> int:
    return _PAD + _INDENT * min(card.depth, MAX_INDENT)


# --- Mermaid -------------------------------------------------------------------------------------


def mermaid(plans: Sequence[ListingPlan]) -> str:
    """Plans as one Mermaid flowchart; what is left out hangs on broken lines."""
    lines_of = ["flowchart TB"]
    for number, plan in enumerate(plans[:MAX_STEPS]):
        lines_of += _flowchart(f"p{number}", plan)
    for kind, colour in _COLOURS.items():
        lines_of.append(f"  classDef {kind} fill:{colour},stroke:{colour},color:#ffffff")
    lines_of.append("  classDef pruned stroke-dasharray:4 3")
    return "\n".join(lines_of) + "\n"


def _flowchart(root: str, plan: ListingPlan) -> Iterator[str]:
    yield f'  {root}["{_label(plan.pattern, _summary(plan))}"]'
    above = [root]
    for number, card in enumerate(_cards(plan)):
        name = f"{root}s{number}"
        cost = "" if card.cost is None else counted(card.cost.requests, "request")
        label = _label(f"{_VERBS[card.kind]} {card.where}", card.how, cost)
        yield f'  {above[card.depth]} --> {name}["{label}"]:::{card.kind}'
        del above[card.depth + 1 :]
        above.append(name)
        if card.pruned:
            yield f'  {name} -.- {name}x["{_label(card.pruned)}"]:::pruned'


def _label(*texts: str) -> str:
    return "<br/>".join(_coded(_fitted(text)) for text in texts if text)


def _coded(text: str) -> str:
    """Text with all that Mermaid or HTML may read as syntax as Mermaid's character codes."""
    return "".join(
        char if char.isalnum() or char in " /=-_.,:()" else f"#{ord(char)};" for char in text
    )
