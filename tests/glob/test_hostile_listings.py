"""Listings that never end or break the API raise an error that names bucket and prefix."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest

from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob import fetch as harvest
from tests.conftest import MakeFs
from tests.support.proxy import FaultProxy

MOST_REQUESTS = 100
MOST_EMPTY_PAGES = 40


def page(keys: Sequence[str], token: str | None, prefixes: Sequence[str] = ()) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;0&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    contents += "".join(
        f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes
    )
    more = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
        f"<IsTruncated>{'false' if token is None else 'true'}</IsTruncated>{contents}{more}"
        "</ListBucketResult>"
    ).encode()


ENDLESS = itertools.count
HOSTILE: dict[str, Callable[[], Iterator[bytes]]] = {
    "the same token again": lambda: (page([f"d/{n:05}"], "t") for n in ENDLESS()),
    "two tokens in turn": lambda: (page([f"d/{n:05}"], "ab"[n % 2]) for n in ENDLESS()),
    "fresh tokens, the same keys": lambda: (page(["d/a", "d/b"], f"t{n}") for n in ENDLESS()),
    "fresh tokens, no keys": lambda: (page([], f"t{n}") for n in ENDLESS()),
    "the same token, no keys": lambda: itertools.repeat(page([], "t")),
    "two tokens in turn, no keys": lambda: (page([], "ab"[n % 2]) for n in ENDLESS()),
    "no keys now and then": lambda: (page(["d/a"] * (n % 3 == 0), f"t{n}") for n in ENDLESS()),
    "keys out of order": lambda: itertools.repeat(page(["d/b", "d/a"], None)),
    "pages out of order": lambda: iter([page(["d/b"], "t"), *[page(["d/a"], None)] * 9]),
    "a key twice on a page": lambda: itertools.repeat(page(["d/a", "d/a"], None)),
    "a key before the prefix": lambda: itertools.repeat(page(["a", "d/a"], None)),
    "a key after the prefix": lambda: itertools.repeat(page(["d/a", "keep"], None)),
    "a directory outside the prefix": lambda: itertools.repeat(page(["d/a"], None, ["e/"])),
    "a key on two pages": lambda: iter([page(["d/a"], "t"), *[page(["d/a"], None)] * 9]),
}
RUNS: dict[str, Callable[[AvroGlobFileSystem], object]] = {
    "glob of a level": lambda fs: fs.glob("b/d/*"),
    "glob below": lambda fs: fs.glob("b/d/**"),
    "find": lambda fs: fs.find("b/d"),
    "ls": lambda fs: fs.ls("b/d"),
    "iglob": lambda fs: list(fs.iglob("b/d/*")),
}


@pytest.mark.parametrize("pages", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_a_listing_that_breaks_the_api_is_an_error_that_names_it(
    proxy: FaultProxy,
    make_fs: MakeFs,
    run: Callable[[AvroGlobFileSystem], object],
    pages: Callable[[], Iterator[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harvest, "MOST_EMPTY_PAGES", MOST_EMPTY_PAGES)
    for body in itertools.islice(pages(), MOST_REQUESTS):
        proxy.fail("ListObjectsV2", 200, body=body, times=1)
    fs = make_fs(proxy.storage_options)

    with pytest.raises(OSError, match=r"cannot list b/d.*against the S3 API"):
        run(fs)

    assert proxy.count() < MOST_REQUESTS


DIRECTORIES: dict[str, Callable[[], Iterator[bytes]]] = {
    "fresh tokens, the same directory": lambda: (page([], f"t{n}", ["d/a/"]) for n in ENDLESS()),
    "directories out of order": lambda: itertools.repeat(page([], None, ["d/b/", "d/a/"])),
    "a directory twice on a page": lambda: itertools.repeat(page([], None, ["d/a/", "d/a/"])),
}


@pytest.mark.parametrize("pages", DIRECTORIES.values(), ids=list(DIRECTORIES))
@pytest.mark.parametrize("run", ["glob of a level", "ls", "iglob"])
def test_broken_directories_are_an_error(
    proxy: FaultProxy, make_fs: MakeFs, run: str, pages: Callable[[], Iterator[bytes]]
) -> None:
    for body in itertools.islice(pages(), MOST_REQUESTS):
        proxy.fail("ListObjectsV2", 200, body=body, times=1)

    with pytest.raises(OSError, match=r"cannot list b/d.*against the S3 API"):
        RUNS[run](make_fs(proxy.storage_options))

    assert proxy.count() < MOST_REQUESTS


def test_rm_deletes_nothing_if_the_server_ignores_the_prefix(
    proxy: FaultProxy, make_fs: MakeFs
) -> None:
    proxy.fail("ListObjectsV2", 200, body=page(["d/a", "d/b", "keep"], None))
    fs = make_fs(proxy.storage_options)

    with pytest.raises(OSError, match=r"cannot list b/d.*do not start with the prefix"):
        fs.rm("b/d", recursive=True)

    assert proxy.count() == proxy.count("ListObjectsV2")


# --- empty pages that are legal -------------------------------------------------------------------


@pytest.fixture(scope="module")
def sparse() -> Iterator[SyntheticEndpoint]:
    """A server that sends empty pages before each page with keys."""
    names = [f"d/{n:03}" for n in range(25)] + [f"d/e/{n:03}" for n in range(25)]
    with SyntheticEndpoint({"b": names}) as server:
        server.configure(page_size=10, empty_pages=3)
        yield server


@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_empty_pages_lose_nothing(
    sparse: SyntheticEndpoint, run: Callable[[AvroGlobFileSystem], object]
) -> None:
    sparse.configure(empty_pages=3)
    fs = AvroGlobFileSystem(**sparse.storage_options, skip_instance_cache=True)
    found = run(fs)
    requests = sparse.stats()["requests"]["ListObjectsV2"]

    sparse.configure(empty_pages=0)
    fs = AvroGlobFileSystem(**sparse.storage_options, skip_instance_cache=True)
    assert found == run(fs)
    assert requests == 4 * sparse.stats()["requests"]["ListObjectsV2"]


def test_each_empty_page_counts_as_a_request_of_its_step(sparse: SyntheticEndpoint) -> None:
    sparse.configure(empty_pages=3)
    fs = AvroGlobFileSystem(**sparse.storage_options, skip_instance_cache=True)

    plan = fs.explain("b/d/*", run=True)

    assert plan.requests == sparse.stats()["requests"]["ListObjectsV2"]
