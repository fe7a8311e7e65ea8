"""Listings ask for no more at once than the thread of their event loop has time for."""

from __future__ import annotations

from itertools import chain, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.glob.fetch import BUSY, INTERVAL_S, ThreadLoad
from tests.support.keyspace import Keyspace
from tests.support.plans import plan_for

KEYS = [f"data/{number:06}" for number in range(2000)]


class Clocks:
    """The time, and how much of it a thread was at work."""

    wall_s = cpu_s = 100.0

    def passes(self, wall_s: float, share: float) -> None:
        self.wall_s += wall_s
        self.cpu_s += share * wall_s

    def load(self) -> ThreadLoad:
        return ThreadLoad(lambda: self.wall_s, lambda: self.cpu_s)


@pytest.mark.parametrize("share", [0.0, 0.5, BUSY - 0.01, BUSY + 0.01, 1.0])
def test_thread_at_work_is_busy(share: float) -> None:
    clocks = Clocks()
    load = clocks.load()

    clocks.passes(2 * INTERVAL_S, share)

    assert load.busy() == (share > BUSY)


def test_only_last_interval_counts() -> None:
    clocks = Clocks()
    load = clocks.load()

    told = []
    for wall_s, share in [(0.4, 1), (0.7, 1), (0.6, 0), (0.6, 0), (9, 0.5), (2, 1), (0.9, 0)]:
        clocks.passes(wall_s * INTERVAL_S, share)
        told.append(load.busy())

    assert told == [False, True, True, False, False, True, True]


@pytest.mark.parametrize("text", ["data/*", "**"])
def test_busy_thread_lists_in_sequence(text: str) -> None:
    busy = Keyspace(KEYS, page_size=20, busy=lambda: True)
    idle = Keyspace(KEYS, page_size=20)

    assert busy.run(plan_for(text)) == idle.run(plan_for(text))
    assert (busy.requests, busy.peak_in_flight) == (100, 1)
    assert idle.peak_in_flight > 1


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1), st.sampled_from(["data/*", "**", "*/*1"]))
def test_load_loses_nothing(told: list[bool], text: str) -> None:
    answers = chain(told, cycle([True, False]))
    space = Keyspace(KEYS, page_size=20, busy=lambda: next(answers))

    assert space.run(plan_for(text)) == Keyspace(KEYS, page_size=20).run(plan_for(text))
    assert space.requests <= 1.15 * 100 + 1
