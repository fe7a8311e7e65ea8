"""What a page tells of its keys: infos as s3fs has them, for all keys or for chosen ones."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3fs import S3FileSystem

from fsspec_avroglob.page import Page, directory_info, page_from_response, parse_page
from tests.support.dialects import AWS, FULL, Entry, Listing

# --- infos ----------------------------------------------------------------------------------------


def test_infos_of_chosen_keys_come_in_the_order_asked_for() -> None:
    page = parse_page(AWS.render(Listing(tuple(Entry(f"k{i}", size=i) for i in range(10)))))

    infos = page.infos("b", iter([7, 2, 2]))

    assert [(info["name"], info["size"]) for info in infos] == [
        ("b/k7", 7),
        ("b/k2", 2),
        ("b/k2", 2),
    ]


@pytest.mark.parametrize("detail", [False, True])
def test_infos_can_be_changed_without_effect_on_the_page(detail: bool) -> None:
    page = parse_page(AWS.render(Listing((FULL,))), detail=detail)

    page.infos("b")[0].clear()

    assert page.infos("c")[0]["name"] == f"c/{FULL.key}"


def test_infos_can_be_pickled() -> None:
    infos = parse_page(AWS.render(Listing((FULL,)))).infos("b")

    assert pickle.loads(pickle.dumps(infos)) == infos


def test_a_response_that_lacks_sizes_has_keys_but_no_infos() -> None:
    page = page_from_response({"Contents": [{"Key": "k"}], "IsTruncated": False})

    assert page.keys == ["k"]
    with pytest.raises(KeyError):
        page.infos("b")


@pytest.mark.parametrize("prefix", ["a/", "a/b/", "é /", "/"])
def test_a_common_prefix_becomes_the_directory_of_s3fs(prefix: str) -> None:
    expected = {"Key": prefix[:-1], "Size": 0, "StorageClass": "DIRECTORY", "type": "directory"}
    S3FileSystem._fill_info(expected, "b", versions=False)

    assert directory_info("b", prefix) == expected


# --- items that are asked for again ---------------------------------------------------------------


def _page_of_sizes(sizes: list[int], detail: bool) -> Page:
    contents = "".join(
        f"<Contents><Key>k%20{place:03}</Key><Size>{size}</Size></Contents>"
        for place, size in enumerate(sizes)
    )
    head = "<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
    body = f"<ListBucketResult>{head}{contents}</ListBucketResult>"
    return parse_page(body.encode(), detail=detail)


@given(st.data(), st.lists(st.integers(0, 10**9), min_size=1, max_size=90), st.booleans())
def test_chosen_keys_alone_make_the_same_infos(
    data: st.DataObject, sizes: list[int], detail: bool
) -> None:
    page = _page_of_sizes(sizes, detail)
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(sizes))), max_size=5)))

    alone = page.only(chosen)

    assert alone.keys == [page.keys[index] for index in chosen]
    assert alone.infos("b") == page.infos("b", chosen)
    assert [info["size"] for info in alone.infos("b")] == [sizes[index] for index in chosen]


@pytest.mark.parametrize("detail", [False, True])
def test_infos_are_new_each_time_they_are_asked_for(detail: bool) -> None:
    page = _page_of_sizes([3, 1, 2], detail)
    first = page.infos("b")
    first[0]["size"] = -1

    assert [info["size"] for info in page.infos("b")] == [3, 1, 2]
    assert page.infos("b", [2, 0]) == [page.infos("b")[2], page.infos("b")[0]]
