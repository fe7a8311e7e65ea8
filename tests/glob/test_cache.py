"""What listings leave in the cache, for how long, and how much of it."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.glob.cache import ListingCache
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


def add(
    cache: ListingCache,
    keys: Sequence[str] = (),
    directories: Sequence[str] = (),
    *,
    among: Sequence[str] | None = None,
) -> Page:
    """Cache `keys` of bucket "b", from a page that lists `among`. Returns that page."""
    page = page_of(keys if among is None else among)
    indices = [page.keys.index(key) for key in keys]
    cache.add_files("b", page.thinned(indices)[0], page.paths("b", indices))
    cache.add_directories(directories)
    return page


class Keys(list[str]):
    """Keys of a page, to which a weak reference can be made."""


def add_weakly(cache: ListingCache, key: str) -> weakref.ref[Keys]:
    keys = Keys([key])
    cache.add_files("b", replace(page_of([key]), keys=keys), [f"b/{key}"])
    return weakref.ref(keys)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


# --- what is cached -------------------------------------------------------------------------------


def test_listed_file_has_its_info() -> None:
    cache = ListingCache()
    page = add(cache, ["a", "dir/b"])

    assert cache.info("b/a") == infos_of(page, "b", [0])[0]
    assert cache.info("b/dir/b") == infos_of(page, "b", [1])[0]


def test_only_matching_keys_are_cached() -> None:
    cache = ListingCache()
    page = add(cache, ["b", "d"], among=["a", "b", "c", "d", "e"])

    assert cache.info("b/d") == infos_of(page, "b", [3])[0]
    assert [cache.info(f"b/{key}") for key in "ace"] == [None] * 3
    assert len(cache) == 2


def test_listed_directory_is_cached() -> None:
    cache = ListingCache()
    add(cache, directories=["b/dir/sub"])

    assert cache.info("b/dir/sub") == info_of_directory("b/dir/sub")


def test_listed_bucket_has_its_name() -> None:
    cache = ListingCache()
    add(cache, directories=["b"])

    info = cache.info("b")

    assert info is not None
    assert (info["name"], info["type"], info["size"]) == ("b", "directory", 0)


def test_unlisted_path_is_not_cached() -> None:
    cache = ListingCache()
    add(cache, ["dir/a"])

    assert [cache.info(path) for path in ("b/dir", "b", "b/dir/", "b/x", "", "c/dir/a")] == (
        [None] * 6
    )


def test_newer_listing_replaces_older() -> None:
    cache = ListingCache()
    cache.add_files("b", page_of(["k"]), ["b/k"])
    newer = page_from_response({"Contents": [{"Key": "k", "Size": 77}], "IsTruncated": False})

    cache.add_files("b", newer, ["b/k"])

    info = cache.info("b/k")
    assert info is not None
    assert info["size"] == 77


def test_info_dicts_are_copies() -> None:
    cache = ListingCache()
    add(cache, ["a"], ["b/d"])

    for path in ("b/a", "b/d"):
        info = cache.info(path)
        assert info is not None
        info["size"] = -1
        again = cache.info(path)
        assert again is not None
        assert again["size"] != -1


@settings(max_examples=40)
@given(st.sets(st.text(min_size=1, max_size=6), min_size=1, max_size=20), st.data())
def test_any_selection_has_its_infos(keys: set[str], data: st.DataObject) -> None:
    ordered = sorted(keys)
    chosen = sorted(data.draw(st.sets(st.sampled_from(ordered), min_size=1)))
    cache = ListingCache()

    page = add(cache, chosen, among=ordered)

    for key in ordered:
        expected = infos_of(page, "b", [ordered.index(key)])[0] if key in chosen else None
        assert cache.info(f"b/{key}") == expected


def test_disabled_cache_is_empty() -> None:
    cache = ListingCache(enabled=False)
    add(cache, ["a"], ["b/d"])

    assert (len(cache), cache.info("b/a"), cache.info("b/d")) == (0, None, None)


# --- forgetting -----------------------------------------------------------------------------------


def test_forget_removes_one_path() -> None:
    cache = ListingCache()
    add(cache, ["a", "c"], ["b/d"])

    cache.forget("b/a")
    cache.forget("b/d")
    cache.forget("b/never-seen")

    assert (cache.info("b/a"), cache.info("b/d")) == (None, None)
    assert cache.info("b/c") is not None


def test_forget_removes_everything() -> None:
    cache = ListingCache()
    names = add_weakly(cache, "a")
    add(cache, directories=["b/d"])

    cache.forget()
    gc.collect()

    assert (len(cache), cache.info("b/a"), cache.info("b/d")) == (0, None, None)
    assert names() is None


def test_listing_that_began_before_is_not_cached() -> None:
    cache = ListingCache()
    began = cache.begin()
    cache.forget("b/a")

    cache.add_files("b", page_of(["a", "c"]), ["b/a", "b/c"], number=began)

    assert cache.info("b/a") is None
    assert cache.info("b/c") is not None


def test_forgotten_path_is_cached_again() -> None:
    cache = ListingCache()
    add(cache, ["a"])
    cache.forget("b/a")

    add(cache, ["a"])

    assert cache.info("b/a") is not None


# --- expiry ---------------------------------------------------------------------------------------


def test_listing_expires() -> None:
    clock = Clock()
    cache = ListingCache(expiry_s=10, clock=clock)
    add(cache, ["a"], ["b/d"])

    clock.now += 9.9
    assert cache.info("b/a") is not None
    assert cache.info("b/d") is not None
    clock.now += 0.2
    assert (cache.info("b/a"), cache.info("b/d")) == (None, None)


def test_newer_listing_expires_later() -> None:
    clock = Clock()
    cache = ListingCache(expiry_s=10, clock=clock)
    add(cache, ["a"])
    clock.now += 9
    add(cache, ["a"])

    clock.now += 9

    assert cache.info("b/a") is not None


def test_without_expiry_nothing_expires() -> None:
    clock = Clock()
    cache = ListingCache(clock=clock)
    add(cache, ["a"])

    clock.now += 1e9

    assert cache.info("b/a") is not None


# --- bounds ---------------------------------------------------------------------------------------


def test_oldest_listings_are_evicted() -> None:
    cache = ListingCache(max_paths=4)
    add(cache, ["a1", "a2"])
    add(cache, ["b1", "b2"], ["b/d"])

    assert cache.info("b/a1") is None
    assert cache.info("b/b2") is not None
    assert cache.info("b/d") is not None
    assert len(cache) <= 4


def test_oversized_page_is_not_cached() -> None:
    cache = ListingCache(max_paths=2)

    add(cache, ["a", "c", "d"])

    assert len(cache) <= 2


def test_repeated_listings_drop_pages() -> None:
    cache = ListingCache(max_paths=20)

    listings = [add_weakly(cache, "a") for _ in range(100)]
    gc.collect()

    assert sum(names() is not None for names in listings) <= 20
    assert cache.info("b/a") is not None


def test_path_outlives_its_first_listing() -> None:
    cache = ListingCache(max_paths=4)
    add(cache, ["a", "c"])
    add(cache, ["a", "d"])

    add(cache, ["e"])

    assert cache.info("b/a") is not None
    assert cache.info("b/e") is not None


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=4), max_size=30), st.integers(0, 6))
def test_path_count_is_bounded(listings: list[set[str]], bound: int) -> None:
    cache = ListingCache(max_paths=bound)

    for keys in listings:
        add(cache, sorted(keys), [f"b/dir-{key}" for key in sorted(keys)[:1]])
        assert len(cache) <= bound

    for key in "abcdefgh":
        info = cache.info(f"b/{key}")
        assert info is None or info["name"] == f"b/{key}"


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
def test_pages_hold_at_most_max_bytes(key: str, parsed_here: bool) -> None:
    cache = ListingCache(max_bytes=800_000)
    all_keys = [[key.format(f"{page:02}-{n:02}") for n in range(30)] for page in range(60)]
    make = parsed_page if parsed_here else page_of
    parsed_page(all_keys[0])  # compiles what it needs
    tracemalloc.start()
    try:
        for keys in all_keys:
            cache.add_files("b", make(keys), [f"b/{key}" for key in keys])
            assert cache.nbytes <= 800_000
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 60_000 < held < 800_000
    assert cache.info(f"b/{all_keys[0][0]}") is None
    info = cache.info(f"b/{all_keys[-1][7]}")
    assert info is not None
    assert info["name"] == f"b/{all_keys[-1][7]}"


@given(
    st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=4), max_size=30),
    st.integers(0, 20_000),
)
def test_memory_is_bounded(listings: list[set[str]], bound: int) -> None:
    cache = ListingCache(max_bytes=bound)

    for keys in listings:
        add(cache, sorted(keys), [f"b/dir-{key}" for key in sorted(keys)[:1]])
        assert cache.nbytes <= bound

    for key in "abcdefgh":
        info = cache.info(f"b/{key}")
        assert info is None or info["name"] == f"b/{key}"
    cache.forget()
    assert cache.nbytes == len(cache) == 0


# --- threads --------------------------------------------------------------------------------------


def test_threads_share_a_cache() -> None:
    cache = ListingCache(max_paths=50)
    start = threading.Barrier(8)

    def work(worker: int) -> list[Any]:
        start.wait()
        infos = []
        for turn in range(200):
            keys = [f"{worker}-{turn}-{number}" for number in range(3)]
            add(cache, keys, [f"b/dir-{turn}"])
            infos += [cache.info(f"b/{key}") for key in keys]
            cache.forget(f"b/{keys[0]}")
            if turn % 50 == 49:
                cache.forget()
        return [info for info in infos if info is not None]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))

    assert all(info["name"].startswith("b/") for infos in results for info in infos)
    assert len(cache) <= 50


# --- against a dict of every path -----------------------------------------------------------------

_listing = st.tuples(st.sets(st.text("ab/", min_size=1, max_size=4), min_size=1), st.booleans())
_event = st.tuples(st.just("list"), _listing) | st.tuples(
    st.just("forget"), st.text("ab/", min_size=1, max_size=4)
)


@given(st.lists(_event, max_size=30))
def test_equals_a_dict_within_bounds(
    events: list[tuple[str, Any]],
) -> None:
    cache = ListingCache()
    known: dict[str, int] = {}
    for number, (what, of) in enumerate(events):
        if what == "forget":
            cache.forget(f"b/{of}")
            for forgotten in (of, *(of[:end] for end, sign in enumerate(of) if sign == "/")):
                known.pop(forgotten, None)
            continue
        keys, half = sorted(of[0]), of[1]
        page = page_from_response(
            {"Contents": [{"Key": key, "Size": number} for key in keys], "IsTruncated": False}
        )
        indices = range(0, len(keys), 2 if half else 1)
        cache.add_files("b", page.thinned(indices)[0], page.paths("b", indices))
        known.update((keys[i], number) for i in indices)

    cached = {key: cache.info(f"b/{key}") for key in known}
    assert {key: info and info["size"] for key, info in cached.items()} == known
    assert all(cache.info(f"b/{key}") is None for key in ("", "ab/ab", "c") if key not in known)


def test_few_keys_have_their_infos() -> None:
    cache = ListingCache()
    body = "".join(
        f"<Contents><Key>k{number:03}</Key><Size>{number}</Size></Contents>"
        for number in range(500)
    )
    page = parse_page(
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{body}</ListBucketResult>".encode()
    )

    cache.add_files("b", page.thinned([7, 400])[0], ["b/k007", "b/k400"])

    infos = [cache.info(f"b/k{number:03}") for number in (7, 400, 8)]
    assert [info and info["Size"] for info in infos] == [7, 400, None]


@pytest.mark.parametrize("count", range(1, 8))
def test_part_of_a_page_shows_no_more(count: int) -> None:
    """A listing that is divided keeps of a page what lies before the next part."""
    page = page_of(["a", "b", "b-1", "b/c", "d", "e", "f"])
    cache = ListingCache()
    indices = range(count)
    kept, _ = page.thinned(indices)

    cache.add_files("b", kept, page.paths("b", indices), with_directories=False, flat=True)

    assert cache.is_directory("b/b") is (True if count > 3 else None)
    assert cache.is_directory("b/a") in (None, False)
