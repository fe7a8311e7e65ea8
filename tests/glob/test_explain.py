"""Plans as text, and the costs of their steps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsspec_avroglob.errors import printable
from fsspec_avroglob.glob.explain import SHOWN_NAMES, costed, lines, outline, total
from fsspec_avroglob.glob.plan import Level, ListingPlan, Match
from tests.support.keyspace import Keyspace
from tests.support.plans import parsed, plan_for, state_at
from tests.support.trees import patterns, trees


def printed(plan: ListingPlan) -> str:
    return "\n".join(lines(plan))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "events/year=2024/month=*/day=01/hour=00/*.avro",
            [
                "descend into events/ (not listed)",
                "descend into events/year=2024/ (not listed)",
                "level: LIST prefix=events/year=2024/month= delimiter=/",
                "descend into events/year=2024/month=*/day=01/ (not listed)",
                "descend into events/year=2024/month=*/day=01/hour=00/ (not listed)",
                "match: LIST prefix=events/year=2024/month=*/day=01/hour=00/ delimiter=/",
            ],
        ),
        (
            "events/year={2023,2025}/month=0[1-3]/*.avro",
            [
                "descend into events/ (not listed)",
                "descend into events/{year=2023,year=2025}/ (not listed)",
                "descend into events/{year=2023,year=2025}/{month=01,month=02,month=03}/ "
                "(not listed)",
                "match: LIST prefix=events/{year=2023,year=2025}/"
                "{month=01,month=02,month=03}/ delimiter=/",
            ],
        ),
        (
            "events/**/part-*.avro",
            ["descend into events/ (not listed)", "flat: LIST prefix=events/"],
        ),
        (
            "logs/part-[3-5]*",
            [
                "descend into logs/ (not listed)",
                "range: LIST prefix=logs/part- from 'part-3' to 'part-5'",
            ],
        ),
        ("{a,b}", ["exact: LIST prefix={a,b}"]),
    ],
)
def test_plan_prints_as_a_tree(text: str, lines: list[str]) -> None:
    title, *steps = printed(plan_for(text)).split("\n")
    assert title == f"bucket/{text} in bucket"
    assert steps == [f"{'  ' * depth}└ {line}" for depth, line in enumerate(lines)]


def test_run_plan_prints_its_costs() -> None:
    plan = plan_for("a/*/b*")
    inside_a = state_at(plan, "a/")
    plan.costs[inside_a, Level].requests += 3
    plan.costs[inside_a, Level].keys_seen += 20
    plan.costs[plan.enter(inside_a, "x", 2), Match].requests += 2
    _, *lines = printed(plan).split("\n")
    assert lines == [
        "└ descend into a/ (not listed)",
        "  └ level: LIST prefix=a/ delimiter=/  [3 requests, 20 keys seen, 0 kept]",
        "    └ match: LIST prefix=a/*/b delimiter=/  [2 requests, 0 keys seen, 0 kept]",
    ]


@settings(max_examples=100)
@given(patterns, st.none() | st.integers(1, 3))
def test_every_plan_prints(text: str, maxdepth: int | None) -> None:
    plan = parsed(text, maxdepth)
    assert printed(plan).startswith("bucket/")


@settings(max_examples=150)
@given(trees(empty_segments=True), patterns, st.none() | st.integers(1, 3))
def test_requests_are_counted_once(tree: set[str], text: str, maxdepth: int | None) -> None:
    plan, space = parsed(text, maxdepth), Keyspace(tree, page_size=3)
    space.run(plan)
    assert total(node.cost for node in costed(plan) if node.cost).requests == space.requests


def test_literal_beside_wildcard_is_step() -> None:
    steps = [(node.depth, str(node)) for node in outline(plan_for("{x/**,*/a*}"))]
    assert steps == [
        (0, "level: LIST prefix= delimiter=/"),
        (1, "flat: LIST prefix=x/"),
        (1, "match: LIST prefix=*/a delimiter=/"),
    ]


def test_long_lists_are_elided() -> None:
    few, many = (plan_for(f"{{1..{count}}}/x*") for count in (SHOWN_NAMES, SHOWN_NAMES + 1))
    assert "{1,2,3,4,5,6}/" in printed(few)
    assert "{1,2,3,4,…,7}/" in printed(many)


def test_deep_pattern_prints() -> None:
    assert printed(plan_for("a*/" * 500 + "b")).count("\n") == 501


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31mé\n") == "a\\x1b[31mé\\n"
    assert "\x1b" not in printed(plan_for("\x1b[[]31m*"))


def test_costs_below_maxdepth_are_named() -> None:
    plan = parsed("**", 2)
    space = Keyspace([f"{a}/{b}/{c}" for a in "abc" for b in range(9) for c in "xy"], page_size=5)
    space.run(plan)
    assert "└ further down, below **  [" in printed(plan)
