"""What newer listings and writes say against older answers."""

from __future__ import annotations

import pytest

from fsspec_avroglob.glob import disproof
from fsspec_avroglob.glob.disproof import Claim, Disproofs, Level


def never_seen(directory: str) -> int:
    return 0


def file_holds(said: Disproofs, path: str, number: int) -> bool:
    return said.holds(path, number, False, never_seen)


def claim_of(number: int, base: str) -> Claim:
    """The claim of a listing of all below `base`."""
    return Claim(number, base, lambda path, is_directory: True)


def test_unchallenged_answer_holds() -> None:
    said = Disproofs()
    assert file_holds(said, "b/d/x", said.next_number())


def test_newer_listing_disproves() -> None:
    said = Disproofs()
    older = said.next_number()
    newer = said.next_number()

    said.claim("what", claim_of(newer, "b/d/"))

    assert not file_holds(said, "b/d/x", older)
    assert file_holds(said, "b/d/x", newer)
    assert file_holds(said, "b/e/x", older)


def test_level_covers_one_directory() -> None:
    said = Disproofs()
    older, newer = said.next_number(), said.next_number()

    said.claim_level("b/d", Level(newer, frozenset(["b/d/e"])))

    assert not file_holds(said, "b/d/x", older)
    assert not file_holds(said, "b/d/gone/x", older)  # its directory is not listed any more
    assert said.holds("b/d/e/x", older, False, lambda directory: newer)


def test_level_lacks_a_directory() -> None:
    said = Disproofs()
    outer, inner = said.next_number(), said.next_number()
    said.claim_level("b", Level(outer, frozenset(["b/d"])))

    said.claim_level("b/d/e", Level(inner, frozenset()))
    assert said.level_holds("b", outer, never_seen)
    said.claim_level("b/new/e", Level(said.next_number(), frozenset()))
    assert not said.level_holds("b", outer, never_seen)


def test_write_voids_a_path_and_its_parents() -> None:
    said = Disproofs()
    number = said.next_number()

    said.void("b/d/x")

    assert [file_holds(said, path, number) for path in ("b/d/x", "b/d", "b")] == [False] * 3
    assert file_holds(said, "b/d/y", number)
    assert file_holds(said, "b/d/x", said.next_number())


def test_void_below_reaches_everything_in_it() -> None:
    said = Disproofs()
    number = said.next_number()

    said.void_below("b/d")

    assert [file_holds(said, path, number) for path in ("b/d/e/x", "b/d", "b/e")] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("most", [1, 2, None])
def test_bounds_drop_the_oldest(monkeypatch: pytest.MonkeyPatch, most: int | None) -> None:
    monkeypatch.setattr(disproof, "MOST_GLOBS", 2)
    said = Disproofs(most)
    numbers = [said.next_number() for _ in range(4)]

    for number in numbers:
        said.claim(number, claim_of(number, f"b/{number}/"))

    kept = [file_holds(said, f"b/{number}/x", number) for number in numbers]
    assert kept == [False] * (4 - (most or 2)) + [True] * (most or 2)
