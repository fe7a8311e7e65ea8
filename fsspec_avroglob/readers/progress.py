"""Progress of a reading, reported to an fsspec callback or shown as a bar."""

from __future__ import annotations

from collections.abc import Sequence

from fsspec.callbacks import DEFAULT_CALLBACK, Callback


class Progress:
    """Reports bytes and finished files; *sizes* of the files are in bytes, None where unknown.

    Raises ImportError for a bar (``progress=True``) without tqdm.
    """

    def __init__(self, progress: bool | Callback, sizes: Sequence[int | None]) -> None:
        self._ended, self._files = 0, len(sizes)
        self._bar = progress is True
        self._callback = _bar() if progress is True else progress or DEFAULT_CALLBACK
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes):
            self._callback.set_size(sum(known))
        self._show()

    def add(self, size_bytes: int) -> None:
        """Report bytes that were read."""
        if size_bytes:
            self._callback.relative_update(size_bytes)

    def end_file(self) -> None:
        """Report a file that was read to its end."""
        self._ended += 1
        self._show()

    def close(self) -> None:
        """Close the bar. A callback of the user stays open."""
        if self._bar:
            self._callback.close()

    def _show(self) -> None:
        bar = getattr(self._callback, "tqdm", None)
        if self._bar and bar is not None:
            bar.set_postfix_str(f"{self._ended} of {self._files} files")


def _bar() -> Callback:
    try:
        import tqdm
    except ImportError as error:
        raise ImportError(
            "progress=True needs tqdm: pip install 'fsspec-avroglob[progress]'"
        ) from error
    from fsspec.callbacks import TqdmCallback

    return TqdmCallback(tqdm_kwargs={"unit": "B", "unit_scale": True}, tqdm_cls=tqdm.tqdm)
