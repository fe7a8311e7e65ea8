"""Listings send no more concurrent requests than their event loop's thread can handle."""

from __future__ import annotations

from itertools import chain, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.glob.fetch import BUSY, INTERVAL_S, ThreadLoad
from tests.support.keyspace import Keyspace
from tests.support.plans import plan_for

KEYS = [f"data/{number:06}" for number in range(2000)]


class Clocks:
    """Elapsed time, and CPU time of a thread."""

    wall_s = cpu_s = 100.0

    def passes(self, wall_s: float, share: float) -> None:
        self.wall_s += wall_s
        self.cpu_s += share * wall_s

    def load(self) -> ThreadLoad:
        return ThreadLoad(lambda: self.wall_s, lambda: self.cpu_s)


@pytest.mark.parametrize("share", [0.0, 0.5, BUSY - 0.01, BUSY + 0.01, 1.0])
def test_a_thread_is_busy_if_it_used_nearly_all_the_time(share: float) -> None:
    clocks = Clocks()
    load = clocks.load()

    clocks.passes(2 * INTERVAL_S, share)

    assert load.busy() == (share > BUSY)


def test_only_the_last_full_interval_counts() -> None:
    clocks = Clocks()
    load = clocks.load()

    answers = []
    for wall_s, share in [(0.4, 1), (0.7, 1), (0.6, 0), (0.6, 0), (9, 0.5), (2, 1), (0.9, 0)]:
        clocks.passes(wall_s * INTERVAL_S, share)
        answers.append(load.busy())

    assert answers == [False, True, True, False, False, True, True]


@pytest.mark.parametrize("text", ["data/*", "**"])
def test_a_busy_thread_requests_one_page_at_a_time(text: str) -> None:
    busy = Keyspace(KEYS, page_size=20, busy=lambda: True)
    idle = Keyspace(KEYS, page_size=20)

    assert busy.run(plan_for(text)) == idle.run(plan_for(text))
    assert (busy.requests, busy.peak_in_flight) == (100, 1)
    assert idle.peak_in_flight > 1


@given(st.lists(st.booleans(), min_size=1), st.sampled_from(["data/*", "**", "*/*1"]))
def test_a_thread_that_is_busy_at_times_finds_everything_once(busy: list[bool], text: str) -> None:
    answers = chain(busy, cycle([True, False]))
    space = Keyspace(KEYS, page_size=20, busy=lambda: next(answers))

    assert space.run(plan_for(text)) == Keyspace(KEYS, page_size=20).run(plan_for(text))
    assert space.requests <= 1.15 * 100 + 1
