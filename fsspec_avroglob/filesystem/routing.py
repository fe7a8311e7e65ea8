"""``use_for_s3``: ``s3://`` URLs served by this package's filesystem for as long as asked."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from fsspec.registry import _registry as registered

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

__all__ = ["S3Route", "use_for_s3"]

_PROTOCOLS = ("s3", "s3a")

_lock = threading.Lock()
_routes: set[S3Route] = set()
# What fsspec had for each protocol before the first route; None where nothing was loaded yet.
_before: dict[str, Any] = {}


class S3Route:
    """What :func:`use_for_s3` has set up, until :meth:`undo` or the end of a ``with`` block."""

    def undo(self) -> None:
        """End it; once more does nothing.

        With the last route that ends, in whatever order, fsspec has again what it had before the
        first: a class, or none loaded yet. A class that someone else has registered in the meantime
        stays.
        """
        with _lock:
            if self not in _routes:
                return
            _routes.discard(self)
            if _routes:
                return
            for protocol, previous in _before.items():
                if registered.get(protocol) is not AvroGlobFileSystem:
                    continue
                if previous is None:
                    del registered[protocol]
                else:
                    registered[protocol] = previous
            _before.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()


def use_for_s3() -> S3Route:
    """Have ``s3://`` and ``s3a://`` URLs served by :class:`AvroGlobFileSystem`.

    Called plainly it holds until ``undo()`` of what it returns, as ``with use_for_s3():`` for a
    block. It holds for the whole process, all its threads included, but not for processes started
    from it: have those call it first, ``ProcessPoolExecutor(initializer=use_for_s3)`` or
    ``client.run(use_for_s3)``. Filesystem objects travel to them with their class.

    Instances that were made before stay what they are.
    """
    route = S3Route()
    with _lock:
        if not _routes:
            _before.update((protocol, registered.get(protocol)) for protocol in _PROTOCOLS)
        _routes.add(route)
        registered.update(dict.fromkeys(_PROTOCOLS, AvroGlobFileSystem))
    return route
