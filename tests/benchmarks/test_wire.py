"""The loopback server that moves bytes: what it sends is what clients read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.process import own_options
from benchmarks.wire import WireServer, content
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

pytest.importorskip("cryptography")


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    with WireServer() as running:
        yield running


@pytest.fixture(params=["http", "https"])
def fs(server: WireServer, request: pytest.FixtureRequest) -> AvroGlobFileSystem:
    options = own_options(server.url if request.param == "http" else server.https_url)
    more = {"region_name": options.pop("region"), "verify": server.ca_file}
    return AvroGlobFileSystem(**options, client_kwargs=more, skip_instance_cache=True)


def test_objects_have_the_stated_size(fs: AvroGlobFileSystem) -> None:
    assert fs.cat_file("b/1000003-1") == content(0, 1_000_003)
    assert fs.cat_file("b/1000003-1", start=999_900) == content(999_900, 1_000_003)


def test_writes_are_counted(fs: AvroGlobFileSystem, server: WireServer) -> None:
    server.configure(latency_s=0.0)

    fs.pipe_file("b/written", b"x" * 70_000)
    assert fs.find("b") == ["b/written"]
    fs.rm("b/written")

    assert server.stats()["received"] >= 70_000
    assert fs.find("b") == []
