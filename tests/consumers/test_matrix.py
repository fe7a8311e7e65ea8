"""Every call of the consumer table gives what the table says, for the requests that it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.consumers.conftest import CheckCall
from tests.consumers.heavy_libraries import HEAVY_LIBRARIES
from tests.consumers.libraries import LIBRARIES
from tests.consumers.matrix import Call, Library
from tests.consumers.table import EVERY_LIBRARY, PAGE, page


def calls() -> Iterator[Any]:
    for library in (*LIBRARIES, *HEAVY_LIBRARIES):
        marks = [pytest.mark.consumers] if library.heavy else []
        for number, call in enumerate(library.calls):
            yield pytest.param(library, call, marks=marks, id=f"{library.name}-{number}")


@pytest.mark.parametrize(("library", "call"), list(calls()))
def test_call(library: Library, call: Call, check_call: CheckCall) -> None:
    check_call(library, call)


def test_failing_call_has_a_working_one() -> None:
    for library in EVERY_LIBRARY:
        for call, following in zip(library.calls, (*library.calls[1:], None), strict=True):
            assert call.works or following is not None, call.code
        assert library.calls[-1].works, library.name


def test_glob_costs_no_single_requests() -> None:
    """What Dask, DuckDB, datasets and the others would ask about each file, the glob has told."""
    for library in (*LIBRARIES, *HEAVY_LIBRARIES):
        for call in library.calls:
            if call.works and "*." in call.code:
                assert call.requests.HEAD == 0, call.code
                assert call.requests.LIST <= 2, call.code


def test_documentation_is_current() -> None:
    assert PAGE.read_text() == page(), (
        f"{PAGE.name} is stale; make it anew with: python -m tests.consumers.table"
    )
