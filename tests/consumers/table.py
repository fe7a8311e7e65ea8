"""The table of consumers in the documentation: `python -m tests.consumers.table` makes it anew.

It is written when every call in it has just been carried out as it says, against moto.
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

How libraries read `avroglob://` URLs, what works, and what it costs. Every call below is carried
out by the tests, against moto and against Ceph RGW, and its requests are counted on their way to
the server; this page is made from them (`python -m tests.consumers.table`).

`bucket/data/` holds three files of each format, `part-0` to `part-2`. `options` are the storage
options: a dict of endpoint, keys and whatever else the
[filesystem](reference/options.md) takes. Where a call does not work, the next row that does is the
way. LIST, HEAD, GET and PUT count the requests of one call on a filesystem that remembers nothing
yet.
"""


def page(libraries: Iterable[Library] = EVERY_LIBRARY) -> str:
    """The text of docs/consumers.md."""
    return "\n".join([_INTRODUCTION, *(line for item in libraries for line in _section(item))])


def _section(library: Library) -> Iterator[str]:
    yield f"## {library.name}\n"
    if library.remark:
        yield f"{library.remark}\n"
    yield f"```python\n{library.setup}\n```\n"
    yield "| call | gives | LIST | HEAD | GET | PUT |"
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
            given = "one file" if call.works else "the first file alone"
        case numbers:
            assert numbers == ALL
            given = "all files"
    mark = "✓" if call.works else "✗"
    return f"{mark} {given}" + (f": {call.remark}" if call.remark else "")


def main() -> int:
    """Carry every call out and write the page. Returns pytest's exit status."""
    tests = str(Path(__file__).parent)
    status = pytest.main([tests, "-m", "consumers or not consumers", "-k", "test_call"])
    if status == pytest.ExitCode.OK:
        PAGE.write_text(page())
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
