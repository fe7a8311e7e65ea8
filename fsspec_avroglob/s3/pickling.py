"""How errors of botocore are pickled: with their notes, and without what cannot be pickled.

Dask and multiprocessing pickle the errors of their workers. Botocore's own way drops notes, and
fails if an error holds a request or an error of aiohttp. Importing this module registers a way that
keeps notes.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator
from typing import Any

import aiobotocore.response  # noqa: F401  # defines errors, too
import botocore.exceptions as boto

from fsspec_avroglob.s3.secrets import chain

_PLAIN = (str, bytes, int, float, type(None))


def make_picklable(error: BaseException) -> None:
    """Replace what *error*, its causes and contexts hold of requests and sockets by text.

    tblib, which Dask uses, pickles errors in botocore's way, whatever is registered.
    """
    for one in chain(error):
        if isinstance(one, boto.HTTPClientError):
            one.request = one.response = None
        if isinstance(one, boto.BotoCoreError):
            kwargs = one.kwargs.items()
            one.kwargs = {k: v if isinstance(v, _PLAIN) else str(v) for k, v in kwargs}


def _reduced(error: BaseException) -> tuple[Any, ...]:
    return _rebuilt, (type(error), error.args, dict(vars(error)))


def _rebuilt(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


def _kinds() -> Iterator[type[BaseException]]:
    left: list[type[BaseException]] = [boto.BotoCoreError]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        yield kind


for _kind in _kinds():
    copyreg.pickle(_kind, _reduced)
