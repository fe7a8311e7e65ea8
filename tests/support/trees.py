"""Trees of objects, and strategies for trees and for patterns that often match in them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from hypothesis import strategies as st

# No key is also a directory: find, du and info of s3fs contradict one another about such keys.
TREE = [
    "a.txt",
    "b",
    "b-/x",
    "b.d/x.avro",
    "c/d/e/f.avro",
    "c/d/e/g.avro",
    "c/d/h.avro",
    "c/d0/h.avro",
    "c/i.csv",
    "c/éé/日本.avro",
    "dir 1/a+b.txt",
    "dir 1/per%20cent",
    "x[1]/y*.txt",
    "x[1]/y?.txt",
    "year=2023/month=01/part-00000.avro",
    "year=2023/month=01/part-00001.avro",
    "year=2023/month=02/part-00000.avro",
    "year=2024/month=01/part-00000.avro",
    "year=2024/month=12/part-00003.avro",
    "z/z/z/z",
]

# Characters that sort before and after "/"; some are two or four bytes long.
ALPHABET = "ab0-.é\U0001f600"
WIDE_ALPHABET = ALPHABET + "[]{},!^*?~ %+&\\|\n"

names = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=3)
"""Names of few characters, so that patterns often match them and names often repeat."""

wide_names = st.text(st.sampled_from(WIDE_ALPHABET), min_size=1, max_size=4)
"""Names with characters that are special in a pattern or a regular expression."""


def keys(name: st.SearchStrategy[str] = names, max_depth: int = 5) -> st.SearchStrategy[str]:
    """Object keys without empty segments."""
    return st.lists(name, min_size=1, max_size=max_depth).map("/".join)


def trees(
    name: st.SearchStrategy[str] = names, *, max_size: int = 40, empty_segments: bool = False
) -> st.SearchStrategy[set[str]]:
    """Sets of keys; with *empty_segments* some contain ``//`` or end in ``/``."""
    key = keys(name)
    if empty_segments:
        key = st.one_of(
            key, key, key, key.map(lambda k: k + "/"), st.tuples(key, key).map("//".join)
        )
    return st.sets(key, min_size=1, max_size=max_size)


_pieces = st.one_of(
    st.sampled_from(ALPHABET),
    st.sampled_from(["*", "*", "?", "[ab]", "[!a]", "[a-b]", "[-.]", "[.-0]", "[!.-0]"]),
)

wildcard_segments = st.one_of(
    st.just("*"),
    st.lists(_pieces, min_size=1, max_size=4)
    .map("".join)
    .map(lambda text: re.sub(r"\*+", "*", text)),
)
"""One segment of a brace-free pattern."""

segments = st.one_of(wildcard_segments, wildcard_segments, names, names, st.just("**"))

brace_free_patterns = st.lists(segments, min_size=1, max_size=5).map("/".join)
"""Patterns that fsspec also understands."""

_options = st.one_of(
    names, wildcard_segments, st.just(""), st.tuples(names, wildcard_segments).map("/".join)
)
_braces = st.one_of(
    st.lists(_options, min_size=1, max_size=4).map(lambda o: "{" + ",".join(o) + "}"),
    st.sampled_from(["{0..3}", "{00..02}", "{a,{b,-}}", "{a*,b?}", "{a/b,b/{a,0}}", "{a,**}"]),
)
_brace_segments = st.one_of(
    segments,
    _braces,
    st.tuples(names, _braces).map("".join),
    st.tuples(_braces.filter(lambda b: "**" not in b), st.sampled_from(["*", "a", "?", ""])).map(
        "".join
    ),
)

patterns = st.lists(_brace_segments, min_size=1, max_size=4).map("/".join)
"""Patterns of the whole grammar; a few are invalid."""


def paths_with(pattern: str, draw: random.Random) -> Iterator[str]:
    """Endless paths that resemble *pattern*: its text with special characters replaced."""
    while True:
        yield "".join(
            draw.choice(["", "a", "b/", "0", "ab", "/", "-"]) if char in "*?[]{},!" else char
            for char in pattern
            if draw.random() < 0.9
        )


def random_tree(seed: int, size: int = 40) -> list[str]:
    """Keys of short names from few characters; some keys are also directories."""
    draw = random.Random(seed)

    def name() -> str:
        return "".join(draw.choices("ab0-.", k=draw.randint(1, 2)))

    return sorted({"/".join(name() for _ in range(draw.randint(1, 4))) for _ in range(size)})


def natural_tree(seed: int, *, limit: int = 20_000) -> list[str]:
    """A tree as programs write it: levels of few or many names, leaves of few or many files.

    The same *seed* gives the same tree. *limit* bounds the number of keys.
    """
    draw = random.Random(seed)
    level: list[str] = [""]
    for depth in range(draw.randint(1, 5)):
        kind = draw.choice(["year", "counter", "letters", "one"])
        most = max(1, limit // (len(level) * 4))
        count = 1 if kind == "one" else min(draw.choice([2, 5, 12, 30, 300]), most)
        width = draw.randint(0, 1) * 3
        level = [
            f"{directory}{_name(kind, depth, i, width)}/"
            for directory in level
            for i in range(count if draw.random() < 0.9 else max(1, count // 4))
        ]
    files = min(draw.choice([1, 2, 4, 40, 3000]), max(1, limit // len(level)))
    extensions = draw.sample(["avro", "csv", "crc"], draw.randint(1, 3))
    tree = [
        f"{directory}part-{i:05}.{extension}"
        for directory in level
        for i in range(files if draw.random() < 0.9 else draw.randint(0, 3 * files))
        for extension in extensions
    ]
    tree += [directory + "_SUCCESS" for directory in level if draw.random() < 0.1]
    return tree[: 2 * limit]


def _name(kind: str, depth: int, index: int, width: int) -> str:
    match kind:
        case "year":
            return f"year={2000 + index}"
        case "letters":
            return chr(ord("a") + index % 26) * (1 + index // 26) + "xyz"
        case _:
            return f"l{depth}={index:0{width}}"


def scattered_tree(seed: int) -> list[str]:
    """A tree of very many directories at all depths, each with one or a few files."""
    draw = random.Random(seed)
    alphabets = [
        draw.choice(["ab", "abc", "01234", "0123456789"]) for _ in range(draw.randint(2, 5))
    ]
    widths = [draw.randint(1, 3) for _ in alphabets]
    files = draw.choice([["p"], ["a.avro", "b.avro", "p.avro"], [f"{i:03}.avro" for i in range(9)]])
    keys: set[str] = set()
    for _ in range(draw.choice([200, 1500])):
        depth = draw.choice([len(alphabets), draw.randint(1, len(alphabets))])
        names = [
            "".join(draw.choices(alphabet, k=width))
            for alphabet, width in zip(alphabets[:depth], widths, strict=False)
        ]
        for file in draw.sample(files, draw.randint(1, min(3, len(files)))):
            keys.add("/".join([*names, file]))
    return sorted(keys)


def deepened(pattern: str, seed: int) -> str:
    """The pattern with ``**`` in it."""
    draw = random.Random(seed)
    segments = pattern.split("/")
    if "**" not in segments:
        start = draw.randrange(len(segments))
        segments[start : start + draw.randint(0, 2)] = ["**"]
    return "/".join(segments)


def natural_patterns(tree: list[str], seed: int, count: int) -> list[str]:
    """Patterns made from the paths of a tree: wildcards, sets and braces replace segments."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        *directories, name = draw.choice(tree).split("/")
        replaced = [_generalised(segment, draw) for segment in directories]
        if replaced and draw.random() < 0.15:
            start = draw.randrange(len(replaced))
            replaced[start : start + draw.randint(1, 3)] = ["**"]
        last = draw.choice(["*", "*.avro", "part-00000.*", name, "part-*[3-5].avro", "_SUCCESS"])
        made.append("/".join([*replaced, last]))
    return made


def _generalised(segment: str, draw: random.Random) -> str:
    match draw.randrange(8):
        case 0 | 1 | 2:
            return segment
        case 3 | 4:
            return "*"
        case 5:
            return segment.rstrip("0123456789").rstrip("=") + "*"
        case 6:
            return segment[:-1] + "[0-4]"
        case _:
            return segment[:-1] + "{1,2," + segment[-1] + "}"


def uneven_tree(seed: int, *, limit: int = 3_000) -> list[str]:
    """A tree in which neighbouring directories differ greatly in size and depth."""
    draw = random.Random(seed)
    keys: list[str] = []
    counts = draw.sample([0, 1, 2, 9, 30, 200], 3)

    def fill(directory: str, depth: int) -> None:
        for number in range(draw.choice(counts)):
            keys.append(f"{directory}f{number:03}")
        for number in range(draw.choice(counts) if depth else 0):
            if len(keys) < limit:
                fill(f"{directory}d{number:03}/", depth - draw.randint(1, depth))

    while not keys:
        fill("a/", draw.randint(2, 4))
    return keys
