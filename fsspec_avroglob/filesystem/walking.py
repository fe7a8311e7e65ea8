"""Trees of directories: their levels one by one, and their bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any

from fsspec_avroglob.aio.blocking import BlockingIterator
from fsspec_avroglob.filesystem.listing import ObjectLists


class ObjectWalks(ObjectLists):
    """``walk`` and ``du``."""

    async def _du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> int | dict[str, int]:
        """Return the bytes below *path*: their sum, or a dict by path with ``total=False``."""
        found = await self._find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def walk(self, path: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As fsspec's. Closing the iterator ends the listing."""
        return BlockingIterator(self._walk(path, *args, **kwargs), self.loop)

    async def _walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], object] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[tuple[str, Any, Any], None]:
        """As fsspec's, but only a missing directory is empty, unless *on_error* is given.

        fsspec uses *on_error* for the first directory alone. Here it holds for all.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        top = self._strip_protocol(path)
        listed = self._walk_below(top, maxdepth, topdown, on_error or _raise_unless_missing, kwargs)
        async with aclosing(listed) as levels:
            async for level in levels:
                yield level

    async def _walk_below(
        self,
        path: str,
        maxdepth: int | None,
        topdown: bool,
        on_error: str | Callable[[OSError], object],
        options: dict[str, Any],
    ) -> AsyncGenerator[tuple[str, Any, Any], None]:
        """Walk a directory. A slash at the end of its *path* belongs to its name."""
        options = dict(options)
        detail = options.pop("detail", False)
        try:
            infos = await self._ls(f"{path}/", detail=True, **options)
        except OSError as error:
            if on_error == "raise":
                raise
            if callable(on_error):
                on_error(error)
            infos = []
        start = f"{path}/" if path else ""
        dirs: dict[str, Any] = {}
        files: dict[str, Any] = {}
        for info in infos:
            name = "" if info["name"] == path else info["name"].removeprefix(start)
            (dirs if info["type"] == "directory" else files)[name] = info
        level = (path, dirs, files) if detail else (path, list(dirs), list(files))
        if topdown:
            yield level
        if maxdepth != 1:
            depth = None if maxdepth is None else maxdepth - 1
            for name in list(level[1]):
                options["detail"] = detail
                below = self._walk_below(start + name, depth, topdown, on_error, options)
                async with aclosing(below):
                    async for listed in below:
                        yield listed
        if not topdown:
            yield level


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
