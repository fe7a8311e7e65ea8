"""What is remembered of listings, for how long, and how much of it."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.glob.cache import MAX_ROWS, ListingMemory
from fsspec_avroglob.s3.page import Page, info_of_directory, page_from_response, parse_page
from tests.support.dialects import infos_of


def page_of(keys: Sequence[str]) -> Page:
    contents = [{"Key": key, "Size": len(key), "ETag": f'"{key}"'} for key in keys]
    return page_from_response({"Contents": contents, "IsTruncated": False})


def parsed_page(keys: Sequence[str]) -> Page:
    items = "".join(
        f"<Contents><Key>{quote(key)}</Key><LastModified>2024-01-02T03:04:05Z</LastModified>"
        f"<ETag>&quot;{n:032}&quot;</ETag><Size>{n}</Size></Contents>"
        for n, key in enumerate(keys)
    )
    start = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
    return parse_page(f"{start}{items}</ListBucketResult>".encode())


def remember(
    memory: ListingMemory,
    keys: Sequence[str] = (),
    directories: Sequence[str] = (),
    *,
    among: Sequence[str] | None = None,
) -> Page:
    """Have `keys` of bucket "b" remembered, from a page that holds `among`."""
    page = page_of(keys if among is None else among)
    indices = [page.keys.index(key) for key in keys]
    memory.remember(page, [f"b/{key}" for key in keys], indices, directories)
    return page


class Names(list[str]):
    """Names that tell, through a weak reference, whether they are still held."""


def remember_weakly(memory: ListingMemory, key: str) -> weakref.ref[Names]:
    names = Names([f"b/{key}"])
    memory.remember(page_of([key]), names, [0], ())
    return weakref.ref(names)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


# --- what is told ---------------------------------------------------------------------------------


def test_a_listed_file_is_told_as_the_listing_told_it() -> None:
    memory = ListingMemory()
    page = remember(memory, ["a", "dir/b"])

    assert memory.info("b/a") == infos_of(page, "b", [0])[0]
    assert memory.info("b/dir/b") == infos_of(page, "b", [1])[0]


def test_only_the_chosen_keys_of_a_page_are_remembered() -> None:
    memory = ListingMemory()
    page = remember(memory, ["b", "d"], among=["a", "b", "c", "d", "e"])

    assert memory.info("b/d") == infos_of(page, "b", [3])[0]
    assert [memory.info(f"b/{key}") for key in "ace"] == [None] * 3
    assert len(memory) == 2


def test_a_listed_directory_is_told() -> None:
    memory = ListingMemory()
    remember(memory, directories=["b/dir/sub"])

    assert memory.info("b/dir/sub") == info_of_directory("b/dir/sub")


def test_a_listed_bucket_is_told_by_its_name() -> None:
    memory = ListingMemory()
    remember(memory, directories=["b"])

    info = memory.info("b")

    assert info is not None
    assert (info["name"], info["type"], info["size"]) == ("b", "directory", 0)


def test_what_was_not_listed_is_not_told() -> None:
    memory = ListingMemory()
    remember(memory, ["dir/a"])

    assert [memory.info(path) for path in ("b/dir", "b", "b/dir/", "b/x", "", "c/dir/a")] == (
        [None] * 6
    )


def test_the_newer_listing_counts() -> None:
    memory = ListingMemory()
    memory.remember(page_of(["k"]), ["b/k"], [0], ())
    newer = page_from_response({"Contents": [{"Key": "k", "Size": 77}], "IsTruncated": False})

    memory.remember(newer, ["b/k"], [0], ())

    info = memory.info("b/k")
    assert info is not None
    assert info["size"] == 77


def test_what_is_told_may_be_changed_by_the_asker() -> None:
    memory = ListingMemory()
    remember(memory, ["a"], ["b/d"])

    for path in ("b/a", "b/d"):
        info = memory.info(path)
        assert info is not None
        info["size"] = -1
        again = memory.info(path)
        assert again is not None
        assert again["size"] != -1


@given(st.sets(st.text(min_size=1, max_size=6), min_size=1, max_size=20), st.data())
def test_any_selection_of_any_keys_is_told_right(keys: set[str], data: st.DataObject) -> None:
    ordered = sorted(keys)
    chosen = sorted(data.draw(st.sets(st.sampled_from(ordered), min_size=1)))
    memory = ListingMemory()

    page = remember(memory, chosen, among=ordered)

    for key in ordered:
        expected = infos_of(page, "b", [ordered.index(key)])[0] if key in chosen else None
        assert memory.info(f"b/{key}") == expected


def test_switched_off_it_remembers_nothing() -> None:
    memory = ListingMemory(enabled=False)
    remember(memory, ["a"], ["b/d"])

    assert (len(memory), memory.info("b/a"), memory.info("b/d")) == (0, None, None)


# --- forgetting -----------------------------------------------------------------------------------


def test_one_path_can_be_forgotten() -> None:
    memory = ListingMemory()
    remember(memory, ["a", "c"], ["b/d"])

    memory.forget("b/a")
    memory.forget("b/d")
    memory.forget("b/never-seen")

    assert (memory.info("b/a"), memory.info("b/d")) == (None, None)
    assert memory.info("b/c") is not None


def test_everything_can_be_forgotten() -> None:
    memory = ListingMemory()
    names = remember_weakly(memory, "a")
    remember(memory, directories=["b/d"])

    memory.forget()
    gc.collect()

    assert (len(memory), memory.info("b/a"), memory.info("b/d")) == (0, None, None)
    assert names() is None


def test_a_forgotten_path_can_be_learned_again() -> None:
    memory = ListingMemory()
    remember(memory, ["a"])
    memory.forget("b/a")

    remember(memory, ["a"])

    assert memory.info("b/a") is not None


# --- expiry ---------------------------------------------------------------------------------------


def test_a_listing_expires() -> None:
    clock = Clock()
    memory = ListingMemory(expiry_s=10, clock=clock)
    remember(memory, ["a"], ["b/d"])

    clock.now += 9.9
    assert memory.info("b/a") is not None
    assert memory.info("b/d") is not None
    clock.now += 0.2
    assert (memory.info("b/a"), memory.info("b/d")) == (None, None)


def test_a_newer_listing_expires_later() -> None:
    clock = Clock()
    memory = ListingMemory(expiry_s=10, clock=clock)
    remember(memory, ["a"])
    clock.now += 9
    remember(memory, ["a"])

    clock.now += 9

    assert memory.info("b/a") is not None


def test_without_expiry_nothing_expires() -> None:
    clock = Clock()
    memory = ListingMemory(clock=clock)
    remember(memory, ["a"])

    clock.now += 1e9

    assert memory.info("b/a") is not None


# --- bounds ---------------------------------------------------------------------------------------


def test_the_oldest_listings_are_forgotten_first() -> None:
    memory = ListingMemory(max_paths=4)
    remember(memory, ["a1", "a2"])
    remember(memory, ["b1", "b2"], ["b/d"])

    assert memory.info("b/a1") is None
    assert memory.info("b/b2") is not None
    assert memory.info("b/d") is not None
    assert len(memory) <= 4


def test_a_page_larger_than_the_bound_does_no_harm() -> None:
    memory = ListingMemory(max_paths=2)

    remember(memory, ["a", "c", "d"])

    assert len(memory) <= 2


def test_listing_the_same_again_and_again_keeps_few_old_listings() -> None:
    memory = ListingMemory(max_paths=20)

    listings = [remember_weakly(memory, "a") for _ in range(100)]
    gc.collect()

    assert sum(names() is not None for names in listings) <= 20
    assert memory.info("b/a") is not None


def test_a_path_remembered_again_outlives_its_first_listing() -> None:
    memory = ListingMemory(max_paths=4)
    remember(memory, ["a", "c"])
    remember(memory, ["a", "d"])

    remember(memory, ["e"])

    assert memory.info("b/a") is not None
    assert memory.info("b/e") is not None


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=4), max_size=30), st.integers(0, 6))
def test_the_bound_holds_and_what_is_told_is_right(listings: list[set[str]], bound: int) -> None:
    memory = ListingMemory(max_paths=bound)

    for keys in listings:
        remember(memory, sorted(keys), [f"b/dir-{key}" for key in sorted(keys)[:1]])
        assert len(memory) <= bound

    told = {key: memory.info(f"b/{key}") for key in "abcdefgh"}
    assert {key: info["name"] for key, info in told.items() if info} == {
        key: f"b/{key}" for key, info in told.items() if info
    }


@pytest.mark.parametrize(
    "key",
    [
        "short-{}",
        "long-" + "x" * 900 + "-{}",
        "鍵" * 300 + "-{}",
        "é" * 400 + "-{}",
        "x" * 900 + "😀{}",
    ],
    ids=["short", "long", "chinese", "latin", "one character of four bytes"],
)
@pytest.mark.parametrize("parsed_here", [True, False])
def test_listings_hold_no_more_memory_than_they_may(key: str, parsed_here: bool) -> None:
    memory = ListingMemory(max_bytes=400_000)
    all_keys = [[key.format(f"{page:02}-{n:02}") for n in range(30)] for page in range(60)]
    make = parsed_page if parsed_here else page_of
    parsed_page(all_keys[0])  # compiles what it needs
    tracemalloc.start()
    try:
        for keys in all_keys:
            memory.remember(make(keys), [f"b/{key}" for key in keys], range(30), [])
            assert memory.nbytes <= 400_000
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 60_000 < held < 400_000
    assert memory.info(f"b/{all_keys[0][0]}") is None
    info = memory.info(f"b/{all_keys[-1][7]}")
    assert info is not None
    assert info["name"] == f"b/{all_keys[-1][7]}"


@given(
    st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=4), max_size=30),
    st.integers(0, 20_000),
)
def test_the_bound_of_memory_holds_and_what_is_told_is_right(
    listings: list[set[str]], bound: int
) -> None:
    memory = ListingMemory(max_bytes=bound)

    for keys in listings:
        remember(memory, sorted(keys), [f"b/dir-{key}" for key in sorted(keys)[:1]])
        assert memory.nbytes <= bound

    for key in "abcdefgh":
        info = memory.info(f"b/{key}")
        assert info is None or info["name"] == f"b/{key}"
    memory.forget()
    assert memory.nbytes == len(memory) == 0


# --- threads --------------------------------------------------------------------------------------


def test_many_threads_may_use_it_at_once() -> None:
    memory = ListingMemory(max_paths=50)
    start = threading.Barrier(8)

    def work(worker: int) -> list[Any]:
        start.wait()
        told = []
        for turn in range(200):
            keys = [f"{worker}-{turn}-{number}" for number in range(3)]
            remember(memory, keys, [f"b/dir-{turn}"])
            told += [memory.info(f"b/{key}") for key in keys]
            memory.forget(f"b/{keys[0]}")
            if turn % 50 == 49:
                memory.forget()
        return [info for info in told if info is not None]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))

    assert all(info["name"].startswith("b/") for told in results for info in told)
    assert len(memory) <= 50


# --- beside a dict of every path ------------------------------------------------------------------

_listing = st.tuples(st.sets(st.text("ab/", min_size=1, max_size=4), min_size=1), st.booleans())
_event = st.tuples(st.just("list"), _listing) | st.tuples(
    st.just("forget"), st.text("ab/", min_size=1, max_size=4)
)


@given(st.lists(_event, max_size=30))
def test_within_its_bounds_it_tells_what_a_dict_of_every_path_would(
    events: list[tuple[str, Any]],
) -> None:
    memory = ListingMemory()
    known: dict[str, int] = {}
    for number, (what, of) in enumerate(events):
        if what == "forget":
            memory.forget(f"b/{of}")
            known.pop(of, None)
            continue
        keys, half = sorted(of[0]), of[1]
        page = page_from_response(
            {"Contents": [{"Key": key, "Size": number} for key in keys], "IsTruncated": False}
        )
        indices = range(0, len(keys), 2 if half else 1)
        memory.remember(page, [f"b/{keys[i]}" for i in indices], indices, ())
        known.update((keys[i], number) for i in indices)

    told = {key: memory.info(f"b/{key}") for key in known}
    # More than so many listings of one range may push out an older one, never falsify it.
    sizes = {key: info["size"] for key, info in told.items() if info is not None}
    assert sizes == {key: known[key] for key in sizes}
    assert len(events) > MAX_ROWS or sizes == known
    assert all(memory.info(f"b/{key}") is None for key in ("", "ab/ab", "c") if key not in known)


def test_few_keys_of_a_page_are_told_right() -> None:
    memory = ListingMemory()
    body = "".join(
        f"<Contents><Key>k{number:03}</Key><Size>{number}</Size></Contents>"
        for number in range(500)
    )
    page = parse_page(
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{body}</ListBucketResult>".encode()
    )

    memory.remember(page, ["b/k007", "b/k400"], [7, 400], ())

    infos = [memory.info(f"b/k{number:03}") for number in (7, 400, 8)]
    assert [info and info["Size"] for info in infos] == [7, 400, None]


@pytest.mark.parametrize("count", range(1, 8))
def test_a_part_of_a_flat_page_does_not_tell_what_follows(count: int) -> None:
    """A listing that is divided keeps of a page what lies before the next part."""
    page = page_of(["a", "b", "b-1", "b/c", "d", "e", "f"])
    memory = ListingMemory()
    indices = range(count)

    memory.remember(page, page.paths("b", indices), indices, (), with_directories=False, flat=True)

    assert memory.is_directory("b/b") is (True if count > 3 else None)
    assert memory.is_directory("b/a") in (None, False)
