"""A listing sends few requests, compared with a walk and with a flat listing."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product

import pytest

from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.glob.plan import ListingPlan
from tests.support.keyspace import Keyspace, expected, walk_requests
from tests.support.plans import plan_for
from tests.support.trees import (
    deepened,
    natural_patterns,
    natural_tree,
    scattered_tree,
    uneven_tree,
)


def assert_stays_within_bound(
    space: Keyspace, plan: ListingPlan, text: str, concurrency: int = 64
) -> None:
    """Run the plan of pattern *text*: it must find every match with few requests."""
    literal: list[str] = []
    for segment in text.split("/"):
        if is_glob_pattern(segment):
            literal.append(segment[: min(map(segment.find, filter(segment.count, "*?[{")))])
            break
        literal.append(segment)
    flat = space.flat_pages("/".join(literal))
    walk = walk_requests(space, plan)
    files, _ = space.run(plan, concurrency)
    case = text, space.page_size, concurrency
    assert files == expected(plan, space.keys)[0], case
    depth = text.count("/") + 1
    assert space.requests <= 4 * min(walk, flat) + depth + 8, case


@pytest.mark.parametrize("page_size", [100, 1000])
@pytest.mark.parametrize("seed", range(24))
def test_natural_trees(seed: int, page_size: int) -> None:
    tree = natural_tree(seed, limit=[300, 2000, 6000][seed % 3]) or ["a"]
    for text in natural_patterns(tree, seed, 3):
        plan = plan_for(text)
        space = Keyspace(tree, page_size)
        assert_stays_within_bound(space, plan, text)


@pytest.mark.parametrize("make", [natural_tree, scattered_tree, uneven_tree])
@pytest.mark.parametrize("seed", range(20))
def test_limited_or_uneven_trees(make: Callable[[int], list[str]], seed: int) -> None:
    tree = (make(seed) or ["a"])[:4_000]
    draw = random.Random(seed)
    for text in natural_patterns(tree, seed, 3):
        for pattern, maxdepth in ((text, None), (deepened(text, seed), draw.randint(1, 5))):
            plan = plan_for(pattern, maxdepth, draw.random() < 0.5)
            space = Keyspace(tree, draw.choice([5, 20, 100]))
            assert_stays_within_bound(space, plan, pattern)


@pytest.mark.parametrize(
    ("keys", "text", "maxdepth"),
    [
        # Directories without matches, as the depth limit ends above them.
        ([f"l={i:03}/a/b/c/{k}" for i in range(300) for k in range(3)], "l*/a/b/**/c/2", 1),
        # Large directories with one matching key each.
        ([f"l={i:03}/{k:04}" for i in range(9) for k in range(900)], "l*/**/0500", 2),
        # Directories with subdirectories whose names the pattern states.
        (
            [f"l/{i:02}/y={y}/p{k}" for i in range(90) for y in range(12) for k in (1, 2)],
            "l/**/0[0-4]/y=2/p1",
            4,
        ),
        # Directories that cannot match, in a level that a scan reached early.
        (
            [f"s/{i:02}/{j:03}/{k:02}" for i in range(2) for j in range(40) for k in range(50)],
            "?/??/*",
            None,
        ),
        ([f"s/{i}/noise/{k:03}" for i in range(3) for k in range(600)], "?/?/**/*", 1),
        # A few stated names in a level of very many names.
        (
            [f"d/u={u:04}/{k:02}" for u in range(900) for k in range(15)],
            "d/u={0010,0200,0300,0400,0500,0600,0700,0800}/*",
            None,
        ),
    ],
)
def test_trees_of_few_matches(keys: list[str], text: str, maxdepth: int | None) -> None:
    plan = plan_for(text, maxdepth)
    space = Keyspace(keys, 20)
    assert_stays_within_bound(space, plan, text)


@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize(
    ("fan_out", "text", "page_size"),
    [
        # Directories a little larger than a page, without most of the stated names.
        ((90, 1, 21), "*/{00,02}/*", 20),
        # Directories a little smaller or larger than a page, at two levels.
        ((300, 2, 6), "*/0[0-4]/*", 5),
        ((300, 2, 6), "*/*/{00,05}", 5),
        # Far more directories than pages.
        ((300, 3, 1), "*/*/*", 5),
        # Far more pages than directories.
        ((40, 3, 60), "*/*/00", 5),
    ],
)
def test_directories_of_about_a_page(
    fan_out: tuple[int, int, int], text: str, page_size: int, concurrency: int
) -> None:
    places = product(*map(range, fan_out))
    space = Keyspace([f"{a:03}/{b:02}/{c:02}" for a, b, c in places], page_size)
    plan = plan_for(text)
    assert_stays_within_bound(space, plan, text, concurrency)


@pytest.mark.parametrize("concurrency", [1, 4, 64])
@pytest.mark.parametrize("page_size", [2, 5])
@pytest.mark.parametrize("text", ["{a,b,z}/*/*/*", "*/*/*/*"])
@pytest.mark.parametrize("directories", [88, 300, 2_000])
def test_few_large_among_small(
    directories: int, text: str, page_size: int, concurrency: int
) -> None:
    large = [f"a/0004/c/{number}/x" for number in range(7)]
    some = [f"a/{number:04}/c/{name}" for number in (27, 48, 62) for name in "gh"]
    keys = [f"a/{number:04}/c/f" for number in range(directories)]
    space = Keyspace([*keys, *large, *some], page_size)
    plan = plan_for(text, with_directories=False)
    assert_stays_within_bound(space, plan, text, concurrency)


@pytest.mark.parametrize(
    ("keys", "text", "page_size", "concurrency"),
    [
        # Shared pages contain keys of the level, and the start of the next directory.
        (
            [f"25/{n:03}{end}" for n in range(60) for end in ("", "/0", "-/1/2")[: n % 4]],
            "*/*/*",
            5,
            1,
        ),
        (
            [
                f"{n}/{name}/p"
                for n in range(240, 440)
                for name in ("aa", "ab", "ba", "bb")[n % 4 :]
            ],
            "*/b*a/*",
            5,
            1,
        ),
        # Stated names are requested, and their parent is not listed.
        ([f"d{n}/{m}/x" for n in range(5) for m in range(6)], "d[0-4]/*/*", 20, 1),
        (
            [f"a={n:03}/b={m:03}/c/{p}" for n in range(99) for m in range(n % 4) for p in (1, 2)],
            "a=*/b=00{1,2}/c/*",
            5,
            4,
        ),
        # A range is divided within a directory.
        ([f"d/3/0/f{n:03}" for n in range(300)], "d/*/*/*.avro", 5, 4),
    ],
)
def test_pages_end_between_directories(
    keys: list[str], text: str, page_size: int, concurrency: int
) -> None:
    assert_stays_within_bound(Keyspace(keys, page_size), plan_for(text), text, concurrency)


def followed(directories: int, files: int, many: int, inner: str = "/x") -> list[str]:
    """One-key directories, each followed by files of its level; by many files at each quarter."""
    names = [f"a/{number:04}" for number in range(directories)]
    return [name + inner for name in names] + [
        f"{name}~{index:03}"
        for number, name in enumerate(names)
        for index in range(many if number % (directories // 4) == 0 else files)
    ]


def between(directories: int, files: int, many: int) -> list[str]:
    """The same with one-key directories, whose names end in another letter, instead of files."""
    return [
        key.replace("/x", "a/x") if key.endswith("/x") else key.replace("~", "b") + "/x"
        for key in followed(directories, files, many)
    ]


def stems(directories: int, page_size: int) -> list[str]:
    """Directories with a page of files for each letter, alternating with subdirectories."""
    keys = []
    for number in range(directories):
        if number % 2 == 0:
            names = [f"{letter}{n:02}" for letter in "abhiyz" for n in range(page_size)]
        else:
            subdirectories = [letter + end for letter in "ah" for end in "abcde"]
            names = [f"{name}/{n:02}" for name in subdirectories for n in range(page_size + 1)]
        keys += [f"{number:03}/{name}" for name in names]
    return keys


def letters(directories: int, files: int) -> list[str]:
    return [
        f"{number:03}/{letter}a/{n:02}"
        for number in range(directories)
        for letter in "345"
        for n in range(files)
    ]


@pytest.mark.parametrize("concurrency", [1, 4, 64])
@pytest.mark.parametrize(
    ("keys", "text", "maxdepth", "page_size"),
    [
        # Shared pages read the files between the directories again.
        (followed(40, 4, 25), "a/*/*", None, 10),
        (followed(400, 49, 200), "a/*/*", None, 100),
        (followed(200, 4, 25, "//x"), "a/**/*", 3, 10),
        (between(400, 4, 25), "a/*a/*", None, 10),
        # Many concurrent scans find nothing, and a listing has to follow.
        (letters(12, 3), "*/[3-5]*", None, 3),
        (letters(200, 21), "*/[3-5]*", None, 20),
        (letters(20, 21), "*/{3,4,5}*", None, 20),
        # Pages of keys between the stems of a pattern, which a walk would not read.
        ([f"{letter}{n}" for letter in "abhiyz" for n in range(5)], "{a,h,y}*", None, 5),
        (stems(20, 10), "*/{a,h,y}*", None, 10),
        (stems(200, 20), "*/{a,h,y}*", None, 20),
    ],
)
def test_pages_a_walk_would_not_read(
    keys: list[str], text: str, maxdepth: int | None, page_size: int, concurrency: int
) -> None:
    space = Keyspace(keys, page_size)
    assert_stays_within_bound(space, plan_for(text, maxdepth), text, concurrency)


@pytest.mark.parametrize("concurrency", [1, 4, 64])
def test_walk_of_several_stems(concurrency: int) -> None:
    keys = [
        f"d{number}/{letter}{n:03}/{m:03}"
        for number in range(4)
        for letter in "ahy"
        for n in range(5)
        for m in range(6)
    ]
    noise = [
        f"d{number}/{letter}{n:03}/x" for number in range(4) for letter in "biz" for n in range(10)
    ]
    space, text = Keyspace([*keys, *noise], 5), "*/{a,h,y}*/005"
    assert_stays_within_bound(space, plan_for(text), text, concurrency)
