"""Copying, moving and removing many objects: progress, failures, few at a time."""

from __future__ import annotations

from typing import Any

import pytest
from fsspec.callbacks import Callback

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects
from tests.support.proxy import FaultProxy

KEYS = [f"a/{number}" for number in range(5)]
CALLS = {
    "rm": lambda fs, b, **kw: fs.rm(f"{b}/a/", recursive=True, **kw),
    "copy": lambda fs, b, **kw: fs.copy(f"{b}/a/", f"{b}/c/", recursive=True, **kw),
    "mv": lambda fs, b, **kw: fs.mv(f"{b}/a/", f"{b}/c/", recursive=True, **kw),
}


@pytest.mark.parametrize("call", CALLS)
def test_progress(fs: AvroGlobFileSystem, bucket: str, put: PutObjects, call: str) -> None:
    put(dict.fromkeys(KEYS, b"x"))
    done: list[tuple[Any, int]] = []
    callback = Callback(hooks={"note": lambda size, value: done.append((size, value))})

    CALLS[call](fs, bucket, callback=callback)

    (total,) = {size for size, _ in done}
    assert total == callback.value >= len(KEYS)
    assert [value for _, value in done] == sorted(value for _, value in done)


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_first_failed_copy_is_raised(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    bucket: str,
    put: PutObjects,
    batch_size: int | None,
) -> None:
    put(dict.fromkeys(KEYS, b"x"))
    failing = ("c/1", "c/3")
    proxy.fail("CopyObject", 403, "AccessDenied", match=lambda request: request.key in failing)

    with pytest.raises(PermissionError, match=f"{bucket}/c/1"):
        counted.copy(f"{bucket}/a/", f"{bucket}/c/", recursive=True, batch_size=batch_size)

    assert counted.find(f"{bucket}/c") == [f"{bucket}/c/{number}" for number in (0, 2, 4)]


def test_absent_source_is_ignored(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"a/0": b"x"})
    sources, targets = [f"{bucket}/a/0", f"{bucket}/a/1"], [f"{bucket}/c/0", f"{bucket}/c/1"]

    fs.copy(sources, targets, on_error="ignore")

    assert fs.find(f"{bucket}/c") == [f"{bucket}/c/0"]
    with pytest.raises(FileNotFoundError):
        fs.copy(sources, targets)
