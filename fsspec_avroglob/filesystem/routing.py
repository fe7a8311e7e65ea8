"""``use_for_s3``: let this package's filesystem serve ``s3://`` URLs.

>>> import fsspec, fsspec_avroglob
>>> with fsspec_avroglob.use_for_s3():
...     fsspec.get_filesystem_class("s3").__name__
'AvroGlobS3FileSystem'
"""

from __future__ import annotations

import threading
from typing import Any, Self

from fsspec.registry import _registry as registered

from fsspec_avroglob.filesystem.core import AvroGlobS3FileSystem

__all__ = ["S3Route", "use_for_s3"]

_PROTOCOLS = ("s3", "s3a")

_lock = threading.Lock()
_routes: set[S3Route] = set()
# The class of each protocol before the first route, None if fsspec had not loaded one.
_before: dict[str, Any] = {}


class S3Route:
    """What :func:`use_for_s3` set up, until :meth:`undo` or the end of a ``with`` block."""

    def undo(self) -> None:
        """End the route. A second call does nothing.

        When the last route ends, fsspec gets back the classes that it had before the first one. A
        class that other code registered meanwhile stays.
        """
        with _lock:
            if self not in _routes:
                return
            _routes.discard(self)
            if _routes:
                return
            for protocol, previous in _before.items():
                if registered.get(protocol) is not AvroGlobS3FileSystem:
                    continue
                if previous is None:
                    del registered[protocol]
                else:
                    registered[protocol] = previous
            _before.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


def use_for_s3() -> S3Route:
    """Let :class:`AvroGlobS3FileSystem` serve ``s3://`` and ``s3a://`` URLs in this process.

    Returns a route that ends with ``route.undo()``, or with a block: ``with use_for_s3(): ...``.
    Instances that exist already do not change. Names that leave the filesystem, in catalogs for
    example, are ``s3://`` URLs.

    Other processes must call it themselves, first: ``ProcessPoolExecutor(initializer=use_for_s3)``
    or ``client.run(use_for_s3)``. Pickled filesystems keep their class there.
    """
    route = S3Route()
    with _lock:
        if not _routes:
            _before.update((protocol, registered.get(protocol)) for protocol in _PROTOCOLS)
        _routes.add(route)
        registered.update(dict.fromkeys(_PROTOCOLS, AvroGlobS3FileSystem))
    return route
