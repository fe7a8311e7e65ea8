"""A bar of files and bytes, through fsspec's callbacks."""

from __future__ import annotations

from collections.abc import Sequence

from fsspec.callbacks import DEFAULT_CALLBACK, Callback


class Progress:
    """Tells a callback of bytes as they come, and of files whose end was reached.

    - ``progress``: True for a bar on standard error, False for none, or an fsspec callback.
    - ``sizes``: of the files in bytes, None where not known.

    Raises ImportError for a bar without tqdm.
    """

    def __init__(self, progress: bool | Callback, sizes: Sequence[int | None]) -> None:
        self._files = 0
        self._of = len(sizes)
        self._own = progress is True
        self._callback = _bar() if progress is True else progress or DEFAULT_CALLBACK
        total = [size for size in sizes if size is not None]
        if len(total) == len(sizes):
            self._callback.set_size(sum(total))
        self._tell()

    def __call__(self, size_bytes: int, ended: bool) -> None:
        """Count bytes that came, and a file that ended."""
        if ended:
            self._files += 1
            self._tell()
        if size_bytes:
            self._callback.relative_update(size_bytes)

    def close(self) -> None:
        """End a bar of its own."""
        if self._own:
            self._callback.close()

    def _tell(self) -> None:
        bar = getattr(self._callback, "tqdm", None)
        if self._own and bar is not None:
            bar.set_postfix_str(f"{self._files} of {self._of} files")


def _bar() -> Callback:
    try:
        import tqdm
    except ImportError as error:
        raise ImportError(
            "progress=True needs tqdm: pip install 'fsspec-avroglob[progress]'"
        ) from error
    from fsspec.callbacks import TqdmCallback

    return TqdmCallback(tqdm_kwargs={"unit": "B", "unit_scale": True}, tqdm_cls=tqdm.tqdm)
