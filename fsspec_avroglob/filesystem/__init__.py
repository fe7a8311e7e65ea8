"""The filesystem for ``avroglob://`` URLs."""

import aiobotocore.session  # noqa: F401  # here, not deeper in the stack: see architecture.md

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

__all__ = ["AvroGlobFileSystem"]
