"""Write local files whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[str]:
    """Give the path of a temporary file that becomes *target* when the block ends.

    If the block fails, the temporary file is removed, and *target* stays as it was.

    A file that exists keeps what others rely on: its mode, the link that leads to it, its other
    names (hard links), its owner. So it is replaced only if it is an ordinary file of ours in a
    directory that we may write to. Otherwise the finished temporary file is copied into it.

    Raises PermissionError, before the block, for a file that may not be written.

    >>> with atomic_path("out.csv") as part, open(part, "w") as file:  # doctest: +SKIP
    ...     file.write("a,b")
    """
    target = os.path.realpath(target) if os.path.islink(target) else os.fspath(target)
    directory = os.path.dirname(target)
    try:
        existing = os.stat(target)
    except FileNotFoundError:
        existing = None
    if existing is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file exists and may not be written", target)
    in_place = existing is not None and not _is_replaceable(target, directory or ".", existing)
    # Not made of the target's name, which may be as long as the file system allows.
    place = tempfile.gettempdir() if in_place else directory
    part = os.path.join(place, f".{uuid.uuid4().hex}.part")
    try:
        if existing is not None:
            # The content of a private file is private before it is complete, too.
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield part
        if in_place:
            shutil.copyfile(part, target)
            os.remove(part)
        else:
            if existing is not None:
                os.chmod(part, stat.S_IMODE(existing.st_mode))
            os.replace(part, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(part)
        raise


def _is_replaceable(target: str, directory: str, existing: os.stat_result) -> bool:
    """Whether nobody can tell a new file of the same mode from the one that exists."""
    if not stat.S_ISREG(existing.st_mode) or existing.st_nlink > 1:
        return False
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    if hasattr(os, "geteuid") and existing.st_uid != os.geteuid():
        return False
    # Access control lists and other attributes.
    return not (hasattr(os, "listxattr") and _attributes(target))


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:  # the file system has none
        return []
