"""Folder markers: the only place that decides what they are.

Consoles, Hadoop and ``touch("bucket/directory/")`` store an empty object whose key ends in ``/``.
It says that a directory exists, and is never a file. An object with such a key that is not empty is
a file, which its exact key names.

>>> is_marker("events/", 0), is_marker("events/", 3), is_marker("events", 0)
(True, False, False)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec_avroglob.s3.page import Page


def is_marker(key: str, size: int) -> bool:
    """Whether an object of *size* bytes marks a directory."""
    return size == 0 and key.endswith("/")


def markers_of(page: Page) -> set[int]:
    """Return the indices of the markers among the keys of a page, usually none."""
    keys = page.keys
    # One search in a long string takes a fraction of the time of a search in each key.
    if "/\n" not in "\n".join([*keys, ""]):
        return set()
    indices = [index for index, key in enumerate(keys) if key.endswith("/")]
    sizes = page.columns["Size"] if indices else ()
    return {index for index in indices if is_marker(keys[index], sizes[index])}


def without_markers(infos: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the info dicts that are not those of markers."""
    return [info for info in infos if not is_marker(info["name"], info["size"])]
