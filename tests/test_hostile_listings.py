"""Servers whose listings never end or lie: an error that names bucket and prefix, at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest

from fsspec_avroglob.filesystem import AvroGlobFileSystem
from tests.conftest import MakeFs
from tests.support.proxy import FaultProxy

MOST_REQUESTS = 100


def page(keys: Sequence[str], token: str | None) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;0&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
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
    "keys out of order": lambda: itertools.repeat(page(["d/b", "d/a"], None)),
    "pages out of order": lambda: iter([page(["d/b"], "t"), *[page(["d/a"], None)] * 9]),
    "a key twice on a page": lambda: itertools.repeat(page(["d/a", "d/a"], None)),
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
def test_a_listing_that_breaks_the_api_is_an_error_that_names_its_place(
    proxy: FaultProxy,
    make_fs: MakeFs,
    run: Callable[[AvroGlobFileSystem], object],
    pages: Callable[[], Iterator[bytes]],
) -> None:
    for body in itertools.islice(pages(), MOST_REQUESTS):
        proxy.fail("ListObjectsV2", 200, body=body, times=1)
    fs = make_fs(proxy.storage_options)

    with pytest.raises(OSError, match=r"cannot list b/d.*against the S3 API"):
        run(fs)

    assert proxy.count() < MOST_REQUESTS
