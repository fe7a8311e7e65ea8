"""Info dicts of a page equal those of s3fs, for all keys or for chosen ones."""

from __future__ import annotations

import pickle
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3fs import S3FileSystem

from fsspec_avroglob.s3.page import Page, info_of_directory, page_from_response, parse_page
from tests.support.dialects import AWS, FULL, Entry, Listing, infos_of

# --- infos ----------------------------------------------------------------------------------------


def test_infos_keep_asked_order() -> None:
    page = parse_page(AWS.render(Listing(tuple(Entry(f"k{i}", size=i) for i in range(10)))))

    infos = infos_of(page, "b", [7, 2, 2])

    assert [(info["name"], info["size"]) for info in infos] == [
        ("b/k7", 7),
        ("b/k2", 2),
        ("b/k2", 2),
    ]


@pytest.mark.parametrize("detail", [False, True])
def test_infos_are_copies(detail: bool) -> None:
    page = parse_page(AWS.render(Listing((FULL,))), detail=detail)

    infos_of(page, "b")[0].clear()

    assert infos_of(page, "c")[0]["name"] == f"c/{FULL.key}"


@pytest.mark.parametrize("detail", [False, True])
def test_infos_share_nothing_mutable(detail: bool) -> None:
    page = parse_page(AWS.render(Listing((FULL,) * 3)), detail=detail)
    infos = infos_of(page, "b")
    untouched = deepcopy(infos[1])

    infos[0]["ChecksumAlgorithm"].clear()
    infos[0]["Owner"].clear()
    infos[2]["more"] = 2

    assert infos[1] == untouched
    assert infos_of(page, "b") == [untouched] * 3


def test_response_infos_share_nothing() -> None:
    item = {
        "Key": "k",
        "Size": 1,
        "ChecksumAlgorithm": ["CRC32"],
        "Owner": {"ID": "me"},
        "RestoreStatus": {"IsRestoreInProgress": False},
    }
    page = page_from_response({"Contents": [item], "IsTruncated": False})
    (info,) = infos_of(page, "b")

    for name in ("ChecksumAlgorithm", "Owner", "RestoreStatus"):
        info[name].clear()

    assert infos_of(page, "b")[0] == {
        **item,
        "Key": "b/k",
        "name": "b/k",
        "type": "file",
        "size": 1,
    }


def test_response_infos_have_own_fields() -> None:
    contents = [{"Key": "k", "Size": 1, "ETag": "e"}, {"Key": "l", "Size": 2, "StorageClass": "S"}]
    page = page_from_response({"Contents": contents, "IsTruncated": False})

    first, second = infos_of(page, "b")

    assert first.keys() - second.keys() == {"ETag"}
    assert second.keys() - first.keys() == {"StorageClass"}


@pytest.mark.parametrize("detail", [False, True])
def test_infos_are_plain_dicts(detail: bool) -> None:
    infos = infos_of(parse_page(AWS.render(Listing((FULL, FULL))), detail=detail), "b")

    assert [type(info) for info in infos] == [dict, dict]
    assert pickle.loads(pickle.dumps(infos)) == infos
    assert deepcopy(infos) == infos
    assert {**infos[0], "name": "else"} | {"name": infos[0]["name"]} == infos[1]


@pytest.mark.parametrize("prefix", ["a/", "a/b/", "é /", "/"])
def test_common_prefix_is_a_directory(prefix: str) -> None:
    expected = {"Key": prefix[:-1], "Size": 0, "StorageClass": "DIRECTORY", "type": "directory"}
    S3FileSystem._fill_info(expected, "b", versions=False)

    assert info_of_directory(f"b/{prefix[:-1]}") == expected


# --- infos that are asked for again ---------------------------------------------------------------


def _page_of_sizes(sizes: list[int], detail: bool) -> Page:
    contents = "".join(
        f"<Contents><Key>k%20{place:03}</Key><Size>{size}</Size></Contents>"
        for place, size in enumerate(sizes)
    )
    head = "<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
    body = f"<ListBucketResult>{head}{contents}</ListBucketResult>"
    return parse_page(body.encode(), detail=detail)


@given(st.data(), st.lists(st.integers(0, 10**9), min_size=1, max_size=90), st.booleans())
def test_chosen_keys_make_equal_infos(data: st.DataObject, sizes: list[int], detail: bool) -> None:
    page = _page_of_sizes(sizes, detail)
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(sizes))), max_size=5)))

    alone, indices = page.thinned(chosen)

    assert (indices is None) == (2 * len(chosen) < len(sizes))
    paths = [f"b/{page.keys[index]}" for index in chosen]
    assert alone.infos(paths, indices) == infos_of(page, "b", chosen)
    assert [info["size"] for info in alone.infos(paths, indices)] == [sizes[i] for i in chosen]


@pytest.mark.parametrize("detail", [False, True])
def test_infos_are_new_each_time(detail: bool) -> None:
    page = _page_of_sizes([3, 1, 2], detail)
    first = infos_of(page, "b")
    first[0]["size"] = -1

    assert [info["size"] for info in infos_of(page, "b")] == [3, 1, 2]
    assert infos_of(page, "b", [2, 0]) == [infos_of(page, "b")[2], infos_of(page, "b")[0]]
