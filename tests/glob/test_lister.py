"""Running a plan finds every match once, with few requests."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.glob.lister import Found, Lister
from fsspec_avroglob.glob.plan import EVERYTHING, ONE_LEVEL, ListingPlan
from fsspec_avroglob.s3.page import Page
from tests.support.keyspace import Keyspace, assert_finds_all, directories_of
from tests.support.plans import plan_for
from tests.support.trees import (
    natural_patterns,
    natural_tree,
    patterns,
    trees,
)
from tests.support.virtual_time import run_in_virtual_time

PLAIN = (False, 1, None, False, 1, False)


# --- results -------------------------------------------------------------------------------------


@settings(max_examples=250)
@given(
    trees(empty_segments=True),
    patterns,
    st.booleans(),
    st.integers(1, 50),
    st.none() | st.integers(1, 4),
    st.booleans(),
    st.integers(1, 8),
    st.booleans(),
)
@example({"0", "0/", "0/0"}, "*/*", False, 1, None, False, 1, False)
@example({"a/b", "a/bc", "a/b/c", "a/b0"}, "a/{b,c}", False, 1, None, True, 1, False)
@example({f"{name}/0" for name in ("-", ".", "0.", "0", "00", "a", "b", "é")}, "*/*", *PLAIN)
def test_each_match_is_found_once(
    keys: set[str],
    text: str,
    slash: bool,
    page_size: int,
    maxdepth: int | None,
    with_directories: bool,
    concurrency: int,
    slow_reader: bool,
) -> None:
    try:
        plan = plan_for(text + "/" * slash, maxdepth, with_directories)
    except ValueError:
        assume(False)
    space = Keyspace(keys, page_size, slow_reader)
    assert_finds_all(space, plan, concurrency)
    assert space.peak_in_flight <= concurrency


@pytest.mark.parametrize(
    "text", ["**/b/**", "**/b*/**", "*/**/c/**", "**/{b,c}/**/**/", "a/**/b/**"]
)
@pytest.mark.parametrize("maxdepth", [1, 2, 3])
def test_directory_at_maxdepth_is_found(text: str, maxdepth: int) -> None:
    tree = ["a/b/c/d", "b/c/b/c", "c/b", "b0/x", "a/c/b/b/b", "b/a/c/c"]
    assert_finds_all(Keyspace(tree), plan_for(text, maxdepth))


@pytest.mark.parametrize("slow_reader", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_divided_scans_may_become_walks(seed: int, slow_reader: bool) -> None:
    tree = natural_tree(seed, limit=[50, 300, 1500][seed % 3]) or ["a"]
    draw = random.Random(seed)
    for text in natural_patterns(tree, seed, 3):
        for page_size in (3, 20):
            space = Keyspace(tree, page_size, slow_reader)
            assert_finds_all(space, plan_for(text), draw.choice([1, 4, 64]))


@pytest.mark.parametrize(
    ("keys", "text", "page_size"),
    [
        # A scan ends on the exact name; a walk resumes for a directory of that name.
        (
            [f"l=0/m/{name}" for name in ("_SUCCESS", "part.avro", "part.crc", "part.csv")],
            "l={0,1,2}/*/part.crc",
            3,
        ),
        # A part of a divided scan ends within a directory.
        (
            [f"year={y}/part-{n:05}.avro" for y in range(2000, 2250) for n in range(7 + y % 17)],
            "*/part-*[3-5].avro",
            20,
        ),
        # A listed level has names between those that the pattern states.
        (
            [f"d/{u:02}{end}" for u in range(40) for end in ("", "-", "/a", "/b", "0")],
            "d/{03,07,11,20,39}/*",
            2,
        ),
        # A key and a directory have the same name, and other names sort between them.
        (["a", "a!", "a-/x", "a.", "a/b", "a0"], "{a,b}", 1),
        (["a", "a!", "a-/x", "a.", "a/b", "a0"], "[a-b]", 1),
    ],
)
def test_nothing_is_found_twice(keys: list[str], text: str, page_size: int) -> None:
    for concurrency in (1, 64):
        assert_finds_all(Keyspace(keys, page_size), plan_for(text), concurrency)


@settings(max_examples=150)
@given(trees(empty_segments=True), st.integers(1, 10), st.data())
def test_prefix_bounds_level_and_below(keys: set[str], page_size: int, data: st.DataObject) -> None:
    directory = data.draw(st.sampled_from(sorted({"", *directories_of(keys)})))
    stem = data.draw(st.sampled_from(["", "a", "0"]))
    space = Keyspace(keys, page_size, data.draw(st.booleans()))
    inside = [key for key in space.keys if key.startswith(directory + stem)]

    def collect(state: object, run: str) -> tuple[list[str], list[str]]:
        plan = ListingPlan("bucket", state, "", unfiltered=True)  # type: ignore[arg-type]
        return space.run(plan, start=lambda lister: getattr(lister, run)(directory, stem))

    below, _ = collect(EVERYTHING, "run_below")
    assert below == inside
    files, subdirectories = collect(ONE_LEVEL, "run_level")
    assert files == [key for key in inside if "/" not in key[len(directory) :]]
    names = {k[len(directory) :].partition("/")[0] for k in inside if "/" in k[len(directory) :]}
    assert subdirectories == sorted(directory + name for name in names)


LAST_NAMES = ["a", "b", "\U0010fffd", "\U0010ffff", "\U0010ffff\U0010ffff", "a\U0010ffff"]


@settings(max_examples=150)
@given(
    st.sets(
        st.lists(st.sampled_from(LAST_NAMES), min_size=1, max_size=4).map("/".join), min_size=1
    ),
    st.lists(
        st.sampled_from(["*", "??", "[ab]*", "\U0010ffff", "\U0010ffff*", "{a,\U0010ffff}", "**"]),
        min_size=1,
        max_size=4,
    ).map("/".join),
    st.integers(1, 5),
    st.none() | st.integers(1, 3),
)
def test_last_characters_are_found(
    keys: set[str], text: str, page_size: int, maxdepth: int | None
) -> None:
    assert_finds_all(Keyspace(keys, page_size), plan_for(text, maxdepth))


# --- requests ------------------------------------------------------------------------------------


def events() -> list[str]:
    return [
        f"events/year={year}/month={month:02}/day={day:02}/hour={hour:02}/part-{part:05}.avro"
        for year in (2023, 2024, 2025)
        for month in range(1, 13)
        for day in range(1, 29)
        for hour in range(24)
        for part in range(4)
    ]


@pytest.fixture(scope="module")
def event_keys() -> list[str]:
    return events()


@pytest.mark.parametrize(
    ("text", "requests", "matches"),
    [
        ("events/year=2024/month=*/day=01/hour=00/*.avro", 13, 48),
        ("events/year=*/month=12/day=28/*/part-00000.avro", 8, 72),
        ("events/year=2024/month=03/day=07/hour=*/*.avro", 3, 96),
        ("events/year={2023,2025}/month=0[1-3]/day=01/hour=00/*.avro", 6, 24),
    ],
)
def test_partitions_cost_few_requests(
    event_keys: list[str], text: str, requests: int, matches: int
) -> None:
    space = Keyspace(event_keys)
    files, directories = space.run(plan_for(text))
    assert (len(files), directories) == (matches, [])
    assert space.requests <= requests


def test_costs_equal_requests_sent(event_keys: list[str]) -> None:
    space = Keyspace(event_keys)
    plan = plan_for("events/year=202[34]/*/day=01/hour=*/*.avro")
    files, _ = space.run(plan)
    assert sum(cost.requests for cost in plan.costs.values()) == space.requests
    assert sum(cost.keys_kept for cost in plan.costs.values()) == len(files)


# --- splitting -----------------------------------------------------------------------------------

COUNT = 50_000


def counters(draw: random.Random) -> list[str]:
    return [f"part-{i:08}.avro" for i in range(COUNT)]


def uuids(draw: random.Random) -> list[str]:
    return [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(COUNT)]


def hexadecimals(draw: random.Random) -> list[str]:
    return [f"{draw.getrandbits(160):040X}" for _ in range(COUNT)]


def timestamps(draw: random.Random) -> list[str]:
    return [
        f"2024-{s // 2_592_000 % 12 + 1:02}-{s // 86_400 % 30 + 1:02}"
        f"T{s // 3_600 % 24:02}:{s // 60 % 60:02}:{s % 60:02}Z.json"
        for s in range(0, COUNT * 600, 600)
    ]


def mixed_lengths(draw: random.Random) -> list[str]:
    return [str(i * 7) for i in range(COUNT)]


def skewed(draw: random.Random) -> list[str]:
    hot = [f"m/hot/{draw.getrandbits(64):016x}" for _ in range(COUNT * 9 // 10)]
    return hot + [
        f"{draw.choice('abcxyz')}/{draw.getrandbits(64):016x}" for _ in range(COUNT // 10)
    ]


def partitions(draw: random.Random) -> list[str]:
    return [
        f"year={2023 + i // 20_000}/month={i // 1_700 % 12 + 1:02}/day={i // 60 % 28 + 1:02}/{i:05}"
        for i in range(COUNT)
    ]


def nested_names(draw: random.Random) -> list[str]:
    names = ["alpha", "beta", "delta", "epsilon", "gamma"]
    return [f"{'-'.join(draw.choices(names, k=3))}/{draw.randrange(999)}/{i}" for i in range(COUNT)]


def non_ascii(draw: random.Random) -> list[str]:
    letters = "äöüéèñ日本語誌\uff01\U0001f600\U0001f4a9abc"
    return ["".join(draw.choices(letters, k=8)) for _ in range(COUNT)]


def han(draw: random.Random) -> list[str]:
    return ["".join(chr(draw.randint(0x4E00, 0x9FFF)) for _ in range(5)) for _ in range(COUNT)]


def emoji(draw: random.Random) -> list[str]:
    return ["".join(chr(draw.randint(0x1F600, 0x1F64F)) for _ in range(6)) for _ in range(COUNT)]


def cyrillic(draw: random.Random) -> list[str]:
    return ["".join(chr(draw.randint(0x410, 0x44F)) for _ in range(8)) for _ in range(COUNT)]


def any_characters(draw: random.Random) -> list[str]:
    planes = [(0x20, 0x7E), (0xA0, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    return [
        "".join(chr(draw.randint(*draw.choice(planes))) for _ in range(5)) for _ in range(COUNT)
    ]


KINDS: list[Callable[[random.Random], list[str]]] = [
    counters,
    uuids,
    hexadecimals,
    timestamps,
    mixed_lengths,
    skewed,
    partitions,
    nested_names,
    non_ascii,
    han,
    emoji,
    cyrillic,
    any_characters,
]


@pytest.mark.parametrize("slow_reader", [False, True])
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_divided_scan_costs_little_more(
    make: Callable[[random.Random], list[str]], slow_reader: bool
) -> None:
    space = Keyspace(make(random.Random(1)), 250, slow_reader)
    files, _ = space.run(plan_for("**", with_directories=False))
    assert files == space.keys
    assert space.requests <= 1.15 * space.flat_pages("") + 1
    assert slow_reader or space.peak_in_flight > 4, "the range was listed by several workers"


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_divided_scan_takes_few_rounds(
    make: Callable[[random.Random], list[str]],
) -> None:
    space = Keyspace(make(random.Random(1)), 500)
    pages = space.flat_pages("")

    async def fetch(prefix: str, **place: Any) -> Page:
        await asyncio.sleep(1)
        return await space.fetch(prefix, **place)

    async def ignore(found: Found) -> None: ...

    async def rounds() -> float:
        await Lister(plan_for("**", with_directories=False), fetch, ignore).run()
        return asyncio.get_running_loop().time()

    took = run_in_virtual_time(rounds)
    assert took <= 0.75 * pages
    assert space.requests <= 1.15 * pages + 1


@settings(max_examples=60)
@given(
    st.sets(
        st.text(st.sampled_from("ab0-9é日本語\U0001f600\U0010ffff!~"), min_size=1), min_size=100
    ),
    st.integers(1, 4),
    st.integers(1, 64),
    st.booleans(),
)
def test_dividing_loses_nothing(
    keys: set[str], page_size: int, concurrency: int, slow_reader: bool
) -> None:
    space = Keyspace(keys, page_size, slow_reader)
    files, _ = space.run(plan_for("*", with_directories=False), concurrency)
    assert files == space.keys


@pytest.mark.parametrize("slow_reader", [False, True])
def test_divided_level_loses_nothing(slow_reader: bool) -> None:
    tree = [f"d/{n:04}{end}" for n in range(2_000) for end in (".avro", "/0", "/1", "/2")]
    space = Keyspace(tree, 20, slow_reader)
    assert_finds_all(space, plan_for("d/*"))
    assert any(after and not token for _, _, after, token in space.log), "the level was divided"
