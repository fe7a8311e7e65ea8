"""Patterns that would explode are refused, and large ones matched in bounded work."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.errors import PatternError
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.glob.plan import ListingPlan
from fsspec_avroglob.glob.tokens import Choice, Text, tokens_regex
from tests.support.plans import state_at


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 200 + "b", "a" * 5_000),
        ("*a?c" * 100 + "*b", "axc" * 2_000),
        ("*[ab]" * 100 + "c", "ab" * 2_500),
        ("**/a*/" * 50 + "b", "a/" * 2_000),
        ("**/" * 100 + "b", "a/" * 2_000),
        ("**/*a*a*/**/*b*b*/**/c", "aaaa/bbbb/" * 500),
        ("*{a,aa}*{a,aa}*{a,aa}*{a,aa}*{a,aa}*{a,aa}*b", "a" * 1_000),
        ("{*a*,*b*}{*a*,*b*}{*a*,*b*}c", "ab" * 500),
    ],
)
def test_hostile_paths_cost_bounded_work(pattern: str, path: str) -> None:
    assert not GlobPattern.parse(pattern).matches(path)


REFUSED_FOR_SIZE = {
    "braces over levels": "{a/x,b}" * 40,
    "stars beside braces": "*{a,b}" * 40,
    "recursion in braces": "{**/a,b}/" * 12 + "x",
    "nested braces": "{" * 200 + "a" + "}" * 200,
    "a long range": "{1..99999}",
    "numbers of many digits": "{" + "9" * 5_000 + ".." + "9" * 5_000 + "}",
    "a long text": "x" * 300_000,
    "many tokens": "?" * 40_000,
    "many ranges": "{1..9999}*" * 4,
    "many components": "a/" * 600,
    "many recursions": "**/a/" * 65 + "x",
    "readings of one name": "x" + "{,a}" * 34,
    "braces and text that are multiplied": "{a/,b/}" * 9 + "?" * 200,
    "forms of many components": ("{a,b*}" * 9 + "/") * 60,
}
TAKEN_IN_ANY_SIZE = {
    "braces": "{a,b}" * 40,
    "recursion": "**/" * 400 + "x",
    "recursion and stars": "**/a*/" * 60 + "x",
    "a long class": "[" + "a-z" * 5_000 + "]*",
    "many classes": "[a-zA-Z0-9]" * 200 + "*",
    "stars and classes": "*[ab]" * 100,
    "stars": "*a" * 300,
    "question marks": "?" * 2_000,
    "unclosed classes": "[" * 2_000,
    "a range beside long text": "x" * 5_000 + "{0..9999}",
    "a range beside many choices of one": "{0000..9999}" + "{a}" * 8_000,
    "many components": "*/" * 510 + "x",
    "components with several readings": "{,a}{,a}/" * 200 + "x",
    "forms of components": "{*a*,a*}/" * 200 + "x",
}


@pytest.mark.parametrize("text", REFUSED_FOR_SIZE.values(), ids=list(REFUSED_FOR_SIZE))
def test_exploding_pattern_is_refused(text: str) -> None:
    with pytest.raises(PatternError, match=r"more than|longer than"):
        GlobPattern.parse(f"bucket/{text}")


@pytest.mark.parametrize("text", TAKEN_IN_ANY_SIZE.values(), ids=list(TAKEN_IN_ANY_SIZE))
def test_large_pattern_matches_linearly(text: str) -> None:
    pattern = GlobPattern.parse(f"bucket/{text}")

    # Any of these would never end with a regular expression that tries all ways.
    for name in ("a" * 1_000, "ab" * 500, "a/" * 300 + "y", "a" * 999 + "\n"):
        pattern.matches(f"bucket/{name}")
        pattern.matches(f"bucket/{name}", is_dir=True)
    [plan] = ListingPlan.for_pattern(pattern)
    plan.steps(plan.root)
    plan.seek(plan.branches, "", "a/a")
    plan.first(plan.branches, "")


PIECES = ["*", "?", "**", "/", "{", "}", ",", "[", "]", "!", "a", "b", "{a,b*}", "{a,b/c}"]
PIECES += ["{,a}", "{1..9}", "{001..9999}", "[a-z]", "[!a]", "[/a]", "**/", "{**,a}", "\n", "\0"]


@given(st.lists(st.sampled_from(PIECES), max_size=60), st.integers(1, 50))
@settings(max_examples=80)
def test_any_text_is_usable_or_refused(pieces: list[str], times: int) -> None:
    try:
        pattern = GlobPattern.parse("bucket/" + "".join(pieces) * times)
        plans = ListingPlan.for_pattern(pattern)
    except ValueError:
        return
    for plan in plans:
        for directory in ("", "a/", "a/b/"):
            state = state_at(plan, directory)
            if state:
                plan.steps(state)
                assert plan.first(state, directory).startswith(directory[:-1])
                after = plan.seek(state, directory, f"{directory}a")
                assert after is None or after >= f"{directory}a"
        for key in ("a" * 1_000, "a/" * 500):
            plan.keeps_file(key)
            plan.keeps_directory(f"{key}/")


@given(st.lists(st.text("a0-]^\\[&|~# .", max_size=5), min_size=1, max_size=30), st.text("a0-]^"))
@example(["a" * n for n in range(60)], "a" * 59)
@example(["a" * n for n in range(0, 3000, 100)], "a" * 2900)
def test_choice_matches_only_its_texts(texts: list[str], other: str) -> None:
    [token] = [Choice(tuple((Text(text),) if text else () for text in texts))]
    matches = re.compile(tokens_regex([token])).fullmatch

    assert all(map(matches, texts))
    assert bool(matches(other)) == (other in texts)


@pytest.mark.parametrize(
    ("text", "longest"),
    [("*{0000..9999}", 100), ("*{" + ",".join(f"{i * i:06x}" for i in range(4_000)) + "}", 40_000)],
)
def test_alternatives_make_a_trie(text: str, longest: int) -> None:
    [plan] = ListingPlan.for_pattern(GlobPattern.parse(f"bucket/{text}"))
    source = plan.file_pattern.pattern

    # At each character of a key at most sixteen alternatives, not one for each text.
    assert most_alternatives(re._parser.parse(source)) <= 16  # type: ignore[attr-defined]
    assert len(source) < longest


def most_alternatives(parsed: Any) -> int:
    """The most branches at one place of an expression that Python's parser has read."""
    if isinstance(parsed, list | tuple):
        inner = max(map(most_alternatives, parsed), default=1)
        branches = parsed[1][1] if parsed and str(parsed[0]) == "BRANCH" else ()
        return max(inner, len(branches))
    return most_alternatives(parsed.data) if hasattr(parsed, "data") else 1
