"""Fails where something is installed that fsspec, s3fs, fastavro and its codecs do not need."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distribution, distributions

NAMED = {"fsspec", "s3fs", "fastavro", "cramjam", "zstandard", "backports-zstd"}
# What a new environment holds.
GIVEN = {"fsspec-avroglob", "pip", "setuptools"}


def normal(name: str) -> str:
    """A distribution's name as all of its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(name: str) -> set[str]:
    """Names of what a distribution asks for whatever extras are chosen."""
    requirements = distribution(name).requires or []
    names = (re.match(r"[\w.-]+", item) for item in requirements if "extra ==" not in item)
    return {normal(match[0]) for match in names if match}


def main() -> int:
    """Print what does not belong. Returns the number of such distributions."""
    asked = required("fsspec-avroglob")
    installed = {normal(item.metadata["Name"]) for item in distributions()}
    belonging, new = set(GIVEN), NAMED & installed
    while new:
        belonging |= new
        new = {name for item in new for name in required(item)} & installed - belonging
    strange = sorted((asked - NAMED) | (installed - belonging))
    if strange:
        print("installed, but not for fsspec, s3fs or fastavro:", *strange)
    return len(strange)


if __name__ == "__main__":
    sys.exit(main())
