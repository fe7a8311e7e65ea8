"""The result of ``explain``: plans that print as text and draw themselves as SVG and Mermaid.

>>> fs.explain("bucket/events/*/part-*.avro").to_svg()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width
from xml.sax.saxutils import escape, quoteattr

from fsspec_avroglob.errors import printable
from fsspec_avroglob.glob.explain import (
    Node,
    braced,
    cost_text,
    costed,
    elsewhere,
    lines,
    total,
)
from fsspec_avroglob.glob.plan import Level, ListingPlan

MAX_STEPS = 60
"""Most steps of a plan that are drawn; a last card counts the others."""

MAX_CHARACTERS = 84
"""Most characters of a line; longer text is elided in the middle."""

_KINDS = {  # verb, and a colour that is readable below white text and on any page
    "descend": ("enter", "#68717b"),
    "exact": ("look up", "#0b7a75"),
    "match": ("list", "#1a7f37"),
    "range": ("list range", "#8250df"),
    "level": ("list level", "#0969da"),
    "flat": ("list flat", "#bc4c00"),
    "elsewhere": ("elsewhere", "#68717b"),
}


@dataclass(frozen=True)
class GlobPlan:
    """The plans of a pattern, one for each bucket: their steps, and what the steps have cost.

    ``print`` shows a tree of text, a notebook shows a drawing.
    """

    pattern: str
    plans: tuple[ListingPlan, ...]

    @property
    def requests(self) -> int:
        """Number of LIST requests sent so far."""
        return sum(cost.requests for plan in self.plans for cost in plan.costs.values())

    def __str__(self) -> str:
        return "\n".join(line for plan in self.plans for line in lines(plan))

    def to_svg(self) -> str:
        """A drawing as an SVG document, without scripts or references to anything outside."""
        sheets = [(plan, _shown(plan)) for plan in self.plans[:MAX_STEPS]]
        width = max(_width(plan, nodes) for plan, nodes in sheets)
        body, top = "", 0
        for plan, nodes in sheets:
            height = _HEAD + sum(_height(node) for node in nodes) + 4
            sheet = "".join(_sheet(plan, nodes, width, height))
            body += _tag("g", sheet, transform=f"translate(0 {top})")
            top += height + 12
        size: dict[str, object] = {"width": width + 2, "height": top - 10}
        size["viewBox"] = f"-1 -1 {width + 2} {top - 10}"
        names = {"role": "img", "aria_label": "Listing plan", "font_family": _SANS}
        return _tag("svg", _STYLE + body, xmlns="http://www.w3.org/2000/svg", **size, **names)

    def to_mermaid(self) -> str:
        """A Mermaid flowchart, with broken lines to what is pruned."""
        rows = ["flowchart TB"]
        for number, plan in enumerate(self.plans[:MAX_STEPS]):
            rows += _flowchart(f"p{number}", plan)
        for kind, (_, colour) in _KINDS.items():
            rows.append(f"  classDef {kind} fill:{colour},stroke:{colour},color:#ffffff")
        return "\n".join([*rows, "  classDef pruned stroke-dasharray:4 3", ""])

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.to_svg()}</div>'


# --- texts ---------------------------------------------------------------------------------------


def _shown(plan: ListingPlan) -> list[Node]:
    """The steps in the outline's order; the last one is for those that are too many."""
    nodes = costed(plan)
    if more := nodes[MAX_STEPS:]:
        spent = total(node.cost for node in more if node.cost) if plan.costs else None
        nodes[MAX_STEPS:] = [elsewhere(plan, f"and {len(more):,} more steps", spent)]
    return nodes


def _how(node: Node) -> str:
    enters = f"enters {braced(node.enters)}" if isinstance(node.step, Level) else ""
    keeps = f"keeps {braced(node.keeps)}" if node.keeps else ""
    return " · ".join(filter(None, (node.request, enters, keeps)))


def _summary(plan: ListingPlan) -> str:
    if not plan.costs:
        return f"bucket {plan.bucket} · not run"
    return f"bucket {plan.bucket} · {cost_text(total(plan.costs.values()))}"


def _elided(text: str) -> str:
    text, half = printable(text), (MAX_CHARACTERS - 1) // 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]}…{text[-half:]}"


# --- SVG -----------------------------------------------------------------------------------------

_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_LIGHT = {"card": "#ffffff", "line": "#c4cad1", "text": "#1f2328", "soft": "#59636e"}
# Elements have the light colours as attributes, for viewers that ignore style sheets.
_STYLE = """<style>@media (prefers-color-scheme: dark) {
.avroglob-card { fill: #161b22; stroke: #4a525b } .avroglob-line { stroke: #4a525b }
.avroglob-text { fill: #e6edf3 } .avroglob-soft { fill: #9da7b1 } }</style>"""
# Lengths in px: margin, indent of a level, pill, row, row of what is pruned, head, costs.
_PAD, _INDENT, _PILL, _ROW, _PRUNED, _HEAD, _COSTS = 20, 28, 78, 48, 20, 74, 320


def _left(node: Node) -> int:
    return _PAD + _INDENT * node.depth


def _height(node: Node) -> int:
    return _ROW + (_PRUNED if node.pruned else 0)


def _width(plan: ListingPlan, nodes: Sequence[Node]) -> int:
    """The width that the longest line needs, in px. A character is about 0.6 em wide."""

    def px(text: str, size: float) -> float:
        return 0.6 * size * sum(1 + (east_asian_width(char) in "WF") for char in _elided(text))

    costs = _COSTS if plan.costs else 0
    widths = [480.0, px(plan.pattern, 15) + 2 * _PAD]
    for node in nodes:
        line = _PILL + 10 + max(px(node.where, 13), px(_how(node), 11)) + costs
        widths.append(_left(node) + max(line, 46 + px(node.pruned, 10)) + _PAD)
    return int(max(widths))


def _sheet(plan: ListingPlan, nodes: Sequence[Node], width: int, height: int) -> Iterator[str]:
    """One plan: its pattern and totals, the tree on the left, costs on the right."""
    frame = {"class_": "avroglob-card", "fill": _LIGHT["card"], "stroke": _LIGHT["line"]}
    yield _tag("rect", width=width, height=height, rx=10, **frame)
    yield _text(_PAD, 32, plan.pattern, 15, font_family=_MONO, font_weight=600)
    yield _text(_PAD, 54, _summary(plan), 12, soft=True)
    trunk = {0: _HEAD - 8}  # by level, where the line to the next card of the level starts
    top = _HEAD
    for node in nodes:
        yield from _branch(node, trunk, top)
        verb, colour = _KINDS[node.step.kind]
        left, text = _left(node), _left(node) + _PILL + 10
        yield _tag("rect", x=left, y=top + 4, width=_PILL, height=22, rx=11, fill=colour)
        white = {"fill": "#ffffff", "font_size": 11, "font_weight": 600, "text_anchor": "middle"}
        yield _tag("text", escape(verb), x=left + _PILL / 2, y=top + 19, **white)
        yield _text(text, top + 20, node.where or "(the whole bucket)", 13, font_family=_MONO)
        yield _text(text, top + 37, _how(node), 11.5, soft=True)
        if node.cost is not None:
            cost = cost_text(node.cost)
            yield _text(width - _PAD, top + 20, cost, 11.5, soft=True, text_anchor="end")
        top += _height(node)


def _branch(node: Node, trunk: dict[int, int], top: int) -> Iterator[str]:
    """The line that leads to a card, and the broken one to what is pruned below it."""
    level, left, middle = node.depth, _left(node), top + 15
    if level:
        yield _line(f"M{left - 15} {trunk[level]}V{middle - 6}q0 6 6 6H{left}")
        trunk[level] = middle - 6
    trunk[level + 1] = middle + 11
    if node.pruned:
        y = top + _ROW + 4
        bend = f"M{left + 13} {middle + 11}V{y - 6}q0 6 6 6H{left + 26}"
        yield _line(bend, stroke_dasharray="3 3")
        yield _line(f"M{left + 30} {y - 4}l8 8m0 -8l-8 8")
        yield _text(left + 46, y + 4, node.pruned, 11, soft=True, font_style="italic")


def _text(x: int, y: int, text: str, size: float, *, soft: bool = False, **style: object) -> str:
    kind = "soft" if soft else "text"
    style |= {"class_": f"avroglob-{kind}", "fill": _LIGHT[kind], "xml:space": "preserve"}
    return _tag("text", escape(_elided(text)), x=x, y=y, font_size=size, **style)


def _line(path: str, **style: object) -> str:
    style |= {"class_": "avroglob-line", "stroke": _LIGHT["line"], "stroke_width": 1.5}
    return _tag("path", d=path, fill="none", **style)


def _tag(name: str, content: str = "", /, **attributes: object) -> str:
    """An element; ``class_`` and ``font_size`` are the attributes ``class`` and ``font-size``."""
    pairs = ((key.strip("_").replace("_", "-"), str(value)) for key, value in attributes.items())
    return f"<{' '.join([name, *(f'{k}={quoteattr(v)}' for k, v in pairs)])}>{content}</{name}>"


# --- Mermaid -------------------------------------------------------------------------------------


def _flowchart(root: str, plan: ListingPlan) -> Iterator[str]:
    yield f'  {root}["{_label(plan.pattern, _summary(plan))}"]'
    above = [root]
    for number, node in enumerate(_shown(plan)):
        name = f"{root}s{number}"
        cost = "" if node.cost is None else cost_text(node.cost)
        label = _label(f"{_KINDS[node.step.kind][0]} {node.where}", _how(node), cost)
        yield f'  {above[node.depth]} --> {name}["{label}"]:::{node.step.kind}'
        above[node.depth + 1 :] = [name]
        if node.pruned:
            yield f'  {name} -.- {name}x["{_label(node.pruned)}"]:::pruned'


def _label(*texts: str) -> str:
    """Lines of text; Mermaid's character codes hide what it or HTML may read as syntax."""
    coded = (
        "".join(c if c.isalnum() or c in " /=-_.,:()" else f"#{ord(c)};" for c in _elided(text))
        for text in texts
        if text
    )
    return "<br/>".join(coded)
