"""Plans: the steps of a pattern, their order, and what they print."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.glob.plan import (
    EVERYTHING,
    LAST,
    Descend,
    Exact,
    Flat,
    Level,
    ListingPlan,
    Match,
    Range,
    before,
)
from tests.support.keyspace import directories_of
from tests.support.plans import parsed, plan_for, state_at
from tests.support.trees import keys, patterns, trees

# --- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("*", [Match(("",))]),
        ("part-*", [Match(("part-",))]),
        ("*.avro", [Match(("",))]),
        ("{a*,b/c}", [Descend(("b",)), Match(("a",))]),
        ("{a,b}", [Exact(("a", "b"))]),
        ("part-0[3-5]*", [Range(("part-03", "part-04", "part-05"))]),
        ("[3-5]*", [Range(("3", "4", "5"))]),
        ("[357]*", [Match(("3", "5", "7"))]),
        ("{a,ab}*", [Match(("a",))]),
        ("a/*", [Descend(("a",))]),
        ("{2023,2025}/*", [Descend(("2023", "2025"))]),
        ("0[1-3]/*", [Descend(("01", "02", "03"))]),
        ("{00..02}/*", [Descend(("00", "01", "02"))]),
        ("*/a", [Level(("",))]),
        ("year=*/a", [Level(("year=",))]),
        ("{a,b*}/x", [Level(("a", "b"))]),
        ("{a/x,b*/y}", [Descend(("a",)), Level(("b",))]),
        ("{a/x,a*/y}", [Level(("a",))]),
        ("**", [Flat(("",))]),
        ("**/a", [Flat(("",))]),
        ("{a/**,b*}", [Descend(("a",)), Match(("b",))]),
    ],
)
def test_pattern_has_cheapest_steps(text: str, steps: list[object]) -> None:
    plan = plan_for(text)
    assert list(plan.steps(plan.root)) == steps


@settings(max_examples=200)
@given(trees(empty_segments=True), patterns, st.none() | st.integers(1, 3))
def test_plan_enters_every_match(tree: set[str], text: str, maxdepth: int | None) -> None:
    plan = parsed(text, maxdepth)
    files = filter(plan.keeps_file, tree)
    directories = filter(plan.keeps_directory, directories_of(tree))
    for path in [*files, *(directory[:-1] for directory in directories)]:
        parent = path[: path.rfind("/") + 1]
        assert state_at(plan, parent), path
        for ancestor in [path[:i] for i, char in enumerate(path) if char == "/"]:
            assert state_at(plan, ancestor + "/"), path


@settings(max_examples=200)
@given(patterns)
def test_stems_are_sorted_and_disjoint(text: str) -> None:
    plan = parsed(text)
    for step in plan.steps(plan.root):
        assert list(step.stems) == sorted(set(step.stems))
        if not isinstance(step, Descend | Exact):
            assert not any(a != b and a.startswith(b) for a in step.stems for b in step.stems)


# --- order ---------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(trees(empty_segments=True, max_size=25), patterns, st.data())
@example({"a", "a-", "a/b", "a0"}, "{a,b}", None)
@example({"a/b", "a-/b", "a/b/c"}, "[a-b]/b", None)
def test_seek_skips_no_match(tree: set[str], text: str, data: st.DataObject | None) -> None:
    plan = parsed(text)
    directory = ""
    if data is not None:
        directory = data.draw(st.sampled_from(sorted({"", *directories_of(tree)})))
    state = state_at(plan, directory)
    assume(state)
    inside = [key for key in tree if key.startswith(directory) and key != directory]
    # A directory is found by the first key in it.
    matches = {key for key in inside if plan.keeps_file(key)}
    for path in filter(plan.keeps_directory, directories_of(inside)):
        if len(path) > len(directory):
            matches.add(min(key for key in inside if key.startswith(path)))
    for key in inside:
        place = plan.seek(state, directory, key)
        later = [match for match in matches if match > key]
        if place is None:
            assert not later, key
            continue
        assert place >= key
        assert not [match for match in later if match <= place], (key, place)
        again = plan.seek(state, directory, place)
        assert again is None or again >= place


@pytest.mark.parametrize("text", ["*", "*/b", "{a,b}/c", "[ab]"])
def test_seek_never_goes_back(text: str) -> None:
    plan = plan_for(text)
    key = "a/\U0010ffff\U0010ffff/c"
    place = plan.seek(plan.root, "", key)
    assert place is not None
    assert place >= key


@settings(max_examples=200)
@given(trees(empty_segments=True), patterns)
def test_first_skips_no_match(tree: set[str], text: str) -> None:
    plan = parsed(text)
    for directory in {"", *directories_of(tree)}:
        state = state_at(plan, directory)
        if not state:
            continue
        first = plan.first(state, directory)
        for key in tree:
            if key.startswith(directory) and key != directory and plan.keeps_file(key):
                assert key > first


@settings(max_examples=200)
@given(keys())
def test_before_is_just_before(text: str) -> None:
    place = before(text)
    assert place < text
    assert place + "\U0010ffff" < text or not place.endswith(LAST)
    place.encode()


@pytest.mark.parametrize("text", ["\x1f", "a ", "\ue000", "a\ue000", "\U00010000"])
def test_before_is_valid_xml(text: str) -> None:
    place = before(text)
    assert place < text
    assert all(ord(char) >= 0x20 and not 0xD800 <= ord(char) < 0xE000 for char in place)


# --- from a pattern ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["*", "*/a", "b*/a", "b?/a", "**", "**/a", "[!a]/b", "{a,b*}/c", "{a/b,**}", "", "/a"]
)
def test_bucket_is_required(text: str) -> None:
    with pytest.raises(ValueError, match="Cannot traverse all of S3") as caught:
        ListingPlan.for_pattern(GlobPattern.parse(text))
    assert repr(text) in str(caught.value)


def test_bucket_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="'lake' is only a bucket"):
        ListingPlan.for_pattern(GlobPattern.parse("lake"))


def test_braces_name_several_buckets() -> None:
    plans = ListingPlan.for_pattern(GlobPattern.parse("{one/a*,two/{b,c}/*,logs-[1-2]/d}"))
    steps = {plan.bucket: list(plan.steps(plan.root)) for plan in plans}
    assert steps == {
        "one": [Match(("a",))],
        "two": [Descend(("b", "c"))],
        "logs-1": [Exact(("d",))],
        "logs-2": [Exact(("d",))],
    }


def test_branches_of_a_bucket_merge() -> None:
    [plan] = ListingPlan.for_pattern(GlobPattern.parse("b/{x/*,y*/z,x/*}"))
    assert len(plan.branches) == 2


@pytest.mark.parametrize(
    ("text", "maxdepth", "matching", "other"),
    [
        ("**", 1, ["a"], ["a/b"]),
        ("**", 2, ["a", "a/b"], ["a/b/c"]),
        ("a/**", 1, ["a/b"], ["a/b/c"]),
        ("{a/**,b/*/c}", 1, ["a/b", "b/x/c"], ["a/b/c"]),
        ("a/*/c", 1, ["a/b/c"], ["a/b"]),
    ],
)
def test_maxdepth_limits_two_stars(
    text: str, maxdepth: int, matching: list[str], other: list[str]
) -> None:
    plan = plan_for(text, maxdepth)
    assert [key for key in matching + other if plan.keeps_file(key)] == matching


def test_keeps_all_means_everything() -> None:
    assert plan_for("a/**").keeps_all(EVERYTHING)
    assert not plan_for("a/**", maxdepth=2).keeps_all(EVERYTHING)
    assert not plan_for("a/**/").keeps_all(EVERYTHING)
