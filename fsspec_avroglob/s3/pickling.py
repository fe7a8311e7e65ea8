"""How errors of botocore are pickled: with their notes, and without what cannot be pickled.

Dask and multiprocessing pickle the errors of their workers. Botocore's own way drops notes, and
fails if an error holds a request or an error of aiohttp. Importing this module registers ours.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator
from typing import Any

import aiobotocore.response  # noqa: F401  # defines errors, too
import botocore.exceptions as boto

_PLAIN = (str, bytes, int, float, type(None))


def _reduced(error: BaseException) -> tuple[Any, ...]:
    state = dict(vars(error))
    if isinstance(error, boto.HTTPClientError):
        state["request"] = state["response"] = None
    if "kwargs" in state:
        kwargs = state["kwargs"].items()
        state["kwargs"] = {k: v if isinstance(v, _PLAIN) else str(v) for k, v in kwargs}
    return _rebuilt, (type(error), error.args, state)


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
