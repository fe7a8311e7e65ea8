"""The glob grammar: what each token matches, what is refused, and that it agrees with fsspec."""

from __future__ import annotations

import pickle
import random
import re
import warnings
from itertools import islice

import pytest
from fsspec.utils import glob_translate
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.errors import PatternError
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.glob.pattern import MAX_BRANCHES, MAX_VALUES, GlobPattern, Segment
from fsspec_avroglob.glob.tokens import MAX_STEMS, disjoint_prefixes
from tests.support.trees import (
    brace_free_patterns,
    keys,
    names,
    paths_with,
    patterns,
    wide_names,
)


def parsed(text: str) -> GlobPattern:
    """The pattern, or no example at all when the generated text is not valid."""
    try:
        return GlobPattern.parse(text)
    except PatternError:
        assume(False)
        raise


def segment(text: str) -> Segment:
    [branch] = GlobPattern.parse(text).branches
    assert len(branch) == 1
    return branch[0]


def without_braces(text: str) -> str:
    """A brace-free form, in which fsspec takes ``{`` for itself, in our own grammar."""
    return re.sub(r"(\[!?\]?[^]/]*\])|\{", lambda found: found[1] or "[{]", text)


def fsspec_matches(pattern: str, path: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # "[[" in a set, which fsspec passes on to re
        return re.match(glob_translate(pattern), path) is not None


# --- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*", ["a", ".a", "a b"], ["", "a/b", "/"]),
        ("a*", ["a", "ab"], ["b", "a/", "a/b"]),
        ("*a*", ["a", "bab"], ["", "b"]),
        ("a*b*c", ["abc", "axbxc", "abcbc"], ["ab", "acb", "a/bc"]),
        ("?", ["a", "é", "\U0001f600", "\n"], ["", "/", "ab"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[abc]", ["a", "c"], ["", "d", "ab", "[abc]"]),
        ("[a-c]", ["a", "b", "c"], ["d", "-"]),
        ("[a-cx-z]", ["b", "y"], ["d", "-"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[-a]", ["a", "-"], ["b"]),
        ("[]a]", ["]", "a"], ["b", "[]a]"]),
        ("[!a-c]", ["d", "!", "-"], ["a", "b", "/", ""]),
        ("[!]a]", ["b"], ["]", "a"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("[\\]", ["\\"], ["]"]),
        ("[z-a]", [], ["z", "a", "-", "", "[z-a]"]),
        ("[!z-a]", ["z", "a", "-"], ["/", ""]),
        ("[.-0]", [".", "0"], ["/", "1"]),
        ("x[.-0]y", ["x.y"], ["x/y"]),
        ("x[!a]y", ["xby"], ["x/y"]),
        ("[&&a]", ["&", "a"], ["b"]),
        ("[a||b]", ["|", "b"], ["c"]),
        ("**", ["a", "a/b", "a/b/c", ""], []),
        ("**/a", ["a", "b/a", "c/b/a"], ["ba", "a/b"]),
        ("a/**", ["a/b", "a/b/c", "a/"], ["a", "b/a", "ab"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "a/b/c"]),
        ("**/a/**/b", ["a/b", "x/a/y/b", "a/a/b/b"], ["b/a", "a"]),
        ("**/**/a", ["a", "b/a"], ["ba"]),
        ("a/**/**", ["a/b", "a/b/c"], ["b"]),
        ("a+b(c).$^|", ["a+b(c).$^|"], ["aab(c).$^|", "a+b(c)x$^|"]),
    ],
)
def test_tokens_match_the_grammar(pattern: str, matching: list[str], other: list[str]) -> None:
    glob = GlobPattern.parse(pattern)
    assert [path for path in matching + other if glob.matches(path)] == matching
    assert str(glob) == pattern


@pytest.mark.parametrize("character", list("*?[]{},!-/\\"))
def test_one_character_set_is_literal(character: str) -> None:
    assume_literal = f"a[{character}]b"
    if character == "/":
        assert GlobPattern.parse(assume_literal).matches("a[/]b"), "no set reaches over a segment"
        return
    glob = GlobPattern.parse(assume_literal if character != "]" else "a[]]b")
    expected = f"a{character}b"
    if character == "!":
        expected = "a[!]b"  # "[!" opens a negated set, which is not closed here
    assert glob.matches(expected)
    assert not glob.matches("axb")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("a[b", "a[b"), ("[", "["), ("[]", "[]"), ("[!]", "[!]"), ("a[b/c]d", "a[b/c]d")],
)
def test_open_bracket_is_literal(pattern: str, path: str) -> None:
    assert GlobPattern.parse(pattern).matches(path)
    assert fsspec_matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("{a,b}", ["a", "b"], ["", "{a,b}", "ab", "a,b"]),
        ("x{a,bc}y", ["xay", "xbcy"], ["xy", "xabcy"]),
        ("{a}", ["a"], ["{a}"]),
        ("a{,b}", ["a", "ab"], ["b"]),
        ("{a,{b,c}d}", ["a", "bd", "cd"], ["b", "d", "ad"]),
        ("{a*,?b}", ["a", "ax", "xb"], ["b", "xxb"]),
        ("{a,b}{0,1}", ["a0", "a1", "b0", "b1"], ["a", "ab"]),
        ("{a/b,c}/d", ["a/b/d", "c/d"], ["a/d", "a/b", "b/d"]),
        ("x{/,}y", ["x/y", "xy"], ["x"]),
        ("{a,b/{c,d/e}}f", ["af", "b/cf", "b/d/ef"], ["a", "bf"]),
        ("{**/a,b}", ["a", "x/y/a", "b"], ["x/b"]),
        ("{**,a}/b", ["b", "x/b", "a/b"], ["a/c"]),
        ("{*,a}", ["a", "b"], ["", "a/b"]),
        ("{*,a}b", ["b", "ab", "xb"], ["a"]),
        ("{*,a}*", ["a", "ab", "x"], ["", "a/b"]),
        ("[{,}]", ["{", ",", "}"], ["a"]),
        ("{[,],[}]}", [",", "}"], ["[,]"]),
        ("{[a,b}", ["[a", "b"], ["a", "[a,b"]),
        ("a,b}", ["a,b}"], ["a"]),
    ],
)
def test_braces_match_alternatives(pattern: str, matching: list[str], other: list[str]) -> None:
    glob = GlobPattern.parse(pattern)
    assert [path for path in matching + other if glob.matches(path)] == matching


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("{1..3}", ["1", "2", "3"]),
        ("{3..1}", ["1", "2", "3"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..011}", ["008", "009", "010", "011"]),
        ("{-1..1}", ["-1", "0", "1"]),
        ("{-01..1}", ["-01", "000", "001"]),
        ("{1..1}", ["1"]),
        ("x{0..1}y{a,b}", ["x0ya", "x0yb", "x1ya", "x1yb"]),
        ("0[1-3]", ["01", "02", "03"]),
        ("[.-0]", [".", "0"]),
        ("{a,a,b}", ["a", "b"]),
    ],
)
def test_finite_segment_has_values(pattern: str, values: list[str]) -> None:
    assert list(segment(pattern).values or ()) == sorted(values)


@pytest.mark.parametrize("text", ["{1..}", "{..2}", "{1..2..3}", "{a..c}", "{1.2}", "{+1..2}"])
def test_other_ranges_are_alternatives(text: str) -> None:
    assert segment(text).values == (text[1:-1],)


def test_trailing_slash_asks_for_dirs() -> None:
    glob = GlobPattern.parse("a/*/")
    assert glob.directories_only
    assert glob.matches("a/b", is_dir=True)
    assert not glob.matches("a/b")
    assert not glob.matches("a", is_dir=True)


def test_last_two_stars_match_directory() -> None:
    glob = GlobPattern.parse("a/**")
    assert glob.matches("a", is_dir=True)
    assert glob.matches("a/b", is_dir=True)


@pytest.mark.parametrize(
    ("path", "magic"),
    [("a/b", False), ("a]b", False), ("a}b", False), ("a,b", False), ("a!-\\", False), ("", False)]
    + [(f"a{character}", True) for character in "*?[{"],
)
def test_magic_is_four_characters(path: str, magic: bool) -> None:
    assert is_glob_pattern(path) is magic


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "position"),
    [
        ("a**", 1),
        ("**a", 0),
        ("b/a**/c", 3),
        ("b/***/c", 2),
        ("****", 0),
        ("{a,b**}", 4),
        ("{a,**}b", 3),
        ("a{b", 1),
        ("a/{b,c", 2),
        ("{a,{b,c}", 0),
        ("{a,{b,c", 3),
        ("{0..10000}", 0),
        ("a/{-5000..5000}", 2),
        ("{" * 51 + "a" + "}" * 51, 50),
        ("{a/,b/}" * 11, 0),
        ("*{a,b}" * 11 + "*", 0),
    ],
)
def test_caret_marks_the_fault(pattern: str, position: int) -> None:
    with pytest.raises(ValueError, match="Invalid pattern: ") as caught:
        GlobPattern.parse(pattern)
    assert isinstance(caught.value, PatternError)
    assert caught.value.pattern == pattern
    assert caught.value.position == position
    assert str(caught.value).split("\n")[1:] == [f"  {pattern}", f"  {' ' * position}^"]


def test_error_pickles() -> None:
    with pytest.raises(PatternError) as caught:
        GlobPattern.parse("a{b")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.pattern, copy.position, copy.reason) == (
        str(caught.value),
        "a{b",
        1,
        caught.value.reason,
    )


def test_pattern_pickles() -> None:
    glob = GlobPattern.parse("a/{b,c*}/**/[!x]?/")
    assert pickle.loads(pickle.dumps(glob)) == glob


def test_patterns_at_bounds_are_accepted() -> None:
    assert len(GlobPattern.parse("{a/,b/}" * 10 + "c").branches) == MAX_BRANCHES
    assert len(segment(f"{{1..{MAX_VALUES}}}").values or ()) == MAX_VALUES
    assert segment("{0..999}{0..999}").values is None, "too many to state, but matched"
    assert segment("{0..999}{0..999}").matches("12345")
    assert len(segment("[a-z][a-z]*").stems) <= MAX_STEMS


@pytest.mark.parametrize("text", ["{0..999}/{0..999}", "{a,b}" * 40, "{x,y" + "{a,b}" * 40 + "}"])
def test_too_many_alternatives_are_refused_before_they_are_made(text: str) -> None:
    with pytest.raises(PatternError, match=f"more than {MAX_VALUES} alternatives"):
        _ = GlobPattern.parse(text).brace_free


@pytest.mark.parametrize("text", ["a/{,b}", "a/{b/,c/}", "*/{}", "**/{,?}", "a/{,b*}{,{c,}}"])
def test_empty_last_component_is_refused(text: str) -> None:
    with pytest.raises(PatternError, match="leaves the last path component empty"):
        GlobPattern.parse(text)


# --- agreement with fsspec -----------------------------------------------------------------------

# Sets that could match "/" are left out: fsspec lets a negated set or a range do so.
_sets_of_names = st.sampled_from(["[ab]", "[a-b]", "[-.]", "[0a-]", "[]a]", "[z-a]", "[ab-a-z]"])
_agreed_segments = st.one_of(
    st.sampled_from(["*", "**", "a", "", "a[", "]"]),
    st.lists(st.one_of(names, _sets_of_names, st.sampled_from("*?")), min_size=1, max_size=5)
    .map("".join)
    .map(lambda text: re.sub(r"\*+", "*", text)),
)
_agreed_patterns = (
    st.lists(_agreed_segments, min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda pattern: pattern and not pattern.endswith("/"))
)


@settings(max_examples=200)
@given(_agreed_patterns, st.lists(keys(), max_size=10), st.integers())
@example("*[z-a]*", ["a"], 0)
def test_plain_patterns_equal_fsspec(pattern: str, paths: list[str], seed: int) -> None:
    glob = GlobPattern.parse(pattern)
    for path in [*paths, "", "/", "a//b", *islice(paths_with(pattern, random.Random(seed)), 20)]:
        assert glob.matches(path) == fsspec_matches(pattern, path), path


@settings(max_examples=200)
@given(
    st.text(st.sampled_from("ab-!]^[&|~\\{,}z"), min_size=1, max_size=6),
    st.lists(st.text(st.sampled_from("ab-!]^[&|~\\{,}zx"), min_size=1, max_size=3), max_size=30),
)
@example("z-a!", [])
@example("z-a!b", [])
@example("z-a!-b", [])
@example("z-az-b!-!-b", [])
@example("!z-a!", [])
def test_sets_equal_fsspec(body: str, others: list[str]) -> None:
    pattern = f"[{body}]"
    glob = parsed(pattern)
    assume(len(glob.branches) == 1)
    if "{" in re.sub(r"\[!?\]?[^]]*\]", "", pattern):
        return  # a brace outside of the set
    for path in [*others, *"ab-!]^[&|~\\{,}zxy", pattern, f"b{pattern[2:]}"]:
        assert glob.matches(path) == fsspec_matches(pattern, path), path


@settings(max_examples=200)
@given(patterns, st.lists(keys(), max_size=10), st.booleans(), st.booleans(), st.integers())
@example("{a,*}*", ["a", "b"], False, False, 0)
@example("{a,[[{]}", ["["], False, False, 0)
@example("{a,[z-a]}", ["[]"], False, False, 0)
@example("{a*,}/**", ["/x", "//x", "a/x"], False, False, 0)
@example("b/{,*}{a,}/x", ["b//x", "b/a/x"], False, False, 0)
@example("**/x{,?}{,*b}", ["-/x", "-/00a", "-/xab"], False, True, 0)
def test_pattern_is_union_of_expansions(
    pattern: str, paths: list[str], slash: bool, is_dir: bool, seed: int
) -> None:
    glob = parsed(pattern + "/" * slash)
    forms = [GlobPattern.parse(without_braces(form)) for form in glob.brace_free]
    for path in [*paths, *islice(paths_with(pattern, random.Random(seed)), 20)]:
        expected = any(form.matches(path, is_dir) for form in forms)
        assert glob.matches(path, is_dir) == expected, path


@settings(max_examples=200)
@given(brace_free_patterns)
def test_plain_pattern_is_its_expansion(pattern: str) -> None:
    [form] = GlobPattern.parse(pattern).brace_free
    [branch] = GlobPattern.parse(form).branches
    assert GlobPattern.parse(pattern).branches == (branch,)


@settings(max_examples=200)
@given(wide_names)
def test_escaped_text_matches_itself(name: str) -> None:
    escaped = re.sub(r"[*?\[{]", r"[\g<0>]", name)
    glob = GlobPattern.parse(escaped)
    assert segment(escaped).values == (name,)
    assert glob.matches(name)
    assert not glob.matches(name + "x")
    assert fsspec_matches(glob.brace_free[0], name)


# --- what is derived from a segment --------------------------------------------------------------


@settings(max_examples=200)
@given(patterns, st.lists(names, max_size=20), st.integers())
def test_stems_and_values_cover_every_match(pattern: str, others: list[str], seed: int) -> None:
    glob = parsed(pattern)
    parts = {name for branch in glob.branches for seg in branch for name in (seg.values or ())[:50]}
    parts |= {
        p for path in islice(paths_with(pattern, random.Random(seed)), 20) for p in path.split("/")
    }
    for seg in {seg for branch in glob.branches for seg in branch}:
        assert disjoint_prefixes(seg.stems) == seg.stems
        for value in (seg.values or ())[:50]:
            assert seg.matches(value)
        for name in parts | set(others):
            if seg.matches(name):
                assert name.startswith(seg.stems)
                assert seg.values is None or name in seg.values


@settings(max_examples=100)
@given(st.lists(st.text(st.sampled_from("ab"), max_size=4)))
def test_disjoint_prefixes_cover_all(prefixes: list[str]) -> None:
    kept = disjoint_prefixes(prefixes)
    assert list(kept) == sorted(set(kept))
    assert set(kept) <= set(prefixes)
    assert all(prefix.startswith(kept) for prefix in prefixes)
    assert not any(a != b and a.startswith(b) for a in kept for b in kept)
