"""Progress bars on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Advance = Callable[[int], object]


@contextmanager
def progress(
    what: str, unit: Literal["files", "records", "bytes"], total: int | None = None
) -> Iterator[Advance]:
    """Show how far long work is; the function given is told of every step, from any thread.

    total: what all steps add up to, None while nobody knows. The bar is gone when the work ends.
    """
    if not sys.stderr.isatty():
        yield lambda amount: None
        return
    amounts: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    )
    bar: list[ProgressColumn] = [BarColumn(), TimeRemainingColumn()] if total else []
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *bar,
        *amounts,
        console=Console(stderr=True),
        transient=True,
    ) as shown:
        task = shown.add_task(what, total=total)
        yield lambda amount: shown.advance(task, amount)
