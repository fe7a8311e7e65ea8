"""How answers arrive: not too slowly."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

SPEED_BYTES, SPEED_SECONDS = 1024, 30.0
"""An answer that brings fewer bytes a second, over as many seconds of waiting, has timed out.

Like curl's ``--speed-limit`` and ``--speed-time``."""


class MinimumSpeed:
    """The time and the bytes of one answer. Make one for each answer.

    Only waiting counts: a caller may pause between two reads.

    Examples
    --------
    >>> async def copy(body, file):
    ...     speed = MinimumSpeed()
    ...     while chunk := await speed.read(body.read(2**18)):
    ...         file.write(chunk)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited_s = 0.0
        self._received = 0

    async def read(self, chunk: Awaitable[bytes]) -> bytes:
        """Await the next chunk of the answer. Raises TimeoutError if the answer is too slow."""
        started = self._clock()
        data = await chunk
        self._waited_s += self._clock() - started
        self._received += len(data)
        if self._waited_s >= SPEED_SECONDS and data:
            if self._received < SPEED_BYTES * self._waited_s:
                raise TimeoutError(
                    f"{self._received:,} bytes arrived in {self._waited_s:.0f} s: "
                    f"less than {SPEED_BYTES:,} bytes a second"
                )
            self._waited_s, self._received = 0.0, 0
        return data
