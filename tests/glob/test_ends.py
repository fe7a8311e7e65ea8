"""A listing frees everything when it ends; a server that breaks the API does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.glob.fetch import MOST_EMPTY_PAGES
from fsspec_avroglob.glob.lister import Found, Lister
from fsspec_avroglob.s3.page import Page
from tests.support.keyspace import Keyspace, assert_finds_all, expected
from tests.support.plans import plan_for
from tests.support.trees import patterns, trees

WIDE = [f"{a:02}/{b:02}/{c}" for a in range(40) for b in range(25) for c in range(4)]


async def ignore(found: Found) -> None:
    """Drop the matches."""


# --- after the end -------------------------------------------------------------------------------


class Receiver:
    async def __call__(self, found: Found) -> None:
        """Receive the matches."""


@pytest.mark.parametrize("text", ["**", "*/*/*", "*/", "*/*/3", "{0,1}*/**"])
def test_the_receiver_is_freed_when_the_listing_ends(text: str) -> None:
    # Results of a million dicts should not wait for the garbage collector, nor keep it busy.
    receiver = Receiver()
    gone = weakref.ref(receiver)
    gc.disable()
    try:
        asyncio.run(Lister(plan_for(text), Keyspace(WIDE, 20).fetch, receiver).run())
        del receiver
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("text", ["**", "*/*/*", "*/0[0-9]/*", "{00..39}/{00..24}/3", "*/*/3"])
@pytest.mark.parametrize("failing", [1, 2, 5, 9])
async def test_a_failed_request_ends_the_others_and_is_raised(text: str, failing: int) -> None:
    space = Keyspace(WIDE, 20)

    async def fetch(
        prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        page = await space.fetch(prefix, delimiter=delimiter, start_after=start_after, token=token)
        if space.requests >= failing:
            raise PermissionError("refused")
        return page

    with pytest.raises(PermissionError, match="refused"):
        await Lister(plan_for(text), fetch, ignore, concurrency=4).run()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    sent = space.requests
    await asyncio.sleep(0)
    assert space.requests == sent <= failing + 4


@pytest.mark.parametrize("text", ["**", "*/*/*", "*/*/3"])
async def test_failed_receiver_ends_listing(text: str) -> None:
    async def refuse(found: Found) -> None:
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        await Lister(plan_for(text), Keyspace(WIDE, 20).fetch, refuse).run()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("text", ["**", "*/*/*", "*/*/3"])
async def test_cancelling_ends_all_requests(text: str) -> None:
    space = Keyspace(WIDE, 20)
    reached = asyncio.Event()
    ended = 0

    async def fetch(
        prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        nonlocal ended
        if space.requests >= 5:
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended += 1
        return await space.fetch(prefix, delimiter=delimiter, start_after=start_after, token=token)

    run = asyncio.create_task(Lister(plan_for(text), fetch, ignore, concurrency=4).run())
    await reached.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended >= 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- servers that break the API ------------------------------------------------------------------


class Faulty(Keyspace):
    """A server that breaks a promise of the S3 API; it fails after too many requests."""

    def __init__(self, fault: str) -> None:
        super().__init__(WIDE, 7)
        self.fault = fault

    def page(self, prefix: str, delimiter: str, start_after: str | None, token: str | None) -> Page:
        assert self.requests < 5_000, "listed without end"
        if self.fault == "ignores StartAfter":
            return super().page(prefix, delimiter, None, token)
        if self.fault == "ignores tokens":
            return super().page(prefix, delimiter, start_after, None)
        if self.fault == "repeats two pages":
            page = super().page(prefix, delimiter, start_after, None)
            return replace(page, next_token="even" if token == "odd" else "odd")
        page = super().page(prefix, delimiter, start_after, token)
        if self.fault == "lists out of order":
            page.keys.reverse()
        return page


FAULTS = ["ignores StartAfter", "ignores tokens", "lists out of order", "repeats two pages"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("text", ["**", "*/*/*", "*/", "*", "*/0[0-9]/*", "{0,1}*/{0*,1*}/3"])
def test_a_server_that_breaks_the_api_causes_an_error_or_no_harm(text: str, fault: str) -> None:
    plan = plan_for(text)
    found: object = None
    with contextlib.suppress(OSError):
        found = Faulty(fault).run(plan)
    assert found in (None, expected(plan, WIDE))


@pytest.mark.parametrize("fault", ["ignores StartAfter", "lists out of order"])
def test_broken_flat_listing_is_an_error(fault: str) -> None:
    with pytest.raises(OSError, match="against the S3 API"):
        Faulty(fault).run(plan_for("**"))


class Sparse(Keyspace):
    """Sends *empty* empty pages before each page with entries, each with a fresh token."""

    def __init__(self, keys: Iterable[str], page_size: int, empty: int) -> None:
        super().__init__(keys, page_size)
        self.empty = empty
        self._places: list[tuple[int, str | None, str | None]] = []

    def page(self, prefix: str, delimiter: str, start_after: str | None, token: str | None) -> Page:
        left, after, marker = (self.empty, start_after, None)
        if token is not None:
            left, after, marker = self._places[int(token)]
        if left:
            page = replace(super().page(prefix, delimiter, after, marker), keys=[], prefixes=[])
            return replace(page, next_token=self._token(left - 1, after, marker))
        page = super().page(prefix, delimiter, after, marker)
        if page.next_token is None:
            return page
        return replace(page, next_token=self._token(self.empty, None, page.next_token))

    def _token(self, *place: Any) -> str:
        self._places.append(place)
        return str(len(self._places) - 1)


@settings(max_examples=60)
@given(trees(), patterns, st.integers(1, 20), st.integers(1, 3))
def test_empty_pages_lose_nothing(keys: set[str], text: str, page_size: int, empty: int) -> None:
    try:
        plan = plan_for(text)
    except ValueError:
        assume(False)
    space = Sparse(keys, page_size, empty)

    assert_finds_all(space, plan)

    assert sum(cost.requests for cost in plan.costs.values()) == space.requests


def test_a_limited_number_of_empty_pages_is_followed() -> None:
    most = Sparse(["d/a"], 10, MOST_EMPTY_PAGES)
    assert most.run(plan_for("d/*")) == (["d/a"], [])

    endless = Sparse(["d/a"], 10, MOST_EMPTY_PAGES + 1)
    with pytest.raises(
        OSError, match=r"gives more than 1,000 empty pages in a row, against the S3 API"
    ):
        endless.run(plan_for("d/*"))
    assert endless.requests == MOST_EMPTY_PAGES + 1
