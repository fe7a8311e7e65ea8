"""Write the page about libraries, docs/consumers.md: `python -m tests.consumers.table`.

The page is written only after every call in it has passed against moto.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.consumers.heavy_libraries import HEAVY_LIBRARIES, RAY
from tests.consumers.libraries import LIBRARIES
from tests.consumers.matrix import ALL, FIRST, Call, Fails, Library

PAGE = Path(__file__).parents[2] / "docs" / "consumers.md"
EVERY_LIBRARY = (*LIBRARIES, *HEAVY_LIBRARIES, RAY)

_INTRODUCTION = """\
# Libraries

This page shows how libraries read `avroglob://` URLs, what works, and how many requests it costs.
The tests run every call, against moto and Ceph RGW, and count its requests.
`python -m tests.consumers.table` generates the page.

- `bucket/data/` has three files of each format, `part-0` to `part-2`.
- `options` is a dict of [storage options](reference/options.md), such as the endpoint and keys.
- If a call does not work (✗), use the next row that works (✓).
- LIST, HEAD, GET and PUT are the requests of one call on a new filesystem with an empty cache.
"""


def page(libraries: Iterable[Library] = EVERY_LIBRARY) -> str:
    """The text of docs/consumers.md."""
    return "\n".join([_INTRODUCTION, *(line for item in libraries for line in _section(item))])


def _section(library: Library) -> Iterator[str]:
    yield f"## {library.name}\n"
    if library.remark:
        yield f"{library.remark}\n"
    yield f"```python\n{library.setup}\n```\n"
    yield "| call | result | LIST | HEAD | GET | PUT |"
    yield "|---|---|---|---|---|---|"
    yield from map(_row, library.calls)
    yield ""


def _row(call: Call) -> str:
    # The name alone on the last line is there for the tests.
    lines = [line for line in call.code.split("\n") if not line.isidentifier()]
    assert "|" not in call.code, "a bar would end the cell"
    sent = call.requests
    counts = (str(n or "") for n in (sent.LIST, sent.HEAD, sent.GET, sent.PUT))
    code = "<br>".join(f"`{line}`" for line in lines)
    return " | ".join([f"| {code}", _gives(call), *counts]).rstrip() + " |"


def _gives(call: Call) -> str:
    match call.gives:
        case Fails(error):
            given = f"`{error}`"
        case int(count):
            given = f"{count} file" + "s" * (count != 1)
        case ():
            given = "nothing"
        case numbers if numbers == FIRST:
            given = "one file" if call.works else "only the first file"
        case numbers:
            assert numbers == ALL
            given = "all files"
    mark = "✓" if call.works else "✗"
    return f"{mark} {given}" + (f": {call.remark}" if call.remark else "")


def main() -> int:
    """Run every call and write the page. Returns pytest's exit status."""
    tests = str(Path(__file__).parent)
    status = pytest.main([tests, "-m", "consumers or not consumers", "-k", "test_call"])
    if status == pytest.ExitCode.OK:
        PAGE.write_text(page())
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
