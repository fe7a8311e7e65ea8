"""A gateway that is killed during a glob and a read, and restarted or not."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.support.faults import Request
from tests.support.proxy import FaultProxy
from tests.support.rgw import RgwServer

pytestmark = pytest.mark.rgw

BUCKET = "restarted"
KEYS = [f"{BUCKET}/d{number // 10:02}/part-{number:03}" for number in range(200)]
LARGE = random.Random(0).randbytes(8 * 2**20)
KILLED_AT = 5
KILL_TIMEOUT_S = 60.0

Run = Callable[[AvroGlobFileSystem], object]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RgwServer]:
    """A gateway that only these tests kill."""
    server = RgwServer()
    client = server.start().client()
    client.create_bucket(Bucket=BUCKET)
    for path in KEYS:
        client.put_object(Bucket=BUCKET, Key=path.partition("/")[2], Body=b"")
    client.put_object(Bucket=BUCKET, Key="large", Body=LARGE)
    yield server
    server.stop()


@pytest.fixture
def front(gateway: RgwServer) -> Iterator[FaultProxy]:
    endpoint = gateway.endpoint()
    assert endpoint is not None
    with FaultProxy(endpoint) as running:
        yield running


def filesystem(front: FaultProxy) -> AvroGlobFileSystem:
    """One that retries without waiting, with pages of five keys, so that globs are long."""
    return AvroGlobFileSystem(
        **front.storage_options,
        retry={"base_delay": 0},
        s3_additional_kwargs={"MaxKeys": 5},
        skip_instance_cache=True,
    )


RUNS: dict[str, tuple[str, Run, object]] = {
    "glob": ("ListObjectsV2", lambda fs: fs.glob(f"{BUCKET}/d*/part-*"), KEYS),
    "read": (
        "GetObject",
        lambda fs: fs.cat_file(f"{BUCKET}/large", chunksize=2**19, max_concurrency=2) == LARGE,
        True,
    ),
}
runs = pytest.mark.parametrize(("operation", "run", "result"), RUNS.values(), ids=list(RUNS))


def killing(front: FaultProxy, gateway: RgwServer, operation: str) -> threading.Event:
    """Have the gateway killed at one of the operation's requests; the event tells of it."""
    killed = threading.Event()

    def kill(request: Request) -> bool:
        if front.count(operation) == KILLED_AT:
            gateway.kill_gateway()
            killed.set()
        return False

    front.drop(operation, match=kill)
    return killed


@runs
def test_operation_survives_a_restart(
    gateway: RgwServer,
    front: FaultProxy,
    operation: str,
    run: Run,
    result: object,
) -> None:
    fs = filesystem(front)
    back = threading.Event()

    async def wait_for_the_gateway(seconds: float) -> None:
        await asyncio.get_running_loop().run_in_executor(None, back.wait)

    fs._sleep = wait_for_the_gateway
    killed = killing(front, gateway, operation)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, fs)
        try:
            assert killed.wait(KILL_TIMEOUT_S)
            gateway.restart_gateway()
        finally:
            back.set()  # the pool waits for what runs, also after a failure

        assert running.result() == result
    assert front.count(operation) > KILLED_AT
    assert max(front.repeats.values()) <= 3
    assert sum(fs.stats.retries.values()) > 0


@runs
def test_lost_gateway_is_one_error(
    gateway: RgwServer,
    front: FaultProxy,
    operation: str,
    run: Run,
    result: object,
) -> None:
    fs = filesystem(front)
    killing(front, gateway, operation)
    try:
        with pytest.raises(Exception, match="onnection") as caught:
            run(fs)
    finally:
        gateway.restart_gateway()

    assert not isinstance(caught.value, BaseExceptionGroup)
    assert any(f"{operation} {BUCKET}" in note for note in caught.value.__notes__)
    assert any("3 attempts" in note for note in caught.value.__notes__)
    assert max(front.repeats.values()) == 3
