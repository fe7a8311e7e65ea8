"""The filesystem for ``avroglob://`` URLs."""

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

__all__ = ["AvroGlobFileSystem"]
