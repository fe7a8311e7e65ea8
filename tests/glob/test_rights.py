"""A listing that a policy refuses is replaced by narrower ones that find the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.glob.lister import Lister
from fsspec_avroglob.glob.rights import ListingRights, is_refusal
from fsspec_avroglob.s3.page import Page
from tests.support.errors import client_error
from tests.support.keyspace import Keyspace, assert_finds_all
from tests.support.plans import parsed, plan_for
from tests.support.trees import natural_patterns, natural_tree, patterns, random_tree

Allowed = Callable[[str, str], bool]


class GuardedKeyspace(Keyspace):
    """A bucket whose policy allows only some listings; ``refused`` counts the others."""

    def __init__(self, keys: Iterable[str], allowed: Allowed, page_size: int = 1000) -> None:
        super().__init__(keys, page_size)
        self.allowed = allowed
        self.refused: list[tuple[str, str]] = []

    async def fetch(
        self, prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        if not self.allowed(prefix, delimiter):
            self.refused.append((prefix, delimiter))
            raise PermissionError("AccessDenied") from client_error("AccessDenied", 403)
        return await super().fetch(
            prefix, delimiter=delimiter, start_after=start_after, token=token
        )


def ends_a_name(prefix: str) -> bool:
    return prefix == "" or prefix.endswith("/")


POLICIES: dict[str, Allowed] = {
    "levels only": lambda prefix, delimiter: delimiter == "/",
    "directories": lambda prefix, delimiter: delimiter == "/" and ends_a_name(prefix),
    "home folders": lambda prefix, delimiter: (
        prefix.count("/") >= 2 or (delimiter == "/" and ends_a_name(prefix))
    ),
    "every other directory": lambda prefix, delimiter: (
        (delimiter == "/" and ends_a_name(prefix)) or len(prefix) % 2 == 0
    ),
}


@pytest.mark.parametrize("allowed", POLICIES.values(), ids=list(POLICIES))
@given(
    pattern=patterns,
    seed=st.integers(0, 200),
    maxdepth=st.none() | st.integers(1, 3),
    page_size=st.sampled_from([1, 3, 1000]),
)
def test_policy_changes_no_result(
    allowed: Allowed, pattern: str, seed: int, maxdepth: int | None, page_size: int
) -> None:
    plan = parsed(pattern, maxdepth)
    assert_finds_all(GuardedKeyspace(random_tree(seed), allowed, page_size), plan)


@pytest.mark.parametrize("allowed", POLICIES.values(), ids=list(POLICIES))
@pytest.mark.parametrize("seed", range(6))
def test_policy_on_natural_trees(allowed: Allowed, seed: int) -> None:
    tree = natural_tree(seed, limit=600)
    for text in natural_patterns(tree, seed, 3):
        assert_finds_all(GuardedKeyspace(tree, allowed, 20), plan_for(text))


@pytest.mark.parametrize("prefix", ["", "a/", "a/b"])
@pytest.mark.parametrize("allowed", POLICIES.values(), ids=list(POLICIES))
def test_all_below_a_prefix_is_found(allowed: Allowed, prefix: str) -> None:
    tree = [key for seed in range(3) for key in random_tree(seed)]
    space = GuardedKeyspace(tree, allowed, 5)
    plan = plan_for("**", with_directories=False)

    directory, _, start = prefix.rpartition("/")
    files, _ = space.run(
        plan, start=lambda run: run.run_below(directory + "/" if directory else "", start)
    )

    assert files == [key for key in space.keys if key.startswith(prefix)]


def test_stated_names_are_asked_one_by_one() -> None:
    names = [f"team-{i:02}" for i in range(30)]
    keys = [f"{name}/{file}.csv" for name in [*names, "other"] for file in "ab"]
    space = GuardedKeyspace(
        keys, lambda prefix, _: prefix.startswith(tuple(f"{n}/" for n in names))
    )

    files, _ = space.run(plan_for("{" + ",".join(names) + "}/*.csv"))

    assert len(files) == 60
    assert len(space.refused) <= 3


def test_no_listing_at_all_is_found_out_soon() -> None:
    space = GuardedKeyspace(["d/a.csv"], lambda prefix, _: False)

    with pytest.raises(PermissionError):
        space.run(plan_for("d/[abcdefgh].csv"))

    assert len(space.refused) <= 3


def test_few_refusals_in_a_deep_tree() -> None:
    keys = [f"{a}/{b}/{c}/x" for a in range(9) for b in range(9) for c in range(9)]
    space = GuardedKeyspace(keys, POLICIES["directories"])

    files, _ = space.run(plan_for("**"))

    assert len(files) == len(keys)
    assert len(space.refused) <= 7  # two for each depth below the first
    assert space.requests == 1 + 9 + 81 + 729


def test_refusal_of_the_narrow_listing_is_raised() -> None:
    space = GuardedKeyspace(["a/b/c"], lambda prefix, delimiter: (prefix, delimiter) == ("a/", "/"))

    with pytest.raises(PermissionError):
        space.run(plan_for("a/*/*"))


def test_wrong_key_is_asked_once() -> None:
    space = GuardedKeyspace(["a/b"], lambda *_: True)
    asked = []

    async def refuse(prefix: str, **_: object) -> Page:
        asked.append(prefix)
        raise PermissionError("wrong") from client_error("InvalidAccessKeyId", 403)

    space.fetch = refuse  # type: ignore[method-assign]
    with pytest.raises(PermissionError):
        space.run(plan_for("a*/{b,c}*"))
    assert asked == ["a"]


def test_refusals_are_remembered() -> None:
    rights, tree = ListingRights(), ["a/b/1", "a/c/1"]
    plan, refused = plan_for("a/*/1"), []
    for _ in range(2):
        space = GuardedKeyspace(tree, POLICIES["directories"])
        space.run(
            plan,
            start=lambda run: Lister(
                plan, run._fetcher._fetch, run._fetcher._emit, 8, rights
            ).run(),
        )
        refused.append(len(space.refused))
    assert refused[0] > 0
    assert refused[1] == 0


def test_a_fault_is_no_refusal() -> None:
    assert not is_refusal(PermissionError("a local file"))
