"""The request window against servers in virtual time that take only so much."""

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
    """Takes *round_trip_s* a request, refuses those beyond its limits, and keeps count.

    in_flight: most at once. rate: requests a second, *burst* at once after a pause. share: of the
    requests, refused at random. work_s: what the client itself needs for a request, one by one.
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
    """Carry out operations, *workers* at once, as an instance would, waits included."""

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


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 4, 20, 50])
@pytest.mark.parametrize("base_delay", [0, 1])
def test_a_server_that_takes_so_many_at_once_is_kept_busy_without_a_failure(
    limit: int, base_delay: float
) -> None:
    server = Server(in_flight=limit)

    requests = run(server, 1000, RetryPolicy(base_delay=base_delay))

    assert max(server.attempts.values()) <= 2
    assert server.refused <= START + 10
    assert requests.stats.throttles == server.refused
    assert limit / 2 <= requests.stats.window <= limit * 1.2


def test_two_thousand_operations_against_four_at_once_take_little_longer_than_they_must() -> None:
    server = Server(in_flight=4)

    run(server)

    assert server.arrivals[-1] < 1.2 * 2000 * 0.03 / 4


@pytest.mark.parametrize("round_trip_s", [0.002, 0.03, 0.1])
@pytest.mark.parametrize("burst", [20, 500])
def test_a_server_that_takes_so_many_a_second_is_asked_that_often(
    round_trip_s: float, burst: float
) -> None:
    server = Server(round_trip_s, rate=500, burst=burst)

    run(server, 10_000)

    assert max(server.attempts.values()) <= 3
    assert 0.8 * 500 <= server.settled_rate() <= 1.2 * 500
    assert server.refused < 0.06 * 10_000


@pytest.mark.parametrize("work_s", [0.0007, 0.001])
def test_the_rate_is_kept_where_the_client_is_the_slower_part(work_s: float) -> None:
    server = Server(0.0008, rate=500, burst=500, work_s=work_s)

    run(server, 10_000)

    assert 0.8 * 500 <= server.settled_rate() <= 1.2 * 500


def test_a_rate_below_what_single_requests_reach_makes_pauses() -> None:
    server = Server(0.002, rate=50, burst=10)

    requests = run(server, 1000)

    assert requests.stats.window < 1
    assert 0.8 * 50 <= server.settled_rate() <= 1.2 * 50


@pytest.mark.parametrize("rate", [5, 40, 100])
@pytest.mark.parametrize("round_trip_s", [0.0005, 0.002, 0.01, 0.03])
@pytest.mark.parametrize("burst_s", [0.1, 1.0])
def test_no_operation_is_lost_however_few_requests_a_second_are_taken(
    rate: float, round_trip_s: float, burst_s: float
) -> None:
    for seed in range(3):
        server = Server(round_trip_s, rate=rate, burst=max(1, rate * burst_s), work_s=0.0005)
        server.chance = random.Random(seed)
        operations = int(10 * rate)

        run(server, operations, seed=seed)  # fails with what any of them is given up for

        assert len(server.attempts) == operations
        assert max(server.attempts.values()) <= 3
        assert server.arrivals[-1] < 2 * operations / rate


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("round_trip_s", [0.005, 0.03])
def test_refusals_by_chance_leave_more_than_half_of_the_throughput(
    share: float, round_trip_s: float
) -> None:
    calm, server = Server(round_trip_s), Server(round_trip_s, share=share)

    run(calm, 8000)
    requests = run(server, 8000, PERSISTENT)

    assert server.arrivals[-1] < 2 * calm.arrivals[-1]
    assert requests.stats.throttles == server.refused < 1.1 * 8000 * share / (1 - share)


def test_a_limit_is_found_although_refusals_come_by_chance_too() -> None:
    server = Server(share=0.05, in_flight=20)

    requests = run(server, 8000, PERSISTENT)

    assert server.arrivals[-1] < 2 * 8000 * 0.03 / 20
    assert server.refused < 0.25 * len(server.arrivals)
    assert 10 <= requests.stats.window <= 1.3 * 20


def test_more_is_sent_again_when_refusals_by_chance_end() -> None:
    server = Server(share=0.3)

    requests = run(server, 2000, PERSISTENT)
    refusals = requests.window.congestion.refusals
    assert refusals.background > 0.1
    for _ in range(2000):
        refusals.note(64.0, 0.03, refused=False)

    assert refusals.background == 0


def test_more_is_tried_when_the_server_takes_more_again() -> None:
    server = Server(in_flight=4)

    requests = run(server, 400)
    assert requests.stats.window <= 5
    server.in_flight = None
    window = requests.window.congestion
    for _ in range(20_000):
        slot = requests.window._grant()
        requests.window.in_flight -= 1
        window.succeeded(slot, slot.since + 0.03, full=True)

    assert window.limit == CEILING
    assert not window.paced


# --- while all is well ---------------------------------------------------------------------------


@pytest.mark.parametrize("operations", [1, 13, START])
def test_as_many_as_most_globs_need_go_at_once(operations: int) -> None:
    server = Server()

    run(server, operations)

    assert server.peak == operations
    assert set(server.arrivals) == {0.0}


def test_the_window_doubles_with_each_round_trip_up_to_the_ceiling() -> None:
    server = Server()

    requests = run(server, 500, workers=500)

    assert server.peak == CEILING
    assert requests.stats.window == CEILING
    assert server.arrivals[-1] < 0.03 * 1.3 * (500 / CEILING + 2)


# --- who is next ---------------------------------------------------------------------------------


async def queued(window: RequestWindow, group: str, order: list[str], name: str) -> None:
    slot = await window.acquire(group)
    order.append(name)
    window.release(slot, accepted=True)


async def start(*jobs: Awaitable[object]) -> list[asyncio.Future[object]]:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    await asyncio.sleep(0)
    return tasks


async def test_a_head_does_not_wait_for_all_the_lists_that_came_before_it() -> None:
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


async def test_what_was_throttled_goes_ahead_but_not_into_a_crowd() -> None:
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
async def test_a_cancelled_request_gives_its_place_back(granted: bool) -> None:
    window, order = RequestWindow(1), list[str]()
    slot = await window.acquire("LIST")
    (waiting,) = await start(window.acquire("LIST"))
    (other,) = await start(queued(window, "LIST", order, "other"))

    if granted:
        window.release(slot)  # gives the place to the one that is cancelled before it hears of it
        waiting.cancel()
    else:
        waiting.cancel()
        await asyncio.wait([waiting])
        window.release(slot)
    await asyncio.wait([waiting, other])

    assert waiting.cancelled()
    assert order == ["other"]
    assert (window.in_flight, window.waiting) == (0, 0)


async def test_cancelling_a_retry_at_the_head_lets_the_others_go() -> None:
    window, order = RequestWindow(4), list[str]()
    slots = [await window.acquire("LIST") for _ in range(4)]
    (retry,) = await start(window.acquire("LIST", refusals=2))
    (other,) = await start(queued(window, "LIST", order, "other"))
    window.release(slots[0])

    retry.cancel()
    await asyncio.wait([retry, other])

    assert order == ["other"]


def test_a_window_outlives_its_event_loop() -> None:
    window = RequestWindow(1)
    window.congestion.fits = 1.0
    window.congestion._round_trip_s = 0.001

    async def use() -> int:
        tasks = await start(*(queued(window, "LIST", [], "") for _ in range(5)))
        done, _ = await asyncio.wait(tasks)
        return len(done)

    async def abandon() -> None:
        await start(*(queued(window, "LIST", [], "") for _ in range(5)))

    asyncio.run(abandon())
    assert asyncio.run(use()) == 5
    assert window.in_flight == 0
