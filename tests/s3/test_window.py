"""The request window against throttling servers, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.requests import Requests, S3Request
from fsspec_avroglob.s3.retry import RetryPolicy
from fsspec_avroglob.s3.window import START, RequestWindow
from tests.support.errors import client_error
from tests.support.virtual_time import run_in_virtual_time

CEILING = 64
PERSISTENT = RetryPolicy(max_retries=30, base_delay=0)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep no record of thousands of expected warnings."""
    caplog.set_level(logging.ERROR, "fsspec_avroglob")


@dataclass
class Server:
    """Answers after about *round_trip_s*, refuses requests beyond its limits, and counts.

    in_flight: most requests at once. rate: requests a second; *burst* at once after a pause.
    share: fraction of requests refused at random. work_s: the client's own time for each request.
    """

    round_trip_s: float = 0.03
    in_flight: int | None = None
    rate: float | None = None
    burst: float = 100.0
    share: float = 0.0
    work_s: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    attempts: Counter[object] = field(default_factory=Counter)
    refused: int = 0
    peak: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(5)
        self.inside = 0
        self.tokens, self.filled = self.burst, 0.0
        self.client_free = 0.0

    async def serve(self, name: object) -> None:
        loop = asyncio.get_running_loop()
        self.client_free = max(loop.time(), self.client_free) + self.work_s
        await asyncio.sleep(self.client_free - loop.time())
        self.arrivals.append(loop.time())
        self.attempts[name] += 1
        accepted = self.accepts(loop.time())
        self.inside += accepted
        self.peak = max(self.peak, self.inside)
        await asyncio.sleep(self.round_trip_s * self.chance.uniform(0.7, 1.3))
        self.inside -= accepted
        if not accepted:
            self.refused += 1
            raise client_error()

    def accepts(self, now: float) -> bool:
        if self.rate is not None:
            self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
            self.filled = now
            if self.tokens < 1:
                return False
            self.tokens -= 1
        if self.in_flight is not None and self.inside >= self.in_flight:
            return False
        return self.chance.random() >= self.share

    def settled_rate(self) -> float:
        """Requests a second in the later half of the time, without its end."""
        end = self.arrivals[-1]
        return sum(0.5 * end < at < 0.9 * end for at in self.arrivals) / (0.4 * end)


def run(
    server: Server,
    operations: int = 2000,
    policy: RetryPolicy | None = None,
    workers: int = 64,
    seed: int = 7,
) -> Requests:
    """Run operations, *workers* at once, as an instance does, waits included."""

    async def main() -> Requests:
        clock = asyncio.get_running_loop().time
        requests = Requests(S3Config(retry=policy or RetryPolicy()), clock)
        left = iter(range(operations))

        async def work() -> None:
            for number in left:
                request = S3Request("ListObjectsV2", str(number))
                await requests.run(request, lambda number=number: server.serve(number))  # type: ignore[misc]

        await asyncio.gather(*(work() for _ in range(workers)))
        return requests

    random.seed(seed)  # the jitter of waits
    requests = run_in_virtual_time(main)
    assert (requests.window.in_flight, requests.window.waiting) == (0, 0)
    return requests


# --- throttling servers ---------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 4, 20, 50])
@pytest.mark.parametrize("base_delay", [0, 1])
def test_limit_is_found_without_failure(limit: int, base_delay: float) -> None:
    server = Server(in_flight=limit)

    requests = run(server, 1000, RetryPolicy(base_delay=base_delay))

    assert max(server.attempts.values()) <= 3
    assert server.refused <= START + 250 / limit
    assert requests.stats.throttles == server.refused
    assert limit / 2 <= requests.stats.window <= limit * 1.2 + 1


@pytest.mark.parametrize("limit", [2, 4])
def test_limit_costs_little_throughput(limit: int) -> None:
    server = Server(in_flight=limit)

    run(server)

    assert server.arrivals[-1] < 1.2 * 2000 * 0.03 / limit


@pytest.mark.parametrize("round_trip_s", [0.002, 0.03, 0.1])
@pytest.mark.parametrize("burst", [20, 500])
def test_rate_limit_is_kept_busy(round_trip_s: float, burst: float) -> None:
    server = Server(round_trip_s, rate=500, burst=burst)

    run(server, 10_000)

    assert max(server.attempts.values()) <= 3
    assert 0.7 * 500 <= server.settled_rate() <= 1.2 * 500
    assert server.refused < 0.2 * 10_000


@pytest.mark.parametrize("work_s", [0.0007, 0.001])
def test_slow_client_keeps_rate_limit(work_s: float) -> None:
    server = Server(0.0008, rate=500, burst=500, work_s=work_s)

    run(server, 10_000)

    assert 0.8 * 500 <= server.settled_rate() <= 1.2 * 500


@pytest.mark.parametrize("rate", [5, 40, 100])
@pytest.mark.parametrize("round_trip_s", [0.0005, 0.002, 0.01, 0.03])
@pytest.mark.parametrize("burst_s", [0.1, 1.0])
def test_low_rate_loses_nothing(rate: float, round_trip_s: float, burst_s: float) -> None:
    for seed in range(3):
        server = Server(round_trip_s, rate=rate, burst=max(1, rate * burst_s), work_s=0.0005)
        server.chance = random.Random(seed)
        operations = int(10 * rate)

        run(server, operations, seed=seed)  # fails if one operation fails

        assert len(server.attempts) == operations
        assert max(server.attempts.values()) <= 3
        assert server.arrivals[-1] < 3 * operations / rate


@pytest.mark.parametrize("round_trip_s", [0.005, 0.03])
@pytest.mark.parametrize(("share", "times"), [(0.01, 2), (0.1, 4)])
def test_random_refusals_leave_most_of_throughput(
    round_trip_s: float, share: float, times: float
) -> None:
    calm, server = Server(round_trip_s), Server(round_trip_s, share=share)

    run(calm, 8000)
    requests = run(server, 8000, PERSISTENT)

    assert server.arrivals[-1] < times * calm.arrivals[-1]
    assert requests.stats.throttles == server.refused < 1.1 * 8000 * share / (1 - share)


def test_limit_recovers() -> None:
    server = Server(in_flight=4)

    requests = run(server, 400)
    assert requests.stats.window <= 6
    server.in_flight = None
    for _ in range(2000):
        requests.window.congestion.succeeded(0.0, 0, full=True)

    assert requests.stats.window == CEILING


# --- servers without limits -----------------------------------------------------------------------


@pytest.mark.parametrize("operations", [1, 13, START])
def test_first_requests_start_at_once(operations: int) -> None:
    server = Server()

    run(server, operations)

    assert server.peak == operations
    assert set(server.arrivals) == {0.0}


def test_limit_doubles_up_to_ceiling() -> None:
    server = Server()

    requests = run(server, 500, workers=500)

    assert server.peak == CEILING
    assert requests.stats.window == CEILING
    assert server.arrivals[-1] < 0.03 * 1.3 * (500 / CEILING + 2)


# --- order ----------------------------------------------------------------------------------------


async def queued(window: RequestWindow, group: str, order: list[str], name: str) -> None:
    slot = await window.acquire(group)
    order.append(name)
    window.release(slot, accepted=True)


async def start(*jobs: Awaitable[object]) -> list[asyncio.Future[object]]:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    await asyncio.sleep(0)
    return tasks


async def test_head_waits_for_one_list() -> None:
    window, order = RequestWindow(1), list[str]()
    slot = await window.acquire("LIST")
    tasks = await start(
        *(queued(window, "LIST", order, f"LIST {n}") for n in range(10)),
        queued(window, "HEAD", order, "HEAD"),
    )
    assert window.waiting == 11

    window.release(slot, accepted=True)
    await asyncio.gather(*tasks)

    assert order[:3] == ["LIST 0", "HEAD", "LIST 1"]
    assert order[2:] == [f"LIST {n}" for n in range(1, 10)]


async def test_throttled_retry_goes_first() -> None:
    window, order = RequestWindow(4), list[str]()
    slots = [await window.acquire("LIST") for _ in range(4)]

    async def retry() -> None:
        window.release(await window.acquire("LIST", refusals=1))
        order.append("retry")

    tasks = await start(queued(window, "LIST", order, "new"), retry())
    window.release(slots[0])
    window.release(slots[1])
    await asyncio.sleep(0)
    assert order == []

    window.release(slots[2])
    await asyncio.gather(*tasks)

    assert order == ["retry", "new"]
    window.release(slots[3])
    assert window.in_flight == 0


@pytest.mark.parametrize("granted", [False, True])
async def test_cancelled_request_frees_slot(granted: bool) -> None:
    window, order = RequestWindow(1), list[str]()
    slot = await window.acquire("LIST")
    (waiting,) = await start(window.acquire("LIST"))
    (other,) = await start(queued(window, "LIST", order, "other"))

    if granted:
        window.release(slot)  # goes to the request that is cancelled before it runs
        waiting.cancel()
    else:
        waiting.cancel()
        await asyncio.wait([waiting])
        window.release(slot)
    await asyncio.wait([waiting, other])

    assert waiting.cancelled()
    assert order == ["other"]
    assert (window.in_flight, window.waiting) == (0, 0)


async def test_cancelled_retry_frees_others() -> None:
    window, order = RequestWindow(4), list[str]()
    slots = [await window.acquire("LIST") for _ in range(4)]
    (retry,) = await start(window.acquire("LIST", refusals=2))
    (other,) = await start(queued(window, "LIST", order, "other"))
    window.release(slots[0])

    retry.cancel()
    await asyncio.wait([retry, other])

    assert order == ["other"]


def test_window_outlives_its_event_loop() -> None:
    window = RequestWindow(1)

    async def use() -> int:
        tasks = await start(*(queued(window, "LIST", [], "") for _ in range(5)))
        done, _ = await asyncio.wait(tasks)
        return len(done)

    async def abandon() -> None:
        await start(*(queued(window, "LIST", [], "") for _ in range(5)))

    asyncio.run(abandon())
    assert asyncio.run(use()) == 5
    assert window.in_flight == 0
