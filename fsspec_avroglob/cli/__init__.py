"""The `avroglob` command: list what a glob matches, look into Avro files, take the tour.

Needs the extra ``cli`` (click and rich). This module is the entry point and imports without them.
``app`` puts the commands together, ``command`` holds their shared options, ``arguments`` their
paths and patterns, ``output`` prints, ``exits`` explains failures. Every other module holds the
commands it is named for; ``demo`` and ``tour`` are the demo's server and its command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fsspec_avroglob.cli.exits import EXIT_USAGE, fail

_NO_CLI_EXTRA = (
    "the command line needs click and rich; get them with: pip install 'fsspec-avroglob[cli]'"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    argv: arguments without the program's name; those of the process by default.
    """
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError:
        return fail(EXIT_USAGE, _NO_CLI_EXTRA)
    from fsspec_avroglob.cli.app import run

    return run(sys.argv[1:] if argv is None else list(argv))
