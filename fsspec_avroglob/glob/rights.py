"""Which listings of a bucket its policy refuses, so that a refused listing is tried once.

A policy may allow LIST only for some prefixes (``s3:prefix``), or only with a delimiter
(``s3:delimiter``). A listing that was refused is replaced by narrower ones that find the same:

======================================== =========================================================
refused                                  instead
======================================== =========================================================
a prefix without a delimiter             the same prefix with one, then each subdirectory
a prefix shared by several stated names  each of the names
the start of a name, ``home/a``          its directory, ``home/``, from the name on
======================================== =========================================================
"""

from __future__ import annotations

from collections import Counter

from fsspec_avroglob.s3.translation import error_code

REFUSALS_TO_PRESUME = 2
"""After this many refusals at one depth, and no success, deeper listings without a delimiter at
that depth are not tried."""

MAX_REMEMBERED = 10_000
"""Most refused listings that are remembered for a bucket."""

_REFUSED = ("AccessDenied", "AllAccessDisabled", "403")


def is_refusal(error: PermissionError) -> bool:
    """Whether a policy refused the request. Wrong and expired keys would be refused again."""
    return error_code(error.__cause__) in _REFUSED


class ListingRights:
    """What is known about the policy of one bucket."""

    def __init__(self) -> None:
        self._refused: set[tuple[str, str]] = set()
        self._refused_flat: Counter[int] = Counter()
        self._granted_flat: Counter[int] = Counter()

    def grant(self, prefix: str, delimiter: str) -> None:
        """Record that a listing was allowed."""
        if not delimiter and self._refused:
            self._granted_flat[_depth(prefix)] += 1

    def refuse(self, prefix: str, delimiter: str) -> None:
        """Record that a listing was refused."""
        if len(self._refused) >= MAX_REMEMBERED:
            self._refused.clear()
        if not delimiter and (prefix, delimiter) not in self._refused:
            self._refused_flat[_depth(prefix)] += 1
        self._refused.add((prefix, delimiter))

    def allows(self, prefix: str, delimiter: str) -> bool:
        """Whether to try a listing."""
        if not self._refused:
            return True
        return (prefix, delimiter) not in self._refused and (
            bool(delimiter) or not self._presumed(_depth(prefix))
        )

    def allows_level(self, prefix: str) -> bool:
        """Whether to try to list what starts with *prefix* in its directory."""
        return self.allows(prefix, "/") or self.allows(directory_of(prefix), "/")

    def unknown_below(self, directory: str) -> bool:
        """Whether to find out first if subdirectories may be listed without a delimiter."""
        depth = _depth(directory) + 1
        tried = self._granted_flat[depth] + self._refused_flat[depth]
        return bool(self._refused_flat) and tried < REFUSALS_TO_PRESUME

    def _presumed(self, depth: int) -> bool:
        return self._refused_flat[depth] >= REFUSALS_TO_PRESUME and not self._granted_flat[depth]


def directory_of(prefix: str) -> str:
    """The directory that *prefix* starts a name in: "" or ending in ``/``."""
    return prefix[: prefix.rfind("/") + 1]


def _depth(prefix: str) -> int:
    return prefix.count("/")
