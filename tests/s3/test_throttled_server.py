"""Large globs and reads against a real server that accepts few requests at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.retry import RetryEvent

LISTINGS, FILES = 1000, 300
MEANWHILE = 16
"""Requests that are answered during a wait. In the second that it replaces, there are hundreds."""

LATENCY_S = 0.01
"""More than four requests cost a busy machine; else the test depends on its load."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[SyntheticEndpoint]:
    """A server with keys to list one by one and files to read."""
    buckets = {
        "keys": [f"events/{number:04}.avro" for number in range(LISTINGS)],
        "files": [f"{number:03}" for number in range(FILES)],
    }
    with SyntheticEndpoint(buckets) as running:
        yield running


def instance(endpoint: SyntheticEndpoint, events: list[RetryEvent]) -> AvroGlobFileSystem:
    """A filesystem with the default policy; it lets other requests run instead of sleeping."""
    fs = AvroGlobFileSystem(
        **endpoint.storage_options, skip_instance_cache=True, on_retry=events.append
    )

    async def others_first(seconds: float) -> None:
        goal = total(fs) - fs.stats.in_flight + MEANWHILE
        while fs.stats.in_flight and total(fs) - fs.stats.in_flight < goal:
            await asyncio.sleep(0)

    fs._sleep = others_first
    return fs


def total(fs: AvroGlobFileSystem) -> int:
    return sum(fs.stats.requests.values())


@pytest.mark.parametrize("limit", [2, 4])
def test_glob_completes(endpoint: SyntheticEndpoint, limit: int) -> None:
    events: list[RetryEvent] = []
    fs = instance(endpoint, events)
    endpoint.configure(max_in_flight=limit, latency_s=LATENCY_S, page_size=1)

    found = fs.glob("keys/**/*.avro")

    assert len(found) == LISTINGS
    served = endpoint.stats()
    assert served["requests"]["ListObjectsV2"] == fs.stats.requests["ListObjectsV2"] >= LISTINGS
    assert served["throttled"] == fs.stats.throttles == len(events)
    assert max((event.retry for event in events), default=0) <= 2


@pytest.mark.parametrize("limit", [2, 4])
def test_read_completes(endpoint: SyntheticEndpoint, limit: int) -> None:
    events: list[RetryEvent] = []
    fs = instance(endpoint, events)
    endpoint.configure(max_in_flight=limit, latency_s=LATENCY_S, page_size=1000)
    paths = [f"files/{number:03}" for number in range(FILES)]

    contents = fs.cat_ranges(paths, 0, 10)

    assert contents == [b"0123456789"] * FILES
    served = endpoint.stats()
    assert sum(served["requests"].values()) == total(fs) == FILES + len(events)
    assert served["throttled"] == fs.stats.throttles == len(events) > 0
    assert max(event.retry for event in events) <= 2
