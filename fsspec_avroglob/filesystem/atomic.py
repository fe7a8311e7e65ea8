"""Write local files whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[str]:
    """Give the path of a temporary file that becomes *target* when the block ends.

    The temporary file is in the directory of *target*. If the block fails, the file is removed, and
    *target* stays as it was.

    >>> with atomic_path("out.csv") as part, open(part, "w") as file:  # doctest: +SKIP
    ...     file.write("a,b")
    """
    # Not made of the target's name, which may be as long as the file system allows.
    part = os.path.join(os.path.dirname(target), f".{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(part)
        raise
