"""Drawings of plans: well-formed, complete, escaped, of bounded size."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.explain import outline
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.glob.plan import ListingPlan
from fsspec_avroglob.glob.svg import MAX_CHARACTERS, MAX_STEPS, GlobPlan
from tests.conftest import PutObjects
from tests.support.keyspace import Keyspace
from tests.support.plans import parsed
from tests.support.trees import patterns

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>&amp;\"'`\x00\x1b]]>{a,<b}*/end;%%{init: x}[*]"


def plan_of(text: str) -> GlobPlan:
    return GlobPlan(text, tuple(ListingPlan.for_pattern(GlobPattern.parse(text))))


def texts(svg: str) -> list[str]:
    """The lines of text of a drawing."""
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


@settings(max_examples=100)
@given(patterns, st.none() | st.integers(1, 3))
def test_every_step_is_drawn(text: str, maxdepth: int | None) -> None:
    plan = parsed(text, maxdepth)
    drawn = GlobPlan(text, (plan,))
    shown, chart = texts(drawn.to_svg()), drawn.to_mermaid()
    steps = list(outline(plan))
    assert plan.pattern in shown
    for node in steps:
        assert not node.where or node.where in shown
    assert len(re.findall(r"^  p0\w* --> p0s\d+\[", chart, re.MULTILINE)) == len(steps)


@pytest.mark.parametrize(
    ("pattern", "pruned"),
    [
        ("b/x/*.avro", ["any other name: never listed", "directories: not entered"]),
        ("b/y=*/z", ["other directories: not entered"]),
        ("b/*/z", []),
        ("b/**", []),
    ],
)
def test_pruned_names_are_drawn(pattern: str, pruned: list[str]) -> None:
    plan = plan_of(pattern)
    assert [text for text in texts(plan.to_svg()) if ": n" in text] == pruned
    assert plan.to_mermaid().count("-.-") == len(pruned)


def test_last_filter_is_drawn() -> None:
    assert "delimiter=/ · keeps part-*.avro" in texts(plan_of("b/part-*.avro").to_svg())
    assert "delimiter=/ · keeps *.d/" in texts(plan_of("b/*.d/").to_svg())


def test_costs_are_drawn_after_a_run() -> None:
    plan = plan_of("b/a/*/x")
    assert "bucket b · not run" in texts(plan.to_svg())
    Keyspace([f"a/{i}/x" for i in range(9)], page_size=5).run(plan.plans[0])
    shown = texts(plan.to_svg())
    assert f"bucket b · {plan.requests} requests, 9 keys seen, 9 kept" in shown
    assert any(re.fullmatch(r"\d+ requests?, \d+ keys? seen, \d+ kept", text) for text in shown)
    assert "keys seen" in plan.to_mermaid()


def test_notebook_shows_the_drawing(bucket: str, put: PutObjects, fs: AvroGlobFileSystem) -> None:
    put({"a/1.avro": b"", "a/2.txt": b""})
    html = fs.explain(f"{bucket}/*/*.avro", run=True)._repr_html_()
    root = ET.fromstring(html)
    assert root.tag == "div"
    assert f"bucket {bucket} · 1 request, 2 keys seen, 1 kept" in texts(html)


def test_hostile_text_remains_text() -> None:
    plan = plan_of(f"b/{HOSTILE}")
    root = ET.fromstring(plan.to_svg())  # which refuses control characters
    assert {node.tag.removeprefix(SVG) for node in root.iter()} <= {
        "svg", "style", "g", "rect", "text", "path",
    }  # fmt: skip
    assert any("<script>alert(1)</script>" in text for text in texts(plan.to_svg()))
    for line in plan.to_mermaid().splitlines():
        inside = re.findall(r'\["(.*?)"\]', line)
        for label in inside:
            assert not re.search(r"[<>`&\"{}\[\]%]", label.replace("<br/>", ""))
        assert line.count('"') == 2 * len(inside)


def test_drawing_is_self_contained() -> None:
    svg = plan_of("b/a/{x,y*}/*").to_svg()
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"url\(|href|@import|<script|on\w+=", svg)


def test_long_text_is_elided() -> None:
    shown = texts(plan_of(f"b/{'n' * 200}/*").to_svg())
    assert any("nnn…nnn" in text for text in shown)
    assert max(map(len, shown)) <= MAX_CHARACTERS


def test_large_plan_is_drawn_in_part() -> None:
    plan = plan_of("b/" + "a*/" * 500 + "x")
    svg = plan.to_svg()
    assert f"and {501 - MAX_STEPS} more steps" in texts(svg)
    assert len(svg) < 100_000
    assert len(plan.to_mermaid()) < 100_000


def test_every_bucket_is_drawn() -> None:
    shown = texts(plan_of("{one,two}/x/*").to_svg())
    assert {"bucket one · not run", "bucket two · not run"} <= set(shown)
