"""Fixtures for the consumer table: one bucket and one proxy for all calls."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import fsspec.config
import pytest

from fsspec_avroglob import AvroGlobFileSystem
from tests.conftest import new_bucket
from tests.consumers.matrix import Call, Library, lake, outcome
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

CheckCall = Callable[[Library, Call], None]


@pytest.fixture(scope="package")
def shared_proxy(endpoint: Endpoint) -> Iterator[FaultProxy]:
    """One for all calls, so that they share a client, which is slow to make."""
    with FaultProxy(endpoint) as running:
        yield running


@pytest.fixture(scope="package")
def data_bucket(endpoint: Endpoint) -> Iterator[str]:
    """A bucket with the files that all calls read."""
    with new_bucket(endpoint) as name:
        for key, content in lake().items():
            endpoint.client().put_object(Bucket=name, Key=key, Body=content)
        yield name


@pytest.fixture
def check_call(
    endpoint: Endpoint, data_bucket: str, shared_proxy: FaultProxy, tmp_path: Path
) -> CheckCall:
    """A function that carries a call out and compares what it gives and sends with what it says."""

    def check(library: Library, call: Call) -> None:
        for key, content in library.data().items():
            endpoint.client().put_object(Bucket=data_bucket, Key=key, Body=content)
        for fs in AvroGlobFileSystem._cache.values():
            fs.invalidate_cache()
        # Some calls set fsspec's configuration, which is that of the process.
        with warnings.catch_warnings(), patch.dict(fsspec.config.conf):
            if library.leaves_open:
                warnings.simplefilter("ignore", ResourceWarning)
            found = outcome(library, call, data_bucket, shared_proxy, str(tmp_path))
            if library.leaves_open:
                gc.collect()
        assert found == (call.gives, call.requests)

    return check
