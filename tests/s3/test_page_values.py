"""Keys, tokens and dates of a page are read as botocore reads them; others are rejected."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from botocore.compat import unquote_str
from botocore.utils import parse_timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.s3.entries import UnrecognizedPage
from fsspec_avroglob.s3.page import page_from_response, parse_page
from tests.support.dialects import (
    AWS,
    Entry,
    Listing,
    any_text,
    ascii_text,
    element,
    escape_as_go,
    infos_of,
    modified,
)
from tests.support.reference_pages import is_read_like_botocore

many = settings(max_examples=150)


def page_with_keys(raw: list[str], url: bool) -> bytes:
    found = "".join(element("Contents", f"<Key>{key}</Key><Size>1</Size>") for key in raw)
    encoding = "<EncodingType>url</EncodingType>" if url else ""
    page = f"<IsTruncated>false</IsTruncated>{encoding}{found}"
    return element("ListBucketResult", page).encode()


@many
@given(raw=st.lists(ascii_text | any_text.map(quote) | st.text("%0aAfFé \\x+\n"), max_size=6))
def test_url_decoding_equals_botocore(raw: list[str]) -> None:
    page = parse_page(page_with_keys([escape_as_go(key) for key in raw], url=True))

    assert page.keys == [unquote_str(key) for key in raw]


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("a+b%2Bc", "a b+c"),
        ("%E2%98%83", "☃"),
        ("%ff%C3", "��"),
        ("100%", "100%"),
        ("%zz%2", "%zz%2"),
        ("%5Cx41\\x41", "\\x41\\x41"),
        ("%2541", "%41"),
        ("%0A%00", "\n\0"),
        ("é%C3%A9", "éé"),
        ("%26amp;&amp;%3B", "&amp;&;"),
    ],
)
def test_url_encoded_keys_are_decoded(raw: str, key: str) -> None:
    assert parse_page(page_with_keys(["x", raw, "y"], url=True)).keys == ["x", key, "y"]


def test_plain_keys_keep_percent_plus() -> None:
    page = parse_page(page_with_keys(["a+b%20c", "&lt;&#39;&#34;\n"], url=False))

    assert page.keys == ["a+b%20c", "<'\"\n"]


def test_token_is_not_url_decoded() -> None:
    assert parse_page(AWS.render(Listing((), token="a+b%2F&="))).next_token == "a+b%2F&="


def test_last_pages_token_is_ignored() -> None:
    body = AWS.render(Listing((), token="t")).replace(b">true<", b">false<")

    assert parse_page(body).next_token is None


@pytest.mark.parametrize(
    ("response", "what"),
    [
        ({"IsTruncated": True, "Contents": []}, "NextContinuationToken"),
        ({"Contents": []}, "IsTruncated"),
        ({"IsTruncated": False, "Contents": [{"Key": "k"}]}, "Size"),
        ({"IsTruncated": False, "Contents": [{"Size": 1}]}, "Key"),
        ({"IsTruncated": False, "CommonPrefixes": [{}]}, "Prefix"),
    ],
)
def test_missing_field_is_rejected(response: dict[str, Any], what: str) -> None:
    with pytest.raises(UnrecognizedPage, match=what):
        page_from_response(response)


@many
@given(when=modified | st.from_regex(r"[12][0-9]{3}-[01]\d-[0-3]\dT[0-2]\d:00:00Z", fullmatch=True))
def test_date_is_rejected_or_equal(when: str) -> None:
    body = AWS.render(Listing((Entry("k", modified=when),)))

    if is_read_like_botocore(body):
        assert infos_of(parse_page(body), "b")[0]["LastModified"] == parse_timestamp(when)


@pytest.mark.parametrize(
    "day", ["2024-02-29", "2000-02-29", "2023-12-31", "1970-01-01", "2038-04-30", "1999-01-30"]
)
def test_real_dates_are_accepted(day: str) -> None:
    assert is_read_like_botocore(
        AWS.render(Listing((Entry("k", modified=f"{day}T23:59:59.123Z"),)))
    )


@pytest.mark.parametrize(
    "day", ["2023-02-29", "2100-02-29", "2024-04-31", "2024-00-10", "0000-01-01"]
)
def test_impossible_dates_are_rejected(day: str) -> None:
    with pytest.raises(UnrecognizedPage):
        parse_page(AWS.render(Listing((Entry("k", modified=f"{day}T00:00:00Z"),))))
