"""The figures of the scale page are those of a real bucket with the same keys."""

from __future__ import annotations

import pytest

from benchmarks.scale import PATTERNS, Days, Events, cost, incremental_cost, report
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.glob.plan import ListingPlan
from tests.support.keyspace import Keyspace


def test_generated_keys_are_sorted_and_complete() -> None:
    events = Events(200_000)
    keys = events[:]
    assert keys == sorted(set(keys))
    assert len(keys) == len(events) == 2 * Events.DIRECTORIES
    assert [events[0], events[len(events) - 1]] == [keys[0], keys[-1]]


@pytest.mark.parametrize("name", ["one directory", "one day", "one hour of every day of a month"])
def test_figures_equal_a_real_buckets(name: str) -> None:
    found = cost(PATTERNS[name], 240_000)
    space = Keyspace(Events(240_000)[:])
    [plan] = ListingPlan.for_pattern(GlobPattern.parse(f"bucket/{PATTERNS[name]}"))
    files, _ = space.run(plan)
    assert (found.matches, found.exact) == (len(files), True)
    assert found.rounds <= found.requests
    assert found.requests == space.requests


def test_billion_keys_stay_cheap() -> None:
    assert cost(PATTERNS["one directory"], 10**9).requests <= 20


def test_page_has_table_per_pattern() -> None:
    page = report(sizes=(10**5,))
    assert page.count("| keys |") == len(PATTERNS) + 1


def test_runs_do_not_cost_more_as_buckets_grow() -> None:
    small, large = incremental_cost(10**4), incremental_cost(10**7)
    assert small.matches == large.matches == 4 * Days.FILES
    assert small.requests == large.requests <= 8
