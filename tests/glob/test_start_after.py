"""A plan that starts after a key finds exactly the later matches, and pays for no earlier ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.keyspace import Keyspace, expected
from tests.support.plans import plan_for
from tests.support.trees import natural_patterns, natural_tree, scattered_tree, uneven_tree


@pytest.mark.parametrize("make", [natural_tree, scattered_tree, uneven_tree])
@pytest.mark.parametrize("seed", range(12))
def test_finds_the_later_matches(make: Callable[[int], list[str]], seed: int) -> None:
    tree = (make(seed) or ["a"])[:2_000]
    draw = random.Random(seed)
    for text in natural_patterns(tree, seed, 3):
        whole = plan_for(text, with_directories=False)
        for key in draw.choices(tree, k=3):
            after = key[: draw.randint(1, len(key))] + draw.choice(["", "~", "/"])
            space = Keyspace(tree, draw.choice([7, 100, 1000]))
            files, directories = space.run(replace(whole, after=after), draw.choice([1, 64]))
            assert files == [f for f in expected(whole, space.keys)[0] if f > after], (text, after)
            assert not directories


def test_old_days_cost_nothing() -> None:
    tree = [f"events/day={day:05}/part-{n}.avro" for day in range(4_000) for n in range(5)]
    plan = plan_for("events/day=*/*.avro", with_directories=False)
    space = Keyspace(tree, 1000)

    files, _ = space.run(replace(plan, after="events/day=03998"))

    assert files == tree[-10:]
    assert space.requests == 1
