"""One object as a file."""

from __future__ import annotations

from fsspec_avroglob.filesystem.reader import ObjectReader
from fsspec_avroglob.filesystem.writer import ObjectWriter


class AvroGlobFile(ObjectReader, ObjectWriter):
    """An S3 object as a file. Reads return bytes of one version; writes store all or nothing."""
