"""``.avro.gz``: container files that were compressed as a whole, inflated as their bytes arrive."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from fsspec_avroglob.avro.stream import BlockRun, BlockStream, Dropped
from fsspec_avroglob.errors import CorruptBlockError

GZIP_MAGIC = b"\x1f\x8b"

_PIECE_BYTES = 4 << 20
_GZIP_WINDOW = 31


def is_gzip(path: str, data: bytes) -> bool:
    """Whether a file is inflated: its path ends in ``.gz``, and so say its first bytes *data*.

    The query string of a URL does not count.
    """
    ends = (path, path.partition("?")[0])
    return data.startswith(GZIP_MAGIC) and any(end.lower().endswith(".gz") for end in ends)


def inflated(data: bytes, max_bytes: int) -> bytes:
    """Inflate the first *max_bytes* bytes of which *data* has the beginning; raises zlib.error."""
    return zlib.decompressobj(_GZIP_WINDOW).decompress(data, max_bytes)


class GzipBlockStream:
    """A :class:`BlockStream` that is fed the compressed bytes of a file, from the first on.

    It inflates at most 4 MiB at a time. Offsets in its errors count inflated bytes.

    - ``path``: the file's name.
    - ``header_bytes``: inflated length of the header, which is passed over.
    - ``blocks``: follows the inflated blocks.
    - ``dropped``: receives what is lost of corrupt gzip data; with None that raises.
    """

    def __init__(
        self, path: str, header_bytes: int, blocks: BlockStream, dropped: list[Dropped] | None
    ) -> None:
        self._path, self._blocks, self._dropped = path, blocks, dropped
        self._header_left = header_bytes
        self._inflated_bytes = 0
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._broken = False

    def feed(self, data: bytes, *, last: bool) -> Iterator[BlockRun]:
        """Yield the blocks that become complete with *data*, as :meth:`BlockStream.feed` does."""
        reason = None
        if not self._broken:
            try:
                for piece in self._pieces(data):
                    yield from self._blocks.feed(piece, last=False)
                if last and not self._member.eof:
                    reason = "the file ends within its gzip data; it was cut short"
            except zlib.error as error:
                reason = f"its gzip data is corrupt: {error}"
        if reason is not None:
            self._broken = True
            lost = Dropped(self._path, None, self._inflated_bytes, 0, reason)
            if self._dropped is None:
                raise CorruptBlockError(reason, self._inflated_bytes, self._path)
            self._dropped.append(lost)
        if last:
            yield from self._blocks.feed(b"", last=True)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Inflate *data*, which may hold the ends and beginnings of several gzip members."""
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding, as gzip allows
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            piece = self._member.decompress(data, _PIECE_BYTES)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._inflated_bytes += len(piece)
            skipped = min(self._header_left, len(piece))
            self._header_left -= skipped
            if len(piece) > skipped:
                yield piece[skipped:]
