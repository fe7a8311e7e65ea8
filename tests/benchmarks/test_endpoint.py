"""The benchmarks' synthetic endpoint lists as a real S3 server does."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.keyspace import KINDS, Keyspace, Listing, counters, from_spec
from tests.support.servers import Endpoint

# Neighbours in byte order, keys inside keys, empty segments, every kind of character that an
# encoding treats specially, and one to four bytes a character.
KEYS = [
    *("a", "a/", "a/b", "a/b/c", "a/b/d", "a/c", "a//e", "a-", "a0", "ab", "ab/c"),
    *("b/1", "b/2", "b/3", "b/4/x", "b/4/y", "b/5", "b=1/c=2/d", "b=1/c=3/d"),
    *(" lead", "+plus", "a+b c/d", "%2F/x", "%25", "~tilde", "x&y<z>\"'/k", "semi;colon"),
    *("é/ü", "é/ý", "éa", "日本/語", "日本/誌", "\uff01", "\U0001f600/1", "\U0001f600/2"),
    *(f"deep/{x}/{y}/{z}" for x in "pq" for y in "rs" for z in "tu"),
]
# Keys that moto cannot store.
CONTROLS = ["line\nbreak", "return\r", "tab\t/x"]
PARTS = sorted({key[:end] for key in KEYS for end in range(len(key) + 1)} | {"zz", "0"})


@pytest.fixture(scope="module")
def synthetic() -> Iterator[SyntheticEndpoint]:
    buckets = {"keys": KEYS, "controls": CONTROLS, "many": "counters:2500"}
    with SyntheticEndpoint(buckets, content="pattern") as running:
        yield running


@pytest.fixture(scope="module")
def client(synthetic: SyntheticEndpoint) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=synthetic.url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def real(endpoint: Endpoint) -> Iterator[tuple[Any, str]]:
    """A client of the S3 server under test, and the name of a bucket on it that holds KEYS."""
    server, bucket = endpoint.client(), f"test-{uuid.uuid4().hex}"
    server.create_bucket(Bucket=bucket)
    for key in KEYS:
        server.put_object(Bucket=bucket, Key=key, Body=b"")
    yield server, bucket
    for key in KEYS:
        server.delete_object(Bucket=bucket, Key=key)
    server.delete_bucket(Bucket=bucket)


def pages(client: Any, bucket: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """What every page of a listing says, without what differs from server to server."""
    answers = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, **query)
    return [
        {
            "keys": [item["Key"] for item in answer.get("Contents", [])],
            "prefixes": [item["Prefix"] for item in answer.get("CommonPrefixes", [])],
            **{name: answer.get(name, "") for name in ECHOED},
        }
        for answer in answers
    ]


# Not Prefix, which RGW repeats without encoding it.
ECHOED = ("IsTruncated", "KeyCount", "MaxKeys", "Delimiter", "EncodingType")

# StartAfter and delimiter are not combined: servers disagree about a StartAfter inside of a common
# prefix. Continuation tokens with a delimiter are, by small pages.
queries = st.fixed_dictionaries(
    {"MaxKeys": st.sampled_from([1, 3, 7, 20, 1000])},
    optional={"Prefix": st.sampled_from(PARTS)},
).flatmap(
    lambda query: st.one_of(
        st.just(query),
        st.sampled_from(["/", "/", "b", "4/"]).map(lambda text: {**query, "Delimiter": text}),
        st.sampled_from(PARTS[1:]).map(lambda text: {**query, "StartAfter": text}),
    )
)


@settings(max_examples=100)
@given(query=queries)
def test_pages_equal_a_real_servers(
    real: tuple[Any, str], client: Any, query: dict[str, Any]
) -> None:
    server, bucket = real

    assert pages(client, "keys", query) == pages(server, bucket, query)


@pytest.mark.parametrize(("bucket_name", "keys"), [("keys", KEYS), ("controls", CONTROLS)])
def test_keys_survive_url_encoding(
    synthetic: SyntheticEndpoint, client: Any, bucket_name: str, keys: list[str]
) -> None:
    with urlopen(f"{synthetic.url}/{bucket_name}?list-type=2") as response:
        result = ElementTree.fromstring(response.read())

    names = [element.text for element in result.findall("{*}Contents/{*}Key")]
    (page,) = pages(client, bucket_name, {})
    assert names == page["keys"] == sorted(keys, key=str.encode)


def naive_page(
    keys: Iterable[str], prefix: str, delimiter: str, start_after: str, max_keys: int
) -> Listing:
    """The reference's words as code: filter, roll up, pass over, cut."""
    entries: dict[str, bool] = {}
    for key in sorted(keys, key=str.encode):
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            entry = prefix + head + found if found else key
            inside = found and start_after.startswith(entry)
            if key > start_after and not inside:
                entries[entry] = bool(found)
    page = list(islice(entries.items(), max_keys))
    truncated = 0 < max_keys < len(entries)
    return Listing(
        [entry for entry, rolled_up in page if not rolled_up],
        [entry for entry, rolled_up in page if rolled_up],
        truncated,
        page[-1][0] if truncated else None,
    )


texts = st.text("ab/é\ud7ff\ue000\uffff\U0010ffff", max_size=6)


@settings(max_examples=300)
@given(
    keys=st.sets(texts.filter(bool), max_size=30),
    prefix=texts,
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    start_after=texts,
    max_keys=st.integers(0, 8),
)
def test_pages_equal_the_reference(
    keys: set[str], prefix: str, delimiter: str, start_after: str, max_keys: int
) -> None:
    page = Keyspace.of(keys).page(prefix, delimiter, start_after, max_keys)

    assert page == naive_page(keys, prefix, delimiter, start_after, max_keys)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"events"}))
def test_keys_ascend_without_duplicates(kind: str) -> None:
    keys = list(KINDS[kind](500))

    assert len(keys) == 500
    assert [key.encode() for key in keys] == sorted({key.encode() for key in keys})


def test_event_tree_has_stated_size() -> None:
    keyspace = from_spec("events:3")

    assert len(keyspace) == 3 * 12 * 28 * 24 * 4
    assert keyspace.page("events/year=2025/", "/").prefixes[-1] == "events/year=2025/month=12/"


def test_numbered_keys_slice() -> None:
    keys = counters(30)

    assert keys[3:30:9] == [keys[3], keys[12], keys[21]] == ["data/000000003.avro", *keys[12:30:9]]


def test_page_size_is_bounded(synthetic: SyntheticEndpoint, client: Any) -> None:
    synthetic.configure(page_size=400)
    try:
        sizes = [page["KeyCount"] for page in pages(client, "many", {"MaxKeys": 1000})]
    finally:
        synthetic.configure(page_size=1000)

    assert sizes == [400] * 6 + [100]


def test_requests_count_by_operation(synthetic: SyntheticEndpoint, client: Any) -> None:
    synthetic.reset()

    pages(client, "many", {})
    client.head_bucket(Bucket="many")
    synthetic.stats()

    assert synthetic.stats()["requests"] == {"ListObjectsV2": 3, "HeadBucket": 1}


def test_throttling_says_slow_down(synthetic: SyntheticEndpoint, client: Any) -> None:
    synthetic.configure(max_in_flight=0)
    try:
        with pytest.raises(ClientError) as refused:
            client.list_objects_v2(Bucket="keys")
        throttled = synthetic.stats()["throttled"]
    finally:
        synthetic.configure(max_in_flight=None)

    assert refused.value.response["Error"]["Code"] == "SlowDown"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert throttled == 1


@pytest.mark.parametrize("key", ["a/b", "x&y<z>\"'/k", "\U0001f600/1"])
def test_head_and_get_match_listing(client: Any, key: str) -> None:
    (listed,) = client.list_objects_v2(Bucket="keys", Prefix=key, MaxKeys=1)["Contents"]
    head = client.head_object(Bucket="keys", Key=key)
    body = client.get_object(Bucket="keys", Key=key)["Body"].read()
    part = client.get_object(Bucket="keys", Key=key, Range="bytes=3-9")

    assert listed["Size"] == head["ContentLength"] == len(body)
    assert (listed["ETag"], listed["LastModified"]) == (head["ETag"], head["LastModified"])
    assert part["Body"].read() == body[3:10]
    assert part["ContentRange"] == f"bytes 3-9/{len(body)}"


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("list_objects_v2", {"Bucket": "none"}, "NoSuchBucket"),
        ("get_object", {"Bucket": "keys", "Key": "none"}, "NoSuchKey"),
        ("head_object", {"Bucket": "keys", "Key": "none"}, "404"),
        ("get_object", {"Bucket": "keys", "Key": "a", "Range": "bytes=9999999-"}, "InvalidRange"),
        ("list_objects_v2", {"Bucket": "keys", "ContinuationToken": "a"}, "InvalidArgument"),
    ],
)
def test_failures_have_s3_codes(
    client: Any, operation: str, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as failed:
        getattr(client, operation)(**arguments)

    assert failed.value.response["Error"]["Code"] == code
